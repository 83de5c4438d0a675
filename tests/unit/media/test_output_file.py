"""An output appears whole or not at all."""

from pathlib import Path

import pytest

from concertdeblur.errors import TargetError
from concertdeblur.media.output_file import OutputFile, target_error


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with OutputFile(target, overwrite=False) as part:
        part.write_text("half")
        assert part.parent == tmp_path
        assert part.suffix == ".mp4"
        assert not target.exists()
    assert target.read_text() == "half"
    assert list(tmp_path.iterdir()) == [target]


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


def test_messages_name_the_output(tmp_path: Path) -> None:
    output = OutputFile(tmp_path / "out.mp4", overwrite=False)
    assert str(target_error(output.part, OSError(28, "No space left on device"))) == (
        f"{tmp_path / 'out.mp4'}: no space left on the device; nothing was written"
    )
    with pytest.raises(TargetError, match="no such folder"):
        OutputFile(tmp_path / "nowhere" / "out.mp4", overwrite=False)
