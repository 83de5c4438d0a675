"""Weight sets that stay loaded from clip to clip, and how fast they were: a watched folder asks for each clip."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concertdeblur.frame import StreamInfo
from concertdeblur.pipelines.video_job import VideoJob

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer

SHIPPED_SETS = ("concert", "concert-fast")  # the quality auto chooses one of them


@dataclass(kw_only=True, slots=True)
class KeptNetworks:
    """What was loaded and measured so far."""

    _loaded: "dict[tuple[str, str, str], Deblurrer]" = field(default_factory=dict, init=False)
    # by the identity of what is kept above, and the size of a frame
    _seconds: dict[tuple[int, tuple[int, int]], float] = field(default_factory=dict, init=False)

    def load(self, weights: str, *, device: str, backend: str) -> "Deblurrer":
        """As `pretrained.load`, once for the same arguments."""
        from concertdeblur import pretrained  # torch takes seconds to import; identity does without

        key = (weights, device, backend)
        if key not in self._loaded:
            self._loaded[key] = pretrained.load(weights, device=device, backend=backend)
        return self._loaded[key]

    def measured(
        self, deblurrer: "Deblurrer", size: tuple[int, int], measure: "Callable[[Deblurrer, int, int], float]"
    ) -> float:
        """What `measure` gives of a kept deblurrer and a size of frames (height, width), measured once."""
        key = id(deblurrer), size
        if key not in self._seconds:
            self._seconds[key] = measure(deblurrer, *size)
        return self._seconds[key]


def load_deblurrer(
    job: VideoJob, info: StreamInfo, *, num_frames: int | None, on_warning: Callable[[str], None],
    kept: KeptNetworks | None = None,
) -> "Deblurrer":  # fmt: skip
    """The networks of a job.

    Args:
        job: Its weights, or its quality and the size of the work, decide.
        info: The stream to deblur.
        num_frames: Of all that is to be deblurred; None: not known.
        on_warning: Told if the fast weight set is taken.
        kept: What was loaded before.

    Raises:
        WeightsError: If a set is missing or altered.
        UsageError: If device or backend cannot be used here.

    """
    from concertdeblur.pipelines.quality import load_for_clip  # torch takes seconds to import; identity does without

    kept = kept or KeptNetworks()
    if job.weights is not None:
        return kept.load(job.weights, device=job.device, backend=job.backend)
    return load_for_clip(
        job.quality, device=job.device, backend=job.backend, num_frames=num_frames, height=info.height,
        width=info.width, on_warning=on_warning, kept=kept,
    )  # fmt: skip
