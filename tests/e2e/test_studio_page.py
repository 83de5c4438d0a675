"""The studio's page in headless Chromium: what a concert-goer does there, by mouse, finger and keyboard."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import av
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from concertdeblur.frame import Colour
from tests.browser import Browser
from tests.clips import ClipSpec, make_clip, picture
from tests.commands import run
from tests.studio import RunningStudio
from tests.weight_sets import random_weight_set

_DESKTOP, _PHONE = (1280, 900), (390, 844)
_QUICK = {"crf": "10", "preset": "ultrafast", "g": "5"}
_PATIENCE_S = 300  # the work stands back for whatever other test runs beside it
_MOMENT_IS_THERE = (
    "!document.querySelector('#moment-view').hidden"
    " && [...document.querySelectorAll('#moment-view img')].every(one => one.complete && one.naturalWidth === 64)"
    " && document.querySelector('#look-step').getAttribute('aria-busy') === 'false'"
)
_CLIP = "document.querySelector('#moment-view .layer:nth-child(2)').style.clipPath"


def _is_shown(selector: str) -> str:
    return f"document.querySelector('{selector}').getClientRects().length > 0"


def _text(selector: str) -> str:
    return f"document.querySelector('{selector}').textContent"


def _click(selector: str) -> str:
    return f"document.querySelector('{selector}').click()"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(random_weight_set(tmp_path_factory.mktemp("weights") / "set"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, weights: str) -> Iterator[RunningStudio]:
    with RunningStudio(tmp_path_factory.mktemp("studio"), weights=weights) as one:
        yield one


@pytest.fixture
def studio(running: RunningStudio) -> Iterator[RunningStudio]:
    """A studio without clips."""
    yield running
    for clip in running.clips():
        running.http.delete(f"/api/clips/{clip['id']}")
    until_s = time.monotonic() + 30
    while running.clips():
        assert time.monotonic() < until_s
        time.sleep(0.05)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "gig.mp4", ClipSpec(num_frames=30, audio="aac", options=_QUICK))


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "long.mp4", ClipSpec(num_frames=300, options=_QUICK))


@pytest.fixture
def slow_clip(tmp_path: Path) -> Path:
    """A clip that is still being made when it is paused or timed."""
    return make_clip(tmp_path / "slow.mp4", ClipSpec(height=360, width=640, num_frames=200, options=_QUICK))


def _dropped(browser: Browser, studio: RunningStudio, *paths: Path, size: tuple[int, int] = _DESKTOP) -> None:
    browser.open(studio.address, size)
    browser.wait("document.readyState === 'complete'")  # the scripts listen
    browser.wait(_is_shown("#drop"))
    browser.drop("#drop", *paths)
    browser.wait(_is_shown("#name"), patience_s=_PATIENCE_S)


def test_a_clip_is_dropped_looked_at_and_compared(browser: Browser, studio: RunningStudio, clip: Path) -> None:
    _dropped(browser, studio, clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    assert browser.value(_text("#name")) == "gig.mp4"
    assert browser.value(_text("#facts")).startswith("1.2 seconds · 64 \u00d7 48")
    assert "with sound" in browser.value(_text("#facts"))
    browser.wait("document.querySelector('#source-player video').videoWidth === 64")

    width = browser.value("document.querySelector('#moment-view .stage').clientWidth")

    def border() -> float:
        place: float = browser.value(f"parseFloat({_CLIP}.match(/([0-9.]+)px\\)/)[1])")
        return float(place / width)

    assert border() == pytest.approx(0.5, abs=0.01)
    browser.drag("#moment-view .stage", 0.5, 0.25)
    assert border() == pytest.approx(0.25, abs=0.01)
    browser.value("document.querySelector('#moment-view .stage').focus()")
    for _ in range(5):
        browser.press("ArrowRight")
    assert border() == pytest.approx(0.35, abs=0.01)
    browser.value("document.querySelector('#moment-view input[type=range]').focus()")
    browser.press("ArrowRight")
    assert border() == pytest.approx(0.351, abs=0.001)

    browser.value(_click('#moment-view [aria-label="Zoom in"]'))
    assert "scale(2)" in browser.value("document.querySelector('#moment-view .scene').style.transform")
    boxes = browser.value(
        "[...document.querySelectorAll('#moment-view img')].map(e => e.getBoundingClientRect())"
        ".map(r => [r.x, r.y, r.width])"
    )
    assert boxes[0] == boxes[1], "both sides are zoomed and moved as one"
    assert boxes[0][2] == pytest.approx(2 * width, abs=2)

    before = browser.value("document.querySelectorAll('#moment-view img')[1].src")
    browser.value(_click("#heat"))
    browser.wait("document.querySelectorAll('#moment-view img')[1].src.includes('moment-heat')")
    browser.wait(_MOMENT_IS_THERE)
    assert browser.value(_is_shown("#heat-key"))
    browser.value(_click("#heat"))
    assert browser.value("document.querySelectorAll('#moment-view img')[1].src") == before
    browser.value("(e => { e.value = 40; e.dispatchEvent(new Event('input')); })(document.querySelector('#strength'))")
    assert browser.value("document.querySelector('#moment-view .layer:nth-child(2)').style.opacity") == "0.4"
    assert browser.value(_text("#strength-text")) == "40 %"


def test_another_moment_is_picked_by_stopping_there(browser: Browser, studio: RunningStudio, clip: Path) -> None:
    _dropped(browser, studio, clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    assert "0:00.6" in browser.value(_text("#moment-text"))
    browser.value(
        "(e => { e.value = 250; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#source-player input[type=range]:not([hidden])[aria-label=Time]'))"
    )
    browser.wait(_text("#moment-text") + ".includes('0:00.3')", patience_s=_PATIENCE_S)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    browser.value(_click("#try"))
    browser.wait(_is_shown("#trial-player"), patience_s=_PATIENCE_S)
    browser.wait("[...document.querySelectorAll('#trial-player video')].every(one => one.videoWidth === 64)")


def test_a_clip_is_made_sharper_and_downloaded(
    browser: Browser, studio: RunningStudio, clip: Path, tmp_path: Path, weights: str
) -> None:
    _dropped(browser, studio, clip)
    browser.wait(_is_shown("#start"))
    browser.value(_click("#start"))
    browser.wait(_is_shown("#download"), patience_s=_PATIENCE_S)
    assert not browser.value(_is_shown("#work-step"))
    browser.wait("[...document.querySelectorAll('#result-player video')].every(one => one.readyState >= 2)")
    browser.value(_click("#result-player button"))
    browser.wait("document.querySelectorAll('#result-player video')[1].currentTime > 0.3")
    first, second = browser.value("[...document.querySelectorAll('#result-player video')].map(one => one.currentTime)")
    assert first == pytest.approx(second, abs=0.1), "in step"
    address = browser.value("document.querySelector('#download').href")
    made = run("video", clip, tmp_path / "out.mp4", "--weights", weights, "--backend", "torch")
    assert made.returncode == 0, made.stderr
    assert studio.http.get(address.split("?")[0]).content == (tmp_path / "out.mp4").read_bytes()

    player = "document.querySelectorAll('#result-player video')[1]"
    browser.value(f"window.loads = 0; {player}.addEventListener('loadeddata', () => window.loads++)")
    browser.value(_click("#again"))
    browser.value("document.querySelector('#strength').value = 50")
    browser.value(_click("#start"))
    browser.wait(_is_shown("#work-step"))
    browser.wait(_is_shown("#download"), patience_s=_PATIENCE_S)
    assert studio.clip()["strength"] == 0.5
    browser.wait("window.loads > 0")  # else the result before would be played


def test_a_clip_that_does_not_say_how_long_it_is_is_timed_by_the_frame(
    browser: Browser, studio: RunningStudio, tmp_path: Path
) -> None:
    with av.open(str(tmp_path / "live.mkv"), "w", options={"live": "1"}) as output:
        video = output.add_stream("libx264", rate=25, options=_QUICK)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for number in range(10):
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")))
        output.mux(video.encode(None))
    _dropped(browser, studio, tmp_path / "live.mkv")
    browser.wait(_text("#time-text") + ".includes('does not say how long it is')", patience_s=_PATIENCE_S)
    assert "frame" in browser.value(_text("#best-time"))


def test_work_is_paused_seen_from_two_tabs_gone_on_with_and_cancelled(
    browser: Browser, studio: RunningStudio, long_clip: Path
) -> None:
    _dropped(browser, studio, long_clip)
    browser.wait(_is_shown("#start"))
    browser.value(_click("#start"))
    browser.wait(_text("#progress-text") + ".includes('frames a second')", patience_s=_PATIENCE_S)
    browser.wait("document.querySelectorAll('#newest-view img')[1].naturalWidth === 64", patience_s=_PATIENCE_S)
    first = browser.new_tab()
    browser.open(studio.address, _DESKTOP)
    browser.wait(_is_shown("#pause"))
    browser.value(_click("#pause"))
    browser.wait(_text("#work-title") + " === 'Paused'")
    browser.begin_anew()  # the page is closed, and opened again
    browser.open(studio.address, _DESKTOP)
    browser.wait(_is_shown("#resume"))
    at_rest = browser.value(_text("#progress-text"))
    time.sleep(0.5)
    assert browser.value(_text("#progress-text")) == at_rest
    browser.value(_click("#resume"))
    browser.wait(_text("#progress-text") + f" !== {at_rest!r}")
    browser.value(_click("#cancel"))
    browser.wait(_is_shown("#start"), patience_s=_PATIENCE_S)
    assert studio.clip()["state"] == "ready"
    assert first


def test_a_studio_that_is_killed_is_missed_and_goes_on_when_it_is_started_again(
    browser: Browser, tmp_path: Path, weights: str
) -> None:
    clip = make_clip(tmp_path / "long.mp4", ClipSpec(num_frames=150, options=_QUICK))
    with RunningStudio(tmp_path / "studio", clip, weights=weights) as studio:
        browser.open(studio.address, _DESKTOP)
        browser.wait(_is_shown("#start"))
        browser.value(_click("#start"))
        browser.wait(_text("#progress-text") + ".includes('frames')", patience_s=_PATIENCE_S)
        studio.end(signal.SIGKILL)
        browser.wait(_is_shown("#lost"))
    with RunningStudio(tmp_path / "studio", weights=weights) as studio:
        browser.open(studio.address, _DESKTOP)
        browser.wait(_is_shown("#work-step"))
        browser.wait(_is_shown("#download"), patience_s=_PATIENCE_S)


def test_what_is_no_clip_is_told_in_the_page(
    browser: Browser, studio: RunningStudio, tmp_path: Path, clip: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("no clip")
    _dropped(browser, studio, tmp_path / "broken.mp4")
    browser.wait(_text("#error") + ".startsWith('broken.mp4: ')")
    assert not browser.value(_is_shown("#start"))
    browser.drop("#drop", tmp_path / "notes.txt")
    browser.wait(_text("#refused") + ".includes('notes.txt: is neither a clip nor a picture')")


def test_a_file_over_4_gb_is_refused_before_it_is_copied(
    browser: Browser, studio: RunningStudio, tmp_path: Path
) -> None:
    with (tmp_path / "evening.mp4").open("wb") as file:
        file.truncate(4 * 2**30 + 1)
    browser.open(studio.address, _DESKTOP)
    browser.wait("document.readyState === 'complete'")
    browser.wait(_is_shown("#drop"))
    browser.choose("#choose", tmp_path / "evening.mp4")
    browser.wait(_text("#refused") + ".includes('larger than 4 GB')")
    assert "concertdeblur studio" in browser.value(_text("#refused"))
    assert studio.clips() == []


def test_a_clip_that_the_browser_cannot_play_gets_a_copy_for_looking(
    browser: Browser, studio: RunningStudio, tmp_path: Path
) -> None:
    source = make_clip(
        tmp_path / "camera.mov", ClipSpec(num_frames=12, codec="prores_ks", pixel_format="yuv422p10le", options={})
    )
    _dropped(browser, studio, source)
    browser.wait("document.querySelector('#source-player video').src.includes('source-copy')", patience_s=_PATIENCE_S)
    browser.wait("document.querySelector('#source-player video').videoWidth === 64")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_within_its_width_for_fingers(
    browser: Browser, studio: RunningStudio, clip: Path, scheme: str
) -> None:
    browser.dress(scheme)
    _dropped(browser, studio, clip, size=_PHONE)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    assert browser.value("document.documentElement.scrollWidth") == _PHONE[0]
    heights = browser.value(
        "[...document.querySelectorAll('button, .button')].map(e => e.getBoundingClientRect()).filter(r => r.width)"
        ".map(r => r.height)"
    )
    assert min(heights) >= 44
    browser.drag("#moment-view .stage", 0.5, 0.8, finger=True)
    assert browser.value("Number(document.querySelector('#moment-view input[type=range]').value)") > 700
    contrast = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (contrast == "rgb(20, 22, 26)") == (scheme == "dark")


def _tabs_to_start(browser: Browser) -> Iterator[None]:
    """Press Tab once for each item, until the button that starts the work has the focus."""
    for _ in range(40):
        browser.press("Tab")
        yield
        if browser.value("document.activeElement.id === 'start'"):
            break


def test_the_whole_way_is_gone_by_keyboard(browser: Browser, studio: RunningStudio, clip: Path) -> None:
    _dropped(browser, studio, clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    seen = {
        browser.value("document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''")
        for _ in _tabs_to_start(browser)
    }
    assert {"choose", "heat", "boxes", "strength", "try", "start", "Zoom in", "Time"} <= seen
    browser.press("Enter")
    browser.wait(_is_shown("#download"), patience_s=_PATIENCE_S)
    browser.wait("document.activeElement.id === 'done-title'")  # the button that had the focus is gone


def _nameless(browser: Browser) -> list[str]:
    """What a screen reader cannot tell of: controls without a name, sliders without a value in words."""
    heard = browser.heard()
    controls = [one for one in heard if one.is_focusable and one.role not in ("RootWebArea", "main")]
    assert len(controls) > 3
    sliders = [one for one in heard if one.role == "slider"]
    return [one.role for one in controls if not one.name] + [one.name for one in sliders if not one.value]


def test_a_screen_reader_is_told_of_everything_at_each_step(
    browser: Browser, studio: RunningStudio, clip: Path, slow_clip: Path
) -> None:
    browser.open(studio.address, _DESKTOP)
    browser.wait(_is_shown("#drop"))
    (field,) = (one for one in browser.heard() if one.role == "button")
    assert field.name.startswith("Drop a clip or a picture here Choose a file")
    _dropped(browser, studio, clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    assert _nameless(browser) == []
    browser.value(_click("#try"))
    browser.wait(_is_shown("#trial-player"), patience_s=_PATIENCE_S)
    assert _nameless(browser) == []
    browser.value(_click("#start"))
    browser.wait(_is_shown("#download"), patience_s=_PATIENCE_S)
    assert _nameless(browser) == []
    browser.drop("#drop", slow_clip)
    browser.wait(_text("#name") + " === 'slow.mp4'", patience_s=_PATIENCE_S)
    browser.wait(_is_shown("#start"))
    browser.value(_click("#start"))
    browser.wait(_is_shown("#newest-view"), patience_s=_PATIENCE_S)
    assert _nameless(browser) == []
    browser.value("document.querySelector('#pause').focus()")
    browser.press("Enter")
    browser.wait("document.activeElement.id === 'resume'", patience_s=_PATIENCE_S)


def test_the_focus_is_always_seen(browser: Browser, studio: RunningStudio, clip: Path) -> None:
    _dropped(browser, studio, clip)
    browser.wait(_MOMENT_IS_THERE, patience_s=_PATIENCE_S)
    seen = set()
    for _ in _tabs_to_start(browser):
        # the file field is seen by the frame around it
        held, width = browser.value(
            "(e => [e.id || e.getAttribute('aria-label') || e.textContent,"
            " (s => s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth))"
            "(getComputedStyle(e.id === 'choose' ? e.parentElement : e))])(document.activeElement)"
        )
        assert width >= 2, held
        seen.add(held)
    assert {"choose", "strength", "start"} <= seen


@pytest.mark.alone
def test_the_page_answers_at_once_while_a_clip_is_made(
    browser: Browser, studio: RunningStudio, slow_clip: Path
) -> None:
    _dropped(browser, studio, slow_clip)
    browser.wait(_is_shown("#start"))
    browser.value(_click("#start"))
    browser.wait(_is_shown("#newest-view"), patience_s=_PATIENCE_S)
    clicked_ms, asked_ms = browser.value(
        """(async () => {
          const clicked = [], asked = [], token = new URLSearchParams(location.search).get("token");
          for (let number = 0; number < 30; number++) {
            let began = performance.now();
            document.querySelector('#newest-view [aria-label="Zoom in"]').click();
            await new Promise(then => requestAnimationFrame(() => setTimeout(then)));  // it is drawn
            clicked.push(performance.now() - began);
            began = performance.now();
            await (await fetch("api/clips?token=" + token)).json();
            asked.push(performance.now() - began);
            await new Promise(then => setTimeout(then, 50));
          }
          return [clicked, asked];
        })()"""
    )
    assert studio.clip()["state"] == "running"
    assert median(clicked_ms) < 100
    assert median(asked_ms) < 100


_SHOWN = """(async source => {
  const [width, height] = [source.naturalWidth || source.videoWidth, source.naturalHeight || source.videoHeight];
  const canvas = Object.assign(document.createElement("canvas"), {width, height}), brush = canvas.getContext("2d");
  brush.drawImage(source, 0, 0, width, height);
  return [[height, width], [...brush.getImageData(0, 0, width, height).data].filter((_, place) => place % 4 < 3)];
})"""


def _pixels(browser: Browser, selector: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """What a picture or a video of the page shows, (height, width, 3)."""
    (height, width), values = browser.value(f"{_SHOWN}(document.querySelector('{selector}'))")
    return np.array(values, np.uint8).reshape(height, width, 3)


_HDR = ClipSpec(
    num_frames=30, codec="libx265", pixel_format="yuv420p10le",
    colour=Colour(primaries=9, transfer=16, matrix=9, range=1),
    options={"crf": "5", "preset": "ultrafast", "x265-params": "log-level=error"},
)  # fmt: skip
_FLIPPED = (-65536, 0, 0, 0, 65536, 0, 64 * 65536, 0, 1 << 30)  # left and right change places


@pytest.mark.parametrize(
    ("spec", "copy"),
    [
        (ClipSpec(num_frames=30, options=_QUICK, display_matrix=_FLIPPED), False),
        (ClipSpec(num_frames=30, options=_QUICK, rotation_deg=90), False),
        (_HDR, True),
    ],
    ids=["mirrored", "turned", "HDR"],
)  # fmt: skip
def test_the_moment_looks_as_the_clip_does(
    browser: Browser, studio: RunningStudio, tmp_path: Path, spec: ClipSpec, copy: bool
) -> None:
    source = make_clip(tmp_path / "phone.mp4", spec)
    _dropped(browser, studio, source)
    browser.wait(_MOMENT_IS_THERE.replace("=== 64", "> 0"), patience_s=_PATIENCE_S)
    browser.wait("document.querySelector('#source-player video').readyState >= 2", patience_s=_PATIENCE_S)
    assert browser.value("document.querySelector('#source-player video').src.includes('source-copy')") == copy
    at_s = studio.clip()["moment"]["time_s"] + 0.02
    browser.value(
        "new Promise(then => { const video = document.querySelector('#source-player video');"
        f" video.onseeked = () => then(1); video.currentTime = {at_s}; }})"
    )
    played, before = _pixels(browser, "#source-player video"), _pixels(browser, "#moment-view img")
    assert played.shape == before.shape
    distance, *others = (
        np.abs(played.astype(int) - shown).mean()
        for shown in (before, before[:, ::-1], before[::-1], before[::-1, ::-1])
    )
    assert distance < 8
    assert min(others) > 2 * distance
    assert ("HDR" in browser.value(_text("#facts"))) == copy
