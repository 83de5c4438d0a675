"""`concertdeblur build-dataset` as a user runs it: local clips, a folder, the web; again, interrupted, and wrong."""

import gc
import hashlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel, blur
from concertdeblur.dataset.access import DecordAccess, open_pictures
from concertdeblur.dataset.downloads import Downloader, DownloadOptions, Fetched
from concertdeblur.dataset.frames import Box, read_frames
from concertdeblur.dataset.reviews import Review
from concertdeblur.dataset.scan import scan_clip
from concertdeblur.dataset.shot_types import ShotType
from concertdeblur.dataset.shots import SceneDetectCuts
from concertdeblur.dataset.sources import Failure
from concertdeblur.dataset.workspace import read_png
from concertdeblur.errors import ConcertDeblurError, DatasetError, Interrupted, SourceError, TargetError
from concertdeblur.media.decord_reader import DecordReader
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.pipelines.build_dataset import DatasetJob, DatasetSummary, build_dataset
from concertdeblur.progress import StageProgress
from tests.browser import look_at, screenshot
from tests.commands import events, run, run_here
from tests.concert_clips import Picture, Shot, dissolve, photo, shots_clip, write_clip
from tests.loopback import Site, serve

pytest.importorskip("scenedetect", reason="the extra 'dataset' is not installed")
pytest.importorskip("yt_dlp", reason="the extra 'dataset' is not installed")

JOB = DatasetJob(size=128)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    shots_clip(
        folder / "first.mp4", Shot(photo="astronaut", num_frames=24, sharp_at=9),
        Shot(photo="coffee", num_frames=24, sharp_at=15, bars=24),
    )  # fmt: skip
    shots_clip(folder / "second.mp4", Shot(photo="rocket", num_frames=20))
    shots_clip(folder / "third.mp4", Shot(photo="chelsea", num_frames=20))
    write_clip(folder / "black.mp4", [np.zeros((288, 384, 3), np.uint8)] * 12)
    shots_clip(folder / "soft.mp4", Shot(num_frames=12, sharp_at=99, blur=lambda p, _: blur(p, Kernel.GAUSSIAN, 1.0)))
    return folder


def write_list(folder: Path, *lines: object) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def build(urls: Path, target: Path, job: DatasetJob = JOB) -> tuple[DatasetSummary, list[str]]:
    told: list[str] = []
    return build_dataset(urls, target, job, on_warning=told.append), told


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all that is meant for others."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(target: Path, split: str) -> list[dict[str, Any]]:
    path = target / split / "metadata.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def site(clips: Path) -> Iterator[Site]:
    third = (clips / "third.mp4").read_bytes()
    pages = {
        "/third.mp4": ("video/mp4", third),
        "/page.html": ("text/html", b"<html><title>hello</title><p>nothing to see</p></html>"),
        "/lie.mp4": ("video/mp4", b"<html>please log in</html>"),
        "/live.m3u8": (
            "application/vnd.apple.mpegurl",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\na.ts\n",
        ),
        "/list.html": (
            "text/html",
            b"<html><title>../../Three</title>" + b"".join(b'<video src="/v%d.mp4"></video>' % n for n in range(3)),
        ),
        **{f"/v{n}.mp4": ("video/mp4", third[: 9000 + n]) for n in range(3)},
        "/flaky.mp4": ("video/mp4", third),
    }
    with serve(Site(pages=pages)) as made:
        yield made


