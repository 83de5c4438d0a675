"""What strangers send to a page's server: raw requests, each with what a sound answer to it is."""

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TIMEOUT_S = 15.0
_PATIENCE_S = 1.0  # with what may be no whole request, to which a server may wait for the rest
_SECRETS = (b"root:x:", b"root:*:")  # of /etc/passwd
_PATHS = (
    "/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd",
    "/static/../../../../etc/passwd", "/static/%2e%2e%2fguard.py", "/static//etc/passwd",
    "/picture?frame_id=/etc/passwd",
    "/picture?frame_id=../../../../etc/passwd", "/picture?frame_id=%00", "/picture", "/%00", "/%ff%fe",
    "/" + "a" * 60_000,
    "/openapi.json", "/docs", "/.git/config", "/frames/../frames", "/%2573tatic", "/;x=1", "/?token=a&token=b",
)  # fmt: skip
_BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe\x00", b"NaN", b"1e999", b'"\\ud800"',
    b'{"frame_id": {"$gt": ""}, "keep": true}', b'{"frame_id": "' + b"x" * 300_000 + b'", "keep": true}',
    b'{"frame_id": 1, "keep": "yes", "more": ' + b"9" * 5000 + b"}", b"a=1&b=2", b"--x\r\n\r\n--x--",
)  # fmt: skip
_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\n\r\n",
    b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"\0" * 5000, b"A" * 200_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 500_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzzz\r\n0\r\n\r\n",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Door:
    """A server's address, and what lies behind it."""

    host: str
    port: int
    token: str
    kept: tuple[str, ...]  # paths that only the token opens
    posts: tuple[str, ...]  # paths that take decisions
    uploads: tuple[str, ...]  # those of them that take large bodies from who holds the token

    @property
    def name(self) -> str:
        """As the Host header has it."""
        return f"{self.host}:{self.port}"


Complaint = str  # what is wrong with an answer; empty: nothing


