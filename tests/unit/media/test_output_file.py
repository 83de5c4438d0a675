"""An output appears whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from concertdeblur.errors import TargetError
from concertdeblur.media.output_file import OutputFile, is_disk_full, target_error


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with OutputFile(target, overwrite=False) as part:
        part.write_text("half")
        assert part.parent == tmp_path
        assert part.suffix == ".mp4"
        assert not target.exists()
    assert target.read_text() == "half"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, synced = tmp_path / "out.mp4", list[bytes]()

    def fsync(descriptor: int) -> None:
        assert not target.exists()
        synced.append(os.pread(descriptor, 9, 0))

    monkeypatch.setattr(os, "fsync", fsync)
    with OutputFile(target, overwrite=False) as part:
        part.write_text("whole")
    assert synced == [b"whole"]


def test_a_disk_that_turns_out_to_be_full_at_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError, match="no space left"), OutputFile(tmp_path / "out.mp4", overwrite=False) as part:
        part.write_text("whole")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), OutputFile(target, overwrite=True) as part:  # noqa: PT012
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "real.mp4"
    real.write_text("old")
    link = tmp_path / "link.mp4"
    link.symlink_to(real)
    with OutputFile(link, overwrite=True) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_two_runs_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    first, second = (OutputFile(tmp_path / "out.mp4", overwrite=False).part for _ in range(2))
    assert first != second


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    with OutputFile(tmp_path / "out.mp4", overwrite=False) as part:
        part.write_text("")
    assert (tmp_path / "out.mp4").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_dead_parts_go_and_living_ones_stay(tmp_path: Path) -> None:
    dead = [".a.0123abcd.part.mp4", ".b.0123abcd.part.mkv.nut", ".c.0123abcd.part"]
    ours = [".a.part.mp4", "a.0123abcd.part.mp4", ".notes.txt"]
    for name in (*dead, *ours):
        (tmp_path / name).touch()
    with OutputFile(tmp_path / "out.mp4", overwrite=False) as living:
        beside = living.with_name(living.name + ".nut")
        beside.touch()
        with OutputFile(tmp_path / "other.mp4", overwrite=False) as other:
            other.write_text("")
        assert living.exists()
        assert beside.exists()
        beside.unlink()
        living.write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*ours, "out.mp4", "other.mp4"])


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    target = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    with OutputFile(target, overwrite=False) as part:
        part.write_text("whole")
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"caf\xe9.mp4"]


def test_a_full_disk_is_known_by_its_cause() -> None:
    full = OSError(28, "No space left on device")
    made = target_error(Path("out.mp4"), full)
    made.__cause__ = full
    assert is_disk_full(made)
    assert not is_disk_full(TargetError("out.mp4: exists already"))


def test_messages_name_the_output(tmp_path: Path) -> None:
    output = OutputFile(tmp_path / "out.mp4", overwrite=False)
    assert str(target_error(output.part, OSError(28, "No space left on device"))) == (
        f"{tmp_path / 'out.mp4'}: no space left on the device; nothing was written"
    )
    with pytest.raises(TargetError, match="no such folder"):
        OutputFile(tmp_path / "nowhere" / "out.mp4", overwrite=False)
