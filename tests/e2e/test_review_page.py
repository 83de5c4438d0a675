"""The review page in headless Chromium, by keyboard alone, on a desktop's and a phone's screen."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import cv2

from concertdeblur.dataset.reviews import Review, read_reviews
from concertdeblur.dataset.shot_types import ShotType
from tests.unit.test_review_server import Page, make_dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


class Browser:
    """Chromium over its debugging pipe: file descriptors 3 and 4, JSON ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        script = f'exec "$@" 3<&{from_us} 4>&{to_us}'
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(CHROMIUM), *flags], pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self._out, self._in, self._id = to_browser, os.fdopen(from_browser, "rb"), 0
        self._held = b""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    _session: str | None = None

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                data = os.read(self._in.fileno(), 65536)
                assert data, "chromium has ended"
                self._held += data
            told, _, self._held = self._held.partition(b"\0")
            answer = json.loads(told)
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str, size: tuple[int, int]) -> None:
        width, height = size
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        return self._ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        until_s = time.monotonic() + 30
        while not self.value(expression):
            assert time.monotonic() < until_s, f"never true: {expression}; {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._out)
        self._in.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    running = Browser(tmp_path / "profile")
    yield running
    running.close()


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
