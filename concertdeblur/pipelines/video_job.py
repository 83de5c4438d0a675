"""The choices for `deblur_video`, its progress and its summary."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame
from concertdeblur.media.encoders import canonical_codec
from concertdeblur.media.reader import ReaderName
from concertdeblur.media.sound import SoundChoice
from concertdeblur.progress import StageProgress, duration_text, runtime_text, speed_text

_CLUSTER_PACE_S = 600.0  # speed is that of so many last seconds
_WIDELY_HEARD = ("copy", "aac", "drop")  # choices that go with `compatible`, which converts all other sound to aac


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoJob:
    """Every choice of a user."""

    strength: float = 1.0  # 0 is identity: decode, encode, nothing else
    refine: bool = True
    weights: str | None = None  # name of a shipped set, or the folder of another; None: by the quality
    quality: Literal["auto", "best", "fast"] = "auto"
    device: str = "auto"
    backend: str = "auto"
    reader: ReaderName = "pyav"
    refine_share: float | None = None  # share of a frame's windows that may be tried; None: the weight set's
    writer: Literal["pyav", "ffmpeg"] = "pyav"
    codec: str | None = None  # None: h264, or av1 in webm
    compatible: bool = False  # 8-bit 4:2:0 H.264 with AAC in mp4, which plays everywhere
    crf: float | None = None
    preset: str | None = None
    video_stream: int | None = None  # index in the container; None: the largest
    start_s: Fraction | None = None  # from the first video frame
    end_s: Fraction | None = None
    overwrite: bool = False
    restart: bool = False  # begin anew, without the segments of an earlier run
    keep_date: bool | None = None  # the output's file date is the source's; None: for several clips only
    audio: SoundChoice = "copy"
    fits_sound: bool = False  # convert sound that the container cannot hold, since nobody chose the container
    drop_streams: bool = False  # leave out sound that the container cannot hold
    strict: bool = False  # broken frames are an error
    deinterlace: bool = False
    heatmap: Path | None = None  # a video of where it was still blurred; no sound, the same timing
    compare: Path | None = None  # a video of before and after side by side; no sound, the same timing

    def __post_init__(self) -> None:
        if self.weights is not None and self.quality != "auto":
            raise UsageError("a weight set and a quality do not go together: the quality chooses a set")
        if self.compatible and (canonical_codec(self.codec or "h264") != "h264" or self.audio not in _WIDELY_HEARD):
            raise UsageError("--compatible means h264 with aac: leave out --codec and --audio, or name these")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength must lie between 0 and 1, but it is {self.strength}")
        if self.refine_share is not None and not 0 <= self.refine_share <= 1:
            raise UsageError(f"--refine must lie between 0 and 1, but it is {self.refine_share}")
        if self.is_identity and (self.heatmap or self.compare):
            raise UsageError("with strength 0 no network runs: there is nothing for heatmap or compare to show")

    @property
    def is_identity(self) -> bool:
        """Whether no network runs."""
        return self.strength == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is."""

    num_frames: int = 0
    total_frames: int | None = None  # as the header says; may be wrong
    windows_tried: int = 0
    windows_accepted: int = 0
    elapsed_s: float = 0.0
    num_workers: int | None = None  # of a cluster; None: there is none
    segments_a_minute: float | None = None  # on a cluster, since it began

    def as_stage(self) -> StageProgress:
        """For a display: frames are counted, and speed leaves out the time before the first one."""
        remark = f"{self.windows_accepted} of {self.windows_tried} windows refined" if self.windows_tried else ""
        if self.num_workers is not None:  # whole segments come at once
            facts = {"workers": self.num_workers, "segments a minute": self.segments_a_minute or 0.0}
            return StageProgress(
                stage="", done=self.num_frames, total=self.total_frames, unit="frames", elapsed_s=self.elapsed_s,
                facts=facts, remark=remark, pace_s=_CLUSTER_PACE_S,
            )  # fmt: skip
        return StageProgress(
            stage="", done=self.num_frames, total=self.total_frames, unit="frames", elapsed_s=self.elapsed_s,
            begun_at=None, remark=remark,
        )  # fmt: skip

    def event(self, *, num_counts: int, rate: float | None, left_s: float | None) -> dict[str, Any]:
        """Every field, with the number of the clip, speed and time left."""
        return {"clip": num_counts, **asdict(self), "rate_fps": rate, "left_s": left_s}


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSummary:
    """The result of a run."""

    source: Path
    target: Path
    num_frames: int
    num_broken: int  # of them, how many stand in for frames that did not decode
    windows_tried: int
    windows_accepted: int
    elapsed_s: float
    runtime: str  # what the networks ran on; "identity" if none ran
    warnings: tuple[str, ...]
    num_frames_before: int = 0  # of them, how many an earlier run had done

    def text(self) -> str:
        """In words."""
        frames = str(self.num_frames)
        if self.num_broken:
            frames += f", {self.num_broken} of them broken and replaced by the last good one"
        if self.num_frames_before:
            frames += f", {self.num_frames_before} of them by an earlier run"
        num_now = self.num_frames - self.num_frames_before
        speed = f" ({speed_text(num_now / self.elapsed_s)})" if self.elapsed_s > 0 and num_now else ""
        rows = [("frames", frames), ("time", f"{duration_text(self.elapsed_s)}{speed}")]
        if self.windows_tried:
            rows.append(("windows", f"{self.windows_accepted} of {self.windows_tried} tried were refined"))
        rows.append(("ran on", runtime_text(self.runtime)))
        if self.warnings:
            rows.append(("warnings", f"{len(self.warnings)}, named above"))
        return "\n".join([f"{self.target} is written.", *(f"  {name:<9} {text}" for name, text in rows)])


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Replaces a `DeblurredFrame` if no network ran, since the module of that class imports torch."""

    source: Frame
    heatmap: None = None
    windows_tried: int = 0
    windows_accepted: int = 0

    @property
    def frame(self) -> Frame:
        """The frame that is written, which is the source's."""
        return self.source