@pytest.fixture(scope="module")
def built(clips: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, DatasetSummary]:
    """The list of the issue: a local clip, a folder, a URL, a dead one."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "live").mkdir()
    shutil.copy(clips / "second.mp4", folder / "live")
    urls = write_list(
        folder, f"{clips / 'first.mp4'} | First night | CC-BY-4.0", "live", site.url("/third.mp4"),
        site.url("/dead.mp4"), clips / "black.mp4", clips / "soft.mp4", clips / "first.mp4",
    )  # fmt: skip
    summary, told = build(urls, folder / "set")
    assert [line for line in told if "dead.mp4" in line and "404" in line]
    assert [line for line in told if "black.mp4: no sharp frame was found (1 dark or empty)" in line]
    assert [line for line in told if "soft.mp4: no sharp frame was found (1 not sharp)" in line]
    assert [line for line in told if "in the list twice" in line]
    return urls, folder / "set", summary


class TestBuilt:
    def test_the_sharp_frame_of_each_shot_is_picked(self, built: tuple[Path, Path, DatasetSummary]) -> None:
        frames = [frame for frame in read_frames(built[1]) if frame.source == "First night"]
        assert [round(frame.timestamp_s * 25) for frame in frames] == [9, 24 + 15]
        first, second = (read_png(built[1] / frame.picture) for frame in frames)
        assert first is not None
        assert second is not None
        expected = photo("astronaut")[8 : 8 + 288, 18 : 18 + 384]
        assert np.abs(first.astype(int) - expected).mean() < 4
        assert 230 <= second.shape[0] <= 240  # bars are cut

    def test_rows_have_every_key_and_their_pictures(self, built: tuple[Path, Path, DatasetSummary]) -> None:
        keys = ["file_name", "sharp_file_name", "shot_type", "shot_type_by", "source", "timestamp_s"]
        keys += ["kernel", "level", "seed", "sharpness", "licence"]
        every = [(split, row) for split in ("train", "test") for row in rows(built[1], split)]
        assert len(every) == built[2].num_pairs == 7 * built[2].num_frames == 28
        for split, row in every:
            assert list(row) == keys
            sharp = read_png(built[1] / split / row["sharp_file_name"])
            blurred = read_png(built[1] / split / row["file_name"])
            assert sharp is not None
            assert blurred is not None
            assert sharp.shape == (128, 128, 3)
            assert np.array_equal(blurred, blur(sharp, Kernel(row["kernel"]), row["level"]))
        assert {row["licence"] for _, row in every if row["source"] == "First night"} == {"CC-BY-4.0"}

    def test_one_sharp_file_a_crop_and_no_name_twice(self, built: tuple[Path, Path, DatasetSummary]) -> None:
        every = [row for split in ("train", "test") for row in rows(built[1], split)]
        names = [row["file_name"] for row in every]
        assert len(set(names)) == len(names)
        sharp = [row["sharp_file_name"] for row in every]
        assert {sharp.count(name) for name in sharp} == {7}
        on_disk = {path.name for split in ("train", "test") for path in (built[1] / split).glob("*.png")}
        assert on_disk == set(names) | set(sharp)

    def test_whole_sources_are_tested_with(self, built: tuple[Path, Path, DatasetSummary]) -> None:
        train, test = ({row["source"] for row in rows(built[1], split)} for split in ("train", "test"))
        assert train
        assert len(test) == 1
        assert not train & test
        assert built[2].num_test_pairs == 7

    def test_manifest_and_summary_say_what_was_done(
        self, built: tuple[Path, Path, DatasetSummary], clips: Path
    ) -> None:
        manifest = json.loads((built[1] / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["is_complete"]
        assert manifest["versions"]["opencv-python"]
        digest = hashlib.sha256((clips / "first.mp4").read_bytes()).hexdigest()
        assert digest in [source["sha256"] for source in manifest["sources"]]
        assert len(manifest["failed"]) == 3
        page = (built[1] / "summary.html").read_text(encoding="utf-8")
        for words in ("First night", "gaussian", "not sharp", "404", "data:image/jpeg"):
            assert words in page
        assert "<script" not in page
        assert read_png(built[1] / "contact-sheet.png") is not None

    @pytest.mark.parametrize("width", [1280, 390])
    def test_a_browser_shows_the_summary(
        self, built: tuple[Path, Path, DatasetSummary], tmp_path: Path, width: int
    ) -> None:
        seen = look_at(built[1] / "summary.html", tmp_path, width=width)
        assert seen.num_pictures == seen.num_shown == built[2].num_frames == 4
        assert seen.too_wide_px == 0
        assert seen.requests == ()
        assert seen.complaints == ()
        assert {"Frames by shot type", "Pairs by blur", "Left out", "Sources", "Failed"} <= set(seen.headings)
        shot = screenshot(built[1] / "summary.html", tmp_path, width=width, height=3000)
        colourful = np.ptp(shot.astype(int), axis=2) > 40
        assert colourful.mean() > 0.01, "the pictures are seen, not only their frames"

    def test_again_is_the_same_and_fetches_nothing(self, built: tuple[Path, Path, DatasetSummary], site: Site) -> None:
        before, asked = contents(built[1]), site.num_bodies("/third.mp4")
        build(built[0], built[1])
        assert contents(built[1]) == before
        assert site.num_bodies("/third.mp4") == asked

    def test_elsewhere_it_is_the_same(self, built: tuple[Path, Path, DatasetSummary], tmp_path: Path) -> None:
        build(built[0], tmp_path / "other")
        assert contents(tmp_path / "other") == contents(built[1])


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    build(write_list(folder, clips / "second.mp4", clips / "third.mp4"), folder / "set")
    return folder / "set"


class TestAgain:
    @pytest.mark.parametrize("after", [1, 4, 9])
    def test_a_run_that_was_stopped_goes_on(self, clips: Path, whole: Path, tmp_path: Path, after: int) -> None:
        urls = write_list(tmp_path, clips / "second.mp4", clips / "third.mp4")
        stop, num_told = threading.Event(), 0

        def stop_later(_: StageProgress) -> None:
            nonlocal num_told
            num_told += 1
            if num_told == after:
                stop.set()

        try:
            build_dataset(urls, tmp_path / "cut", JOB, on_progress=stop_later, stop=stop)
        except Interrupted as error:
            assert "run it again to go on" in str(error)  # noqa: PT017  # a late stop comes after the last look
        build(urls, tmp_path / "cut")
        assert contents(tmp_path / "cut") == contents(whole)

    def test_a_source_more_is_added_and_one_less_taken_out(self, clips: Path, tmp_path: Path) -> None:
        target = tmp_path / "set"
        build(write_list(tmp_path, clips / "second.mp4"), target)
        assert not (target / "test").exists()
        summary, _ = build(write_list(tmp_path, clips / "second.mp4", clips / "third.mp4"), target)
        assert summary.num_sources == 2
        assert rows(target, "test")
        _, told = build(write_list(tmp_path, clips / "third.mp4"), target)
        assert [line for line in told if "is not in the list any more" in line]
        assert {row["source"] for row in rows(target, "train")} == {"third"}
        assert len(list((target / "frames").iterdir())) == 1

    def test_frames_of_a_clip_that_is_gone_stay(self, clips: Path, tmp_path: Path) -> None:
        clip = Path(shutil.copy(clips / "second.mp4", tmp_path))
        urls = write_list(tmp_path, "second.mp4", clips / "third.mp4")
        build(urls, tmp_path / "set")
        before = contents(tmp_path / "set")
        clip.unlink()
        _, told = build(urls, tmp_path / "set")
        assert any("the frames of an earlier run are kept" in line for line in told)
        assert contents(tmp_path / "set") == before

    def test_a_list_edited_by_hand_is_kept_aside(self, clips: Path, tmp_path: Path) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4"), tmp_path / "set"
        build(urls, target)
        before = contents(target)
        (target / "train" / "metadata.jsonl").write_text("nonsense")
        _, told = build(urls, target)
        assert any("train/metadata.jsonl was changed by hand" in line for line in told)
        assert (target / "train-metadata.jsonl.edited").read_text() == "nonsense"
        (target / "train-metadata.jsonl.edited").unlink()
        assert contents(target) == before

    def test_a_damaged_cache_is_made_again(self, clips: Path, tmp_path: Path) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4"), tmp_path / "set"
        build(urls, target)
        before = contents(target)
        for path in (target / ".cache" / "sources").iterdir():
            path.write_text('{"scan": 3}')
        next((target / "frames").iterdir()).unlink()
        build(urls, target)
        assert contents(target) == before


class TestReview:
    @pytest.fixture
    def typist(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """A typist who calls everything a close-up; what it was asked."""
        asked: list[int] = []

        class ShotTypist:
            def suggest(self, frame: Picture) -> SimpleNamespace:
                asked.append(frame.shape[0])
                return SimpleNamespace(
                    shot_type="CU", confidence=0.75, reason="one face", faces=(Box(90, 200, 40, 30),)
                )

        monkeypatch.setattr("concertdeblur.dataset.labels.ShotTypist", ShotTypist)
        return asked

    @pytest.fixture
    def reviews(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Review]:
        decided: dict[str, Review] = {}
        monkeypatch.setattr("concertdeblur.pipelines.build_dataset.read_reviews", lambda _: decided)
        return decided

    def test_suggestions_are_asked_for_once_and_faces_are_cropped(
        self, clips: Path, tmp_path: Path, typist: list[int], reviews: dict[str, Review]
    ) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4"), tmp_path / "set"
        build(urls, target)
        build(urls, target)
        assert len(typist) == 1
        (frame,) = read_frames(target)
        assert (frame.shot_type, frame.shot_type_by, frame.reason) == ("CU", "suggestion", "one face")
        assert frame.faces == (Box(90, 200, 40, 30),)
        name = rows(target, "train")[0]["sharp_file_name"]
        y, x = (int(part) for part in name.split("-y")[1].split("-")[0].split("x"))
        assert y <= 90 <= 130 <= y + 128
        assert x <= 200 <= 230 <= x + 128

    def test_a_rerun_applies_what_was_decided(
        self, clips: Path, tmp_path: Path, typist: list[int], reviews: dict[str, Review]
    ) -> None:
        urls, target = write_list(tmp_path, clips / "first.mp4", clips / "second.mp4"), tmp_path / "set"
        build(urls, target)
        before = contents(target)
        dropped, named, _ = (frame.frame_id for frame in read_frames(target))
        reviews[dropped] = Review(keep=False)
        reviews[named] = Review(keep=True, shot_type=ShotType.LS)
        summary, _ = build(urls, target)
        assert summary.num_frames == 2
        assert summary.dropped["dropped in review"] == 1
        every = [row for split in ("train", "test") for row in rows(target, split)]
        assert {(row["shot_type"], row["shot_type_by"]) for row in every} == {("LS", "review"), ("CU", "suggestion")}
        assert not list(target.rglob(f"{dropped}-*"))
        assert dropped in [frame.frame_id for frame in read_frames(target)]  # so that it can be taken back
        reviews.clear()
        build(urls, target)
        assert contents(target) == before

    def test_a_source_whose_only_frame_was_dropped_is_not_counted(
        self, clips: Path, tmp_path: Path, reviews: dict[str, Review]
    ) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4", clips / "third.mp4"), tmp_path / "set"
        build(urls, target)
        (dropped, *_) = (frame.frame_id for frame in read_frames(target) if frame.source == "second")
        reviews[dropped] = Review(keep=False)
        summary, _ = build(urls, target)
        assert (summary.num_frames, summary.num_sources) == (1, 1)
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
        counts = {row["source"]: (row["num_frames"], row["num_pairs"]) for row in manifest["sources"]}
        assert counts == {"second": (0, 0), "third": (1, 7)}
        assert manifest["sources"][0]["left_out"]["dropped in review"] == 1
        page = (target / "summary.html").read_text(encoding="utf-8")
        assert "1 frames of 1 sources" in page
        assert '<td>dropped in review</td><td class="n">1</td>' in page

    def test_dropping_every_frame_empties_the_set_and_can_be_taken_back(
        self, clips: Path, tmp_path: Path, typist: list[int], reviews: dict[str, Review]
    ) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4"), tmp_path / "set"
        build(urls, target)
        before = contents(target)
        reviews.update({frame.frame_id: Review(keep=False) for frame in read_frames(target)})
        summary, told = build(urls, target)
        assert summary.num_pairs == 0
        assert any("every frame was dropped in review" in line for line in told)
        assert not rows(target, "train")
        reviews.clear()
        build(urls, target)
        assert contents(target) == before


class TestOptions:
    def test_levels_crops_and_captures(self, clips: Path, tmp_path: Path) -> None:
        urls = write_list(tmp_path, clips / "third.mp4")
        job = DatasetJob(size=96, crops=2, levels=(0.25, 0.75), capture=1, seed=5)
        build(urls, tmp_path / "set", job)
        made = rows(tmp_path / "set", "train")
        assert len(made) == 2 * (7 * 2 + 1)
        assert {row["level"] for row in made} == {0.25, 0.75, None}
        captured = [row for row in made if row["kernel"] == "capture"]
        assert len({row["sharp_file_name"] for row in captured}) == 2
        for row in captured:
            pair = [read_png(tmp_path / "set" / "train" / row[key]) for key in ("file_name", "sharp_file_name")]
            assert all(picture is not None and picture.shape == (96, 96, 3) for picture in pair)
            assert not np.array_equal(pair[0], pair[1])  # type: ignore[arg-type]

    def test_random_levels_follow_the_seed(self, clips: Path, tmp_path: Path) -> None:
        urls = write_list(tmp_path, clips / "third.mp4")
        levels = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            build(urls, tmp_path / name, DatasetJob(size=128, levels="random", seed=seed))
            levels.append([row["level"] for row in rows(tmp_path / name, "train")])
        assert levels[0] == levels[1] != levels[2]
        assert len(set(levels[0])) == 7

    def test_whole_frames(self, clips: Path, tmp_path: Path) -> None:
        build(write_list(tmp_path, clips / "third.mp4"), tmp_path / "set", DatasetJob(full=True))
        picture = read_png(tmp_path / "set" / "train" / rows(tmp_path / "set", "train")[0]["file_name"])
        assert picture is not None
        assert picture.shape == (288, 384, 3)

    def test_nothing_is_enlarged(self, clips: Path, tmp_path: Path) -> None:
        urls = write_list(tmp_path, clips / "second.mp4")
        with pytest.raises(DatasetError, match="no source gave a frame"):
            build(urls, tmp_path / "set", DatasetJob(size=512))
        summary, told = build(urls, tmp_path / "set", DatasetJob(size=128))  # there was nothing to keep
        assert summary.num_frames == 1
        assert any("--size 128 the set cannot be trained with" in line for line in told)
        summary, told = build(urls, tmp_path / "other", DatasetJob())
        assert not any("trained" in line for line in told)


class TestPicks:
    def test_the_same_picture_in_two_clips_is_taken_once(self, tmp_path: Path) -> None:
        shots_clip(tmp_path / "fine.mp4", Shot(num_frames=12), crf=12)
        shots_clip(tmp_path / "coarse.mp4", Shot(num_frames=12), Shot(photo="coffee", num_frames=12), crf=24)
        urls = write_list(tmp_path, tmp_path / "coarse.mp4", tmp_path / "fine.mp4")
        summary, _ = build(urls, tmp_path / "set")
        assert summary.num_frames == 2
        assert summary.dropped["like a frame of another source"] == 1

    def test_no_pick_lies_in_a_dissolve(self, tmp_path: Path) -> None:
        write_clip(tmp_path / "fade.mp4", dissolve("astronaut", "coffee", still=30, length=16))
        build(write_list(tmp_path, tmp_path / "fade.mp4"), tmp_path / "set")
        picked = [round(frame.timestamp_s * 25) for frame in read_frames(tmp_path / "set")]
        assert len(picked) == 2
        assert not any(30 < number < 46 for number in picked)

    def test_title_cards_are_left_out(self, tmp_path: Path) -> None:
        card = np.zeros((288, 384, 3), np.uint8)
        cv2.putText(card, "ENCORE", (30, 160), cv2.FONT_HERSHEY_SIMPLEX, 2.2, (255, 255, 255), 5, cv2.LINE_AA)
        frames: list[Picture] = [card] * 20 + list(Shot(num_frames=20).frames())
        write_clip(tmp_path / "a.mp4", frames)
        summary, _ = build(write_list(tmp_path, tmp_path / "a.mp4"), tmp_path / "set")
        assert summary.num_frames == 1
        assert read_frames(tmp_path / "set")[0].timestamp_s >= 0.8

    def test_decord_and_pyav_give_the_frame_that_was_judged(self, clips: Path) -> None:
        scan = scan_clip(clips / "first.mp4", SceneDetectCuts)
        candidate = scan.stretches[0].candidates[0]
        whole = Box(0, 0, scan.height, scan.width)
        with open_pictures(clips / "first.mp4") as reader:
            assert reader.is_random
            fast = reader.read(candidate, whole)
            reader._fast = None
            exact = reader.read(candidate, whole)
        assert np.abs(fast.astype(int) - exact).mean() < 2

    @pytest.mark.parametrize("wrong", ["a neighbour", "blurred", "darker"])
    def test_another_frame_than_the_judged_one_is_not_taken(
        self, clips: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
    ) -> None:
        scan = scan_clip(clips / "first.mp4", SceneDetectCuts)
        candidate = scan.stretches[0].candidates[0]
        whole, fake = Box(0, 0, scan.height, scan.width), SimpleNamespace()
        with open_pictures(clips / "first.mp4") as reader:
            right = reader._exact.read(candidate.pts)
            fakes: dict[str, Any] = {
                "a neighbour": reader._exact.read(candidate.pts + 512),  # of a time base of 1/12800 s
                "blurred": np.asarray(cv2.GaussianBlur(right, (0, 0), 0.6), dtype=np.uint8),
                "darker": right // 2,
            }
            fake.read = lambda _: fakes[wrong]
            monkeypatch.setattr(reader, "_fast", fake)
            assert np.array_equal(reader.read(candidate, whole), right)

    def test_frames_in_any_order_are_those_asked_for(self, tmp_path: Path) -> None:
        shot = Shot(num_frames=60, height=144, width=192)
        path = write_clip(tmp_path / "long.mp4", (frame for _ in range(5) for frame in shot.frames()))
        with PyavReader(path, ReaderOptions()) as every:
            expected = {frame.pts: frame.pixels for frame in every.frames()}
            info = every.info
        reader = DecordReader(path, ReaderOptions(num_threads=1))
        access = DecordAccess(path, reader, info)
        stamps = sorted(expected)
        for number in (250, 3, 299, 260, 261, 261, 40, 251):
            pixels = expected[stamps[number]]
            assert pixels is not None
            assert np.abs(access.read(stamps[number]).astype(int) - pixels).mean() < 2
        reader.close()


class TestWeb:
    def test_what_cannot_be_fetched_is_named(self, site: Site, clips: Path, tmp_path: Path) -> None:
        bad = ("/page.html", "/lie.mp4", "/live.m3u8")
        urls = write_list(tmp_path, *map(site.url, bad), "ftp://127.0.0.1/a.mp4", clips / "third.mp4")
        _, told = build(urls, tmp_path / "set")
        words = ("page without a clip", "not a clip", "live stream", "only http and https")
        for word in words:
            assert any(word in line for line in told), word

    def test_a_playlist_is_cut_at_the_limit(self, site: Site, clips: Path, tmp_path: Path) -> None:
        urls = write_list(tmp_path, site.url("/list.html"), clips / "third.mp4")
        job = DatasetJob(size=128, limit=2)
        _, told = build(urls, tmp_path / "set", job)
        assert any("has more than 2 clips; the first 2 are taken" in line for line in told)
        fetched = [path for path in (tmp_path / "set/.cache/downloads").iterdir() if path.suffix == ".mp4"]
        assert len(fetched) == 2
        assert not list(tmp_path.parent.glob("Three*"))

    def feed(self, site: Site, *names: str) -> str:
        """A feed of clips, of which those that the site has can be fetched."""
        items = "".join(f"<item><title>{n}</title><link>{site.url(f'/{n}.mp4')}</link></item>" for n in names)
        page = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Feed</title>{items}</channel></rss>'
        site.pages["/feed.xml"] = ("application/rss+xml", page.encode())
        return site.url("/feed.xml")

    def fetched(self, folder: Path, url: str, **options: Any) -> tuple[list[str], list[str], list[str]]:
        """Names of the clips that are there, of those that are not, and warnings."""
        told: list[str] = []
        made = list(Downloader(folder, DownloadOptions(pause_s=0, **options), on_warning=told.append).fetch(url))
        there = [item.url.rsplit("/", 1)[1] for item in made if isinstance(item, Fetched) and item.path.is_file()]
        return there, [item.address for item in made if isinstance(item, Failure)], told

    def test_a_playlist_that_cannot_be_listed_again_keeps_its_clips(self, site: Site, tmp_path: Path) -> None:
        url = self.feed(site, "v0", "v1", "gone", "v2")
        first = self.fetched(tmp_path, url)
        assert first == (["v0.mp4", "v1.mp4", "v2.mp4"], [site.url("/gone.mp4")], [])
        del site.pages["/feed.xml"]
        assert self.fetched(tmp_path, url) == first
        there, failed, told = self.fetched(tmp_path, url, limit=2, lists_again=True)
        assert (there, failed) == (["v0.mp4", "v1.mp4"], [])
        assert [line for line in told if "404" in line and "fetched before" in line]

    def test_frames_of_a_playlist_stay_while_it_cannot_be_listed(self, site: Site, clips: Path, tmp_path: Path) -> None:
        site.pages["/whole.mp4"] = ("video/mp4", (clips / "second.mp4").read_bytes())
        urls = write_list(tmp_path, self.feed(site, "whole", "gone"), clips / "third.mp4")
        build(urls, tmp_path / "set")
        before = contents(tmp_path / "set")
        del site.pages["/feed.xml"]
        _, told = build(urls, tmp_path / "set")
        assert not [line for line in told if "not in the list any more" in line]
        after = contents(tmp_path / "set")
        told_by = {"manifest.json", "summary.html"}  # they say why the other clip is missing, which is another reason
        assert {n: before[n] for n in before.keys() - told_by} == {n: after[n] for n in after.keys() - told_by}

    def test_a_limit_can_grow_and_shrink(self, site: Site, tmp_path: Path) -> None:
        url = self.feed(site, "v0", "v1", "v2")
        warning = f"{url}: has more than 2 clips; the first 2 are taken (--limit takes more)"
        for _ in range(2):
            assert self.fetched(tmp_path, url, limit=2) == (["v0.mp4", "v1.mp4"], [], [warning])
        assert self.fetched(tmp_path, url, limit=50) == (["v0.mp4", "v1.mp4", "v2.mp4"], [], [])
        asked = site.num_bodies("/feed.xml")
        assert self.fetched(tmp_path, url, limit=2) == (["v0.mp4", "v1.mp4"], [], [warning])
        assert self.fetched(tmp_path, url, limit=60) == (["v0.mp4", "v1.mp4", "v2.mp4"], [], [])
        assert site.num_bodies("/feed.xml") == asked

    def test_clips_that_were_added_to_a_playlist_come_on_request(self, site: Site, tmp_path: Path) -> None:
        url = self.feed(site, "v0")
        assert self.fetched(tmp_path, url)[0] == ["v0.mp4"]
        self.feed(site, "v1", "v0")
        assert self.fetched(tmp_path, url)[0] == ["v0.mp4"]
        assert self.fetched(tmp_path, url, lists_again=True)[0] == ["v1.mp4", "v0.mp4"]

    def test_a_server_that_stumbles_is_asked_again(self, site: Site, tmp_path: Path) -> None:
        site.flaky["/flaky.mp4"] = 1
        summary, told = build(write_list(tmp_path, site.url("/flaky.mp4")), tmp_path / "set")
        assert summary.num_failed == 0, told

    def test_downloads_are_no_faster_than_asked_for(self, site: Site, tmp_path: Path) -> None:
        site.pages["/large.mp4"] = ("video/mp4", bytes(400_000))
        downloader = Downloader(tmp_path, DownloadOptions(rate_limit_mb_s=0.2))
        started_s = time.monotonic()
        (fetched,) = downloader.fetch(site.url("/large.mp4"))
        assert isinstance(fetched, Fetched)
        assert fetched.path.stat().st_size == 400_000
        assert time.monotonic() - started_s > 1.2, "2 s, but the first block comes at once"

    @pytest.mark.parametrize("path", ["/third.mp4", "/dead.mp4", "/page.html", "/live.m3u8"])
    def test_no_answer_is_left_open(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        gc.collect()
        unclosed: list[object] = []  # sockets complain when they are thrown away, which nobody catches
        monkeypatch.setattr(sys, "unraisablehook", lambda told: unclosed.append(told.object))
        list(Downloader(tmp_path, DownloadOptions(pause_s=0)).fetch(site.url(path)))
        gc.collect()
        assert not unclosed

    def test_cookies_are_passed_and_their_file_is_left_alone(self, site: Site, tmp_path: Path) -> None:
        jar = tmp_path / "cookies.txt"
        jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tticket\tfront-row\n")
        before = jar.read_bytes()
        urls = write_list(tmp_path, f"{site.url('/third.mp4')}?again")
        build(urls, tmp_path / "set", DatasetJob(size=128, cookies=jar))
        assert any("ticket=front-row" in cookies for _, _, cookies in site.asked)
        assert jar.read_bytes() == before


class TestBadInput:
    def refused(self, urls: Path, target: Path, job: DatasetJob = JOB) -> ConcertDeblurError:
        with pytest.raises(ConcertDeblurError) as caught:
            build(urls, target, job)
        assert "\n" not in str(caught.value)
        return caught.value

    def test_lists(self, tmp_path: Path) -> None:
        assert isinstance(self.refused(tmp_path / "none.txt", tmp_path / "set"), SourceError)
        assert isinstance(self.refused(write_list(tmp_path), tmp_path / "set"), SourceError)
        assert not (tmp_path / "set").exists()

    def test_nothing_that_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
        error = self.refused(write_list(tmp_path, "none.mp4", "cut.mp4"), tmp_path / "set")
        assert isinstance(error, DatasetError)

    def test_another_data_set(self, clips: Path, tmp_path: Path) -> None:
        target = tmp_path / "set"
        build(write_list(tmp_path, clips / "second.mp4"), target)
        before = contents(target)
        error = self.refused(write_list(tmp_path, clips / "third.mp4"), target)
        assert isinstance(error, TargetError)
        assert "other sources" in str(error)
        assert "built with size 128, not 96" in str(
            self.refused(write_list(tmp_path, clips / "second.mp4"), target, DatasetJob(size=96))
        )
        after = contents(target)
        assert {name: after[name] for name in before if name != "manifest.json"} == {
            name: digest for name, digest in before.items() if name != "manifest.json"
        }
        build(write_list(tmp_path, clips / "second.mp4"), target)
        assert contents(target) == before

    def test_a_full_disk(self, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        urls, target = write_list(tmp_path, clips / "second.mp4"), tmp_path / "set"
        whole = Path.write_bytes
        left = 3

        def write_bytes(self: Path, data: bytes) -> int:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            return whole(self, data)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        error = self.refused(urls, target)
        assert "no space left on the device" in str(error)
        assert not list(target.rglob("*.part"))
        monkeypatch.undo()
        summary, _ = build(urls, target)
        assert summary.num_pairs == 7


def test_the_command_line(clips: Path, tmp_path: Path) -> None:
    urls = write_list(tmp_path, clips / "third.mp4", "none.mp4")
    done = run("build-dataset", "--urls", urls, "--size", 128, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told = events(done.stdout)
    assert told[0]["event"] == "start"
    assert any(event["event"] == "warning" and "none.mp4" in event["message"] for event in told)
    assert told[-1]["event"] == "done"
    assert told[-1]["num_pairs"] == 7
    assert (tmp_path / "dataset" / "train" / "metadata.jsonl").is_file()
    failed = run_here("build-dataset", "--urls", write_list(tmp_path, "none.mp4"), "--out", "other", folder=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("Error: no source gave a frame")
    assert "Traceback" not in failed.stderr
    usage = run_here("build-dataset", "--urls", urls, "--levels", "strong", folder=tmp_path)
    assert usage.returncode == 2
