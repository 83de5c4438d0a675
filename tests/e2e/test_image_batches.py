"""Several pictures and folders of them in one call: which output each gets, and what a bad one does to the others."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from concertdeblur.errors import SourceError
from concertdeblur.pipelines import image_batch
from concertdeblur.pipelines.batch import BatchCount
from concertdeblur.pipelines.deblur_image import ImageJob, deblur_image
from concertdeblur.pipelines.image_batch import deblur_images, plan_images
from tests.commands import events, run, run_here
from tests.pictures import photograph

ZERO = ("--strength", "0")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(20, 30)).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as a camera and its user's computers leave it."""
    folder = tmp_path / "photos"
    for name in ("a.jpg", "B.PNG", "deep/c.webp", "deep/er/d.tif"):
        picture(folder / name)
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "notes.txt", ".thumbs/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"stray")
    return folder


def test_a_picture_without_an_output_gets_one_beside_it(tmp_path: Path) -> None:
    picture(tmp_path / "photo.jpg")
    assert run_here("image", "photo.jpg", *ZERO, folder=tmp_path).returncode == 0
    assert names(tmp_path) == ["photo.deblurred.jpg", "photo.jpg"]
    again = run_here("image", "photo.jpg", *ZERO, folder=tmp_path)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


def test_an_output_folder_takes_one_picture_or_several(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.gif"):
        picture(tmp_path / name)
    (tmp_path / "there").mkdir()
    assert run_here("image", "a.jpg", "there", *ZERO, folder=tmp_path).returncode == 0
    assert run_here("image", "a.jpg", "new", *ZERO, folder=tmp_path).returncode == 0
    ended = run_here("image", "a.jpg", "b.png", "c.gif", "all", *ZERO, folder=tmp_path)
    assert (ended.returncode, "3 of 3 pictures are written." in ended.stderr) == (0, True)
    assert names(tmp_path / "there") == names(tmp_path / "new") == ["a.jpg"]
    assert names(tmp_path / "all") == ["a.jpg", "b.png", "c.gif.png"]
    (tmp_path / "Thumbs.db").write_bytes(b"stray")
    ended = run_here("image", "Thumbs.db", "a.jpg", "b.png", "c.gif", "all", *ZERO, folder=tmp_path)
    assert (ended.returncode, "0 of 3 pictures are written, 3 were there" in ended.stderr) == (0, True)


def test_a_folder_is_taken_alone_or_with_its_subfolders(photos: Path) -> None:
    folder = photos.parent
    ended = run_here("image", "photos", "flat", *ZERO, folder=folder)
    assert (ended.returncode, names(folder / "flat")) == (0, ["B.PNG", "a.jpg"])
    ended = run_here("image", "photos", "--recursive", *ZERO, folder=folder)
    assert ended.returncode == 0
    assert names(folder / "photos.deblurred") == ["B.PNG", "a.jpg", "deep/c.webp", "deep/er/d.tif"]
    assert "Warning" not in ended.stderr


def test_an_output_folder_inside_the_input_is_not_an_input(photos: Path) -> None:
    for _ in range(2):
        ended = run_here("image", photos, "photos/out", "--recursive", "--overwrite", *ZERO, folder=photos.parent)
        assert ended.returncode == 0
    assert names(photos / "out") == ["B.PNG", "a.jpg", "deep/c.webp", "deep/er/d.tif"]


def test_a_bad_picture_does_not_end_the_others(photos: Path) -> None:
    data = (photos / "B.PNG").read_bytes()
    (photos / "A.png").write_bytes(data[: len(data) // 2])
    ended = run_here("image", photos, photos.parent / "out", *ZERO)
    assert ended.returncode == 1
    assert names(photos.parent / "out") == ["B.PNG", "a.jpg"]
    assert "A.png: is cut off" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("Error: 2 of 3 pictures are written, 1 failed: ")
    assert ended.stderr.splitlines()[-1].endswith("A.png")


def test_pictures_that_are_not_supported_are_named_and_no_failure(photos: Path) -> None:
    for name in ("raw.CR2", "x.jxl", "._raw.CR2", "deep/other.nef"):
        (photos / name).write_bytes(b"raw")
    ended = run_here("image", photos, photos.parent / "out", *ZERO)
    assert ended.returncode == 0
    assert "Warning: 2 pictures of kinds that are not supported are passed over: raw.CR2, x.jxl\n" in ended.stderr
    ended = run_here("image", photos, photos.parent / "all", "--recursive", *ZERO)
    assert "3 pictures of kinds" in ended.stderr


def test_what_an_earlier_run_has_made_counts_as_done(photos: Path) -> None:
    target = photos.parent / "out"
    picture(target / "a.jpg")
    made_before = (target / "a.jpg").stat().st_mtime_ns
    ended = run_here("image", photos, target, *ZERO)
    assert (ended.returncode, "1 of 2 pictures are written, 1 were there already" in ended.stderr) == (0, True)
    assert (target / "a.jpg").stat().st_mtime_ns == made_before
    ended = run_here("image", photos, target, "--overwrite", *ZERO)
    assert "2 of 2 pictures are written." in ended.stderr


def test_a_picture_that_comes_later_is_not_taken_for_one_that_is_done(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "x.gif")
    assert run_here("image", "in", "out", *ZERO, folder=tmp_path).returncode == 0
    picture(tmp_path / "in" / "x.png")
    ended = run_here("image", "in", "out", *ZERO, folder=tmp_path)
    assert "1 of 2 pictures are written, 1 were there already" in ended.stderr
    assert names(tmp_path / "out") == ["x.gif.png", "x.png"]
    beside = [tmp_path / "in" / "x.gif", tmp_path / "in" / "x.png"]
    assert [task.target.name for task in plan_images(beside * 2, ImageJob())][:2] == [
        "x.gif.deblurred.png", "x.deblurred.png",
    ]  # fmt: skip


def test_existing_outputs_can_be_skipped_outside_folders(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / name)
    assert run_here("image", "a.jpg", *ZERO, folder=tmp_path).returncode == 0
    refused = run_here("image", "a.jpg", "b.jpg", "c.jpg", *ZERO, folder=tmp_path)
    assert refused.returncode == 1
    assert "a.deblurred.jpg: exists already" in refused.stderr
    everything = [path.name for path in sorted(tmp_path.iterdir())]  # as a shell's * names it
    ended = run_here("image", *everything, "--skip-existing", *ZERO, folder=tmp_path)
    assert (ended.returncode, "0 of 3 pictures are written, 3 were there" in ended.stderr) == (0, True)


def test_the_pictures_of_folders_keep_their_dates(photos: Path) -> None:
    then_s = 1_000_000_000
    os.utime(photos / "a.jpg", (then_s, then_s))
    out = photos.parent / "out"
    assert run_here("image", photos, out, *ZERO).returncode == 0
    assert (out / "a.jpg").stat().st_mtime == then_s
    assert run_here("image", photos, out, "--overwrite", "--no-keep-date", *ZERO).returncode == 0
    assert (out / "a.jpg").stat().st_mtime != then_s
    assert run_here("image", photos / "a.jpg", out / "one.jpg", *ZERO).returncode == 0
    assert (out / "one.jpg").stat().st_mtime != then_s
    assert run_here("image", photos / "a.jpg", out / "two.jpg", "--keep-date", *ZERO).returncode == 0
    assert (out / "two.jpg").stat().st_mtime == then_s


def test_no_two_pictures_share_an_output(tmp_path: Path) -> None:
    for name in ("x/i.jpg", "y/i.jpg", "y/i.gif", "y/i.png"):
        picture(tmp_path / name)
    tasks = plan_images([tmp_path / "x", tmp_path / "y", tmp_path / "out"], ImageJob())
    assert [task.target.name for task in tasks] == ["i.jpg", "i.gif.png", "i-2.jpg", "i.png"]


def test_an_unforeseen_error_is_that_picture_s_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    real = deblur_image

    def fail(source: Path, *rest: object, **more: object) -> object:
        if source.name == "a.png":
            raise ZeroDivisionError("by zero")
        return real(source, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(image_batch, "deblur_image", fail)
    ended = run_here("image", tmp_path / "in", tmp_path / "out", *ZERO)
    assert (ended.returncode, names(tmp_path / "out")) == (1, ["b.png"])
    assert "a.png: this is a bug in concertdeblur (ZeroDivisionError: by zero)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Traceback" in run_here("image", tmp_path / "in", tmp_path / "out", *ZERO, "--debug").stderr


def test_a_full_disk_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    count = BatchCount()
    job = ImageJob(strength=0)
    tasks = plan_images([tmp_path / "in", tmp_path / "out"], job)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        list(deblur_images(tasks, job, count=count))
    assert count.failed == []


def test_a_program_is_told_of_each_picture(photos: Path) -> None:
    ended = run_here("image", photos, photos.parent / "out", "--json", *ZERO)
    kinds = [event["event"] for event in events(ended.stdout)]
    assert kinds == ["start", "done", "done"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("photos", "photos"), 1, "same folder"),
        (("photos", "out", "--compare", "both.png"), 2, "belong to one picture"),
        (("photos/a.jpg", "photos/B.PNG", "out.png"), 2, "need a folder as OUT"),
        (("photos/deep/er/none", "out"), 1, "No such file"),
        (("empty", "out"), 1, "no pictures to deblur found; --recursive"),
        (("photos/a.jpg", "missing/out.jpg"), 1, "no such folder"),
        ((), 2, "IN"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(photos: Path, args: tuple[str, ...], code: int, words: str) -> None:
    (photos.parent / "empty").mkdir()
    ended = run_here("image", *args, *ZERO, folder=photos.parent)
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr


def test_a_phone_s_folder_as_a_user_runs_it(photos: Path) -> None:
    ended = run("image", photos, photos.parent / "out", *ZERO)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.count("is written.") == 2


@pytest.mark.parametrize("name", [".", "../photos", "deep/.."])
def test_the_outputs_of_a_folder_lie_beside_it_whatever_it_is_called(photos: Path, name: str) -> None:
    ended = run_here("image", name, *ZERO, folder=photos)
    assert (ended.returncode, names(photos.parent / "photos.deblurred")) == (0, ["B.PNG", "a.jpg"])


def test_the_root_of_all_folders_has_no_folder_beside_it() -> None:
    ended = run_here("image", "/", *ZERO)
    assert (ended.returncode, "/: has no folder beside it" in ended.stderr) == (1, True)


def test_a_picture_that_is_named_twice_has_one_output(photos: Path) -> None:
    ended = run_here("image", "a.jpg", "../photos/a.jpg", "B.PNG", "../out", *ZERO, folder=photos)
    assert (ended.returncode, names(photos.parent / "out")) == (0, ["B.PNG", "a.jpg"])


def test_quiet_names_the_pictures_that_fail_with_the_reason(photos: Path) -> None:
    (photos / "a.jpg").write_bytes(b"")
    ended = run_here("image", ".", "../out", "--quiet", *ZERO, folder=photos)
    assert ended.stderr == "Error: a.jpg: is empty\nError: 1 of 2 pictures are written, 1 failed: a.jpg\n"


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_outputs_that_are_one_file_on_a_disk_without_capital_letters(tmp_path: Path, overwrite: bool) -> None:
    for name in ("A.png", "a.png", "b.png"):
        picture(tmp_path / "in" / name)
    picture(tmp_path / "out" / "A.png")
    (tmp_path / "out" / "a.png").hardlink_to(tmp_path / "out" / "A.png")  # as such a disk shows them
    tasks = plan_images([tmp_path / "in", tmp_path / "out"], ImageJob(strength=0, overwrite=overwrite))
    failed: list[str] = []
    count = BatchCount()
    made = deblur_images(
        tasks, ImageJob(strength=0, overwrite=overwrite), count=count,
        on_failure=lambda path, error: failed.append(f"{path.name}: {error}"),
    )  # fmt: skip
    with pytest.raises(SourceError, match="1 failed"):  # noqa: PT012
        for summary in made:
            if summary.target.name == "A.png":  # on such a disk the other name shows the new file
                (tmp_path / "out" / "a.png").unlink()
                (tmp_path / "out" / "a.png").hardlink_to(summary.target)
    assert count.failed == [tmp_path / "in" / "a.png"]
    assert "is the same file as A.png on this disk; rename an input" in failed[0]
    assert len(failed) == 1
