"""Cuts, dissolves, flashes and pans."""

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np
import pytest

from concertdeblur.dataset.shots import SMALL_HW, Mark, SceneDetectCuts, ShotSplitter
from tests.concert_clips import Picture, Shot, dissolve

pytest.importorskip("scenedetect", reason="the extra 'dataset' is not installed")
RATE = Fraction(25)


def marks_of(frames: Sequence[Picture]) -> list[Mark]:
    splitter = ShotSplitter(SceneDetectCuts(RATE), RATE)
    marks: list[Mark] = []
    for frame in frames:
        small = cv2.resize(frame, SMALL_HW[::-1], interpolation=cv2.INTER_AREA)
        marks += splitter.push(np.asarray(small[..., ::-1], dtype=np.uint8))
    return [*marks, *splitter.finish()]


def test_every_frame_gets_one_mark_in_order() -> None:
    frames = list(Shot(num_frames=40).frames())
    assert [mark.number for mark in marks_of(frames)] == list(range(40))
    assert marks_of([]) == []
    assert [mark.begins_shot for mark in marks_of(frames[:1])] == [True]


def test_cuts_are_found() -> None:
    shots = [Shot(photo=name, num_frames=30) for name in ("astronaut", "coffee", "rocket")]
    marks = marks_of([frame for shot in shots for frame in shot.frames()])
    assert [mark.number for mark in marks if mark.begins_shot] == [0, 30, 60]
    assert not any(mark.is_mixed for mark in marks)


@pytest.mark.parametrize("length", [10, 24])
def test_frames_in_a_dissolve_are_named(length: int) -> None:
    marks = marks_of(dissolve("astronaut", "coffee", length=length))
    mixed = [mark.number for mark in marks if mark.is_mixed]
    middle = set(range(30 + length // 4, 30 + length - length // 4))
    assert len(middle & set(mixed)) > len(middle) // 2
    assert min(mixed) > 10
    assert max(mixed) < 30 + length + 20


@pytest.mark.parametrize("photo", ["astronaut", "coffee", "rocket"])
def test_a_pan_is_no_dissolve_and_has_no_cut(photo: str) -> None:
    marks = marks_of(list(Shot(photo=photo, num_frames=70).frames()))
    assert sum(mark.begins_shot for mark in marks) == 1
    assert not any(mark.is_mixed for mark in marks)


def test_a_strobe_is_no_dissolve() -> None:
    marks = marks_of(list(Shot(num_frames=60, light=lambda n: 1.0 if n // 3 % 2 else 0.45).frames()))
    assert not any(mark.is_mixed for mark in marks)


def test_a_lamp_that_fades_is_no_dissolve() -> None:
    marks = marks_of(list(Shot(num_frames=60, light=lambda n: 1 - n / 80).frames()))
    assert not any(mark.is_mixed for mark in marks)
