"""A real browser, without a window: headless Chromium, driven by its command line alone."""

import json
import re
import shutil
import subprocess
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
