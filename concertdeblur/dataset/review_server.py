"""What the review page asks for: frames and decisions. `pages` serves it, and says who may ask.

No path from a request is used on the disk: frames are looked up by id in a table that is made at the start.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from concertdeblur.dataset.frames import FrameRecord
from concertdeblur.dataset.reviews import Review, ReviewLog
from concertdeblur.dataset.shot_types import TITLES, ShotType
from concertdeblur.errors import TargetError
from concertdeblur.pages.server import Page, make_app

_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_PAGE = Page(
    package="concertdeblur.dataset", folder="", index="review_page.html",
    others=("review_page.css", "review_page.js"),
)  # fmt: skip


class Decision(BaseModel):
    """A decision as the page sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    frame_id: str
    keep: bool
    shot_type: str | None = None


class ReviewSession:
    """The decisions of one run, each of which can be taken back; safe for several threads."""

    def __init__(self, log: ReviewLog) -> None:
        self._log = log
        self._undo: list[tuple[str, Review | None]] = []
        self._lock = threading.Lock()
        self.decided: set[str] = set()

    @property
    def reviews(self) -> Mapping[str, Review]:
        """The decisions that stand."""
        return self._log.reviews

    def decide(self, frame_id: str, review: Review) -> None:
        """Save a decision."""
        with self._lock:
            before = self._log.reviews.get(frame_id)
            self._log.add(frame_id, review)
            self._undo.append((frame_id, before))
            self.decided.add(frame_id)

    def undo(self) -> str | None:
        """Take the last decision of this run back; gives the frame's id, or None if there is none."""
        with self._lock:
            if not self._undo:
                return None
            frame_id, before = self._undo[-1]
            self._log.add(frame_id, before)
            self._undo.pop()
            if all(frame_id != other for other, _ in self._undo):
                self.decided.discard(frame_id)
            return frame_id


def make_review_app(records: Sequence[FrameRecord], pictures: Mapping[str, Path], session: ReviewSession) -> FastAPI:
    """The page's application.

    Args:
        records: The frames, in the order of the page.
        pictures: File of each frame, by its id.
        session: Takes the decisions.

    """
    app = make_app(_PAGE)
    known = {record.frame_id for record in records}

    @app.get("/frames")
    def frames() -> dict[str, Any]:
        types = [{"name": one.value, "title": TITLES[one]} for one in ShotType]
        return {"types": types, "frames": [_row(record, session.reviews) for record in records]}

    @app.get("/picture")
    def picture(frame_id: str) -> Response:
        path = pictures.get(frame_id)
        try:
            data = path.read_bytes() if path is not None else None
        except OSError:
            data = None
        if path is None or data is None:
            return JSONResponse({"error": "there is no such picture"}, status_code=404)
        return Response(data, media_type=_KINDS.get(path.suffix.lower(), "application/octet-stream"))

    @app.post("/decide")
    def decide(decision: Decision) -> Response:
        if decision.frame_id not in known:
            return JSONResponse({"error": "there is no such frame"}, status_code=404)
        try:
            review = Review(keep=decision.keep, shot_type=ShotType(decision.shot_type) if decision.shot_type else None)
        except ValueError:
            return JSONResponse({"error": "there is no such shot type"}, status_code=422)
        return _saved(lambda: session.decide(decision.frame_id, review), decision.frame_id, session)

    @app.post("/undo")
    def undo() -> Response:
        try:
            frame_id = session.undo()
        except TargetError as error:
            return JSONResponse({"error": str(error)}, status_code=507)
        return JSONResponse({"frame_id": frame_id, "review": _review_row(session.reviews.get(frame_id or ""))})

    return app


def _saved(act: Callable[[], None], frame_id: str, session: ReviewSession) -> Response:
    try:
        act()
    except TargetError as error:
        return JSONResponse({"error": str(error)}, status_code=507)
    return JSONResponse({"frame_id": frame_id, "review": _review_row(session.reviews.get(frame_id))})


def _row(record: FrameRecord, reviews: Mapping[str, Review]) -> dict[str, Any]:
    facts = asdict(record)
    del facts["picture"]
    return {**facts, "review": _review_row(reviews.get(record.frame_id))}


def _review_row(review: Review | None) -> dict[str, Any] | None:
    if review is None:
        return None
    return {"keep": review.keep, "shot_type": review.shot_type.value if review.shot_type else None}
