"""What a part of the campaign did and found: cases by kind and outcome, findings with what shows them again."""

import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaign.isolation import Ended

_MOST_KEPT_BYTES = 20 * 2**20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault."""

    part: str
    number: int  # of the case within the part: with the seed all that is needed to see it again
    case: str  # in words
    fault: str  # its kind, in words
    detail: str
    kept: str  # folder with the input and what was said


@dataclass(kw_only=True)
class Record:
    """One part's run."""

    part: str
    seed: int
    count: int
    folder: Path  # for findings; a case's own files go to `case_folder`
    only: int | None = None
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind of case, how it ended)
    sentences: Counter[str] = field(default_factory=Counter)  # refusals, without what differs from case to case
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)

    def numbers(self) -> Iterator[int]:
        """The cases to run."""
        yield from range(self.count) if self.only is None else (self.only,)

    def draw(self, number: int) -> random.Random:
        """The source of chance of one case."""
        return random.Random(f"{self.seed}/{self.part}/{number}")  # noqa: S311 - the same every time

    def case_folder(self, number: int) -> Path:
        """An empty folder for one case; it goes when the next one asks for its own."""
        place = self.folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        made = place / f"{number:04d}"
        made.mkdir(parents=True)
        return made

    def ended(self, kind: str, outcome: str) -> None:
        """Count one case."""
        self.outcomes[kind, outcome] += 1

    def refused(self, kind: str, sentence: str) -> None:
        """Count a case that ended with one sentence."""
        self.ended(kind, "refused")
        self.sentences[masked(sentence)] += 1

    def found(self, number: int, case: str, fault: str, detail: str, keep: Iterable[Path] = ()) -> None:
        """Note a fault, with the files that show it."""
        place = self.folder / "findings" / f"{self.part}-{number:04d}"
        place.mkdir(parents=True, exist_ok=True)
        for path in keep:
            if path.is_file() and path.stat().st_size <= _MOST_KEPT_BYTES:
                shutil.copy(path, place / path.name)
        told = Finding(part=self.part, number=number, case=case, fault=fault, detail=detail[-4000:], kept=str(place))
        self.findings.append(told)
        with (self.folder / "findings.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": self.seed, **asdict(told)}) + "\n")

    @property
    def num_cases(self) -> int:
        """How many cases ended, in whatever way."""
        return sum(self.outcomes.values())


def masked(sentence: str) -> str:
    """A sentence without paths and numbers."""
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"(/[^\s:,;'()]+)+", "PATH", sentence))[:160]


_ALLOWED_CODES = (0, 1, 2)


def manners(ended: Ended, *, tells_progress: bool = False) -> list[tuple[str, str]]:
    """What is wrong with the way in which a command ended, as (fault, detail): none for most.

    Args:
        ended: Of a command.
        tells_progress: It writes lines of its own about how far it is; else each other line comes from a library.

    """
    if ended.death:
        return [(ended.death, ended.stderr[-3000:])]
    code, faults = ended.result["code"], []
    if "Traceback (most recent call last)" in ended.stderr:
        faults.append(("traceback", ended.stderr))
    if "this is a bug in concertdeblur" in ended.stderr:
        faults.append(("bug", ended.stderr))
    if code not in _ALLOWED_CODES:
        faults.append((f"exit code {code}", ended.stderr))
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    if len(sentences) != (code != 0):
        faults.append((f"exit code {code} with {len(sentences)} sentences", ended.stderr))
    strange = [line for line in ended.stderr.splitlines() if not _is_ours(line)]
    if strange and not faults and not tells_progress:
        faults.append(("chatter", "\n".join(strange)))
    return faults


def sentence_of(ended: Ended) -> str:
    """The one sentence of error; empty if there is none."""
    return next((line[7:] for line in ended.stderr.splitlines() if line.startswith("Error: ")), "")


def _is_ours(line: str) -> bool:
    """Whether our command line writes such lines; all others come from libraries."""
    return line.startswith(("Error: ", "Warning: ", "  ", "Note: ")) or line.endswith("is written.") or not line
