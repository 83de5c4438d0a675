"""Every wrong thing a user can give `build-dataset` and `annotate`: one sentence, an exit code, and nothing lost."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scenedetect", reason="the extra 'dataset' is not installed")
pytest.importorskip("yt_dlp", reason="the extra 'dataset' is not installed")

from concertdeblur.blur import Kernel, blur
from concertdeblur.dataset import downloads, findings, scan
from concertdeblur.dataset.downloads import Downloader, DownloadOptions
from concertdeblur.errors import TargetError
from tests.campaign.hostile_site import HostileSite
from tests.commands import command, environment, run, run_here
from tests.concert_clips import Shot, shots_clip, write_clip
from tests.loopback import Site, serve

OPTIONS = ("--size", 128)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    shots_clip(folder / "good.mp4", Shot(photo="rocket", num_frames=12))
    shots_clip(folder / "other.mp4", Shot(photo="chelsea", num_frames=12))
    write_clip(folder / "black.mp4", [np.zeros((288, 384, 3), np.uint8)] * 12)
    shots_clip(folder / "soft.mp4", Shot(num_frames=12, sharp_at=99, blur=lambda p, _: blur(p, Kernel.GAUSSIAN, 1.0)))
    return folder


@pytest.fixture(scope="module")
def built(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    urls = write_list(folder, clips / "good.mp4", clips / "good.mp4", clips / "other.mp4")
    done = build(urls, folder / "set")
    assert done.returncode == 0, done.stderr
    assert "is in the list twice; it is taken once" in done.stderr
    return folder / "set"


def write_list(folder: Path, *lines: object) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def build(urls: Path, target: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return run_here("build-dataset", "--urls", urls, "--out", target, *OPTIONS, *options)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_refused(done: subprocess.CompletedProcess[str], words: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: "), done.stderr
    assert words in last
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "names no source"),
        (b"# only a comment\n\n", "names no source"),
        (b"\x89PNG\r\n\xff\xfe\x00", "is no UTF-8 text"),
        (b"a\x00b", "is no text"),
        (None, "no such file"),
    ],
)
def test_lists_that_name_nothing(tmp_path: Path, data: bytes | None, words: str) -> None:
    urls = tmp_path / "list.txt"
    if data is not None:
        urls.write_bytes(data)
    assert_refused(build(urls, tmp_path / "set"), words)
    assert not (tmp_path / "set").exists()


def test_a_folder_for_a_list(tmp_path: Path) -> None:
    assert_refused(build(tmp_path, tmp_path / "set"), "is a folder; --urls takes a text file")


@pytest.mark.parametrize(
    ("name", "words"), [("black", "1 dark or empty"), ("soft", "1 not sharp"), ("none", "no such")]
)
def test_clips_that_give_nothing(clips: Path, tmp_path: Path, name: str, words: str) -> None:
    urls = write_list(tmp_path, clips / f"{name}.mp4")
    done = build(urls, tmp_path / "set")
    assert_refused(done, "no source gave a frame")
    assert [line for line in done.stderr.splitlines() if line.startswith("Warning: ") and words in line]
    write_list(tmp_path, clips / f"{name}.mp4", clips / "good.mp4")
    again = build(urls, tmp_path / "set")
    assert again.returncode == 0, again.stderr
    assert f"{name}.mp4" in again.stderr, "a source that failed is named and tried again"


@pytest.fixture
def site(clips: Path) -> Iterator[Site]:
    good = (clips / "good.mp4").read_bytes()
    pages = {
        "/page.html": ("text/html", b"<html><title>hello</title></html>"),
        "/lie.mp4": ("video/mp4", b"<html>please log in</html>"),
        "/live.m3u8": (
            "application/vnd.apple.mpegurl",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\na.ts\n",
        ),
        "/list.html": ("text/html", b"<html>" + b"".join(b'<video src="/v%d.mp4"></video>' % n for n in range(3))),
        **{f"/v{n}.mp4": ("video/mp4", good + bytes(n)) for n in range(3)},
    }
    with serve(Site(pages=pages)) as made:
        yield made


@pytest.mark.parametrize(
    ("pattern", "old", "new"),
    [
        ("sources/*.json", '"sharpness": ', '"sharpness": 9'),
        ("sources/*.json", '"perceptual_hash": "', '"perceptual_hash": "no number '),
        ("sources/*.json", '"scan"', '"scam"'),
        ("types-*.jsonl", '"shot_type"', '"shot"'),
        ("types-*.jsonl", '"shot_type": "', '"shot_type": "no type '),
        ("types-*.jsonl", '"confidence": ', '"confidence": [] , "x": '),
        ("types-*.jsonl", '{"', "\xff"),
    ],
)
def test_a_damaged_cache_is_made_again(
    built: Path, clips: Path, tmp_path: Path, pattern: str, old: str, new: str
) -> None:
    shutil.copytree(built, tmp_path / "set")
    (path, *_) = sorted((tmp_path / "set" / ".cache").glob(pattern))
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="latin-1")
    done = build(write_list(tmp_path, clips / "good.mp4", clips / "other.mp4"), tmp_path / "set")
    assert done.returncode == 0, done.stderr
    before, after = (contents(folder) for folder in (built, tmp_path / "set"))
    assert {name: before[name] for name in before if name != "manifest.json"} == {
        name: after[name] for name in after if name != "manifest.json"
    }


def test_a_source_that_drips_is_given_up_and_the_others_go_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SLOWEST_S", 1.0)
    dripping = HostileSite(lambda base, path: drops())
    with dripping:
        done = build(write_list(tmp_path, f"{dripping.base}/a.mp4", site.url("/lie.mp4")), tmp_path / "set")
    assert "comes too slowly" in done.stderr
    assert "lie.mp4" in done.stderr


def drops() -> Iterator[bytes]:
    """A clip of a gigabyte that comes in single bytes."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 1073741824\r\n\r\n" + bytes(70_000)
    while True:
        time.sleep(0.1)
        yield b"\0"


