"""The writer through the system's ffmpeg keeps what PyAV's keeps."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import pytest

from concertdeblur.errors import MissingDependencyError, TargetError, UnsupportedStreamError
from concertdeblur.frame import Colour
from concertdeblur.media.output_file import is_disk_full
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import VFR_PTS, ClipSpec, frames_of, make_clip, same_planes, stream_facts

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on PATH")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("spec", "codec"),
    [
        (ClipSpec(pts=VFR_PTS, audio="aac"), "h264"),
        (ClipSpec(pts=tuple(p + 6400 for p in VFR_PTS), rotation_deg=90), "h264"),
        (ClipSpec(height=47, width=63, codec="ffv1", options={}), "ffv1"),
        (ClipSpec(pixel_format="yuv422p10le", codec="ffv1", options={}), "ffv1"),
        (ClipSpec(pixel_format="gray"), "ffv1"),
    ],
    ids=["variable rate with sound", "later and rotated", "odd size", "4:2:2 10 bit", "grey"],
)
def test_identity(tmp_path: Path, spec: ClipSpec, codec: str) -> None:
    source, target = make_clip(tmp_path / "in.mp4", spec), tmp_path / "out.mp4"
    job = VideoJob(strength=0, writer="ffmpeg", codec=codec, crf=0 if codec == "h264" else None)
    deblur_video(source, target, job)
    before, after = frames_of(source), frames_of(target)
    assert [f.pts for f in after] == list(spec.stamps())
    assert all(same_planes(a, b) for a, b in zip(before, after, strict=True))
    assert after[0].rotation == before[0].rotation
    facts = list(zip(stream_facts(source), stream_facts(target), strict=True))
    assert [b.payloads for _, b in facts[1:]] == [a.payloads for a, _ in facts[1:]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@needs_ffmpeg
def test_reordered_frames_colour_and_pixel_shape(tmp_path: Path) -> None:
    colour = Colour(primaries=1, transfer=1, matrix=1, range=1)
    spec = ClipSpec(num_frames=40, colour=colour, sample_aspect_ratio=Fraction(128, 117))
    source, target = make_clip(tmp_path / "in.mp4", spec), tmp_path / "out.mp4"
    deblur_video(source, target, VideoJob(strength=0, writer="ffmpeg", preset="slow"))
    made = frames_of(target)
    assert [f.pts for f in made] == list(spec.stamps())
    assert {(f.color_primaries, f.color_trc, f.colorspace, f.color_range) for f in made} == {(1, 1, 1, 1)}
    with av.open(str(target)) as clip:
        assert clip.streams.video[0].sample_aspect_ratio == Fraction(128, 117)


@needs_ffmpeg
def test_a_part(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=50, audio="aac")), tmp_path / "out.mp4"
    deblur_video(
        source, target, VideoJob(strength=0, writer="ffmpeg", start_s=Fraction("0.2"), end_s=Fraction("0.8"), crf=0)
    )
    assert all(same_planes(a, b) for a, b in zip(frames_of(source)[5:20], frames_of(target), strict=True))


@needs_ffmpeg
def test_an_encoder_that_ffmpeg_lacks(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(UnsupportedStreamError, match="h264_videotoolbox"):
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, writer="ffmpeg", codec="h264_videotoolbox"))


def test_without_ffmpeg_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(MissingDependencyError, match="ffmpeg on PATH"):
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, writer="ffmpeg"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@needs_ffmpeg
def test_a_full_disk_is_told_from_an_encoder_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ffmpeg that finds no space says so in its log only."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    real = shutil.which("ffmpeg")
    program.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *"-h encoder"*|*one.nut*) exec {real} "$@";; esac\n'
        'echo "Error closing file: No space left on device" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(TargetError, match=r"out\.mp4: no space left on the device") as failed:
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, writer="ffmpeg"))
    assert is_disk_full(failed.value)
    assert not list(tmp_path.glob(".*part*"))
