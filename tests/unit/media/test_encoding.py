"""Pixel formats, encoder settings, colour numbers and decoding time stamps: decided before work starts."""

import itertools
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertdeblur.errors import UnsupportedStreamError, UsageError
from concertdeblur.frame import Colour, Pixels, StreamInfo
from concertdeblur.media import encoders
from concertdeblur.media.colour import PlaneConverter, coefficients, effective_range, is_untagged_hd, rgb_converter
from concertdeblur.media.encoders import EncoderSettings, available_codecs, supported_pixel_formats
from concertdeblur.media.pixel_formats import choose_pixel_format, sampling_of
from concertdeblur.media.reordering import MissingDecodeStamps, are_usable, decode_stamps, decode_stamps_of_runs


def info(**known: object) -> StreamInfo:
    """A stream of which only some things matter."""
    defaults: dict[str, object] = {
        "index": 0, "height": 48, "width": 64, "time_base": Fraction(1, 25), "rate": Fraction(25),
        "num_frames_hint": 1, "bit_depth": 8, "pixel_format": "yuv420p", "colour": Colour(),
    }  # fmt: skip
    return StreamInfo(**(defaults | known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoder", "source", "size", "expected"),
    [
        ("libx264", "yuv420p", (48, 64), "yuv420p"),
        ("libx264", "yuvj420p", (48, 64), "yuvj420p"),
        ("libx264", "nv12", (48, 64), "nv12"),
        ("libx264", "yuv422p10le", (48, 64), "yuv422p10le"),
        ("libx264", "yuv420p12le", (48, 64), "yuv420p10le"),
        ("libx264", "p010le", (48, 64), "yuv420p10le"),
        ("libx264", "yuva420p", (48, 64), "yuv420p"),
        ("libx264", "yuv420p", (47, 64), "yuv422p"),
        ("libx264", "yuv420p", (48, 63), "yuv444p"),
        ("libx264", "gbrp", (48, 64), "yuv444p"),
        ("libx264", "yuv411p", (48, 64), "yuv422p"),
        ("libx264", "gray", (47, 63), "gray"),
        ("libx265", "yuv420p12le", (48, 64), "yuv420p12le"),
        ("libsvtav1", "yuv444p", (47, 63), "yuv420p"),
        ("libsvtav1", "yuv422p10le", (48, 64), "yuv420p10le"),
        ("ffv1", "yuv420p", (47, 63), "yuv420p"),
        ("ffv1", "yuva444p10le", (47, 63), "yuva444p10le"),
        ("h264_nvenc", "yuv420p", (48, 64), "yuv420p"),
        ("hevc_nvenc", "yuv420p10le", (48, 64), "p010le"),
        ("h264_qsv", "yuv420p", (48, 64), "nv12"),
    ],
)
def test_the_format_that_loses_least(encoder: str, source: str, size: tuple[int, int], expected: str) -> None:
    supported = supported_pixel_formats(encoder)
    if supported is None:
        pytest.skip(f"this build of PyAV has no {encoder}")
    choice = choose_pixel_format(source, supported, height=size[0], width=size[1], encoder=encoder)
    assert choice.name == expected
    before, after = sampling_of(source), sampling_of(expected)
    keeps_all = (before.bits, before.chroma_width, before.chroma_height, before.is_rgb, before.has_alpha) == (
        after.bits, after.chroma_width, after.chroma_height, after.is_rgb, after.has_alpha,
    )  # fmt: skip
    assert (choice.losses == ()) == keeps_all


def test_losses_are_said_in_words() -> None:
    supported = supported_pixel_formats("libsvtav1")
    assert supported is not None
    losses = choose_pixel_format("yuva444p12le", supported, height=48, width=64, encoder="libsvtav1").losses
    assert losses == ("12 bits become 10", "transparency is dropped", "chroma yuva444p12le becomes yuv420p10le")


@pytest.mark.parametrize(
    "choices",
    [
        {"codec": "mpeg2"},
        {"crf": -1},
        {"crf": 52},
        {"codec": "av1", "preset": "fast"},
        {"codec": "ffv1", "preset": "fast"},
    ],
)
def test_settings_are_checked(choices: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        EncoderSettings(**choices)  # type: ignore[arg-type]


@pytest.mark.parametrize(("has_avx512", "added"), [(False, {}), (True, {"x264-params": "asm=AVX2"})])
def test_settings_reach_the_encoder_by_its_own_names(
    monkeypatch: pytest.MonkeyPatch, has_avx512: bool, added: dict[str, str]
) -> None:
    monkeypatch.setattr(encoders, "has_avx512", lambda: has_avx512)
    assert EncoderSettings(crf=23, preset="fast").options() == {"preset": "fast", "crf": "23"} | added
    assert EncoderSettings(codec="h264_nvenc", crf=23).options() == {"rc": "vbr", "cq": "23"}
    assert EncoderSettings(codec="av1").encoder == "libsvtav1"
    assert {"h264", "hevc", "av1", "ffv1"} <= set(available_codecs())


def test_untagged_clips_are_read_by_their_size() -> None:
    assert coefficients(info()) == 5
    assert coefficients(info(height=720, width=1280)) == 1
    assert is_untagged_hd(info(height=720, width=1280))
    assert not is_untagged_hd(info(height=720, width=1280, colour=Colour(matrix=6)))
    assert coefficients(info(height=720, width=1280, colour=Colour(matrix=6))) == 5
    with pytest.raises(UnsupportedStreamError, match="14"):
        coefficients(info(colour=Colour(matrix=14)))


def test_range_is_tagged_or_follows_the_format() -> None:
    assert effective_range(info()) == 1
    assert effective_range(info(pixel_format="yuvj420p")) == 2
    assert effective_range(info(pixel_format="gbrp")) == 2
    assert effective_range(info(colour=Colour(range=2))) == 2


@pytest.mark.parametrize("matrix", [1, 5, 7, 9])
@pytest.mark.parametrize("value_range", [1, 2])
@pytest.mark.parametrize("depth", [8, 10])
def test_rgb_and_back_moves_no_value_by_more_than_rounding(matrix: int, value_range: int, depth: int) -> None:
    suffix = "" if depth == 8 else "10le"
    stream = info(
        pixel_format=f"yuv444p{suffix}", bit_depth=depth, colour=Colour(matrix=matrix, range=value_range), rate=None
    )
    converter, to_rgb = PlaneConverter(stream, stream.pixel_format), rgb_converter(stream)
    rng = np.random.default_rng(1)
    dtype: type[np.uint8 | np.uint16] = np.uint8 if depth == 8 else np.uint16
    pixels: Pixels = np.asarray(rng.integers(20, 230, (48, 64, 3)) * (1 if depth == 8 else 255), dtype)
    there = to_rgb(converter.from_rgb(pixels))
    assert there.dtype == dtype
    levels = np.abs(there.astype(int) - pixels) / (1 if depth == 8 else 255)
    assert levels.max() <= 2


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30, unique=True), st.randoms(use_true_random=False))
def test_decode_stamps_grow_and_never_pass_their_pts(stamps: list[int], random: object) -> None:
    coded = sorted(stamps)
    for start in range(0, len(coded), 4):  # frames are reordered within groups of four
        group = coded[start : start + 4]
        random.shuffle(group)  # type: ignore[attr-defined]
        coded[start : start + 4] = group
    decoded = list(decode_stamps(coded))
    assert are_usable(coded, decoded)


