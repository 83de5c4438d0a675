"""The server of the review page. It serves whoever has the token, on this machine only.

No path from a request is used on the disk: frames are looked up by id in a table that is made at the start.
"""

import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict

from concertdeblur.dataset.frames import FrameRecord
from concertdeblur.dataset.reviews import Review, ReviewLog
from concertdeblur.dataset.shot_types import TITLES, ShotType
from concertdeblur.errors import TargetError

_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_MOST_BODY_BYTES = 65_536  # of a decision, which takes a hundred
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline';"
    " script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


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


def make_app(
    records: Sequence[FrameRecord], pictures: Mapping[str, Path], session: ReviewSession, *, token: str, host: str
) -> FastAPI:
    """The server.

    Args:
        records: The frames, in the order of the page.
        pictures: File of each frame, by its id.
        session: Takes the decisions.
        token: What every request must carry as `?token=`.
        host: The only accepted Host header, as "127.0.0.1:8123": a foreign page that names this machine is refused.

    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    page = files("concertdeblur.dataset").joinpath("review_page.html").read_text(encoding="utf-8")
    known = {record.frame_id for record in records}

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.query_params.get("token", "")
        hosts, length = request.headers.getlist("host"), request.headers.get("content-length", "")
        is_large = length.isascii() and length.isdigit() and int(length) > _MOST_BODY_BYTES
        if hosts != [host]:
            response: Response = JSONResponse({"error": "wrong host"}, status_code=421)
        elif request.headers.get("origin", f"http://{host}") != f"http://{host}":
            response = JSONResponse({"error": "wrong origin: another page may not ask"}, status_code=403)
        elif not secrets.compare_digest(given.encode(), token.encode()):
            response = JSONResponse({"error": "wrong token; open the address that the command wrote"}, status_code=403)
        elif is_large or "transfer-encoding" in request.headers:
            response = JSONResponse({"error": "the request is too large"}, status_code=413)
        else:
            response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(RequestValidationError)
    def refuse(_request: Request, _error: RequestValidationError) -> Response:
        return JSONResponse({"error": "the request makes no sense"}, status_code=422)  # what came may be no JSON

    @app.get("/")
    def show() -> HTMLResponse:
        return HTMLResponse(page)

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
