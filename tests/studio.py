"""`concertdeblur studio` in a process of its own, and a client of its page's server."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.commands import command, environment


class RunningStudio:
    """A studio over a folder, with small random networks unless told otherwise; a context manager that ends it."""

    def __init__(self, folder: Path, *sources: Path, weights: str | None = None) -> None:
        options = ["--weights", weights, "--backend", "torch"] if weights else []
        self.folder = folder
        self._process = subprocess.Popen(
            command("studio", *sources, "--folder", folder, "--no-open", "--json", *options), env=environment(),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        assert told, self._process.communicate()[1]
        self.address: str = json.loads(told)["address"]
        self.base, _, self.token = self.address.partition("/?token=")
        self.http = httpx.Client(base_url=self.base, params={"token": self.token}, trust_env=False, timeout=60)

    def __enter__(self) -> "RunningStudio":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.end(signal.SIGINT)

    def end(self, how: signal.Signals) -> tuple[int, str, str]:
        """Exit code, the rest of standard output, and standard error."""
        self.http.close()
        self._process.send_signal(how)
        out, told = self._process.communicate(timeout=120)
        return self._process.returncode, out, told

    def clips(self) -> list[dict[str, Any]]:
        """What the page shows."""
        told: list[dict[str, Any]] = self.http.get("/api/clips").json()["clips"]
        return told

    def clip(self, clip_id: str = "") -> dict[str, Any]:
        """One clip; without an id the last one."""
        return next(one for one in reversed(self.clips()) if clip_id in ("", one["id"]))

    def wait(
        self, is_so: Callable[[dict[str, Any]], Any], clip_id: str = "", *, patience_s: float = 300
    ) -> dict[str, Any]:
        """Wait until a clip is as wanted; gives it."""
        until_s = time.monotonic() + patience_s
        while True:
            clip = self.clip(clip_id) if self.clips() else {}
            if clip and is_so(clip):
                return clip
            assert time.monotonic() < until_s, clip
            time.sleep(0.05)

    def upload(self, path: Path, name: str = "") -> str:
        """Upload a file; gives the clip's id."""
        answer = self.http.post("/api/clips", params={"name": name or path.name}, content=path.read_bytes())
        assert answer.status_code == 200, answer.text
        clip_id: str = answer.json()["id"]
        return clip_id

    def ask(self, clip_id: str, what: str, **body: Any) -> httpx.Response:
        """Ask something of a clip."""
        return self.http.post(f"/api/clips/{clip_id}/{what}", json=body)

    def start(self, clip_id: str, *, quality: str = "best", strength: float = 1) -> None:
        """Start a clip's work once its facts are known."""
        self.wait(lambda clip: clip["state"] not in ("looking",), clip_id)
        answer = self.ask(clip_id, "start", quality=quality, strength=strength)
        assert answer.status_code == 200, answer.text
