"""Closed captions inside the pictures: kept where the encoder can, else named."""

import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredFrame
from concertdeblur.frame import Frame
from concertdeblur.pipelines import deblur_video as pipeline
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from concertdeblur.runtime import Runtime
from tests.clips import STEP, ClipSpec, frames_of, make_clip, planes_of, same_planes


class Brighter:
    """A deblurrer that adds ten to every frame but the first, which it leaves as it is."""

    name, digest = "brighter", "0"
    runtime = Runtime(device=torch.device("cpu"), backend="openvino", dtype=torch.float32)

    def stream(self, frames: Iterable[Frame], _options: DeblurOptions) -> Iterator[DeblurredFrame]:
        """As `Deblurrer.stream`."""
        for frame in frames:
            assert frame.pixels is not None
            brighter = np.minimum(frame.pixels.astype(int) + 10, 255).astype(np.uint8)
            made = frame.with_pixels(brighter) if frame.pts else frame
            yield DeblurredFrame(source=frame, frame=made, heatmap=None, windows_tried=0, windows_accepted=0)


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where the weights are loaded."""
    monkeypatch.setattr(pipeline.VideoRun, "_load", lambda _run, _info: Brighter())


def captioned_clip(path: Path, spec: ClipSpec) -> Path:
    """A clip of x264 in mp4 whose frame n bears the caption bytes of the letter n."""
    plain = make_clip(path.with_name("plain.mp4"), spec)
    with av.open(str(plain)) as clip, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        for packet in clip.demux(video=0):
            if not packet.size:
                continue
            assert packet.pts is not None
            pair = bytes([0xFC, 0x41 + packet.pts // STEP, 0x80])  # valid, field 1
            body = b"\xb5\x00\x31GA94\x03\x41\xff" + pair + b"\xff"
            unit = b"\x06\x04" + bytes([len(body)]) + body + b"\x80"  # SEI: registered user data
            made: Any = av.Packet(struct.pack(">I", len(unit)) + unit + bytes(packet))
            made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
            made.time_base, made.is_keyframe, made.stream = packet.time_base, packet.is_keyframe, video
            output.mux_one(made)
    return path


def captions_of(path: Path) -> list[list[bytes]]:
    """The caption bytes of every frame."""
    return [[bytes(each) for each in frame.side_data if each.type.name == "A53_CC"] for frame in frames_of(path)]


EXPECTED = [[bytes([0xFC, 0x41 + number, 0x80])] for number in range(12)]
REORDERED = ClipSpec(options={"crf": "10", "bf": "3"})


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("spec", [REORDERED, ClipSpec(height=48, width=62)], ids=["b-frames", "other width"])
def test_changed_frames_keep_their_captions(tmp_path: Path, change: None, codec: str, spec: ClipSpec) -> None:
    source = captioned_clip(tmp_path / "in.mp4", spec)
    assert captions_of(source) == EXPECTED
    summary = deblur_video(source, tmp_path / "out.mp4", VideoJob(codec=codec, crf=0))
    assert summary.warnings == ()
    assert captions_of(tmp_path / "out.mp4") == EXPECTED
    before, after = (frames_of(path) for path in (source, tmp_path / "out.mp4"))
    levels = [planes_of(b)[0].mean() - planes_of(a)[0].mean() for a, b in zip(before, after, strict=True)]
    assert levels[0] == pytest.approx(0, abs=0.3)
    assert levels[1:] == pytest.approx([10 * 219 / 255] * 11, abs=0.3)


def test_the_pictures_are_those_of_a_clip_without_captions(tmp_path: Path, change: None) -> None:
    source = captioned_clip(tmp_path / "in.mp4", ClipSpec())
    for name in ("in", "plain"):
        deblur_video(source.with_name(f"{name}.mp4"), tmp_path / f"{name}_out.mp4", VideoJob(crf=0))
    made, plain = (frames_of(tmp_path / f"{name}_out.mp4") for name in ("in", "plain"))
    assert all(same_planes(a, b) for a, b in zip(made, plain, strict=True))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_identity_keeps_captions(tmp_path: Path, codec: str) -> None:
    source = captioned_clip(tmp_path / "in.mp4", REORDERED)
    summary = deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, codec=codec))
    assert summary.warnings == ()
    assert captions_of(tmp_path / "out.mp4") == EXPECTED


@pytest.mark.parametrize(
    "choices",
    [{"codec": "ffv1"}, {"codec": "av1", "preset": "13"}, {"reader": "decord"}],
    ids=["ffv1", "av1", "decord"],
)
def test_captions_that_are_lost_are_named(tmp_path: Path, change: None, choices: dict[str, Any]) -> None:
    source = captioned_clip(tmp_path / "in.mp4", ClipSpec())
    summary = deblur_video(source, tmp_path / "out.mkv", VideoJob(**choices))
    assert [warning for warning in summary.warnings if "closed captions are dropped" in warning]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")
def test_the_writer_ffmpeg_names_them_too(tmp_path: Path) -> None:
    source = captioned_clip(tmp_path / "in.mp4", ClipSpec())
    summary = deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, writer="ffmpeg"))
    assert [warning for warning in summary.warnings if "closed captions are dropped" in warning]
