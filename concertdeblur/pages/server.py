"""A page's server: on the loopback, at a free port, with a token that only its address holds, until asked to stop."""

import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from concertdeblur.errors import MissingDependencyError
from concertdeblur.pages.guard import OPEN_PREFIX, Guard

if TYPE_CHECKING:
    from fastapi import FastAPI

_LOOPBACK = "127.0.0.1"
_POLL_S = 0.2
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STYLE = ("concertdeblur.pages", "style.css")  # which every page has


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What the browser is sent: a page's first file, and the files that this one names."""

    package: str  # where the files lie
    folder: str  # within it; empty: the package itself
    index: str
    others: tuple[str, ...]

    def file(self, name: str) -> Traversable:
        """One of the files."""
        root = files(self.package)
        return root.joinpath(self.folder, name) if self.folder else root.joinpath(name)


def make_app(page: Page) -> "FastAPI":
    """An application that gives a page and its files; the page's owner adds what the page asks for.

    Raises:
        MissingDependencyError: Without FastAPI.

    """
    try:
        from fastapi import FastAPI, Request, Response
        from fastapi.exceptions import RequestValidationError
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    index = page.file(page.index).read_bytes()
    table = {name: page.file(name).read_bytes() for name in page.others}
    table[_STYLE[1]] = files(_STYLE[0]).joinpath(_STYLE[1]).read_bytes()

    @app.exception_handler(RequestValidationError)
    def refuse(_request: Request, _error: RequestValidationError) -> Response:
        """Say it in our words: what came may be nothing that JSON can repeat."""
        return Response('{"error": "the request makes no sense"}', status_code=422, media_type="application/json")

    @app.get("/")
    def show() -> Response:
        return Response(index, media_type=_KINDS[".html"])

    @app.get(OPEN_PREFIX + "{name}")
    def file(name: str) -> Response:
        content = table.get(name)
        if content is None:
            return Response('{"error": "there is no such file"}', status_code=404, media_type="application/json")
        return Response(content, media_type=_KINDS[name[name.rindex(".") :]])

    return app


def serve(
    app: "FastAPI", *, stop: threading.Event, on_ready: Callable[[str], None], open_browser: bool = True,
    before_end: Callable[[], None] = lambda: None,
    large_paths: Collection[str] = (),
) -> None:  # fmt: skip
    """Serve an application behind a guard until `stop` is set.

    Args:
        app: The application.
        stop: Ends the server.
        on_ready: Told the page's address, which holds the token.
        open_browser: Open the address in the user's browser.
        before_end: Called when the server is to end, while it still answers.
        large_paths: Paths to which more may be sent than a few choices, as uploads.

    Raises:
        MissingDependencyError: Without uvicorn.

    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    with socket.create_server((_LOOPBACK, 0)) as listener:
        token, host = secrets.token_urlsafe(24), f"{_LOOPBACK}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            Guard(app, token=token, host=host, large_paths=large_paths), log_config=None, log_level="error",
            access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1,
        )  # fmt: skip

        def begin() -> None:
            address = f"http://{host}/?token={token}"
            on_ready(address)
            if open_browser:
                webbrowser.open(address)

        _run(uvicorn.Server(config), listener, stop, begin, before_end)


def _run(
    server: Any, listener: socket.socket, stop: threading.Event, begin: Callable[[], None],
    before_end: Callable[[], None],
) -> None:  # fmt: skip
    """Run uvicorn beside this thread, which keeps the signals."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page-server")
    logger = logging.getLogger("uvicorn.error")

    def is_news(_: logging.LogRecord) -> bool:  # what is cut off by the end, as an upload, is no fault
        return not server.should_exit

    logger.addFilter(is_news)
    thread.start()
    try:
        begin()
        while thread.is_alive() and not stop.wait(_POLL_S):
            pass
    finally:
        try:
            before_end()
        finally:
            server.should_exit = True
            thread.join()
            logger.removeFilter(is_news)


def missing_extra(error: ModuleNotFoundError) -> MissingDependencyError:
    """What to say where a package of pages is not installed."""
    return MissingDependencyError(f"pages in the browser need '{error.name}'; pip install 'concertdeblur[studio]'")
