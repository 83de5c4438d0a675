"""One suite for both readers; what only one of them can do is at the end."""

import contextlib
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertdeblur.errors import BrokenFramesError, SourceError, UnsupportedStreamError, UsageError
from concertdeblur.frame import Colour, Frame
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderName, ReaderOptions, VideoReader
from tests.clips import STEP, VFR_PTS, ClipSpec, break_packets, frames_of, make_clip, picture, same_planes

BACKENDS: tuple[ReaderName, ...] = ("pyav", "decord")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> ReaderName:
    """The name of a reader."""
    name: ReaderName = request.param
    return name


def opened(path: Path, backend: ReaderName, **options: Any) -> VideoReader:
    """A reader with some options set."""
    return open_reader(path, ReaderOptions(num_threads=1, **options), backend=backend)


def read(path: Path, backend: ReaderName, **options: Any) -> list[Frame]:
    """All frames."""
    with opened(path, backend, **options) as reader:
        return list(reader.frames())


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec(),
        ClipSpec(pts=VFR_PTS),
        ClipSpec(pts=tuple(p + 6400 for p in VFR_PTS)),
        ClipSpec(num_frames=40, options={"crf": "10", "bf": "3"}),
        ClipSpec(num_frames=1),
        ClipSpec(audio="aac", num_frames=30),
    ],
    ids=["constant", "variable", "starts later", "b-frames", "one frame", "with sound"],
)
def test_every_frame_comes_once_with_its_pts(tmp_path: Path, backend: ReaderName, spec: ClipSpec) -> None:
    clip = make_clip(tmp_path / "in.mp4", spec)
    with opened(clip, backend) as reader:
        frames = list(reader.frames())
        assert reader.num_broken == 0
        assert reader.first_pts == spec.stamps()[0]
    assert [frame.pts for frame in frames] == list(spec.stamps())


def test_pixels_are_rgb_as_coded(tmp_path: Path, backend: ReaderName) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(pixel_format="yuv444p"))
    for number, frame in enumerate(read(clip, backend)):
        assert frame.pixels is not None
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape == (48, 64, 3)
        assert np.abs(frame.pixels.astype(int) - picture(number, 48, 64)).mean() < 2


@pytest.mark.parametrize(("backend", "rotation_deg"), [("pyav", 90), ("pyav", -90), ("pyav", 180), ("decord", 180)])
def test_a_rotated_clip_comes_as_coded(tmp_path: Path, backend: ReaderName, rotation_deg: int) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(rotation_deg=rotation_deg))
    with opened(clip, backend) as reader:
        assert (reader.info.height, reader.info.width) == (48, 64)
        assert reader.info.rotation_deg % 360 == rotation_deg % 360
        first = next(reader.frames()).pixels
    assert first is not None
    assert np.abs(first.astype(int) - picture(0, 48, 64)).mean() < 6


def test_what_the_container_says(tmp_path: Path, backend: ReaderName) -> None:
    colour = Colour(primaries=6, transfer=6, matrix=6, range=1)
    spec = ClipSpec(colour=colour, sample_aspect_ratio=Fraction(4, 3), audio="aac")
    with opened(make_clip(tmp_path / "in.mp4", spec), backend) as reader:
        info = reader.info
    assert (info.index, info.height, info.width, info.time_base) == (0, 48, 64, Fraction(1, 12800))
    assert (info.rate, info.num_frames_hint, info.bit_depth) == (Fraction(25), 12, 8)
    assert (info.pixel_format, info.colour, info.codec) == ("yuv420p", colour, "h264")
    assert info.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        ("0.2", "0.8", [STEP * number for number in range(5, 20)]),
        ("0.21", None, [2688, *(STEP * number for number in range(6, 50))]),  # within the sixth frame
        (None, "0.4", [STEP * number for number in range(10)]),
        ("0.4", "0.41", [STEP * 10]),
        ("1.99", None, [25472]),
    ],
)
def test_start_and_end_are_exact(
    tmp_path: Path, backend: ReaderName, start: str | None, end: str | None, kept: list[int]
) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=50, options={"crf": "20", "g": "8", "bf": "2"}))
    frames = read(clip, backend, start_s=start and Fraction(start), end_s=end and Fraction(end))
    assert [frame.pts for frame in frames] == kept
    stop = 50 * STEP if end is None else int(Fraction(end) * 12800)
    assert [frame.pts + frame.duration for frame in frames] == [*kept[1:], stop]


HELD_PTS = (0, 512, 1024, 1536, 60_000, 60_512, 61_024, 120_000, 120_512)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-adapt": "0"}], ids=["no b-frames", "b-frames"])
def test_a_frame_lasts_until_the_next_one(
    tmp_path: Path, backend: ReaderName, suffix: str, options: dict[str, str]
) -> None:
    spec = ClipSpec(pts=HELD_PTS, options={"crf": "20", **options})
    with opened(make_clip(tmp_path / f"in{suffix}", spec), backend) as reader:
        frames, unit_s = list(reader.frames()), float(reader.info.time_base)
    assert [frame.pts * unit_s for frame in frames] == pytest.approx([pts / 12800 for pts in HELD_PTS], abs=0.001)
    assert all(frame.pts + frame.duration == after.pts for frame, after in itertools.pairwise(frames))
    assert frames[-1].duration * unit_s == pytest.approx(0.04, abs=0.002)


