"""What refining did, step by step. It is found out by stopping BRMR after one round, two rounds, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.cam import Area
from concertdeblur.evaluation.contenders import Restored, WeightSet
from concertdeblur.evaluation.metrics import Frame
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.psnr import psnr_db


@dataclass(frozen=True, kw_only=True, slots=True)
class Refining:
    """What BRMR did to one picture."""

    num_cells: int
    num_tried: int  # windows that were tried, with the refused ones
    num_capped: int  # cells that were still in the loop when it ended
    step_gains_db: tuple[float, ...]  # gain of each accepted step, in its window
    gain_db: float  # gain of the picture over iGAN alone


@dataclass(frozen=True, kw_only=True, slots=True)
class RefiningReport:
    """BRMR's own figures."""

    iterations: Estimate  # steps tried in a cell, with the refused one; the paper has 2.3 in an image
    accepted: Estimate  # steps accepted in a cell
    accepted_share: Estimate | None  # of all steps tried; None: there was none
    capped_share: Estimate  # of cells
    max_iterations: int
    step_gain_db: Estimate | None  # of an accepted step, in its window; None: there was none
    lost_share: Estimate | None  # of accepted steps that lowered PSNR in their window
    accepting_share: Estimate  # of pictures with an accepted step
    accepting_gain_db: Estimate | None  # gain of those pictures over iGAN alone
    worst_accepting_db: float | None
    num_pictures: int


def follow(weights: WeightSet, blurred: Frame, sharp: Frame, generated: Frame, refined: Restored) -> Refining:
    """Find every accepted step's gain.

    Later rounds do not change earlier ones. So a run that is stopped after k rounds has the state that a whole run has
    after k rounds.
    """
    num_cells = len(cam.cells_of(*(side + -side % cam.MAP_PX for side in blurred.shape[:2])))
    gains: list[float] = []
    num_capped = 0
    before = Restored(pixels=generated)
    for rounds in range(1, weights.max_iterations + 1):
        if len(before.kept) == len(refined.kept):
            break
        is_over = num_cells == 1 and refined.kept[:1] == refined.tried[:1] and rounds == len(refined.kept)
        is_whole = rounds == weights.max_iterations or is_over
        now = refined if is_whole else weights.refine(blurred, rounds)
        steps = now.kept[len(before.kept) :]
        gains += [_within(window, now.pixels, sharp) - _within(window, before.pixels, sharp) for window in steps]
        num_capped = len(steps) if rounds == weights.max_iterations else 0
        before = now
    return Refining(
        num_cells=num_cells,
        num_tried=len(refined.tried),
        num_capped=num_capped,
        step_gains_db=tuple(gains),
        gain_db=psnr_db(refined.pixels, sharp) - psnr_db(generated, sharp),
    )


def summarise(found: Sequence[Refining], groups: Sequence[str], *, max_iterations: int, seed: int) -> RefiningReport:
    """BRMR's own figures over pictures; whole `groups` are resampled."""
    seen = list(zip(found, groups, strict=True))
    steps = [(gain, group) for one, group in seen for gain in one.step_gains_db]
    accepting = [(one.gain_db, group) for one, group in seen if one.step_gains_db]
    were_accepted = [(float(n < len(one.step_gains_db)), group) for one, group in seen for n in range(one.num_tried)]
    were_capped = [(float(n < one.num_capped), group) for one, group in seen for n in range(one.num_cells)]

    def mean(values: Sequence[float]) -> Estimate:
        return estimate(values, groups, seed=seed)

    def mean_of(some: list[tuple[float, str]]) -> Estimate | None:
        return estimate([gain for gain, _ in some], [group for _, group in some], seed=seed) if some else None

    return RefiningReport(
        iterations=mean([one.num_tried / one.num_cells for one in found]),
        accepted=mean([len(one.step_gains_db) / one.num_cells for one in found]),
        accepted_share=mean_of(were_accepted),
        capped_share=estimate([value for value, _ in were_capped], [group for _, group in were_capped], seed=seed),
        max_iterations=max_iterations,
        step_gain_db=mean_of(steps),
        lost_share=mean_of([(float(gain < 0), group) for gain, group in steps]),
        accepting_share=mean([float(bool(one.step_gains_db)) for one in found]),
        accepting_gain_db=mean_of(accepting),
        worst_accepting_db=min(gain for gain, _ in accepting) if accepting else None,
        num_pictures=len(found),
    )


def _within(window: Area, picture: Frame, sharp: Frame) -> float:
    at = window.of_pixels()
    return psnr_db(picture[at], sharp[at])
