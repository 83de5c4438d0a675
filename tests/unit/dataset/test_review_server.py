"""The review page's server: who may ask, what it tells, what it saves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

import threading  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import urlsplit  # noqa: E402

from concertdeblur.dataset.frames import FrameRecord, write_frames  # noqa: E402
from concertdeblur.dataset.reviews import Review, read_reviews  # noqa: E402
from concertdeblur.dataset.shot_types import ShotType  # noqa: E402
from concertdeblur.errors import DatasetError  # noqa: E402
from concertdeblur.pipelines.annotate import AnnotateSummary, annotate  # noqa: E402


def make_dataset(folder: Path) -> Path:
    (folder / "frames").mkdir()
    records = []
    for name in ("a", "b"):
        (folder / "frames" / f"{name}.jpg").write_bytes(name.encode())
        picture = f"frames/{name}.jpg"
        records.append(FrameRecord(frame_id=name, source="gig", timestamp_s=1.0, sharpness=0.5, picture=picture))
    write_frames(folder, records)
    return folder


class Page:
    """A running review."""

    def __init__(self, dataset: Path) -> None:
        self.dataset, self._stop, ready = dataset, threading.Event(), threading.Event()
        self.summaries: list[AnnotateSummary] = []
        self.address = ""

        def on_ready(address: str) -> None:
            self.address = address
            ready.set()

        def serve() -> None:
            self.summaries.append(annotate(dataset, stop=self._stop, on_ready=on_ready, open_browser=False))

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        assert ready.wait(30)
        base, _, self.token = self.address.partition("/?token=")
        self.http = httpx.Client(base_url=base, params={"token": self.token}, trust_env=False)

    def decide(self, **decision: Any) -> Any:
        return self.http.post("/decide", json=decision)

    def close(self) -> AnnotateSummary:
        self.http.close()
        self._stop.set()
        self._thread.join(30)
        return self.summaries[0]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    running = Page(make_dataset(tmp_path))
    yield running
    running.close()


def test_only_who_holds_the_token_and_names_this_host_gets_in(page: Page) -> None:
    assert urlsplit(page.address).hostname == "127.0.0.1"
    assert page.http.get("/").status_code == 200
    for path in ("/", "/frames", "/picture?frame_id=a"):
        joint = "&" if "?" in path else "?"
        assert httpx.get(str(page.http.base_url).rstrip("/") + path, trust_env=False).status_code == 403
        given = f"{path}{joint}token=wrong"
        assert httpx.get(str(page.http.base_url).rstrip("/") + given, trust_env=False).status_code == 403
    assert page.http.get("/frames", headers={"Host": "evil.example"}).status_code == 421


def test_another_page_may_not_ask_even_with_the_token(page: Page) -> None:
    for origin in ("http://evil.example", "null", str(page.http.base_url).rstrip("/").replace("http:", "https:")):
        answer = page.http.post("/decide", json={"frame_id": "a", "keep": False}, headers={"Origin": origin})
        assert answer.status_code == 403
    own = str(page.http.base_url).rstrip("/")
    assert page.http.post("/decide", json={"frame_id": "b", "keep": True}, headers={"Origin": own}).status_code == 200
    assert set(read_reviews(page.dataset)) == {"b"}


def test_a_large_body_is_refused_before_it_is_read(page: Page) -> None:
    assert page.http.post("/decide", content=b"x" * 100_000).status_code == 413
    assert page.http.post("/decide", content=iter([b"x" * 1000])).status_code == 413  # of no known length


@pytest.mark.parametrize("body", [b"NaN", b"[" * 50_000, b"\xff", b"", b'{"frame_id": 1e999, "keep": true}'])
def test_what_is_no_decision_is_refused_in_one_way(page: Page, body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    answer = page.http.post("/decide", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json().keys() <= {"error", "detail"}
    assert capfd.readouterr().err == ""


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    answer = page.http.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_pictures_go_by_id_and_never_by_path(page: Page) -> None:
    assert page.http.get("/picture", params={"frame_id": "b"}).content == b"b"
    for wish in ("frames/a.jpg", "../frames.jsonl", "/etc/passwd", ""):
        assert page.http.get("/picture", params={"frame_id": wish}).status_code == 404


def test_a_decision_is_saved_before_the_answer_and_undone_in_order(page: Page) -> None:
    assert page.decide(frame_id="a", keep=True, shot_type="LS").status_code == 200
    assert read_reviews(page.dataset) == {"a": Review(keep=True, shot_type=ShotType.LS)}
    page.decide(frame_id="a", keep=False)
    assert page.http.get("/frames").json()["frames"][0]["review"] == {"keep": False, "shot_type": None}
    page.http.post("/undo")
    assert read_reviews(page.dataset) == {"a": Review(keep=True, shot_type=ShotType.LS)}
    page.http.post("/undo")
    assert page.http.post("/undo").json()["frame_id"] is None
    assert read_reviews(page.dataset) == {}


def test_nonsense_is_refused_and_not_saved(page: Page) -> None:
    assert page.decide(frame_id="zz", keep=True).status_code == 404
    assert page.decide(frame_id="a", keep=True, shot_type="ZZ").status_code == 422
    assert page.decide(frame_id="a", keep="yes").status_code == 422
    assert read_reviews(page.dataset) == {}


def test_the_end_says_what_was_reviewed(tmp_path: Path) -> None:
    running = Page(make_dataset(tmp_path))
    running.decide(frame_id="b", keep=False)
    summary = running.close()
    assert (summary.num_now, summary.num_reviewed, summary.num_dropped, summary.num_frames) == (1, 1, 1, 2)


def test_a_picture_that_links_outside_is_refused(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    (dataset / "frames" / "a.jpg").unlink()
    (dataset / "frames" / "a.jpg").symlink_to("/etc/hostname")
    with pytest.raises(DatasetError, match="outside"):
        annotate(dataset, stop=threading.Event(), on_ready=lambda address: None, open_browser=False)
