"""What the page asks for. `pages` says who may ask; ids and names are looked up in tables, never on the disk."""

import asyncio
import json
import mimetypes
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from concertdeblur.errors import ConcertDeblurError, TargetError
from concertdeblur.pages.server import Page, make_app
from concertdeblur.studio.clips import Clips, NoSuchClipError
from concertdeblur.studio.records import Choices
from concertdeblur.studio.workspace import Workspace, clean_name, in_unicode

UPLOAD_LIMIT_BYTES = 4 * 2**30  # of one clip; a larger one is opened where it lies
_BLOCK_BYTES = 2**20
_NEWS_S = 0.15  # between two looks at whether something has changed
_SILENCE_S = 15.0  # after which a page is told that the studio is still there
_PAGE = Page(
    package="concertdeblur.studio", folder="static", index="index.html",
    others=("studio.css", "studio.js", "compare.js", "clip.js", "words.js"),
)  # fmt: skip
# what a browser is told so that it tries; it looks at the file itself
_VIDEO_KINDS = {".mov": "video/mp4", ".m4v": "video/mp4", ".qt": "video/mp4", ".mkv": "video/webm"}


class _Moment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    time_s: float = Field(ge=0, le=1e6)
    quality: str


class _Start(BaseModel):
    model_config = ConfigDict(extra="forbid")

    quality: str
    strength: float

    def choices(self) -> Choices:
        """The same, checked."""
        return Choices(quality=self.quality, strength=self.strength)


class _Trial(_Start):
    start_s: float = Field(ge=0, le=1e6)


