"""G_i's results of whole frames of stored sequences, with taps and at the size at which a video is restored.

Shape suffixes: C channels, H height, W width, h, w the same at the working size (deblurring/working_size.py).
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.working_size import at_working_size, with_enlarged_change, working_size
from concertdeblur.models.path_taps import path_in, taps_along
from concertdeblur.models.prepared import HINT_PX, VELOCITY_PX
from concertdeblur.models.restoration import PathRestoration
from concertdeblur.training.data.guesses import Guesser, Guesses, guesses_of
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.video import as_floats, restored


class WholeFrames:
    """Restores frames of a store.

    Args:
        store: The sequences; the guesses at those of their own size are stored.
        guesser: Makes the guesses at frames that are reduced.
    """

    def __init__(self, store: SequenceStore, guesser: Guesser) -> None:
        self._store, self._guesses, self._guesser = store, guesses_of(store), guesser

    @torch.no_grad()
    def restored(self, restoration: PathRestoration, row: StoredSequence, number: int) -> Tensor:
        """A frame's result in [0, 1], (1, C, H, W); sides are cut at the last multiple of HINT_PX."""
        device = next(restoration.parameters()).device
        made = restored(restoration, on_device(self.inputs(row, number), device))
        height, width = working_size(row.height, row.width)
        result = made.restored_NCHW[..., :height, :width].clamp(0, 1)
        if (height, width) != (row.height, row.width):
            frame_1CHW = as_floats(_planes(self._store.frame(row, number)).to(device))
            result = with_enlarged_change(frame_1CHW, made.blurred_NCHW[..., :height, :width], result)
        return result[..., : row.height - row.height % HINT_PX, : row.width - row.width % HINT_PX]

    def inputs(self, row: StoredSequence, number: int) -> MotionCrops:
        """All inputs of G_i at the working size; sides are extended to multiples of HINT_PX by reflection."""
        frames = [at_working_size(self._store.frame(row, one)) for one in (number - 1, number, number + 1)]
        height, width = frames[1].shape[:2]
        path = self._store.path(row, number).scaled(width / row.width, height / row.height)
        before, frame, after = (_extended(one) for one in frames)
        along = path_in(path, height, width, slice(0, frame.shape[0]), slice(0, frame.shape[1]))
        assert along.velocity is not None
        reduced = cv2.resize(
            along.velocity, (frame.shape[1] // VELOCITY_PX, frame.shape[0] // VELOCITY_PX), interpolation=cv2.INTER_AREA
        )
        if (height, width) == (row.height, row.width):
            guess = np.array(self._guesses.read(row, number))
        else:
            guess = self._guesser(frames[1], path.velocity())
        return MotionCrops(
            blurred_NCHW=_planes(frame),
            sharp_NCHW=_planes(_extended(at_working_size(self._store.sharp(row, number)))),
            guess_NGHW=torch.from_numpy(_extended_planes(guess))[None],
            taps_NTHW=torch.from_numpy(taps_along(before, frame, after, along))[None],
            velocity_N2hw=torch.from_numpy(np.ascontiguousarray(reduced.transpose(2, 0, 1)))[None],
        )


def _missing(height: int, width: int) -> tuple[int, int]:
    return -height % HINT_PX, -width % HINT_PX


def _extended(picture: Picture) -> Picture:
    down, across = _missing(*picture.shape[:2])
    return np.asarray(cv2.copyMakeBorder(picture, 0, down, 0, across, cv2.BORDER_REFLECT_101), dtype=np.uint8)


def _extended_planes(guess: Guesses) -> Guesses:
    down, across = _missing(*guess.shape[1:])
    return np.pad(guess, ((0, 0), (0, down), (0, across)), mode="reflect")


def _planes(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
