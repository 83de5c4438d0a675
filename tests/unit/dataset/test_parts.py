"""Lists, hashes, bars, crops, splits, drawn cards and the data set's folder."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from concertdeblur.cli.dataset import build_dataset as build_command
from concertdeblur.dataset import manifest
from concertdeblur.dataset.bars import BarFinder, lines_of
from concertdeblur.dataset.crops import choose_crops, cut
from concertdeblur.dataset.duplicates import NEAR_BITS, distance_bits, perceptual_hash
from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.picks import is_drawn
from concertdeblur.dataset.sharpness import absolute_sharpness, judge, measure
from concertdeblur.dataset.sources import Entry, local_clips, one_line, read_list
from concertdeblur.dataset.split import split_sources
from concertdeblur.dataset.summary_page import shown_on_page
from concertdeblur.dataset.workspace import Workspace, open_workspace, read_png
from concertdeblur.errors import DatasetError, SourceError, TargetError, UsageError
from concertdeblur.pipelines.dataset_job import LEAST_TRAINED_PX, DatasetJob, parse_levels
from concertdeblur.pipelines.train_data import MIN_SIDE_PX
from tests.concert_clips import Picture, photo


def grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


class TestList:
    def read(self, folder: Path, text: str) -> list[Entry]:
        path = folder / "list.txt"
        path.write_text(text, encoding="utf-8")
        return read_list(path)

    def test_columns_comments_and_blank_lines(self, tmp_path: Path) -> None:
        entries = self.read(
            tmp_path,
            "\ufeff# clips\n\nhttps://a.example/w?v=1#t=3 | Live | CC-BY-4.0\r\nclips/song #1.mp4\tSong\n#off.mp4\n"
            "a|b.mp4   # said so\n",
        )
        assert [(e.address, e.title, e.licence) for e in entries] == [
            ("https://a.example/w?v=1#t=3", "Live", "CC-BY-4.0"),
            ("clips/song #1.mp4", "Song", ""),
            ("a|b.mp4", "", ""),
        ]
        assert [e.is_url for e in entries] == [True, False, False]

    @pytest.mark.parametrize(
        ("line", "entry"),
        [
            ('"clips/Song # 1.mp4"', ("clips/Song # 1.mp4", "", "")),
            ("'clips/Band | Live.mp4' | Live | CC0 # ours", ("clips/Band | Live.mp4", "Live", "CC0")),
            ('"a\tb.mp4"\tTitle', ("a\tb.mp4", "Title", "")),
            ('"a # b.mp4" # "said" so', ("a # b.mp4", "", "")),
            ("'Rock 'n' Roll.mp4' | Rock 'n' Roll", ("Rock 'n' Roll.mp4", "Rock 'n' Roll", "")),
            ("'74 live.mp4", ("'74 live.mp4", "", "")),
            ('"a" b.mp4 | Title', ('"a" b.mp4', "Title", "")),
        ],
    )
    def test_quotes_keep_what_a_name_holds(self, tmp_path: Path, line: str, entry: tuple[str, str, str]) -> None:
        (found,) = self.read(tmp_path, line)
        assert (found.address, found.title, found.licence) == entry

    @pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
    def test_an_empty_list_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(SourceError, match="names no source"):
            self.read(tmp_path, text)

    def test_what_is_no_list_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no such file"):
            read_list(tmp_path / "none.txt")
        with pytest.raises(SourceError, match="is a folder"):
            read_list(tmp_path)
        (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42\xff\xfe")
        with pytest.raises(SourceError, match="text file"):
            read_list(tmp_path / "clip.mp4")
        (tmp_path / "zeros").write_bytes(bytes(100))
        with pytest.raises(SourceError, match="no text"):
            read_list(tmp_path / "zeros")

    def test_folders_are_searched_and_paths_sought_beside_the_list(self, tmp_path: Path) -> None:
        inside = tmp_path / "clips" / "evening"
        inside.mkdir(parents=True)
        for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.mp4"):
            (inside / name).write_bytes(b"x")
        found = local_clips(Entry(line=1, address="clips"), tmp_path)
        assert [address for address, _ in found] == ["clips/evening/a.MKV", "clips/evening/b.mp4"]
        assert local_clips(Entry(line=1, address="clips/evening/b.mp4"), tmp_path)[0][1] == inside / "b.mp4"
        with pytest.raises(SourceError, match="no such file or folder"):
            local_clips(Entry(line=1, address="b.mp4"), tmp_path)
        with pytest.raises(SourceError, match="no such file"):
            local_clips(Entry(line=1, address="a\0b"), tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match="holds no clip"):
            local_clips(Entry(line=1, address="empty"), tmp_path)

    def test_titles_become_one_plain_line(self) -> None:
        assert one_line("a\x1b[2J\n b\u2028c ") == "a [2J b c"
        assert len(one_line("x" * 5000)) == 200


class TestDuplicates:
    def test_the_same_picture_encoded_scaled_or_brighter_is_near(self) -> None:
        picture = photo("coffee")
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 30])
        changed = [
            cv2.imdecode(data, cv2.IMREAD_COLOR),
            cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
            np.clip(picture * 1.2 + 8, 0, 255).astype(np.uint8),
            picture[4:-4, 4:-4],
        ]
        for other in changed:
            other = np.asarray(other, dtype=np.uint8)
            assert distance_bits(perceptual_hash(picture), perceptual_hash(other)) <= NEAR_BITS

    def test_other_pictures_are_far(self) -> None:
        hashes = [perceptual_hash(photo(name)) for name in ("coffee", "astronaut", "rocket", "chelsea")]
        pairs = [(a, b) for number, a in enumerate(hashes) for b in hashes[number + 1 :]]
        assert all(distance_bits(a, b) > 2 * NEAR_BITS for a, b in pairs)


class TestBars:
    def found(self, *frames: Picture) -> Box:
        finder = BarFinder(*frames[0].shape[:2])
        for frame in frames:
            finder.add(lines_of(grey(frame)))
        return finder.picture()

    def test_letterbox_and_pillarbox_are_cut(self) -> None:
        frame = photo("coffee")[:240, :320].copy()
        assert self.found(frame) == (0, 0, 240, 320)
        frame[:30] = frame[-30:] = 16
        frame[:, :40] = frame[:, -40:] = 20
        assert self.found(frame) == (32, 42, 176, 236)

    def test_a_row_that_is_lit_once_is_no_bar(self) -> None:
        dark, lit = photo("coffee")[:240, :320].copy(), photo("coffee")[:240, :320].copy()
        dark[:60] = dark[-60:] = 0
        assert self.found(dark, lit) == (0, 0, 240, 320)
        assert self.found(dark, dark) == (62, 0, 116, 320)

    def test_a_dark_half_of_the_stage_is_no_bar(self) -> None:
        frame = photo("coffee")[:240, :320].copy()
        frame[:90] = 0
        assert self.found(frame) == (0, 0, 240, 320)
        frame[-30:] = 0
        assert self.found(frame) == (32, 0, 176, 320)

    def test_black_frames_have_no_bars(self) -> None:
        assert self.found(np.zeros((240, 320, 3), np.uint8)) == (0, 0, 240, 320)


def sharpness_of(picture: Picture) -> float:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return absolute_sharpness(judge(measure(grey, side_px=32)))


class TestCrops:
    def test_the_crop_lies_where_the_picture_is_sharp(self) -> None:
        picture = np.asarray(cv2.GaussianBlur(photo("astronaut")[:400, :512], (0, 0), 4), dtype=np.uint8)
        picture[160:300, 300:440] = photo("astronaut")[160:300, 300:440]
        crop = choose_crops(picture, 160)[0]
        assert (crop.height, crop.width) == (160, 160)
        assert crop.y <= 176 <= 284 <= crop.y + 160
        assert crop.x <= 316 <= 424 <= crop.x + 160
        assert sharpness_of(cut(picture, crop)) > sharpness_of(picture[:160, :160])

    def test_crops_lie_inside_and_none_over_another(self) -> None:
        picture = photo("coffee")[:300, :401]
        crops = choose_crops(picture, 128, count=5)
        assert 3 <= len(crops) <= 5
        covered = np.zeros(picture.shape[:2], dtype=int)
        for crop in crops:
            assert cut(picture, crop).shape == (128, 128, 3)
            covered[crop.y : crop.y + 128, crop.x : crop.x + 128] += 1
        assert covered.max() == 1
        assert choose_crops(picture, 128, count=5) == crops

    @pytest.mark.parametrize("face", [Box(10, 20, 60, 50), Box(200, 300, 90, 80), Box(50, 60, 200, 180)])
    def test_a_face_is_in_the_crop(self, face: Box) -> None:
        crop = choose_crops(photo("coffee")[:300, :400], 160, faces=[Box(0, 0, 5, 5), face])[0]
        if face.height < 160:
            assert crop.y <= face.y
            assert face.y + face.height <= crop.y + 160
            assert crop.x <= face.x
            assert face.x + face.width <= crop.x + 160
        else:
            middle = (face.y + face.height / 2 - crop.y, face.x + face.width / 2 - crop.x)
            assert middle == pytest.approx((80, 80), abs=9)

    def test_a_frame_of_just_that_size_is_taken_whole(self) -> None:
        assert choose_crops(photo("coffee")[:128, :128], 128, count=3) == [Box(0, 0, 128, 128)]


class TestCards:
    def test_a_title_is_drawn(self) -> None:
        card = np.zeros((288, 384, 3), np.uint8)
        cv2.putText(card, "LIVE 1999", (20, 160), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 5, cv2.LINE_AA)
        assert is_drawn(card)
        assert is_drawn(255 - card)

    def test_photographs_and_dark_stages_are_not(self) -> None:
        for name in ("coffee", "astronaut", "rocket", "chelsea"):
            assert not is_drawn(photo(name)), name
        stage = np.zeros((400, 600, 3), np.uint8)
        stage[150:400, 200:400] = photo("astronaut")[0:250, 100:300]
        assert not is_drawn(stage)


class TestSplit:
    def test_whole_sources_nearest_to_the_papers_share(self) -> None:
        splits = split_sources({"a": 10, "b": 20, "c": 30, "d": 50}, seed=0)
        assert splits == {"a": "test", "b": "train", "c": "train", "d": "train"}

    @pytest.mark.parametrize("seed", range(5))
    def test_both_sides_have_a_source(self, seed: int) -> None:
        for num_frames in ({"a": 1, "b": 100}, {"a": 50, "b": 50}, {"a": 1, "b": 1, "c": 1}):
            assert set(split_sources(num_frames, seed).values()) == {"train", "test"}
        assert split_sources({"a": 1, "b": 100}, seed)["b"] == "train"

    def test_one_source_is_to_train_with(self) -> None:
        assert split_sources({"a": 5}, 0) == {"a": "train"}
        assert split_sources({}, 0) == {}

    def test_the_seed_chooses_among_equals_and_nothing_else_does(self) -> None:
        equal = dict.fromkeys("abcdefghijk", 7)
        chosen = {seed: [k for k, v in split_sources(equal, seed).items() if v == "test"] for seed in range(20)}
        assert {len(keys) for keys in chosen.values()} == {1}
        assert len({keys[0] for keys in chosen.values()}) > 3
        assert split_sources(dict(reversed(equal.items())), 3) == split_sources(equal, 3)

    def test_a_thousand_sources_take_no_time(self) -> None:
        splits = split_sources({f"{n:04x}": 1 + n % 40 for n in range(1000)}, 0)
        num_test = sum(1 + n % 40 for n in range(1000) if splits[f"{n:04x}"] == "test")
        assert num_test == round(sum(1 + n % 40 for n in range(1000)) / 11)


class TestFolder:
    def test_pictures_are_whole_or_not_there(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path / "set")
        path = workspace.path("train", "a.png")
        workspace.write_png(path, photo("coffee"))
        read = read_png(path)
        assert read is not None
        assert np.array_equal(read, photo("coffee"))
        assert [p.name for p in path.parent.iterdir()] == ["a.png"]
        assert read_png(tmp_path / "none.png") is None
        path.write_bytes(path.read_bytes()[:50])
        assert read_png(path) is None

    @pytest.mark.parametrize("part", ["../up", "a/b", "", ".hidden", "a\0"])
    def test_names_from_outside_cannot_be_paths(self, tmp_path: Path, part: str) -> None:
        with pytest.raises(AssertionError):
            Workspace(tmp_path).path(part)

    def test_a_folder_of_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "holiday.jpg").write_bytes(b"x")
        with pytest.raises(TargetError, match="holds other files"), open_workspace(tmp_path):
            pass
        with pytest.raises(TargetError, match="is a file"), open_workspace(tmp_path / "holiday.jpg"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]

    def test_two_runs_in_one_folder_are_refused(self, tmp_path: Path) -> None:
        with (
            open_workspace(tmp_path / "set"),
            pytest.raises(TargetError, match="another build-dataset"),
            open_workspace(tmp_path / "set"),
        ):
            pass

    def test_other_options_and_a_spoilt_manifest_are_refused(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        manifest.begin(workspace, {"size": 256, "levels": (0.5,)}, print)
        manifest.begin(workspace, {"size": 96, "levels": (0.5,)}, print)
        manifest.begin(workspace, {"size": 256, "levels": (0.5,)}, print)  # no frame is lost
        (tmp_path / "frames").mkdir()
        with pytest.raises(TargetError, match="built with size 256, not 128"):
            manifest.begin(workspace, {"size": 128, "levels": (0.5,)}, print)
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "sources": [{"address": 3}]}))
        with pytest.raises(DatasetError, match="no manifest any more"):
            manifest.begin(workspace, {"size": 256, "levels": (0.5,)}, print)
        path.write_text("{nonsense")
        with pytest.raises(DatasetError, match="no manifest any more"):
            manifest.begin(workspace, {"size": 256}, print)
        assert path.read_text() == "{nonsense"


class TestPage:
    def test_of_very_many_frames_some_are_shown_from_first_to_last(self) -> None:
        few = [f"frame{number}" for number in range(600)]
        assert shown_on_page(few) == set(few)
        assert shown_on_page([]) == frozenset()
        many = [f"frame{number}" for number in range(40_000)]
        shown = shown_on_page(many)
        assert len(shown) == 600
        assert {many[0], many[-1]} <= shown


class TestJob:
    def test_the_command_has_the_same_defaults(self) -> None:
        given = build_command.make_context("build-dataset", ["--urls", "list.txt"]).params
        job = asdict(DatasetJob())
        assert {**{name: given[name] for name in job}, "levels": parse_levels(given["levels"])} == job
        assert not DatasetJob().is_too_small_to_train

    def test_what_is_too_small_to_train_with(self) -> None:
        assert LEAST_TRAINED_PX == MIN_SIDE_PX
        assert DatasetJob(size=MIN_SIDE_PX - 1).is_too_small_to_train
        assert not DatasetJob(size=MIN_SIDE_PX - 1, full=True).is_too_small_to_train  # frames may be larger

    def test_levels(self) -> None:
        assert parse_levels("0.5") == (0.5,)
        assert parse_levels("0.8, 0.2,0.8") == (0.2, 0.8)
        assert parse_levels("Random") == "random"

    @pytest.mark.parametrize("text", ["", "a", "1.5", "-0.1", "0.5;0.6", "nan", "inf"])
    def test_bad_levels(self, text: str) -> None:
        with pytest.raises(UsageError, match="--levels"):
            parse_levels(text)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("size", 8), ("size", 5000), ("crops", 0), ("max_frames", 0), ("limit", 0), ("seed", -1), ("capture", -1)],
    )
    def test_numbers_out_of_range(self, name: str, value: int) -> None:
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            DatasetJob(**{name: value})  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="rate-limit"):
            DatasetJob(rate_limit_mb_s=0)
        with pytest.raises(UsageError, match="min-sharpness"):
            DatasetJob(min_sharpness=float("nan"))
