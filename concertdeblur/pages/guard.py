"""Who may ask: whoever names this host, comes from no other page, and holds the token."""

import json
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PREFIX = "/static/"  # files of the package: they are no secret, and a page's parts name each other without a token
_MOST_BODY_BYTES = 65_536  # choices take a hundred
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'self';"
    " script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Guard:
    """Lets requests through to an ASGI application, or answers them itself with the reason why not.

    Args:
        app: The application.
        token: What every request must carry as `?token=`, but for those of the package's own files.
        host: The only accepted Host header, as "127.0.0.1:8123": a foreign page that names this machine is refused.
        large_paths: Paths to which more may be sent than a few choices.
    """

    def __init__(self, app: App, *, token: str, host: str, large_paths: Collection[str] = ()) -> None:
        self._app, self._token, self._host, self._large_paths = app, token.encode(), host, large_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_header_rows()]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        status, why = refusal
        row = (b"content-type", b"application/json")
        await send_guarded({"type": "http.response.start", "status": status, "headers": [row]})
        await send({"type": "http.response.body", "body": json.dumps({"error": why}).encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason; None for a request that is let through."""
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if [value for name, value in scope["headers"] if name == b"host"] != [self._host.encode()]:
            return 421, "wrong host"
        if told.get("origin", f"http://{self._host}") != f"http://{self._host}":
            return 403, "wrong origin: another page may not ask"
        if scope["path"].startswith(OPEN_PREFIX) and scope["method"] in ("GET", "HEAD"):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not secrets.compare_digest(given.encode(), self._token):
            return 403, "wrong token; open the address that the command wrote"
        if scope["path"] not in self._large_paths and _is_large(told):
            return 413, "the request is too large"
        return None


def _is_large(told: dict[str, str]) -> bool:
    """Whether a request's body has more bytes than choices take, or does not say how many."""
    length = told.get("content-length", "0")
    return "transfer-encoding" in told or not (length.isascii() and length.isdigit()) or int(length) > _MOST_BODY_BYTES


def _header_rows() -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