def test_addresses_that_give_nothing_are_named_and_the_others_go_on(site: Site, tmp_path: Path) -> None:
    names = ("/dead.mp4", "/page.html", "/lie.mp4", "/live.m3u8", "/list.html")
    done = build(write_list(tmp_path, *map(site.url, names)), tmp_path / "set", "--limit", 1)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told = dict(
        zip(names, ("HTTP Error 404", "page without a clip", "not a clip", "live stream", "more than 1"), strict=True)
    )
    for name, words in told.items():
        lines = [line for line in done.stderr.splitlines() if line.startswith("Warning: ") and name in line]
        assert len(lines) == 1, name
        assert words in lines[0]
        assert ".cache" not in lines[0]
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert len(manifest["failed"]) == 4
    assert len(manifest["sources"]) == 1


def test_only_addresses_that_give_nothing(site: Site, tmp_path: Path) -> None:
    assert_refused(build(write_list(tmp_path, site.url("/dead.mp4")), tmp_path / "set"), "no source gave a frame")


def test_folders_that_are_not_for_this(clips: Path, built: Path, tmp_path: Path) -> None:
    urls = write_list(tmp_path, clips / "good.mp4")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    assert_refused(build(urls, tmp_path / "photos"), "holds other files")
    assert_refused(build(urls, tmp_path / "file"), "is a file; name a folder")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.txt"]
    before = contents(built)
    assert_refused(build(urls, built, "--seed", 3), "built with seed 0, not 3")
    assert_refused(build(write_list(tmp_path, clips / "soft.mp4"), built), "a data set of other sources")
    assert contents(built) == before


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("manifest.json", "nonsense", "manifest.json: is no manifest any more"),
        ("manifest.json", '{"format": 1, "options": {}}', "manifest.json: is no manifest any more"),
        ("manifest.json", "[]", "manifest.json: is no manifest any more"),
        ("reviews.jsonl", '{"keep": "perhaps"}\n', "reviews.jsonl, line 1: is no review"),
        ("reviews.jsonl", "nonsense\n", "reviews.jsonl, line 1: is no review"),
    ],
)
def test_files_edited_into_nonsense_that_stop_a_run(
    clips: Path, built: Path, tmp_path: Path, name: str, text: str, words: str
) -> None:
    target = tmp_path / "set"
    shutil.copytree(built, target)
    (target / name).write_text(text)
    before = contents(target)
    assert_refused(build(write_list(tmp_path, clips / "good.mp4", clips / "other.mp4"), target), words)
    assert contents(target) == before


