"""How much sharper G_i makes held-out frames of real sequences: whole frames, with taps, as in a video."""

from collections.abc import Callable

import numpy as np

from concertdeblur.models.restoration import PathRestoration
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.guesses import Guesser
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.data.sources import evenly_chosen
from concertdeblur.training.whole_frames import WholeFrames

_MOST_JUDGED = 4  # frames of each scale, evenly chosen
REAL, REAL_WORST = "real", "real, worst"  # names of the figures, beside those of the kernels


def gain_judge(held_out: SequenceStore, guesser: Guesser) -> Callable[[PathRestoration], dict[str, float]]:
    """A function that gives a restoration's gain on held-out real frames, dB: by scale, overall, and the worst."""
    whole_frames = WholeFrames(held_out, guesser)
    frames = [(row, number) for row in held_out.of_kind("real") for number in row.inner]

    def gain_db(restoration: PathRestoration, row: StoredSequence, number: int) -> float:
        made = whole_frames.at_own_size(restoration, row, number)[0].permute(1, 2, 0).numpy(force=True)
        blurred, sharp = (
            some.astype(np.float32) / 255 for some in (held_out.frame(row, number), held_out.sharp(row, number))
        )
        return psnr_db(made, sharp) - psnr_db(blurred, sharp)

    def judge(restoration: PathRestoration) -> dict[str, float]:
        gains: dict[float, list[float]] = {}
        for scale in sorted({row.scale for row, _ in frames}, reverse=True):
            for row, number in evenly_chosen([frame for frame in frames if frame[0].scale == scale], _MOST_JUDGED):
                gains.setdefault(scale, []).append(gain_db(restoration, row, number))
        every = [gain for some in gains.values() for gain in some]
        named = {f"{REAL}, scale {scale:g}": float(np.mean(some)) for scale, some in gains.items()}
        return {REAL: float(np.mean(every)), **named, REAL_WORST: min(every)} if every else {}

    return judge
