"""Measures everything of pictures; it tells its progress, and can be stopped."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.stream_speed import NUM_FRAMES, NUM_TIMED, frame_seconds
from concertdeblur.errors import DatasetError, TrainingError
from concertdeblur.evaluation import detection, exhibits, generated_clips
from concertdeblur.evaluation.contenders import Contender, WeightSet
from concertdeblur.evaluation.detection import DetectionReport, Trial
from concertdeblur.evaluation.generated_clips import ClipFigures, ClipsReport
from concertdeblur.evaluation.metrics import as_float, ssim
from concertdeblur.evaluation.page import Shown
from concertdeblur.evaluation.pairs import CAPTURE, SIDE_PX, EvaluationData, EvaluationPair, centre_of
from concertdeblur.evaluation.refining import Refining, RefiningReport, follow, summarise
from concertdeblur.evaluation.report import Fidelity
from concertdeblur.evaluation.stages import Stages, Step
from concertdeblur.evaluation.statistics import estimate
from concertdeblur.evaluation.tables import Figures, Scored, Speed
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.pictures import SkippedPicture, read_picture, skipped_text

_NUM_PANS, _NUM_SHAKEN = 6, 6  # number of pictures from which clips are made
_FRAME_HW = (720, 1280)


@dataclass(kw_only=True, slots=True)
class Judge:
    """One evaluation: its data, its weight set, and the results so far.

    Args:
        data: The pairs; `check` leaves out those that cannot be read.
        weights: The weight set.
        level: Level of the seven kernels.
        seed: All random choices follow it.
        stages: Called after every picture and frame.
        on_warning: Called with a sentence on what is left out.
    """

    data: EvaluationData
    weights: WeightSet
    level: float
    seed: int
    stages: Stages
    on_warning: Callable[[str], None] = lambda _message: None
    refinings: list[Refining] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)  # trials of blur detection on the grid
    data_sha256: str = ""

    def check(self) -> None:
        """Read every pair once, before the long work; what cannot be read, or is too small, is left out.

        Raises:
            DatasetError: If the halves of a pair differ in size, or nothing is left.
        """
        step = self.stages.begin("check pictures", len(self.data.pairs), "pairs")
        skipped: dict[str, SkippedPicture] = {}
        for pair in self.data.pairs:
            try:
                if pair.blurred is not None:
                    pair.read()
                elif pair.kernel == CAPTURE:
                    read_picture(pair.sharp, SIDE_PX)
            except TrainingError as error:
                reason = str(error).removeprefix(f"{pair.sharp}: ").removeprefix(f"{pair.blurred}: ")
                skipped[_file_of(pair)] = SkippedPicture(name=_file_of(pair), reason=reason)
            step({})
        if skipped:
            told = skipped_text(list(skipped.values()), len({_file_of(pair) for pair in self.data.pairs}))
            kept = tuple(pair for pair in self.data.pairs if _file_of(pair) not in skipped)
            if not kept:
                raise DatasetError(f"no picture can be measured; {told}")
            self.on_warning(told)
            self.data = replace(self.data, pairs=kept)

    def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Run everything once, since the first use compiles, and that is no part of the speed."""
        followed = range(1, self.weights.max_iterations)
        step = self.stages.begin("get ready", len(contenders) + len(followed), "networks")
        blurred, sharp = (as_float(picture) for picture in self.data.pairs[0].read())
        ssim(blurred, sharp)  # if its package is missing, this fails now and not after the work
        for contender in contenders:
            contender.restore(blurred)
            step({})
        for rounds in followed:
            self.weights.refine(blurred, rounds)
            step({})

    def score(self, contenders: Sequence[Contender]) -> list[Scored]:
        """Every contender on every pair."""
        digest = hashlib.sha256()
        scored: list[Scored] = []
        step = self.stages.begin("deblur pairs", len(self.data.pairs), "pairs")
        for pair in self.data.pairs:
            blurred_u8, sharp_u8 = pair.read()
            digest.update(pair.name.encode() + blurred_u8.tobytes() + sharp_u8.tobytes())
            blurred, sharp = as_float(blurred_u8), as_float(sharp_u8)
            made, figures = {}, {}
            for contender in contenders:
                begun_s = time.perf_counter()
                restored = made[contender.key] = contender.restore(blurred)
                seconds = time.perf_counter() - begun_s
                figures[contender.key] = Figures(
                    psnr_db=psnr_db(restored.pixels, sharp), ssim=ssim(restored.pixels, sharp), seconds=seconds
                )
            self.refinings.append(follow(self.weights, blurred, sharp, made["igan"].pixels, made["brmr"]))
            scored.append(Scored(pair=pair, figures=figures))
            gains = [one.figures["brmr"].psnr_db - one.figures["blurred"].psnr_db for one in scored]
            step({"gain": f"{np.mean(gains):+.2f} dB"})
        self.data_sha256 = digest.hexdigest()
        return scored

    def refining(self) -> RefiningReport:
        """BRMR's own figures: over the seven kernels; over all pairs if there are none."""
        seen = list(zip(self.refinings, self.data.pairs, strict=True))
        seen = [(one, pair) for one, pair in seen if pair.is_of_the_seven] or seen
        found, groups = [one for one, _ in seen], [pair.group for _, pair in seen]
        return summarise(found, groups, max_iterations=self.weights.max_iterations, seed=self.seed)

    def fidelity(self) -> Fidelity:
        """What becomes of sharp pictures."""
        pairs = self.data.sharp
        step = self.stages.begin("deblur sharp pictures", len(pairs), "pictures")
        found: list[float] = []
        for pair in pairs:
            sharp = as_float(pair.read()[1])
            found.append(psnr_db(self.weights.refine(sharp).pixels, sharp))
            step({})
        worst = int(np.argmin(found))
        return Fidelity(
            psnr_db=estimate(found, [pair.group for pair in pairs], seed=self.seed),
            worst_db=found[worst],
            worst_picture=pairs[worst].picture,
        )

    def detection(self) -> DetectionReport | None:
        """Blur detection on the middle of every sharp picture; None if all are too small."""
        pairs = self.data.sharp
        step = self.stages.begin("detect blur", len(pairs), "pictures")
        anywhere: list[Trial] = []
        for number, pair in enumerate(pairs):
            sharp = centre_of(pair.read()[1], SIDE_PX)
            if sharp is not None:
                rng = np.random.default_rng([self.seed, number])
                found = detection.trials_of(self.weights, sharp, pair=pair, level=self.level, rng=rng)
                self.trials += found["grid"]
                anywhere += found["anywhere"]
            step({"IoU": float(np.mean([trial.iou for trial in self.trials]))} if self.trials else {})
        if not self.trials:
            return None
        return detection.summarise(self.trials, anywhere, level=self.level, seed=self.seed)

    def steadiness(self) -> ClipsReport | None:
        """Clips that pan over some of the sharp pictures; None if all are too small."""
        chosen = self._some_sharp(_NUM_PANS)
        step = self.stages.begin("deblur clips", len(chosen) * generated_clips.NUM_FRAMES, "frames")
        clips = []
        for number, pair in enumerate(chosen):
            sharp = generated_clips.pan(_whole(pair))
            if sharp is None:
                continue
            kernel = generated_clips.KERNELS[number % len(generated_clips.KERNELS)]
            blurred = generated_clips.blurred_and_grainy(sharp, kernel, self.level, self.seed)
            clips.append(self._clip(sharp, blurred, pair, step))
        return generated_clips.summarise(clips, seed=self.seed) if clips else None

    def shaking(self) -> dict[str, ClipsReport]:
        """Clips of a camera that shakes before some of the sharp pictures, by its speed in px a frame."""
        chosen, speeds = self._some_sharp(_NUM_SHAKEN), generated_clips.SPEEDS_PX
        step = self.stages.begin("deblur shaky clips", len(chosen) * len(speeds) * generated_clips.NUM_FRAMES, "frames")
        found: dict[str, list[ClipFigures]] = {}
        for number, pair in enumerate(chosen):
            for speed_px, clip in generated_clips.shaken(_whole(pair), speeds, self.seed + number).items():
                found.setdefault(f"{speed_px}", []).append(self._clip(*clip, pair, step))
        return {speed: generated_clips.summarise(clips, seed=self.seed) for speed, clips in found.items()}

    def _some_sharp(self, num: int) -> Sequence[EvaluationPair]:
        pairs = self.data.sharp
        return [pairs[i * len(pairs) // num] for i in range(num)] if len(pairs) > num else pairs

    def _clip(self, sharp: list[Picture], blurred: list[Picture], pair: EvaluationPair, step: Step) -> ClipFigures:
        deblurrer = self.weights.deblurrer()
        return generated_clips.judge_clip(deblurrer, sharp, blurred, group=pair.group, on_frame=lambda: step({}))

    def frame_speed(self) -> Speed:
        """Seconds for a 720p frame of a video, with refining, once the stream is under way.

        A picture is repeated to fill the frames.
        """
        step = self.stages.begin("time 720p frames", NUM_FRAMES, "frames")
        tile = self.data.pairs[0].read()[0]
        repeats = [-(-want // have) for want, have in zip(_FRAME_HW, tile.shape[:2], strict=True)]
        still = np.ascontiguousarray(np.tile(tile, (*repeats, 1))[: _FRAME_HW[0], : _FRAME_HW[1]])
        seconds = frame_seconds(self.weights.deblurrer(), still, on_frame=lambda: step({}))
        names = [str(number) for number in range(NUM_TIMED)]
        label = f"{_FRAME_HW[1]}x{_FRAME_HW[0]} frame, adversarial BRMR as in videos"
        return Speed(label=label, seconds=estimate(seconds, names, seed=self.seed))

    def exhibits(self, scored: Sequence[Scored], contenders: Sequence[Contender]) -> Shown:
        """The pictures of the page."""
        chosen = exhibits.choose(scored)
        step = self.stages.begin("draw pictures", len(chosen) + 1, "pictures")
        shown = []
        for one in chosen:
            shown.append(exhibits.show(one, contenders, self.weights))
            step({})
        detected = exhibits.show_detection(self.trials, self.weights, self.level)
        step({})
        gains = tuple(one.gain_db for one in self.refinings if one.step_gains_db)
        return Shown(pairs=tuple(shown), detection=detected, refining_gains_db=gains)


def _file_of(pair: EvaluationPair) -> str:
    """What cannot be used if the pair cannot: its blurred picture, or the one that all its kernels blur."""
    return pair.picture if pair.blurred is None else pair.name


def _whole(pair: EvaluationPair) -> Picture:
    return read_picture(pair.sharp, 1) if pair.blurred is None else pair.read()[1]
