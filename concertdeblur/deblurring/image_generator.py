"""G_i on whole frames of any size: padded to what the networks need, restored in tiles where they are large.

A new input of G_i goes this way: `models/prepared.py` names it, the generator's `prepare` makes it, `padded` brings it
to the padded size, and `ImageGenerator.__call__` hands it to the restoration.

Shape suffixes: N frames, C channels, H height, W width, G channels of guesses, E embedding (h, w: a HINT_PX each), R
rows and Q columns of the blur's cells.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.cpus import available_cpus
from concertdeblur.deblurring.tensors import finite
from concertdeblur.deblurring.tiles import in_tiles
from concertdeblur.engines import Engine, make_engine
from concertdeblur.frame import Medium
from concertdeblur.models.architecture import ImageGeneratorNetwork
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared
from concertdeblur.models.restoration import PathRestoration, by_plane
from concertdeblur.runtime import Runtime

# Frames of a stream that are restored at the same time with OpenVINO, each on its share of the cores. If one has all
# cores, each of its layers waits for the core on which another stage runs.
_AT_ONCE = 2


class ImageGenerator:
    """G_i made ready to run; used by one stage at a time, except that `__call__` may be used beside the rest.

    Args:
        network: G_i with its final weights.
        runtime: What it runs on.
        on_paths: The restoration of video frames whose path is known; None: every frame is restored as a picture.
    """

    def __init__(
        self, network: ImageGeneratorNetwork, runtime: Runtime, *, on_paths: PathRestoration | None = None
    ) -> None:
        self.network = network.eval().requires_grad_(False).to(runtime.device)
        self._restore = _Restoring(network.restoration, runtime)
        self._restore_on_paths: _Restoring | None = None
        self._margin_px = network.restoration.receptive_margin_px
        if on_paths is not None:
            self._restore_on_paths = _Restoring(on_paths, runtime)
            if self._margin_px is not None:
                self._margin_px = max(self._margin_px, on_paths.receptive_margin_px)
        self.multiple_px = max(HINT_PX, network.restoration.multiple_px)
        # OpenVINO reads one layout only, and it is cheaper to change it once a frame than for every window
        self._memory_format = torch.contiguous_format if runtime.backend == "openvino" else torch.channels_last

    @property
    def takes_taps(self) -> bool:
        """Whether frames of a video are restored along their path."""
        return self._restore_on_paths is not None

    def laid_out(self, frames_NCHW: Tensor) -> Tensor:
        """The frames in the memory layout that is fastest here."""
        return frames_NCHW.contiguous(memory_format=self._memory_format)

    def describe(self, frames_NCHW: Tensor) -> Tensor:
        """The descriptor of each cell, from which the blur is named; (N, 0) if the generator takes none."""
        return self.network.describe(frames_NCHW)

    def is_blurred_by_motion(self, described: Tensor, velocities_NRQ3: Tensor | None) -> Tensor:
        """Whether motion may be what blurs the frames, a bool on the device. The arguments are those of `prepare`."""
        return self.network.is_blurred_by_motion(described, velocities_NRQ3)

    def prepare(
        self,
        frames_NCHW: Tensor,
        described: Tensor,
        *,
        velocities_NRQ3: Tensor | None,
        path: PathSamples | None = None,
        medium: Medium,
    ) -> Prepared:
        """Make what G_i is given beside the frames; the frames are not padded here.

        Args:
            frames_NCHW: RGB in [0, 1].
            described: The descriptors of their cells, from `describe`.
            velocities_NRQ3: How far each cell moves, as `BlurAnalysis` takes it; None: nothing is known.
            path: Taps and smear of the padded frames; None: nothing is known.
            medium: Whether the frames are pictures or belong to a video.
        """
        return self.network.prepare(frames_NCHW, described, velocities_NRQ3=velocities_NRQ3, path=path, medium=medium)

    def padded(self, pictures_NCHW: Tensor) -> Tensor:
        """Frames, or guesses, extended at the bottom and right to sizes that the networks take."""
        return _padded(pictures_NCHW, self.multiple_px)

    def __call__(self, blurred_NCHW: Tensor, prepared: Prepared, *, at_once: int | None = None) -> Tensor:
        """Restore padded frames; the result is not clamped, and may hold values that are no numbers.

        Args:
            blurred_NCHW: The frames.
            prepared: What is given beside them.
            at_once: How many calls may run at the same time, 1 or `frames_at_once`, for frames of one size; None: one,
                of any size.
        """
        restore, given = self._restore, [prepared.guess_NGHW, prepared.hints_NEhw]
        if prepared.path is not None and self._restore_on_paths is not None:
            restore = self._restore_on_paths
            given = [prepared.guess_NGHW, *by_plane(prepared.path.taps_NTHW), prepared.path.smear_N2hw]
        engine = restore.engine(at_once)
        return in_tiles(engine, blurred_NCHW, *given, margin_px=self._margin_px, multiple_px=self.multiple_px)

    def restored(self, blurred_NCHW: Tensor, prepared: Prepared, *, at_once: int | None = None) -> Tensor:
        """Restore padded frames, in [0, 1]; where the network gives NaN, the frame's own pixels stay."""
        made = self(blurred_NCHW, prepared, at_once=at_once)
        return finite(made, blurred_NCHW).clamp_(0, 1)


class _Restoring:
    """A restoration made ready to run on pictures, and on the frames of streams."""

    def __init__(self, restoration: nn.Module, runtime: Runtime) -> None:
        self._of_pictures = make_engine(restoration, runtime, is_kept=True)
        self._of_streams = {
            num: make_engine(restoration, runtime, is_kept=True, is_sized=True, num_at_once=num)
            for num in {1, frames_at_once(runtime)}
        }

    def engine(self, at_once: int | None) -> Engine:
        """The engine for so many frames of a stream at the same time; None: for pictures."""
        return self._of_pictures if at_once is None else self._of_streams[at_once]


def frames_at_once(runtime: Runtime) -> int:
    """How many frames of a stream are restored at the same time, if its stages overlap."""
    return min(_AT_ONCE, available_cpus()) if runtime.backend == "openvino" else 1


def _padded(pictures_NCHW: Tensor, multiple_px: int) -> Tensor:
    """Pictures with sides of a multiple, extended by reflection, or by repetition where they are too small for it."""
    height, width = pictures_NCHW.shape[2:]
    missing_h, missing_w = -height % multiple_px, -width % multiple_px
    if not missing_h and not missing_w:
        return pictures_NCHW
    if not pictures_NCHW.shape[1]:  # no channels
        return F.pad(pictures_NCHW, (0, missing_w, 0, missing_h))
    reflects = missing_h < height and missing_w < width
    return F.pad(pictures_NCHW, (0, missing_w, 0, missing_h), mode="reflect" if reflects else "replicate")
