"""A small web server on the loopback, as sources of a data set: clips, pages, playlists, things that fail."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server answers with, by path, and what was asked of it."""

    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # path -> (content type, body)
    flaky: dict[str, int] = field(default_factory=dict)  # path -> how many times it fails with 503 first
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # (method, path, cookies)
    base: str = ""

    def url(self, path: str) -> str:
        return f"{self.base}{path}"

    def num_bodies(self, path: str) -> int:
        """How many times a body was asked for."""
        return sum(method == "GET" and asked == path for method, asked, _ in self.asked)


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.split("?")[0]
            site.asked.append((self.command, path, self.headers.get("Cookie", "")))
            if site.flaky.get(path, 0) > 0:
                site.flaky[path] -= 1
                self.send_error(503)
                return
            if path not in site.pages:
                self.send_error(404)
                return
            kind, body = site.pages[path]
            start, stop = self._range(len(body))
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            if "Range" in self.headers:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
            self.end_headers()
            if with_body:
                self.wfile.write(body[start:stop])

        def _range(self, size: int) -> tuple[int, int]:
            asked = self.headers.get("Range", "").removeprefix("bytes=")
            start, _, stop = asked.partition("-")
            return int(start or 0), min(size, int(stop) + 1 if stop else size)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has seen enough hangs up; that is nothing for standard error."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
