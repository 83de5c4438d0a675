"""Who may ask a page's server, request by request, and what is said where its packages are missing."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from concertdeblur.pages.guard import Guard
from tests.commands import environment

_HOST, _TOKEN = "127.0.0.1:8123", "secret"


async def _app(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        scope["seen"] = True
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"let in"})


def _asked(
    path: str = "/", *, method: str = "GET", query: str = f"token={_TOKEN}", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    given = {"host": _HOST, **headers}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    guard = Guard(_app, token=_TOKEN, host=_HOST, large_paths=("/upload",))
    asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    answered = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], answered, told[1]["body"]


def test_who_holds_the_token_gets_in_under_a_strict_policy() -> None:
    status, headers, body = _asked()
    assert (status, body) == (200, b"let in")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["referrer-policy"] == "no-referrer"
    assert _asked(origin=f"http://{_HOST}")[0] == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"query": ""}, 403), ({"query": "token="}, 403), ({"query": "token=secre"}, 403),
        ({"query": "token=x&token=secret"}, 403),
        ({"host": "localhost:8123"}, 421), ({"host": "127.0.0.1"}, 421), ({"host": ""}, 421),
        ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"origin": f"https://{_HOST}"}, 403),
        ({"path": "/static/x.js", "query": "", "origin": "null"}, 403),
        ({"path": "/static/x.js", "query": "", "method": "POST"}, 403), ({"path": "/staticx", "query": ""}, 403),
    ],
)  # fmt: skip
def test_everybody_else_is_told_why_not(change: dict[str, str], status: int) -> None:
    told, headers, body = _asked(**change)
    assert told == status
    assert b"let in" not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_files_of_the_package_are_no_secret() -> None:
    assert _asked("/static/x.js", query="")[0] == 200


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_package_is_named_with_what_to_install(tmp_path: Path, package: str) -> None:
    pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
    script = f"import sys; sys.modules[{package!r}] = None; from concertdeblur.cli import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", script, "studio", "--no-open", "--folder", str(tmp_path)], env=environment(),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr == f"Error: pages in the browser need '{package}'; pip install 'concertdeblur[studio]'\n"


@pytest.mark.parametrize(
    "told", [{"content-length": "65537"}, {"transfer-encoding": "chunked"}, {"content-length": "x"}]
)
def test_a_large_body_gets_in_only_where_uploads_go(told: dict[str, str]) -> None:
    assert _asked("/choices", method="POST", **told)[0] == 413
    assert _asked("/upload", method="POST", **told)[0] == 200
    assert _asked("/choices", method="POST", **{"content-length": "65536"})[0] == 200
