"""The review page in headless Chromium, by keyboard alone, on a desktop's and a phone's screen."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import cv2

from concertdeblur.dataset.frames import FrameRecord, write_frames
from concertdeblur.dataset.reviews import Review, read_reviews
from concertdeblur.dataset.shot_types import ShotType
from tests.browser import Browser
from tests.unit.dataset.test_review_server import Page, make_dataset

_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.mark.parametrize("screen", sorted(_SIZES))
def test_frames_are_reviewed_by_keyboard(tmp_path: Path, browser: Browser, screen: str) -> None:
    (tmp_path / "set").mkdir()
    dataset = make_dataset(tmp_path / "set")
    for name in ("a", "b"):
        cv2.imwrite(str(dataset / "frames" / f"{name}.jpg"), np.full((90, 160, 3), 90, np.uint8))
    page = Page(dataset)
    try:
        browser.open(page.address, _SIZES[screen])
        browser.wait("document.querySelectorAll('#types button').length === 8")
        browser.wait("document.getElementById('picture').naturalWidth === 160")
        assert browser.value("document.documentElement.scrollWidth") <= _SIZES[screen][0]
        drop_end = browser.value("document.getElementById('drop').getBoundingClientRect().bottom")
        assert drop_end <= _SIZES[screen][1], "the buttons are on the screen"
        browser.press("5")
        browser.wait("document.getElementById('count').textContent.startsWith('1 of 2')")
        assert read_reviews(dataset) == {"a": Review(keep=True, shot_type=ShotType.LS)}
        browser.press("x")
        browser.wait("document.getElementById('count').textContent.startsWith('2 of 2')")
        assert read_reviews(dataset)["b"] == Review(keep=False)
        browser.press("u")
        browser.wait("document.getElementById('count').textContent.startsWith('1 of 2')")
        assert list(read_reviews(dataset)) == ["a"]
        browser.press("Enter")
        browser.wait("document.getElementById('count').textContent.startsWith('2 of 2')")
        assert read_reviews(dataset)["b"] == Review(keep=True)
    finally:
        page.close()


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Page]:
    """Six frames: four with suggestions of several confidences, two without."""
    dataset = tmp_path / "many"
    (dataset / "frames").mkdir(parents=True)
    told = (("CU", 0.9), ("LS", 0.6), ("unknown", 0.0), ("LS", 0.4), ("MCU", 0.2), ("unknown", 0.0))
    records = []
    for number, (shot_type, confidence) in enumerate(told):
        cv2.imwrite(str(dataset / "frames" / f"f{number}.png"), np.full((90, 160, 3), 40 * number, np.uint8))
        records.append(
            FrameRecord(
                frame_id=f"f{number}", source="gig", timestamp_s=float(number), sharpness=1.0,
                picture=f"frames/f{number}.png", shot_type=shot_type, confidence=confidence,
            )
        )  # fmt: skip
    write_frames(dataset, records)
    page = Page(dataset)
    yield page
    page.close()


_AT = "new URL(document.getElementById('picture').src).searchParams.get('frame_id')"
_PLACE = "document.getElementById('place').textContent"


def _opened(browser: Browser, page: Page, screen: str) -> None:
    browser.open(page.address, _SIZES[screen])
    browser.wait("document.querySelectorAll('#types button').length === 8")
    browser.wait(f"{_PLACE} === '1 / 6'")


def test_arrows_go_from_frame_to_frame_and_stop_at_the_ends(many: Page, browser: Browser) -> None:
    _opened(browser, many, "desktop")
    for key, place in (("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        browser.press(key)
        browser.wait(f"{_AT} === 'f{place}'")
        assert browser.value(_PLACE) == f"{place + 1} / 6"
    for _ in range(8):
        browser.press("ArrowRight")
    browser.wait(f"{_PLACE} === '6 / 6'")
    assert read_reviews(many.dataset) == {}, "looking decides nothing"


@pytest.mark.parametrize("screen", sorted(_SIZES))
def test_frames_are_filtered_by_type_confidence_and_review(many: Page, browser: Browser, screen: str) -> None:
    _opened(browser, many, screen)

    def choose(name: str, value: str) -> None:
        change = f"e.value = '{value}'; e.dispatchEvent(new Event('change'));"
        browser.value(f"(e => {{ {change} }})(document.getElementById('{name}'))")

    choose("by-type", "LS")
    browser.wait(f"{_PLACE} === '1 / 2' && {_AT} === 'f1'")
    choose("by-confidence", "0.5")
    browser.wait(f"{_PLACE} === '1 / 1' && {_AT} === 'f3'")
    choose("by-type", "")
    browser.wait(f"{_PLACE} === '1 / 4' && {_AT} === 'f2'")
    choose("by-type", "ADS")
    browser.wait("document.getElementById('suggestion').textContent === 'No frame fits the filter.'")
    assert browser.value("document.getElementById('keep').disabled")
    choose("by-type", "unknown")
    browser.wait(f"{_PLACE} === '1 / 2' && {_AT} === 'f2'")
    browser.value("document.getElementById('by-open').click()")
    browser.press("8")
    browser.wait(f"{_AT} === 'f5'")
    assert read_reviews(many.dataset) == {"f2": Review(keep=True, shot_type=ShotType.MIS)}
    choose("by-confidence", "1")
    choose("by-type", "")
    browser.wait(f"{_PLACE} === '1 / 5'")
    assert browser.value(_AT) == "f0"


def test_the_filter_is_reached_and_changed_by_keyboard_alone(many: Page, browser: Browser) -> None:
    _opened(browser, many, "desktop")
    browser.press("Tab")
    browser.wait("document.activeElement.id === 'by-type'")
    browser.press("u")  # types the beginning of 'unknown', and does not undo
    browser.wait(f"{_PLACE} === '1 / 2' && {_AT} === 'f2'")
    browser.press("Tab")
    browser.press("Tab")
    browser.wait("document.activeElement.id === 'by-open'")
    browser.press("7")
    browser.wait("document.getElementById('count').textContent.startsWith('1 of 6')")
    assert read_reviews(many.dataset) == {"f2": Review(keep=True, shot_type=ShotType.ADS)}


def test_fingers_do_on_a_phone_what_keys_do(many: Page, browser: Browser) -> None:
    _opened(browser, many, "phone")
    width, height = _SIZES["phone"]
    boxes = browser.value(
        "[...document.querySelectorAll('button, select')].map(e => e.getBoundingClientRect())"
        ".map(r => [r.left, r.top, r.right, r.bottom])"
    )
    for left, top, right, bottom in boxes:
        assert left >= 0
        assert right <= width
        assert bottom <= height, "everything is on the screen at once"
        assert bottom - top >= 44, "and large enough for a finger"
    browser.tap("#types button:nth-child(2)")
    browser.wait("document.getElementById('count').textContent.startsWith('1 of 6')")
    browser.tap("#drop")
    browser.wait("document.getElementById('count').textContent.startsWith('2 of 6')")
    browser.tap("#undo")
    browser.wait("document.getElementById('count').textContent.startsWith('1 of 6')")
    browser.tap("#next")
    browser.wait(f"{_AT} === 'f2'")
    browser.tap("#back")
    browser.wait(f"{_AT} === 'f1'")
    browser.tap("#keep")
    browser.wait("document.getElementById('count').textContent.startsWith('2 of 6')")
    expected = {"f0": Review(keep=True, shot_type=ShotType.MCU), "f1": Review(keep=True, shot_type=ShotType.LS)}
    assert read_reviews(many.dataset) == expected