class _Upload(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    num_bytes: int = Field(ge=0)


class _Copy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    of: str


class UploadTooLargeError(ConcertDeblurError, ValueError):
    """A clip that the page does not take; the command does."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        told = f"{limit_bytes / 2**30:.0f} GB" if limit_bytes >= 2**30 else f"{limit_bytes} bytes"
        super().__init__(
            f"{name}: larger than {told}, the most that the page takes; open it where it lies instead, in a terminal:"
            " concertdeblur studio CLIP"
        )


def make_studio_app(
    clips: Clips, workspace: Workspace, *, has_choice: bool, upload_limit_bytes: int = UPLOAD_LIMIT_BYTES
) -> FastAPI:
    """The page's application.

    Args:
        clips: All clips.
        workspace: Where uploads go.
        has_choice: Whether there is a best and a fast way; not so with a user's own weights.
        upload_limit_bytes: The largest clip that is taken as an upload.

    """
    app = make_app(_PAGE)

    @app.exception_handler(ConcertDeblurError)
    def refused(_: Request, error: ConcertDeblurError) -> Response:
        statuses = {NoSuchClipError: 404, UploadTooLargeError: 413, TargetError: 507}
        return JSONResponse({"error": str(error)}, status_code=statuses.get(type(error), 422))

    def state() -> dict[str, Any]:
        return {"clips": clips.views(), "has_choice": has_choice}

    def check(name: str, num_bytes: int) -> None:
        clean_name(name)
        if num_bytes > upload_limit_bytes:
            raise UploadTooLargeError(name, upload_limit_bytes)
        if not workspace.has_room(num_bytes):
            raise TargetError(f"{name}: the disk has no room for it; make room, and drop it again")

    @app.get("/api/clips")
    def list_clips() -> dict[str, Any]:
        return state()

    @app.get("/api/events")
    def events() -> StreamingResponse:
        return StreamingResponse(_news(clips, state), media_type="text/event-stream")

    @app.post("/api/check")
    def check_upload(wish: _Upload) -> None:  # a browser that sends does not hear a refusal
        check(wish.name, wish.num_bytes)

    @app.post("/api/clips")
    async def upload(request: Request, name: str) -> Response:
        check(name, int(request.headers.get("content-length", "0")))
        return await _received(request, name, clips, workspace, upload_limit_bytes)

    @app.delete("/api/clips/{clip_id}")
    def drop(clip_id: str) -> None:
        clips.drop(clip_id)

    @app.post("/api/clips/{clip_id}/moment")
    def moment(clip_id: str, wish: _Moment) -> None:
        clips.look(clip_id, time_s=wish.time_s, quality=wish.quality)

    @app.post("/api/clips/{clip_id}/trial")
    def trial(clip_id: str, wish: _Trial) -> None:
        clips.try_out(clip_id, start_s=wish.start_s, choices=wish.choices())

    @app.post("/api/clips/{clip_id}/copy")
    def copy(clip_id: str, wish: _Copy) -> None:
        clips.make_copy(clip_id, wish.of)

    @app.post("/api/clips/{clip_id}/start")
    def start(clip_id: str, wish: _Start) -> None:
        clips.start(clip_id, wish.choices())

    @app.post("/api/clips/{clip_id}/pause")
    def pause(clip_id: str) -> None:
        clips.pause(clip_id)

    @app.post("/api/clips/{clip_id}/resume")
    def resume(clip_id: str) -> None:
        clips.resume(clip_id)

    @app.post("/api/clips/{clip_id}/cancel")
    def cancel(clip_id: str) -> None:
        clips.cancel(clip_id)

    @app.post("/api/clips/{clip_id}/folder")
    def folder(clip_id: str) -> dict[str, str]:
        path = clips.source_of(clip_id, "result")
        if path is None:
            raise NoSuchClipError
        _show(path.parent)
        return {"path": in_unicode(str(path))}

    @app.get("/api/clips/{clip_id}/download")
    def download(clip_id: str) -> Response:
        path = clips.source_of(clip_id, "result")
        return _nothing() if path is None else FileResponse(path, filename=in_unicode(path.name))

    @app.get("/api/clips/{clip_id}/{what}")
    def view(clip_id: str, what: str) -> Response:
        path = clips.source_of(clip_id, what)
        if path is None:
            return _nothing()
        kind = _VIDEO_KINDS.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
        return FileResponse(path, media_type=kind)

    return app


async def _received(request: Request, name: str, clips: Clips, workspace: Workspace, limit_bytes: int) -> Response:
    """Stream an upload to the disk; one that does not arrive whole leaves nothing."""
    clip_id, path = workspace.begin_upload(name)
    is_whole = False
    try:
        total = 0
        held = bytearray()
        with path.open("xb", buffering=0) as file:
            async for piece in request.stream():
                total += len(piece)
                if total > limit_bytes:
                    raise UploadTooLargeError(name, limit_bytes)
                held += piece
                if len(held) >= _BLOCK_BYTES:
                    await run_in_threadpool(file.write, bytes(held))
                    held.clear()
            await run_in_threadpool(file.write, bytes(held))
        if total < int(request.headers.get("content-length", "0")):
            raise ClientDisconnect
        record = await run_in_threadpool(workspace.finish_upload, clip_id, path)
        is_whole = True
        clips.add(record)
        return JSONResponse({"id": clip_id})
    except OSError as error:
        if isinstance(error, ConcertDeblurError):
            raise
        why = error.strerror or "no reason given"
        raise TargetError(f"{name}: the upload cannot be kept ({why}); is the disk full?") from error
    except ClientDisconnect:
        return JSONResponse({"error": f"{name}: the upload was cut off"}, status_code=400)
    finally:
        if not is_whole:
            await run_in_threadpool(workspace.drop, clip_id)


async def _news(clips: Clips, state: Callable[[], dict[str, Any]]) -> AsyncIterator[str]:
    """The whole state at every change, as server-sent events."""
    seen, silent_s = -1, 0.0
    while not clips.is_closed:
        if clips.version != seen:
            seen, silent_s = clips.version, 0.0
            yield f"data: {json.dumps(state())}\n\n"
        elif silent_s >= _SILENCE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(_NEWS_S)
        silent_s += _NEWS_S
    yield "event: closed\ndata: {}\n\n"


def _nothing() -> Response:
    return JSONResponse({"error": "there is nothing of that name"}, status_code=404)


def _show(folder: Path) -> None:
    """Open a folder in the desktop's file manager, if there is one."""
    program = shutil.which("xdg-open") or shutil.which("open")
    if program is not None:
        subprocess.Popen(  # noqa: S603  # the folder is ours, no request names it
            [program, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
