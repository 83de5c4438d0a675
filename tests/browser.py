"""A real browser, without a window: headless Chromium, driven by its command line, or over its debugging pipe."""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# nothing but the page itself: no updates, no profile of this machine's user, no network
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
_CODES = {"Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_PROBE = """
<script>addEventListener("load", () => {
  const found = document.createElement("pre");
  found.id = "probe";
  const pictures = [...document.images];
  const size = document.documentElement;
  found.textContent = JSON.stringify({
    num_pictures: pictures.length,
    num_shown: pictures.filter((one) => one.complete && one.naturalWidth > 0 && one.clientWidth > 8).length,
    num_plots: [...document.querySelectorAll("svg")].filter((one) => one.getBoundingClientRect().height > 40).length,
    too_wide_px: size.scrollWidth - size.clientWidth,
    headings: [...document.querySelectorAll("h1, h2")].map((one) => one.textContent),
    requests: performance.getEntriesByType("resource").map((one) => one.name).filter((one) => !one.startsWith("data:")),
  });
  document.body.append(found);
});</script>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a browser made of a page."""

    num_pictures: int
    num_shown: int
    num_plots: int
    too_wide_px: int  # how far the page must be scrolled sideways
    headings: tuple[str, ...]
    requests: tuple[str, ...]  # of other files
    complaints: tuple[str, ...]  # of the console


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """One thing of a page, as a screen reader is given it."""

    role: str
    name: str
    is_focusable: bool
    value: str  # of a slider, in words


def chromium() -> str:
    """The browser's program; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH")
    return found


def look_at(page: Path, folder: Path, *, width: int = 1280) -> Seen:
    """Open a page; `folder` is for what the browser writes.

    A copy of the page is opened, with a script at its end that counts; its content security policy lets that one in.
    """
    copy = folder / f"probed-{width}.html"
    allowed = page.read_text(encoding="utf-8").replace(
        "default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';"
    )
    copy.write_text(allowed.replace("</body>", _PROBE + "</body>"), encoding="utf-8")
    done = _run(folder, f"--window-size={width},1000", "--virtual-time-budget=5000", "--dump-dom", copy.as_uri())
    told = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told is not None, done.stderr[-2000:]
    facts: dict[str, Any] = json.loads(unescape(told[1]))
    complaints = tuple(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    facts["headings"], facts["requests"] = tuple(facts["headings"]), tuple(facts["requests"])
    return Seen(**facts, complaints=complaints)


def screenshot(page: Path, folder: Path, *, width: int = 1280, height: int = 2000) -> npt.NDArray[np.uint8]:
    """What the page looks like, (height, width, 3) RGB."""
    target = folder / "page.png"
    _run(folder, f"--window-size={width},{height}", f"--screenshot={target}", page.absolute().as_uri())
    picture = cv2.imread(str(target))
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [chromium(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


class Browser:
    """Chromium over its debugging pipe: file descriptors 3 and 4, JSON ended by a zero byte.

    One tab is looked at at a time; `new_tab` opens another beside it.
    """

    def __init__(self, profile: Path) -> None:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        script = f'exec "$@" 3<&{from_us} 4>&{to_us}'
        flags = [*_FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", chromium(), *flags], pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self._out, self._in, self._id = to_browser, os.fdopen(from_browser, "rb"), 0
        self._held = b""
        self._context = self._session = ""

    def begin_anew(self) -> None:
        """Go on in an empty page that knows nothing of the one before."""
        self._session = ""
        if self._context:
            self._ask("Target.disposeBrowserContext", browserContextId=self._context)
        self._context = self._ask("Target.createBrowserContext")["browserContextId"]
        self.new_tab()

    def new_tab(self) -> str:
        """Open a tab and look at it; gives what `look_at_tab` takes."""
        self._session = ""
        target = self._ask("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return self._session

    def look_at_tab(self, tab: str) -> None:
        """Look at a tab."""
        self._session = tab

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
        self._ask("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        self._ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What an expression gives; a promise is waited for."""
        told = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return told["result"].get("value")

    def heard(self) -> list[Heard]:
        """What a screen reader is given of the page, in its order."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            if not node["ignored"]:
                told = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
                found.append(
                    Heard(
                        role=node["role"]["value"], name=node.get("name", {}).get("value", "").strip(),
                        is_focusable=bool(told.get("focusable")), value=str(told.get("valuetext") or ""),
                    )
                )  # fmt: skip
        return found

    def wait(self, expression: str, *, patience_s: float = 30) -> None:
        until_s = time.monotonic() + patience_s
        while not self.value(expression):
            assert time.monotonic() < until_s, f"never true: {expression}; {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def tap(self, selector: str) -> None:
        """A finger in the middle of an element, which must be on the screen and under nothing else."""
        x, y, is_top = self.value(
            f"(() => {{ const e = document.querySelector('{selector}'), r = e.getBoundingClientRect();"
            " const x = r.x + r.width / 2, y = r.y + r.height / 2;"
            " return [x, y, e.contains(document.elementFromPoint(x, y))]; })()"
        )
        assert is_top, selector
        self._ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self._ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"windowsVirtualKeyCode": _CODES[key], "code": key} if key in _CODES else {}
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def tap_at(self, selector: str, across: float, down: float = 0.5) -> None:
        """A mouse's click at a place within an element, as shares of its size."""
        x, y = self._place(selector, across, down)
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, selector: str, start: float, end: float, *, finger: bool = False) -> None:
        """Draw a mouse or a finger across an element, from and to shares of its width."""
        (x, y), (end_x, _) = self._place(selector, start, 0.5), self._place(selector, end, 0.5)
        steps = [x + (end_x - x) * n / 5 for n in range(1, 6)]
        if finger:
            self._ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            for at in steps:
                self._ask("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": at, "y": y}])
            self._ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        self._ask("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for at in steps:
            self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=at, y=y, button="left")
        self._ask("Input.dispatchMouseEvent", type="mouseReleased", x=end_x, y=y, button="left", clickCount=1)

    def drop(self, selector: str, *paths: Path) -> None:
        """Let files fall onto an element, as from a file manager."""
        x, y = self._place(selector, 0.5, 0.5)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, selector: str, *paths: Path) -> None:
        """Choose files in a file field."""
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._ask("DOM.setFileInputFiles", files=[str(path) for path in paths], nodeId=node)

    def dress(self, scheme: str) -> None:
        """Make the system's colours "light" or "dark"."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, *, whole: bool = False) -> bytes:
        """What is on the screen, or the whole page, as PNG."""
        told = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(told["data"])

    def _place(self, selector: str, across: float, down: float) -> tuple[float, float]:
        x, y = self.value(
            f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}});"
            f" const r = e.getBoundingClientRect(); return [r.x + {across} * r.width, r.y + {down} * r.height]; }})()"
        )
        return x, y

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._out)
        self._in.close()
