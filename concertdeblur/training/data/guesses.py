"""G_i's guesses at frames of a video, by the analysis that stage iGAN has trained.

They are the guesses that `video` makes at a whole frame. The analysis does not learn any more in the stages for videos,
so the guesses at stored sequences are made once.

Shape suffixes: G channels of guesses, H height, W width, R rows and Q columns of the blur's cells.
"""

import copy
import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from concertdeblur.blur.kernels import Picture
from concertdeblur.frame import Medium
from concertdeblur.models.blur_cells import BLUR_CELL_PX, blur_grid
from concertdeblur.models.concert import NUM_GUESSES, ConcertGenerator
from concertdeblur.models.path_taps import Flow
from concertdeblur.training.data.results import FrameResults
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence

Guesses = npt.NDArray[np.float16]  # (G, H, W)


class Guesser:
    """Makes guesses at frames on the CPU; safe to use from several threads.

    Args:
        generator: The G_i whose analysis is copied.
    """

    def __init__(self, generator: ConcertGenerator) -> None:
        self._generator = copy.deepcopy(generator).to("cpu").requires_grad_(False).eval()
        digest = hashlib.sha256()
        for name, value in self._generator.analysis.state_dict().items():
            digest.update(name.encode())
            digest.update(value.numpy().tobytes())
        self.sha256 = digest.hexdigest()  # sha256 of the analysis

    def __call__(self, frame: Picture, velocity: Flow | None) -> Guesses:
        """The guesses at a whole frame (height, width, 3) with this reduced velocity."""
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 255
            velocities = None if velocity is None else _of_cells(velocity, *frame.shape[:2])
            prepared = self._generator.prepare(
                pixels,
                self._generator.describe(pixels),
                velocities_NRQ3=None if velocities is None else torch.from_numpy(velocities)[None],
                medium=Medium.VIDEO,
            )
            guesses: Guesses = prepared.guess_NGHW[0].contiguous().numpy().astype(np.float16)
            return guesses


def _of_cells(velocity: Flow, height: int, width: int) -> npt.NDArray[np.float32]:
    """The velocity of each cell of a frame, as the analysis takes it, (R, Q, 3)."""
    rows, columns = blur_grid(height, width)
    down, across = velocity.shape[0] / height, velocity.shape[1] / width
    made = np.ones((rows, columns, 3), np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = int(row * BLUR_CELL_PX * down), int(column * BLUR_CELL_PX * across)
            bottom = max(top + 1, int((row + 1) * BLUR_CELL_PX * down))
            right = max(left + 1, int((column + 1) * BLUR_CELL_PX * across))
            made[row, column, :2] = np.median(velocity[top:bottom, left:right].reshape(-1, 2), axis=0)
    return made


def guesses_of(store: SequenceStore) -> FrameResults[np.float16]:
    """The place of the guesses at a store's frames, (NUM_GUESSES, height, width) each."""
    return FrameResults(store, "guesses.f16", np.float16, lambda row: (NUM_GUESSES, row.height, row.width))


def make_guesses(
    store: SequenceStore, guesser: Guesser, *, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Make the guesses of a store's sequences, as `FrameResults.make` does."""

    def guess(row: StoredSequence, number: int) -> Guesses:
        return guesser(store.frame(row, number), store.path(row, number).velocity())

    guesses_of(store).make(guess, made_with=guesser.sha256, on_progress=on_progress)
