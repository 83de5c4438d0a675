"""The pictures of docs/studio.md: every step of the studio with the generated sample clip, in headless Chromium.

`python -m docs.studio_pictures`, in the checkout, with the extras `studio` and `dev`, and with Chromium on PATH. It
takes some minutes, and writes `docs/studio_*.png`.
"""

import io
import tempfile
import time
from pathlib import Path

from PIL import Image

from concertdeblur.sample import write_sample
from tests.browser import Browser
from tests.studio import RunningStudio

_DOCS = Path(__file__).parent
_DESKTOP, _PHONE = (1180, 900), (390, 844)
_SHOWN_PX = 900  # the width of a desktop's picture
_MOST_BYTES = 150_000
_PATIENCE_S = 900
_MOMENT_IS_THERE = (
    "!document.querySelector('#moment-view').hidden"
    " && document.querySelector('#look-step').getAttribute('aria-busy') === 'false'"
    " && [...document.querySelectorAll('#moment-view img')].every(one => one.complete && one.naturalWidth)"
)
_BOTH_ARE_TIMED = (
    "[...document.querySelectorAll('#best-time, #fast-time')]"
    ".every(one => one.textContent && !one.textContent.includes('being timed'))"
)


def main() -> None:
    """Go through the studio, and take the pictures."""
    with tempfile.TemporaryDirectory(prefix="studio-pictures-") as name:
        folder = Path(name)
        clip = folder / "concert.mp4"
        write_sample(clip)
        browser = Browser(folder / "profile")
        try:
            with RunningStudio(folder / "studio") as studio:
                browser.begin_anew()
                _go_through(browser, studio, clip)
        finally:
            browser.close()


def _go_through(browser: Browser, studio: RunningStudio, clip: Path) -> None:
    browser.dress("light")
    browser.open(studio.address, _DESKTOP)
    browser.wait("document.readyState === 'complete' && document.querySelector('#drop').getClientRects().length > 0")
    _take(browser, "drop", height=420)
    browser.drop("#drop", clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    browser.wait(_BOTH_ARE_TIMED, patience_s=_PATIENCE_S)
    _take(browser, "pick", at="#name")
    _take(browser, "look", at="#look-step")
    browser.value("document.querySelector('#heat').click(); document.querySelector('#boxes').click()")
    browser.wait(_MOMENT_IS_THERE)
    _take(browser, "heat", at="#look-step")
    browser.value("document.querySelector('#heat').click(); document.querySelector('#boxes').click()")
    _take(browser, "start", at="#start-step")
    browser.value("document.querySelector('#start').click()")
    browser.wait("!document.querySelector('#newest-view').hidden", patience_s=_PATIENCE_S)
    browser.wait("document.querySelector('#bar').value >= 20", patience_s=_PATIENCE_S)
    _take(browser, "work", at="#name")
    browser.wait("!document.querySelector('#done-step').hidden", patience_s=_PATIENCE_S)
    browser.wait("[...document.querySelectorAll('#result-player video')].every(one => one.readyState >= 2)")
    browser.value("document.querySelector('#result-player [aria-label=Time]').value = 400")
    browser.value("document.querySelector('#result-player [aria-label=Time]').dispatchEvent(new Event('input'))")
    _take(browser, "done", at="#name")
    browser.dress("dark")
    browser.open(studio.address, _PHONE)
    browser.wait("document.querySelectorAll('#result-player video')[1].readyState >= 2", patience_s=_PATIENCE_S)
    browser.value("document.querySelector('#result-player [aria-label=Time]').value = 400")
    browser.value("document.querySelector('#result-player [aria-label=Time]').dispatchEvent(new Event('input'))")
    _take(browser, "phone", at="#panel")


def _take(browser: Browser, name: str, *, at: str = "", height: int | None = None) -> None:
    """Write what is on the screen, once an element is at its top."""
    browser.value(f"document.querySelector({at!r}).scrollIntoView()" if at else "scrollTo(0, 0)")
    time.sleep(1.5)  # until the videos show the frame
    shown = Image.open(io.BytesIO(browser.picture())).convert("RGB")
    if height is not None:
        shown = shown.crop((0, 0, shown.width, height))
    if shown.width > _SHOWN_PX:
        shown = shown.resize((_SHOWN_PX, round(shown.height * _SHOWN_PX / shown.width)), Image.Resampling.LANCZOS)
    for num_colours in (256, 128, 64, 32):
        data = io.BytesIO()
        shown.quantize(num_colours, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
        if data.tell() <= _MOST_BYTES:
            break
    (_DOCS / f"studio_{name}.png").write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
