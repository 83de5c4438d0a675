"""How much sharper G_i makes held-out frames of real sequences, in whole frames and with taps, as in a video.

Shape suffixes: N frames, C channels, H height, W width.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch

from concertdeblur.models.path_taps import flow_in, taps_of
from concertdeblur.models.prepared import HINT_PX, VELOCITY_PX
from concertdeblur.models.restoration import PathRestoration
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.guesses import guesses_of
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.data.results import FrameResults
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.data.sources import evenly_chosen
from concertdeblur.training.video import restored

_MOST_JUDGED = 4  # frames of each scale, evenly chosen
REAL, REAL_WORST = "real", "real, worst"  # names of the figures, beside those of the kernels


def gain_judge(held_out: SequenceStore) -> Callable[[PathRestoration], dict[str, float]]:
    """A function that gives a restoration's gain on held-out real frames, dB: by scale, overall, and the worst."""
    guesses = guesses_of(held_out)
    frames = [(row, number) for row in held_out.of_kind("real") for number in row.inner]

    @torch.no_grad()
    def judge(restoration: PathRestoration) -> dict[str, float]:
        gains: dict[float, list[float]] = {}
        for scale in sorted({row.scale for row, _ in frames}, reverse=True):
            for row, number in evenly_chosen([frame for frame in frames if frame[0].scale == scale], _MOST_JUDGED):
                crops = whole_frame(held_out, guesses, row, number)
                gains.setdefault(scale, []).append(_gain_db(restoration, crops))
        every = [gain for some in gains.values() for gain in some]
        named = {f"{REAL}, scale {scale:g}": float(np.mean(some)) for scale, some in gains.items()}
        return {REAL: float(np.mean(every)), **named, REAL_WORST: min(every)} if every else {}

    return judge


def whole_frame(
    store: SequenceStore, guesses: FrameResults[np.float16], row: StoredSequence, number: int
) -> MotionCrops:
    """A frame with all inputs of G_i, cut at the last multiple of HINT_PX px."""
    height, width = (side - side % HINT_PX for side in (row.height, row.width))
    area = slice(0, height), slice(0, width)
    frame, path = store.frame(row, number), store.path(row, number)
    taps = taps_of(store.frame(row, number - 1), frame, store.frame(row, number + 1), path, area=area)
    velocity = path.velocity()
    assert velocity is not None
    whole = flow_in(velocity, row.height, row.width, *area)
    reduced = cv2.resize(whole, (width // VELOCITY_PX, height // VELOCITY_PX), interpolation=cv2.INTER_AREA)

    def planes(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture[area].transpose(2, 0, 1)))[None]

    return MotionCrops(
        blurred_NCHW=planes(frame),
        sharp_NCHW=planes(store.sharp(row, number)),
        guess_NGHW=torch.from_numpy(np.array(guesses.read(row, number)[:, :height, :width]))[None],
        taps_NTHW=torch.from_numpy(taps)[None],
        velocity_N2hw=torch.from_numpy(np.ascontiguousarray(reduced.transpose(2, 0, 1)))[None],
    )


def _gain_db(restoration: PathRestoration, crops: MotionCrops) -> float:
    made = restored(restoration, on_device(crops, next(restoration.parameters()).device))
    sharp = made.sharp_NCHW[0].numpy(force=True)
    before, after = (
        psnr_db(some[0].clamp(0, 1).numpy(force=True), sharp) for some in (made.blurred_NCHW, made.restored_NCHW)
    )
    return after - before
