"""Adversarial blurred region mining and refining: Algorithm 1 of the paper at test time.

The paper's loop, for one picture of 256x256 px:

    D = G_i(B); H^b and delta from D_i(B, D)
    repeat
        propose: mine the most blurred window p of H^b
        refine:  p' = G_p(p)
        judge:   H^b' and delta' from D_i(B, D'), where D' is D with p' in place of p
        keep:    D = D', H^b = H^b' and delta = delta' if delta' > delta, else stop

`Brmr.refine` is that loop for many cells and frames side by side. On a larger frame the loop runs in each cell of a
grid (cam.py). A round takes a step in every cell that has not stopped.

There are two kinds of steps. `windows.py` has the paper's: G_p refines a window. `turns.py` has ours: G_i and data
consistency change a whole cell. Turns come first, in cells whose blur was identified. A video takes no turns, and its
windows may be refined along the motion (`PathWindows`).

The reference is the plain loop over one picture, cell by cell, in tests/unit/deblurring/test_brmr.py (`plain_loop`).
"""

from dataclasses import replace
from typing import Protocol, TypeVar

from torch import Tensor

from concertdeblur.deblurring.brmr.judging import Judge
from concertdeblur.deblurring.brmr.settings import BrmrSettings
from concertdeblur.deblurring.brmr.state import Decisions, Refinements, State, begun
from concertdeblur.deblurring.brmr.turns import RestoreFrames, Turns, made_consistent, take_bare_step
from concertdeblur.deblurring.brmr.windows import PathWindows, Windows
from concertdeblur.engines import Engine
from concertdeblur.frame import Medium
from concertdeblur.models.path_windows import Along
from concertdeblur.models.prepared import Plan, Prepared

ProposalT = TypeVar("ProposalT")
RefinedT = TypeVar("RefinedT")
JudgedT = TypeVar("JudgedT")


class _Steps(Protocol[ProposalT, RefinedT, JudgedT]):
    """One kind of step, with the four lines of the loop: `Turns` or `Windows`."""

    def propose(self, state: State, /) -> ProposalT | None: ...

    def refine(self, proposal: ProposalT, state: State, /) -> RefinedT: ...

    def judge(self, proposal: ProposalT, refined: RefinedT, state: State, /) -> JudgedT: ...

    def keep(self, proposal: ProposalT, refined: RefinedT, judged: JudgedT, state: State, /) -> None: ...


class Brmr:
    """Algorithm 1, batched over cells and frames; holds no state between calls.

    Args:
        patch_generator: G_p(window, views, hints).
        judge: D_i.
        image_generator: G_i on whole frames.
        settings: Limits and margins.
        on_paths: The windows of videos, with a G_p and a D_i of their own; None: videos share those of pictures.
    """

    def __init__(
        self,
        patch_generator: Engine,
        judge: Judge,
        *,
        image_generator: RestoreFrames,
        settings: BrmrSettings,
        on_paths: PathWindows | None = None,
    ) -> None:
        self.settings = settings
        self.on_paths = on_paths
        self._judge = judge
        self._turns = Turns(image_generator, judge, settings)
        self._windows = Windows(patch_generator, judge, settings)

    def refine(
        self,
        blurred_NCHW: Tensor,
        result_NCHW: Tensor,
        prepared: Prepared,
        plan: Plan,
        *,
        medium: Medium,
        refine_share: float | None = None,
        along: Along | None = None,
        previous: Decisions | None = None,
    ) -> Refinements:
        """Refine a batch of frames in place; does not wait for the device.

        Args:
            blurred_NCHW: The input B in [0, 1]; sides are multiples of HINT_PX.
            result_NCHW: D = G_i(B), overwritten with the refined frames.
            prepared: What G_i was given of the frames: guesses, hints, and the inputs of data consistency.
            plan: The part of `prepared` that the host has read.
            medium: A picture takes turns, and as many windows as help. A frame of a video takes one bare step of data
                consistency instead of turns, or none where its path is known, and its number of windows is capped.
            refine_share: The cap of a video's frame; None: that of the settings.
            along: The results of the frames beside a video's frame, and its path; None where no path is known.
            previous: The decisions on the frame before each of these frames.

        """
        settings = self.settings
        if refine_share is not None:
            settings = replace(settings, refine_share=refine_share)
        state = self._begun(
            blurred_NCHW, result_NCHW, prepared, plan, settings, along=along, medium=medium, previous=previous
        )
        steps_in_windows = self._windows if along is None or self.on_paths is None else self.on_paths
        first_round = 0
        if state.consistent_NCHW is not None:
            first_round = 1  # the first turn, or the bare step of a video, is a round
            if state.may_turn:
                self._take(self._turns, self._turns.propose_first(state), state)
        num_rounds = self.settings.max_iterations
        if num_rounds and along is not None:  # each window is tried once
            num_rounds = max(len(cell.covering) for cell in state.grid.cells)
        for number in range(first_round, num_rounds):
            if number >= self.settings.consistency_rounds:
                state.end_turns()
            turn, windows = self._turns.propose(state), steps_in_windows.propose(state)
            if turn is None and windows is None:
                break
            self._take(self._turns, turn, state)
            self._take(steps_in_windows, windows, state)
        return state.refinements()

    def maps(self, blurred_NCHW: Tensor, result_NCHW: Tensor, *, medium: Medium) -> Tensor:
        """H^s - H^b of each frame, one value for 8x8 px, float64."""
        judge = self._judge if medium is Medium.PICTURE or self.on_paths is None else self.on_paths.decider
        return judge.maps(blurred_NCHW, result_NCHW)

    def _take(self, steps: _Steps[ProposalT, RefinedT, JudgedT], proposal: ProposalT | None, state: State) -> None:
        """Take a step of one kind in all cells for which it is proposed."""
        if proposal is None:
            return
        refined = steps.refine(proposal, state)
        judged = steps.judge(proposal, refined, state)
        steps.keep(proposal, refined, judged, state)

    def _begun(
        self,
        blurred_NCHW: Tensor,
        result_NCHW: Tensor,
        prepared: Prepared,
        plan: Plan,
        settings: BrmrSettings,
        *,
        along: Along | None,
        medium: Medium,
        previous: Decisions | None,
    ) -> State:
        """The state before the first round: D and its map."""
        consistent_NCHW = None
        # Of the real pairs that are restored along their motion no cell is under a kernel of the bank: the step changed
        # nothing there, and took 0.05 s of a core for a frame of 1280x720.
        if prepared.consistency is not None and self.settings.max_iterations and along is None:
            consistent_NCHW = made_consistent(prepared.consistency, plan.mixtures, result_NCHW)
        state = begun(
            blurred_NCHW,
            result_NCHW,
            prepared,
            plan,
            consistent_NCHW=consistent_NCHW,
            along=along,
            medium=medium,
            previous=previous,
            settings=settings,
        )
        if medium is Medium.VIDEO:
            take_bare_step(state)
            if self.on_paths is not None and along is None:
                state.most = 0  # a video's G_p refines along the motion, and no motion is known here
        if state.most or state.may_turn:  # otherwise no step is judged, and D_i's pass is saved
            state.maps_Nhw = self.maps(blurred_NCHW, result_NCHW, medium=medium)
        return state
