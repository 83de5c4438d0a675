"""A web server that lies: loops, endless and wrong bodies, names with paths, playlists that lead elsewhere."""

import contextlib
import gzip
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_MEGABYTE = b"\0" * 2**20
_STATUSES = ("500 X", "204 X", "304 X", "999 X")
_NAMES = ("../../evil.mp4", "/tmp/evil.mp4", "..", "a\\..\\b.mp4", "%(id)s.mp4")  # noqa: S108 - that is the point


class HostileSite:
    """Answers every request in one way; each connection has a thread of its own."""

    def __init__(self, answer: "Answer") -> None:
        self._answer, self._listener = answer, socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_closed = threading.Event()

    def __enter__(self) -> "HostileSite":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError, IndexError):
            link.settimeout(30)
            head = b""
            while b"\r\n\r\n" not in head and (part := link.recv(65536)):
                head += part
            path = head.split(b" ")[1].decode("latin-1")
            for part in self._answer(self.base, path):
                if self._is_closed.is_set():
                    return
                link.sendall(part)


Answer = Callable[[str, str], Iterator[bytes]]  # (address of the site, path) -> the bytes, until they end


def _head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close"]).encode("latin-1") + b"\r\n\r\n"


def _plain(data: bytes, *lines: str, kind: str = "video/mp4", status: str = "200 OK") -> Iterator[bytes]:
    yield _head(f"Content-Type: {kind}", f"Content-Length: {len(data)}", *lines, status=status) + data


def ways(clip: bytes, secret: Path, draw: random.Random) -> list[tuple[str, Answer]]:
    """Every way of lying, by name, and one honest one.

    Args:
        clip: A whole mp4.
        secret: A clip on this machine that must not be taken.
        draw: Of the case.

    """
    cut = draw.randrange(1, len(clip))

    def redirect(to: str) -> Answer:
        return lambda base, path: _plain(b"", f"Location: {to.format(base=base, path=path)}", status="302 Found")

    def page(text: str, kind: str = "text/html") -> Answer:
        return lambda base, path: _plain(text.replace("BASE", base).encode(), kind=kind)

    def endless(*lines: str) -> Answer:
        def answer(base: str, path: str) -> Iterator[bytes]:
            yield _head("Content-Type: video/mp4", *lines) + clip
            while True:
                yield b"100000\r\n" + _MEGABYTE + b"\r\n" if "chunked" in "".join(lines) else _MEGABYTE

        return answer

    def dripping(base: str, path: str) -> Iterator[bytes]:
        yield _head("Content-Type: video/mp4", f"Content-Length: {2**30}")
        while True:
            time.sleep(0.2)
            yield b"\0"

    def wrong_length(length: object) -> Answer:
        return lambda base, path: iter([_head("Content-Type: video/mp4", f"Content-Length: {length}") + clip[:cut]])

    def named(name: str) -> Answer:
        return lambda base, path: _plain(clip, f'Content-Disposition: attachment; filename="{name}"')

    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 50}">' for n in range(9))
    return [
        ("an honest clip", lambda base, path: _plain(clip)),
        ("a redirect to itself", redirect("{base}{path}")),
        ("redirects without end", redirect("{base}{path}x")),
        ("a redirect to a file", redirect(f"file://{secret}")),
        ("a redirect to nowhere", redirect("gopher://{base}")),
        ("a body without end", endless()),
        ("chunks without end", endless("Transfer-Encoding: chunked")),
        ("a body that drips", dripping),
        ("too long a length", wrong_length(len(clip) * 3)),
        ("a length that is no number", wrong_length(draw.choice(("-5", "x", "1e9", "", 10**40)))),
        ("a name with a path", named(draw.choice(_NAMES))),
        ("a page that shows a file", page(f'<video src="file://{secret}"></video><title>../../x\x1b[31m</title>')),
        ("a playlist of a file", page(playlist.format(f"file://{secret}"), "application/vnd.apple.mpegurl")),
        ("a playlist of itself", page(playlist.format("BASE/a.m3u8"), "application/vnd.apple.mpegurl")),
        ("a playlist with a key from a file", page(
            playlist.format(f'#EXT-X-KEY:METHOD=AES-128,URI="file://{secret}"\nBASE/a.ts'),
            "application/vnd.apple.mpegurl")),
        ("a feed of entities", page(f"<?xml version='1.0'?><!DOCTYPE r [{entities}]><rss><channel><title>&e8;</title>"
                                    "</channel></rss>", "application/rss+xml")),
        ("zeros in a bomb", lambda base, path: _plain(gzip.compress(_MEGABYTE * 300, 1), "Content-Encoding: gzip")),
        ("noise", lambda base, path: iter([draw.randbytes(3000)])),
        ("headers without end", lambda base, path: iter([_head()[:-2], *[b"X: " + b"y" * 60_000 + b"\r\n"] * 300])),
        ("nothing", lambda base, path: iter(())),
        ("an error every time", lambda base, path: _plain(b"", status=draw.choice(_STATUSES))),
        ("half a clip", lambda base, path: _plain(clip[:cut])),
        ("a text", lambda base, path: _plain(b"no clip", kind="video/mp4")),
    ]  # fmt: skip