@given(st.lists(st.lists(st.integers(1, 90), max_size=8), max_size=6), st.randoms(use_true_random=False))
def test_runs_that_follow_each_other_get_the_stamps_of_all_frames_at_once(steps: list[list[int]], random: Any) -> None:
    runs, shown = [], 0
    for run in steps:
        coded = [shown := shown + step for step in run]
        random.shuffle(coded)
        runs.append(np.array(coded, np.int64))
    at_once = [int(pts) for run in runs for pts in run]
    assert list(decode_stamps_of_runs(lambda: runs)) == list(decode_stamps(at_once)) == _plain_stamps(at_once)


def test_the_stamps_of_runs_are_never_in_memory_at_once() -> None:
    length, num_runs = 1000, 200

    def runs() -> Iterator[npt.NDArray[np.int64]]:
        return (np.arange(number * length, (number + 1) * length) for number in range(num_runs))

    tracemalloc.start()
    num_stamps = sum(1 for _ in decode_stamps_of_runs(runs))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_stamps == length * num_runs
    assert peak_bytes < 8 * length * num_runs / 4, "a quarter of one number for each"


def _plain_stamps(coded: list[int]) -> list[int]:
    """The definition, step by step."""
    shown = sorted(coded)
    ahead = max((number - shown.index(pts) for number, pts in enumerate(coded)), default=0)
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    before = [shown[0] - back * step for back in range(ahead, 0, -1)]
    return [*before, *shown][: len(coded)]


@pytest.mark.parametrize("num_packets", [1, 2, 3, 40])
def test_packets_without_any_dts_get_growing_ones(num_packets: int) -> None:
    missing, coded = MissingDecodeStamps(), [each + {1: 2, 2: -1, 3: -1}.get(each % 4, 0) for each in range(40)]
    packets: list[Any] = []
    for pts in coded[:num_packets]:
        packet: Any = av.Packet(b"x")
        packet.pts = pts
        packets += missing.passed(packet)
    packets += missing.rest()
    assert [packet.pts for packet in packets] == coded[:num_packets]
    assert all(packet.dts <= packet.pts for packet in packets)
    assert all(first.dts < second.dts for first, second in itertools.pairwise(packets))


def test_what_x265_leaves_in_very_short_clips_is_not_usable() -> None:
    assert not are_usable([0, 40], [9187201950435737472, 9187201950435737512])
    assert not are_usable([0, 40], [-94530043707691, -94530043707651])
    assert not are_usable([0, 40], [0, 0])
    assert not are_usable([0, 40], [None, 0])
    assert are_usable([0, 80, 40], [-40, 0, 40])