@pytest.mark.parametrize("name", ["train/metadata.jsonl", "test/metadata.jsonl", "frames.jsonl"])
def test_lists_edited_by_hand_are_kept_whatever_came_between(
    clips: Path, built: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "set"
    shutil.copytree(built, target)
    assert_refused(build(write_list(tmp_path, clips / "soft.mp4"), target), "a data set of other sources")
    (target / name).write_text("nonsense")
    urls = write_list(tmp_path, clips / "good.mp4", clips / "other.mp4")
    done = build(urls, target)
    assert done.returncode == 0, done.stderr
    aside = target / f"{name.replace('/', '-')}.edited"
    assert f"{name} was changed by hand and is written again; yours is kept as {aside.name}" in done.stderr
    assert aside.read_text() == "nonsense"
    aside.unlink()
    assert contents(target) == contents(built)
    assert "changed by hand" not in build(urls, target).stderr


def test_reviews_of_what_is_no_data_set(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
    assert_refused(run("annotate", tmp_path, "--no-open"), "no data set of build-dataset is here")
    assert_refused(run_here("annotate", tmp_path / "none", "--no-open"), "no data set of build-dataset is here")
    target = tmp_path / "set"
    shutil.copytree(built, target)
    (target / "reviews.jsonl").write_text("nonsense\n")
    assert_refused(run_here("annotate", target, "--no-open"), "reviews.jsonl, line 1: is no review")
    assert (target / "reviews.jsonl").read_text() == "nonsense\n"
    (target / "frames.jsonl").write_text("nonsense")
    assert_refused(run_here("annotate", target, "--no-open"), "frames.jsonl, line 1: is no frame")


def test_a_disk_that_fills_up_while_fetching(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp has it as an error of its own: it ends the run, and is no fault of the source."""
    from yt_dlp.downloader.http import HttpFD
    from yt_dlp.utils import DownloadError

    def full(*_: object, **__: object) -> None:
        raise DownloadError("unable to write data: [Errno 28] No space left on device")

    monkeypatch.setattr(HttpFD, "real_download", full)
    downloader = Downloader(tmp_path / "downloads", DownloadOptions(pause_s=0))
    with pytest.raises(TargetError, match="no space left on the device"):
        list(downloader.fetch(site.url("/v0.mp4")))


@pytest.mark.parametrize("after", ["fetch", "look for sharp frames", "blur"])
def test_a_run_that_was_killed_is_finished_by_the_next(clips: Path, built: Path, tmp_path: Path, after: str) -> None:
    urls = write_list(tmp_path, clips / "good.mp4", clips / "good.mp4", clips / "other.mp4")
    running = subprocess.Popen(
        command("build-dataset", "--urls", urls, "--out", tmp_path / "set", *OPTIONS, "--json"), env=environment(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line).get("stage") == after:
            break
    running.kill()
    running.communicate(timeout=60)
    done = build(urls, tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "set") == contents(built)


@pytest.mark.parametrize("error", [ValueError("31 is not a valid Type"), UnicodeError("surrogates"), KeyError("x")])
def test_no_error_of_one_source_stops_the_others(
    clips: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan.scan_clip

    def failing(path: Path, *args: object, **choices: object) -> object:
        if path.name == "other.mp4":
            raise error
        return whole(path, *args, **choices)  # type: ignore[arg-type]

    monkeypatch.setattr(findings, "scan_clip", failing)
    urls = write_list(tmp_path, clips / "other.mp4", clips / "good.mp4")
    done = build(urls, tmp_path / "set", "--debug")
    assert done.returncode == 0, done.stderr
    assert f"other.mp4: cannot be processed ({type(error).__name__}" in done.stderr
    assert "in failing" in done.stderr  # the traceback
    assert "1 source, named above" in done.stderr
    assert list((tmp_path / "set" / "train").glob("*.png"))


def test_paths_in_quotes_and_names_that_are_no_utf8(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd names"
    folder.mkdir()
    shutil.copyfile(clips / "good.mp4", folder / os.fsdecode(b"caf\xe9.mp4"))
    urls = write_list(tmp_path, f'"{clips / "other.mp4"}"', f"'{folder}' | Encore")
    done = build(urls, tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "2 sources" in done.stderr
    told = json.loads((tmp_path / "set" / "manifest.json").read_text(encoding="utf-8"))
    assert {Path(source["address"]).name for source in told["sources"]} == {"other.mp4", "caf\\xe9.mp4"}
