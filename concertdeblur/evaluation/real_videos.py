"""Measures real pairs as videos: every frame of a sequence is deblurred as `video` does it, and compared."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import SourceError
from concertdeblur.evaluation.clips import BLOCK_FRAMES
from concertdeblur.evaluation.contenders import WeightSet
from concertdeblur.evaluation.exhibits import Exhibit, Look, show_frame
from concertdeblur.evaluation.frame_spool import FrameSpool
from concertdeblur.evaluation.metrics import Warp, as_float, warp
from concertdeblur.evaluation.stages import Stages, Step
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.evaluation.video_contenders import VideoContender, still_blurred
from concertdeblur.media.sequences import FramePair, Sequence
from concertdeblur.psnr import psnr_db

GIVEN, IGAN, BRMR = "blurred", "igan", "brmr"  # keys of our own columns
LEAST_FRAMES = 2  # warping errors are between frames
_HEAT_FRAMES = 2  # frames before and after one whose heatmap is shown, since its result depends on them


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstFrame:
    """The frame with the least gain over the input."""

    sequence: str
    frame: int  # from 0
    gain_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFigures:
    """One contender's figures on one sequence, or their means over the sequences."""

    psnr_db: Estimate
    gain_db: Estimate  # over the input
    worst: WorstFrame
    warping_ratio: float  # its warping error over the input's; both are measured along the motion of the sharp frames
    seconds: float  # seconds of a frame, with decoding


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoRefining:
    """What BRMR added to its own iGAN."""

    windows_tried: int
    windows_kept: int
    kept_share: float | None  # of the windows tried; None: none was tried
    gain_db: Estimate  # gain over all frames
    num_frames: int
    num_kept_frames: int  # frames with a step that was kept
    kept_gain_db: Estimate | None  # gain over those frames; None: there are none
    worst_db: float  # least gain of all frames


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameFigures:
    """One frame."""

    psnr_db: Mapping[str, float]  # by the contender's key; "blurred" is the input
    windows_tried: int
    windows_kept: int

    def gain_db(self, key: str, over: str = GIVEN) -> float:
        """How much better one is than another."""
        return self.psnr_db[key] - self.psnr_db[over]


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceReport:
    """One sequence."""

    name: str
    height: int
    width: int
    num_frames: int
    blurred_db: Estimate
    blurred_error: float  # warping error, mean square of RGB in [0, 1]
    sharp_error: float
    figures: Mapping[str, VideoFigures]  # by the contender's key
    refining: VideoRefining
    frames: tuple[FrameFigures, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RealReport:
    """All sequences; in the means each sequence counts the same."""

    columns: Mapping[str, str]  # key -> label
    sequences: tuple[SequenceReport, ...]
    blurred_db: Estimate
    figures: Mapping[str, VideoFigures]
    refining: VideoRefining  # over the frames of all sequences


@dataclass(kw_only=True, slots=True)
class _Seen:
    """The results of comparing one sequence, so far."""

    frames: list[FrameFigures] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=dict)
    worst: Look | None = None
    best: Look | None = None


