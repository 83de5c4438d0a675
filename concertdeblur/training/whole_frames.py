"""G_i's results of whole frames of stored sequences, made with taps and at the size at which a video is restored.

Shape suffixes: C channels, H height, W width, h, w the same at the working size (deblurring/working_size.py).
"""

import numpy as np
import torch
from torch import Tensor

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.frame_path import padded, path_samples
from concertdeblur.deblurring.stream_frames import Neighbours
from concertdeblur.deblurring.working_size import at_working_size, with_enlarged_change, working_size
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.models.restoration import PathRestoration
from concertdeblur.training.data.guesses import Guesser, guesses_of
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.video import Restored, as_floats, restored


def cut_size(row: StoredSequence) -> tuple[int, int]:
    """(height, width) of the results of a sequence: the working size, cut to multiples of HINT_PX."""
    height, width = working_size(row.height, row.width)
    return height - height % HINT_PX, width - width % HINT_PX


class WholeFrames:
    """Restores frames of a store.

    Args:
        store: The sequences; the guesses at those of their own size are stored.
        guesser: Makes the guesses at frames that are reduced.
    """

    def __init__(self, store: SequenceStore, guesser: Guesser) -> None:
        self._store, self._guesses, self._guesser = store, guesses_of(store), guesser

    def at_own_size(self, restoration: PathRestoration, row: StoredSequence, number: int) -> Tensor:
        """A frame's result at the size of the frame, in [0, 1], (1, C, H, W)."""
        made = self._made(restoration, row, number)
        height, width = working_size(row.height, row.width)
        result = made.restored_NCHW[..., :height, :width].clamp(0, 1)
        if (height, width) == (row.height, row.width):
            return result
        frame_1CHW = as_floats(_planes(self._store.frame(row, number)).to(result.device))
        return with_enlarged_change(frame_1CHW, made.blurred_NCHW[..., :height, :width], result)

    def at_working_size(self, restoration: PathRestoration, row: StoredSequence, number: int) -> Tensor:
        """A frame's result as G_p refines it, in [0, 1], (1, C, h, w) of the size that `cut_size` gives."""
        height, width = cut_size(row)
        return self._made(restoration, row, number).restored_NCHW[..., :height, :width].clamp(0, 1)

    @torch.no_grad()
    def _made(self, restoration: PathRestoration, row: StoredSequence, number: int) -> Restored:
        device = next(restoration.parameters()).device
        return restored(restoration, on_device(self.inputs(row, number), device))

    def inputs(self, row: StoredSequence, number: int) -> MotionCrops:
        """All inputs of G_i at the working size; sides are extended to multiples of HINT_PX by reflection."""
        before, frame, after = (
            at_working_size(self._store.frame(row, one)) for one in (number - 1, number, number + 1)
        )
        path, size = self._store.path(row, number), (row.height, row.width)
        neighbours = Neighbours(before=before, frame=frame, after=after, path=path)
        along = path_samples(neighbours, size, HINT_PX, torch.device("cpu"))
        assert along is not None
        height, width = frame.shape[:2]
        if (height, width) == size:
            guess = np.array(self._guesses.read(row, number))
        else:
            guess = self._guesser(frame, path.scaled(width / row.width, height / row.height).velocity())
        missing = ((0, 0), (0, -height % HINT_PX), (0, -width % HINT_PX))
        return MotionCrops(
            blurred_NCHW=_planes(padded(frame, HINT_PX)),
            sharp_NCHW=_planes(padded(at_working_size(self._store.sharp(row, number)), HINT_PX)),
            guess_NGHW=torch.from_numpy(np.pad(guess, missing, mode="reflect"))[None],
            taps_NTHW=along.taps_NTHW,
            smear_N2hw=along.smear_N2hw,
        )


def _planes(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