def test_start_inside_a_held_frame_shows_it_from_there(tmp_path: Path, backend: ReaderName) -> None:
    spec = ClipSpec(pts=HELD_PTS, options={"crf": "20", "bf": "2"})
    frames = read(make_clip(tmp_path / "in.mp4", spec), backend, start_s=Fraction(2), end_s=Fraction(6))
    assert [(frame.pts, frame.duration) for frame in frames] == [
        (25_600, 34_400), (60_000, 512), (60_512, 512), (61_024, 76_800 - 61_024),
    ]  # fmt: skip


def test_start_counts_from_the_first_frame(tmp_path: Path, backend: ReaderName) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(pts=tuple(6400 + STEP * n for n in range(20))))
    frames = read(clip, backend, start_s=Fraction(1, 5))
    assert frames[0].pts == 6400 + 5 * STEP


def test_no_frame_in_the_part(tmp_path: Path, backend: ReaderName) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(UsageError, match="between start and end"):
        read(clip, backend, start_s=Fraction(5))


def test_no_video(tmp_path: Path, backend: ReaderName) -> None:
    (tmp_path / "in.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(SourceError, match="not a clip"):
        read(tmp_path / "in.mp4", backend)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("value_range", [1, 2])
def test_colour_tags_are_followed(tmp_path: Path, backend: ReaderName, matrix: int, value_range: int) -> None:
    colour = Colour(primaries=1, transfer=1, matrix=matrix, range=value_range)
    frames = read(make_clip(tmp_path / "in.mp4", ClipSpec(pixel_format="yuv444p", colour=colour)), backend)
    assert frames[0].pixels is not None
    assert np.abs(frames[0].pixels.astype(int) - picture(0, 48, 64)).mean() < 2


def test_a_reader_may_be_left_in_the_middle(tmp_path: Path, backend: ReaderName) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    with opened(clip, backend) as reader:
        assert next(reader.frames()).pts == 0
    reader.close()
    clip.unlink()


def test_pyav_gives_native_planes_only_if_no_pixels_are_wanted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    frames = read(clip, "pyav", wants_pixels=False)
    assert all(frame.pixels is None and frame.native is not None for frame in frames)
    assert all(same_planes(a.native, b) for a, b in zip(frames, frames_of(clip), strict=True))


def test_pyav_gives_deep_pixels(tmp_path: Path) -> None:
    spec = ClipSpec(pixel_format="yuv420p10le", codec="ffv1", options={})
    frames = read(make_clip(tmp_path / "in.mkv", spec), "pyav")
    assert frames[0].pixels is not None
    assert frames[0].pixels.dtype == np.uint16
    assert np.abs(frames[0].pixels / 257 - picture(0, 48, 64)).mean() < 6


def test_pyav_repeats_the_last_good_frame(tmp_path: Path) -> None:
    spec = ClipSpec(num_frames=20, options={"crf": "10", "g": "1"})
    clip = break_packets(make_clip(tmp_path / "in.mp4", spec), tmp_path / "broken.mp4", [7, 8])
    with opened(clip, "pyav") as reader:
        frames = list(reader.frames())
        assert reader.num_broken == 2
    assert [frame.pts for frame in frames] == list(spec.stamps())
    assert [number for number, frame in enumerate(frames) if frame.is_repeated] == [7, 8]
    assert frames[7].native is frames[6].native
    with pytest.raises(BrokenFramesError):
        read(clip, "pyav", strict=True)


@pytest.mark.parametrize(
    ("spec", "options", "reason"),
    [
        (ClipSpec(pixel_format="yuv420p10le", codec="ffv1", options={}), {}, "8 bits"),
        (ClipSpec(), {"deinterlace": True}, "deinterlace"),
        (ClipSpec(height=16, width=16, num_videos=2), {}, "first video stream"),
        (ClipSpec(rotation_deg=90), {}, "turned by"),
        (ClipSpec(num_frames=1, height=720, width=1280), {}, "BT.601"),
    ],
)
def test_decord_refuses_by_name_what_it_cannot(
    tmp_path: Path, spec: ClipSpec, options: dict[str, Any], reason: str
) -> None:
    clip = make_clip(tmp_path / "in.mkv", spec)
    with pytest.raises(UnsupportedStreamError, match=reason):
        read(clip, "decord", **options)


def test_decord_writes_nothing_of_damage_to_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = make_clip(tmp_path / "in.ts", ClipSpec(num_frames=24, options={"crf": "20", "g": "5"}))
    data = whole.read_bytes()
    first = data.index(b"\0\0\0\1\x67")  # what the first key frame needs to be decoded
    whole.write_bytes(data[: first + 4] + bytes(60) + data[first + 64 :])
    with contextlib.suppress(SourceError, BrokenFramesError):
        read(whole, "decord")
    assert capfd.readouterr() == ("", "")