@dataclass(kw_only=True, slots=True)
class RealVideoJudge:
    """Measures sequences.

    Args:
        weights: The weight set; its two columns are among `contenders`.
        contenders: The columns; their keys differ.
        seed: Seed of the bootstrap.
        stages: Called after every frame.
        most_frames: Most frames of a sequence; None: all.
        on_warning: Called for each sequence that is left out.
    """

    weights: WeightSet
    contenders: tuple[VideoContender, ...]
    seed: int
    stages: Stages
    most_frames: int | None = None
    on_warning: Callable[[str], None] = lambda _message: None
    exhibits: dict[str, tuple[Exhibit, Exhibit]] = field(default_factory=dict)  # worst and best frame, by sequence
    sha256: str = ""  # over names and pixels
    _ready: set[tuple[str, int, int]] = field(default_factory=set)  # (contender, height, width) that was run once

    def check(self, sequences: list[Sequence]) -> list[tuple[Sequence, int]]:
        """Read everything once and count frames, so that a bad sequence fails before the long work.

        Returns:
            The sequences that can be measured, with their numbers of frames; single frames are left out.

        Raises:
            SourceError: If nothing is left, or a sequence cannot be read.
        """
        digest = hashlib.sha256()
        found: list[tuple[Sequence, int]] = []
        step = self.stages.begin("check real clips", len(sequences), "clips")
        for sequence in sequences:
            digest_with_it, count = digest.copy(), 0
            digest_with_it.update(sequence.name.encode())
            for pair in sequence.frames(self.most_frames):
                for picture in (pair.blurred_picture(), pair.sharp):
                    digest_with_it.update(np.ascontiguousarray(picture).data)  # decoders pad rows to multiples of 16
                count += 1
            if count >= LEAST_FRAMES:
                digest = digest_with_it
                found.append((sequence, count))
            else:
                self.on_warning(
                    f"{sequence.name}: left out, since a video has {LEAST_FRAMES} frames at least, but it has {count}"
                )
            step({})
        if not found:
            raise SourceError(
                f"none of the real pairs has {LEAST_FRAMES} frames that follow each other, as a video has them; number"
                " the frames of a folder without gaps, or name a folder of longer clips"
            )
        self.sha256 = digest.hexdigest()
        return found

    def judge(self, sequences: list[Sequence]) -> RealReport:
        """Deblur and compare all sequences, at least one."""
        found = [self._judge(sequence, count) for sequence, count in self.check(sequences)]
        return RealReport(
            columns={contender.key: contender.label for contender in self.contenders},
            sequences=tuple(found),
            blurred_db=_mean([one.blurred_db for one in found], found, self.seed),
            figures={contender.key: _means(found, contender.key, self.seed) for contender in self.contenders},
            refining=_refining([(one.name, one.frames) for one in found], self.seed),
        )

    def _judge(self, sequence: Sequence, count: int) -> SequenceReport:
        """Measure a sequence: each contender deblurs it alone, so that it can be timed; then results are compared."""
        with ExitStack() as stack:
            spools = {one.key: stack.enter_context(FrameSpool()) for one in self.contenders}
            step = self.stages.begin(f"deblur {sequence.name}", count * len(self.contenders), "frames")
            seconds, windows = {}, {}
            for contender in self.contenders:
                self._get_ready(contender, sequence)
                begun_s = time.perf_counter()
                windows[contender.key] = self._deblur(contender, sequence, spools[contender.key], step)
                seconds[contender.key] = (time.perf_counter() - begun_s) / count
            step = self.stages.begin(f"compare {sequence.name}", count, "frames")
            seen = self._compared(sequence, spools, windows[BRMR], step)
        self._show(sequence, seen)
        return self._report(sequence, seen, seconds)

    def _get_ready(self, contender: VideoContender, sequence: Sequence) -> None:
        """Run a contender once at a size, since the first use compiles, and that is no part of the speed."""
        frames = list(sequence.blurred_frames(LEAST_FRAMES))
        assert frames[0].pixels is not None
        height, width = frames[0].pixels.shape[:2]
        if (contender.key, height, width) not in self._ready:
            list(contender.deblur(frames))
            self._ready.add((contender.key, height, width))

    def _deblur(
        self, contender: VideoContender, sequence: Sequence, spool: FrameSpool, step: Step
    ) -> list[tuple[int, int]]:
        """Deblur the frames and put them aside; returns the windows tried and kept in each."""
        windows = []
        for made in contender.deblur(sequence.blurred_frames(self.most_frames)):
            spool.add(made.pixels)
            windows.append((made.windows_tried, made.windows_kept))
            step({"contender": contender.label})
        return windows

    def _compared(
        self, sequence: Sequence, spools: Mapping[str, FrameSpool], windows: list[tuple[int, int]], step: Step
    ) -> _Seen:
        seen = _Seen(errors={key: [] for key in (GIVEN, "sharp", *spools)})
        before: dict[str, Picture] | None = None
        for number, (pair, versions) in enumerate(self._versions(sequence, spools)):
            tried, kept = windows[number]
            given = {key: picture for key, picture in versions.items() if key != "sharp"}
            psnrs = {key: psnr_db(picture, pair.sharp, full_scale=255) for key, picture in given.items()}
            figures = FrameFigures(psnr_db=psnrs, windows_tried=tried, windows_kept=kept)
            seen.frames.append(figures)
            if before is not None:
                moved = warp(as_float(before["sharp"]), as_float(pair.sharp))
                _add_errors(seen.errors, moved, before, versions)
            gain_db = figures.gain_db(BRMR)
            look = Look(number=number, gain_db=gain_db, pictures=versions, psnr_db=psnrs, windows=(tried, kept))
            seen.worst = look if seen.worst is None or gain_db < seen.worst.gain_db else seen.worst
            seen.best = look if seen.best is None or gain_db > seen.best.gain_db else seen.best
            before = versions
            step({"gain": f"{np.mean([frame.gain_db(BRMR) for frame in seen.frames]):+.2f} dB"})
        return seen

    def _versions(
        self, sequence: Sequence, spools: Mapping[str, FrameSpool]
    ) -> Iterator[tuple[FramePair, dict[str, Picture]]]:
        """Each frame as it was given, as each contender made it, and sharp."""
        mades = [spool.frames() for spool in spools.values()]
        for pair, *made in zip(sequence.frames(self.most_frames), *mades, strict=True):
            yield pair, {GIVEN: pair.blurred_picture(), **dict(zip(spools, made, strict=True)), "sharp": pair.sharp}

    def _report(self, sequence: Sequence, seen: _Seen, seconds: Mapping[str, float]) -> SequenceReport:
        groups = _blocks(len(seen.frames))
        errors = {key: float(np.mean(some)) if some else 0.0 for key, some in seen.errors.items()}

        def mean(values: list[float]) -> Estimate:
            return estimate(values, groups, seed=self.seed)

        figures = {}
        for key in (contender.key for contender in self.contenders):
            gains = [frame.gain_db(key) for frame in seen.frames]
            worst = int(np.argmin(gains))
            figures[key] = VideoFigures(
                psnr_db=mean([frame.psnr_db[key] for frame in seen.frames]),
                gain_db=mean(gains),
                worst=WorstFrame(sequence=sequence.name, frame=worst, gain_db=gains[worst]),
                warping_ratio=errors[key] / max(errors[GIVEN], 1e-9),
                seconds=seconds[key],
            )
        assert seen.worst is not None
        height, width = seen.worst.pictures[GIVEN].shape[:2]
        return SequenceReport(
            name=sequence.name, height=height, width=width, num_frames=len(seen.frames),
            blurred_db=mean([frame.psnr_db[GIVEN] for frame in seen.frames]),
            blurred_error=errors[GIVEN], sharp_error=errors["sharp"], figures=figures,
            refining=_refining([(sequence.name, tuple(seen.frames))], self.seed), frames=tuple(seen.frames),
        )  # fmt: skip

    def _show(self, sequence: Sequence, seen: _Seen) -> None:
        """Draw the worst and the best frame."""
        assert seen.worst is not None
        assert seen.best is not None
        labels = {GIVEN: "blurred", **{one.key: one.label for one in self.contenders}, "sharp": "sharp"}
        exhibits = []
        for name, look in (("Worst", seen.worst), ("Best", seen.best)):
            first = max(0, look.number - _HEAT_FRAMES)
            frames = islice(sequence.blurred_frames(self.most_frames), first, look.number + _HEAT_FRAMES + 1)
            heatmap = still_blurred(self.weights.deblurrer(), frames, look.number - first)
            title = f"{sequence.name}, {name.lower()} frame: number {look.number}, {look.gain_db:+.2f} dB"
            exhibits.append(show_frame(title, look, labels, heatmap, of=BRMR))
        self.exhibits[sequence.name] = (exhibits[0], exhibits[1])


