"""What `deblur_video` is asked, and what it answers."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame
from concertdeblur.media.reader import ReaderName
from concertdeblur.media.sound import SoundChoice


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
    writer: Literal["pyav", "ffmpeg"] = "pyav"
    codec: str | None = None  # None: h264, or av1 in webm
    crf: int | None = None
    preset: str | None = None
    video_stream: int | None = None  # index in the container; None: the largest
    start_s: Fraction | None = None  # from the first video frame
    end_s: Fraction | None = None
    overwrite: bool = False
    audio: SoundChoice = "copy"
    fits_sound: bool = False  # sound that the container cannot hold is converted: nobody chose the container
    drop_streams: bool = False  # sound that the container cannot hold
    strict: bool = False  # broken frames are an error
    deinterlace: bool = False
    heatmap: Path | None = None  # a video of where it was still blurred; no sound, the same timing
    compare: Path | None = None  # a video of before and after side by side; no sound, the same timing

    def __post_init__(self) -> None:
        if self.weights is not None and self.quality != "auto":
            raise UsageError("a weight set and a quality do not go together: the quality chooses a set")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength must lie between 0 and 1, but it is {self.strength}")
        if self.is_identity and (self.heatmap or self.compare):
            raise UsageError("with strength 0 no network runs: there is nothing for heatmap or compare to show")

    @property
    def is_identity(self) -> bool:
        """Whether no network runs."""
        return self.strength == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run has got."""

    num_frames: int = 0
    total_frames: int | None = None  # as the header says; may be wrong
    windows_tried: int = 0
    windows_accepted: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSummary:
    """What a run did."""

    source: Path
    target: Path
    num_frames: int
    num_broken: int  # of them, how many stand in for frames that did not decode
    windows_tried: int
    windows_accepted: int
    elapsed_s: float
    runtime: str  # what the networks ran on; "identity" if none ran
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Stands for a `DeblurredFrame` where no network ran (its module imports torch)."""

    source: Frame
    heatmap: None = None
    windows_tried: int = 0
    windows_accepted: int = 0

    @property
    def frame(self) -> Frame:
        """What is written: the source."""
        return self.source
