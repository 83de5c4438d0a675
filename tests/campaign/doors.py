"""What comes in from outside: requests to the pages' servers, and known holes of the packages."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.campaign.audit import known_holes
from tests.campaign.isolation import MIB, Ended, Forked, Limits
from tests.campaign.record import Record
from tests.campaign.strangers import Door, answers, attacks

_SERVING = Limits(wall_s=300, cpu_s=120, memory_bytes=2048 * MIB)
_MOST_GROWTH_BYTES = 48 * MIB  # of a server to which 100 MB are sent, again and again
_MOST_ATTACKS_A_SERVER = 33
_KINDS_OF_ATTACKS = 11


@dataclass(frozen=True, kw_only=True)
class PageServer:
    """A page's server, as the campaign needs it."""

    name: str
    lay_out: Callable[[Path], None]  # what it serves, into an empty folder
    serve: Callable[[Path, threading.Event, Callable[[str], None]], object]  # until the event; tells its address
    kept: tuple[str, ...]  # paths that only the token opens
    posts: tuple[str, ...]
    uploads: tuple[str, ...]  # those of them that take large bodies
    traces: Callable[[Path], str]  # what strangers left in the folder, in words; empty: nothing


def _dataset(folder: Path) -> None:
    from concertdeblur.dataset.frames import FrameRecord, write_frames

    (folder / "frames").mkdir()
    (folder / "frames" / "a.jpg").write_bytes(b"a picture")
    write_frames(
        folder, [FrameRecord(frame_id="a", source="gig", timestamp_s=1.0, sharpness=0.5, picture="frames/a.jpg")]
    )


def _annotate(folder: Path, stop: threading.Event, on_ready: Callable[[str], None]) -> object:
    from concertdeblur.pipelines.annotate import annotate

    return annotate(folder, stop=stop, on_ready=on_ready, open_browser=False)


def _traces_of_reviews(folder: Path) -> str:
    decided = folder / "reviews.jsonl"
    return "reviews.jsonl" if decided.exists() and decided.read_bytes() else ""


def _studio(folder: Path, stop: threading.Event, on_ready: Callable[[str], None]) -> object:
    from concertdeblur.studio.session import open_studio

    return open_studio([], folder / "studio", {}, stop=stop, on_ready=on_ready, open_browser=False)


def _traces_of_uploads(folder: Path) -> str:
    """Uploads that never ended, and files beside the studio's own; what came whole, with the token, is a clip."""
    clips = folder / "studio" / "clips"
    begun = [clip.name for clip in clips.iterdir() if not (clip / "clip.json").exists()]
    places = [path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file()]
    return ", ".join(begun + ["/".join(parts) for parts in places if parts[:2] not in _PLACES_OF_STUDIO])


_PLACES_OF_STUDIO = (("studio", "clips"), ("studio", "lock"))
SERVERS = [
    PageServer(name="annotate", lay_out=_dataset, serve=_annotate, kept=("/frames", "/picture?frame_id=a"),
               posts=("/decide", "/undo"), uploads=(), traces=_traces_of_reviews),
    PageServer(name="studio", lay_out=lambda _: None, serve=_studio, kept=("/api/clips", "/api/clips/x/source"),
               posts=("/api/clips?name=a.mp4", "/api/clips/x/start", "/api/clips/x/moment", "/api/clips/x/folder"),
               uploads=("/api/clips?name=a.mp4",), traces=_traces_of_uploads),
]  # fmt: skip


def run(record: Record) -> None:
    """The pages' servers under attack, by turns; at the end the packages that they and all else are made of."""
    number = 0
    while number < record.count and record.only is None:
        for server in SERVERS:
            rounds = max(1, min(_MOST_ATTACKS_A_SERVER, record.count - number) // _KINDS_OF_ATTACKS)
            _under_attack(record, server, number, rounds)
            number += rounds * _KINDS_OF_ATTACKS
    if record.only is None:
        _audit(record)


def _under_attack(record: Record, server: PageServer, first: int, rounds: int) -> None:
    """One server that lives through some attacks, each followed by a sound request."""
    folder, draw = record.case_folder(first), record.draw(first)
    dataset, told, end = folder / "served", folder / "address", folder / "end"
    dataset.mkdir()
    server.lay_out(dataset)
    before = {path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()}
    forked = Forked(lambda: _serving(server, dataset, told, end), folder / ".log", _SERVING)
    while not told.exists() and not forked.has_ended(0.05):
        pass
    at = urlsplit(told.read_text())
    door = Door(host=str(at.hostname), port=int(at.port or 0), token=at.query.removeprefix("token="), kept=server.kept,
                posts=server.posts, uploads=server.uploads)  # fmt: skip
    faults: list[tuple[str, str]] = []
    for _ in range(rounds):
        for name, attack in attacks(draw):
            try:
                complaint = attack(door) or answers(door)
            except OSError as error:
                complaint = f"the server does not answer any more ({error})"
            record.ended(f"{server.name}: {name}", "fault" if complaint else "done")
            if complaint:
                faults.append((name, complaint))
    end.touch()
    ended = forked.wait()
    faults += _aftermath(ended)
    if not ended.death:
        most = f"{server.name}: memory grew by at most, in MiB"
        growth = ended.result["growth_bytes"] / MIB
        record.figures[most] = f"{max(growth, float(record.figures.get(most, 0))):.0f}"
    changed = [name for name, data in before.items() if (dataset / name).read_bytes() != data]
    if traces := ", ".join(filter(None, [*changed, server.traces(dataset)])):
        faults.append(("strangers changed files", traces))
    for fault, detail in faults:
        record.found(first, f"{server.name} under attack", fault, detail, [folder / ".log" / "stderr"])


def _serving(server: PageServer, dataset: Path, told: Path, end: Path) -> dict[str, int]:
    """In the server's process: serve until a file appears; gives how much memory that took."""
    stop = threading.Event()

    def on_ready(address: str) -> None:
        part = told.with_suffix(".part")
        part.write_text(address)
        part.replace(told)

    def watch() -> None:
        while not end.exists():
            time.sleep(0.1)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    begin = _peak_bytes()
    server.serve(dataset, stop, on_ready)
    return {"code": 0, "growth_bytes": _peak_bytes() - begin}


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _aftermath(ended: Ended) -> list[tuple[str, str]]:
    if ended.death:
        return [(ended.death, ended.stderr)]
    faults = [("traceback", ended.stderr)] if "Traceback" in ended.stderr else []
    growth = ended.result["growth_bytes"]
    return faults + ([("memory", f"grew by {growth // MIB} MiB")] if growth > _MOST_GROWTH_BYTES else [])


def _audit(record: Record) -> None:
    told, holes = known_holes()
    record.figures["known holes of packages"] = told
    for hole in holes:
        record.found(-1, "packages", "known hole", hole)