def _add_errors(
    errors: dict[str, list[float]], moved: Warp, before: Mapping[str, Picture], now: Mapping[str, Picture]
) -> None:
    for key, some in errors.items():
        error = moved.error(as_float(before[key]), as_float(now[key]))
        if error is not None:
            some.append(error)


def _blocks(num_frames: int, name: str = "") -> list[str]:
    """The groups that are resampled: neighbouring frames have the same motion."""
    return [f"{name} {number // BLOCK_FRAMES}" for number in range(num_frames)]


def _refining(sequences: list[tuple[str, tuple[FrameFigures, ...]]], seed: int) -> VideoRefining:
    frames = [frame for _, some in sequences for frame in some]
    groups = [group for name, some in sequences for group in _blocks(len(some), name)]
    gains = [frame.gain_db(BRMR, IGAN) for frame in frames]
    kept = [(gain, group) for gain, group, frame in zip(gains, groups, frames, strict=True) if frame.windows_kept]
    num_tried, num_kept = sum(frame.windows_tried for frame in frames), sum(frame.windows_kept for frame in frames)
    kept_gain_db = estimate([gain for gain, _ in kept], [group for _, group in kept], seed=seed) if kept else None
    return VideoRefining(
        windows_tried=num_tried, windows_kept=num_kept, kept_share=num_kept / num_tried if num_tried else None,
        gain_db=estimate(gains, groups, seed=seed), num_frames=len(frames), num_kept_frames=len(kept),
        kept_gain_db=kept_gain_db, worst_db=min(gains),
    )  # fmt: skip


def _mean(of: list[Estimate], sequences: list[SequenceReport], seed: int) -> Estimate:
    return estimate([one.mean for one in of], [sequence.name for sequence in sequences], seed=seed)


def _means(sequences: list[SequenceReport], key: str, seed: int) -> VideoFigures:
    figures = [sequence.figures[key] for sequence in sequences]
    return VideoFigures(
        psnr_db=_mean([one.psnr_db for one in figures], sequences, seed),
        gain_db=_mean([one.gain_db for one in figures], sequences, seed),
        worst=min((one.worst for one in figures), key=lambda worst: worst.gain_db),
        warping_ratio=float(np.mean([one.warping_ratio for one in figures])),
        seconds=float(np.mean([one.seconds for one in figures])),
    )