def attacks(draw: random.Random) -> list[tuple[str, Callable[[Door], Complaint]]]:
    """One draw of every kind, by name."""
    path, body, garbage = draw.choice(_PATHS), draw.choice(_BODIES), draw.choice(_GARBAGE)
    noise = draw.randbytes(draw.choice((1, 100, 10_000)))
    method = draw.choice(("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "HEAD", "get", "X" * 500))
    return [
        ("foreign Host", lambda door: _foreign_host(door, draw)),
        ("foreign Origin", lambda door: _foreign_origin(door, draw)),
        ("wrong token", lambda door: _wrong_token(door, draw)),
        ("odd path", lambda door: _sound(_asked(door, path=path), path)),
        (
            "odd method",
            lambda door: _sound(
                _sent(door, _request(door, method=method, path=draw.choice(door.kept)), _PATIENCE_S), method
            ),
        ),
        ("odd body", lambda door: _sound(_asked(door, method="POST", path=draw.choice(door.posts), body=body), "body")),
        ("huge body", lambda door: _huge_body(door, draw)),
        ("slow requests", lambda door: _slow(door, draw)),
        ("many connections", lambda door: _many(door)),
        ("garbage", lambda door: _sound(_sent(door, garbage, _PATIENCE_S), "garbage")),
        ("noise", lambda door: _sound(_sent(door, noise, _PATIENCE_S), "noise")),
    ]


def answers(door: Door) -> Complaint:
    """Whether who holds the token is answered soon."""
    started_s = time.monotonic()
    answer = _asked(door, path=door.kept[0])
    took_s = time.monotonic() - started_s
    if _status(answer) != 200:
        return f"who holds the token is answered {answer[:80]!r}"
    return f"an answer took {took_s:.0f} s" if took_s > _TIMEOUT_S / 2 else ""


def _request(
    door: Door, *, method: str = "GET", path: str = "/", host: str | None = None, token: str | None = None,
    lines: tuple[str, ...] = (), body: bytes = b"",
) -> bytes:  # fmt: skip
    joint = "&" if "?" in path else "?"
    given = door.token if token is None else token
    target = f"{path}{joint}token={given}" if given else path
    head = [f"{method} {target} HTTP/1.1", f"Host: {door.name if host is None else host}", *lines, "Connection: close"]
    if body and not any(line.startswith("Content-") for line in lines):
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def _asked(door: Door, **how: object) -> bytes:
    return _sent(door, _request(door, **how))  # type: ignore[arg-type]


def _sent(door: Door, data: bytes, timeout_s: float = _TIMEOUT_S) -> bytes:
    """What comes back; empty if the server only closes."""
    with _connected(door) as link:
        link.settimeout(timeout_s)
        with contextlib.suppress(OSError):
            link.sendall(data)
        return _received(link)


@contextlib.contextmanager
def _connected(door: Door) -> Iterator[socket.socket]:
    with socket.create_connection((door.host, door.port), timeout=_TIMEOUT_S) as link:
        yield link


def _received(link: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(OSError):
        while (part := link.recv(65536)) and len(answer) < 4_000_000:
            answer += part
    return answer


def _status(answer: bytes) -> int:
    """Of the first line; 0 without one."""
    parts = answer.split(b" ", 2)
    return int(parts[1]) if len(parts) > 2 and parts[1].isdigit() else 0


def _sound(answer: bytes, what: str) -> Complaint:
    if any(secret in answer for secret in _SECRETS):
        return f"{what[:60]} gives away /etc/passwd"
    return f"{what[:60]} is answered with {_status(answer)}" if _status(answer) >= 500 else ""


def _refused(answer: bytes, what: str) -> Complaint:
    return f"{what} is answered with {_status(answer)}" if _status(answer) not in (0, *range(400, 500)) else ""


def _foreign_host(door: Door, draw: random.Random) -> Complaint:
    host = draw.choice(
        ("evil.example", "", f"{door.name}.evil.example", f"localhost:{door.port}", f"x@{door.name}", door.host,
         f"{door.name}\r\nHost: evil.example", f"evil.example\r\nHost: {door.name}")
    )  # fmt: skip
    return _refused(_asked(door, path=draw.choice(door.kept), host=host), f"Host {host!r}")


def _foreign_origin(door: Door, draw: random.Random) -> Complaint:
    origin = draw.choice(("http://evil.example", "null", f"http://{door.host}:1", f"https://{door.name}", "file://"))
    path, lines = draw.choice(door.posts), (f"Origin: {origin}",)
    return _refused(_asked(door, method="POST", path=path, lines=lines, body=b"{}"), f"Origin {origin}")


def _wrong_token(door: Door, draw: random.Random) -> Complaint:
    token = draw.choice(("wrong", door.token[:-1], door.token + "x", door.token.swapcase(), "%00", "x" * 30_000, ""))
    how = (
        {"path": draw.choice(door.kept)} if draw.random() < 0.5 else {"path": draw.choice(door.posts), "method": "POST"}
    )
    lines = (f"Authorization: Bearer {door.token}", f"Cookie: token={door.token}") if not token else ()
    return _refused(_asked(door, **how, token=token or "none", lines=lines), "a wrong token")


def _huge_body(door: Door, draw: random.Random) -> Complaint:
    """100 MB, or the promise of more, with and without the token; memory and what is left are seen at the end."""
    path = draw.choice(door.uploads or door.posts)
    token = draw.choice((None, "wrong"))
    promised = draw.choice(
        ("Content-Length: 104857600", "Content-Length: 99999999999999", "Transfer-Encoding: chunked")
    )
    head = _request(door, method="POST", path=path, token=token, lines=(promised, "Content-Type: x/y"))
    block = b'["' + b"x" * 65532 + b'",'
    with _connected(door) as link, contextlib.suppress(OSError):
        link.sendall(head)
        for _ in range(1600):
            link.sendall(b"%x\r\n%s\r\n" % (len(block), block) if "chunked" in promised else block)
    return ""


def _slow(door: Door, draw: random.Random) -> Complaint:
    """A hundred requests that never end; others are answered meanwhile."""
    whole = _request(door, method="POST", path=draw.choice(door.posts), body=b"{" + b" " * 1000)
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(_connected(door)) for _ in range(100)]
        for link in links:
            link.sendall(whole[: draw.randrange(1, len(whole) - 1)])
        return answers(door)


def _many(door: Door) -> Complaint:
    """Three hundred connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(_connected(door))
        return answers(door)
