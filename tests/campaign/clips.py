"""Damaged clips through `concertdeblur video`: read as far as they can be, or refused in one sentence."""

from pathlib import Path
from typing import Any

from tests.campaign.careful_reader import readable, strictly_read
from tests.campaign.isolation import MIB, Ended, Limits, command, isolated
from tests.campaign.mutations import damaged
from tests.campaign.originals import Original, originals
from tests.campaign.record import Record, manners, masked, sentence_of
from tests.weight_sets import random_weight_set

_LIMITS = Limits()
_NETWORKS = ("--no-refine", "--backend", "torch", "--device", "cpu")
_SHARE_OF_NETWORKS = 0.12  # they take ten times as long
_MOST_OUTPUT_BYTES = 40 * MIB
_HONEST = (  # refusals of what could be read
    "the picture size changes", "is interlaced", "turns from progressive to interlaced", "cannot hold",
    "does not decode", "ends early", "--strict", "no frame between start and end", "the reader pyav",
)  # fmt: skip
_VARIANTS: tuple[tuple[str, ...], ...] = (
    (), (), (), (), (), (), ("--end", "0.3"), ("--start", "0.2"), ("--audio", "aac"),
    ("--strict",), ("--end", "0.2", "--audio", "aac"),
    ("--compatible",),
)  # fmt: skip


def run(record: Record) -> None:
    """Each case: one clip, damaged, through one run, its output held against what FFmpeg gets out of the input."""
    kinds = originals()
    whole = _make(kinds, record.folder / "originals")
    weights = record.folder / "originals" / "weights"
    for number in record.numbers():
        kind = kinds[number % len(kinds)]
        _case(record, number, kind, whole[kind.name], weights)


def _make(kinds: list[Original], folder: Path) -> dict[str, bytes]:
    """Every kind, whole; made in a process of their own, so that no encoder's thread lives in this one."""
    folder.mkdir(parents=True, exist_ok=True)

    def make() -> bool:
        for kind in kinds:
            kind.make(folder / (kind.name + kind.suffix))
        random_weight_set(folder / "weights")
        return True

    ended = isolated(make, folder / "log", Limits(wall_s=300, cpu_s=200))
    assert ended.result, ended.stderr
    return {kind.name: (folder / (kind.name + kind.suffix)).read_bytes() for kind in kinds}


def _case(record: Record, number: int, kind: Original, data: bytes, weights: Path) -> None:
    folder, draw = record.case_folder(number), record.draw(number)
    source = folder / f"in{kind.suffix}"
    changed, told = damaged(data, kind.suffix, draw)
    source.write_bytes(changed)
    extra = draw.choice(_VARIANTS)
    suffix = ".mp4" if "--compatible" in extra else draw.choice((kind.target_suffix, kind.target_suffix, ".mkv"))
    target = folder / f"out{suffix}"
    preset = ("--preset", "12" if suffix == ".webm" else "ultrafast")
    networks = (*_NETWORKS, "--weights", weights) if draw.random() < _SHARE_OF_NETWORKS else ("--strength", 0)
    if networks[0] != "--strength" and draw.random() < 0.5:
        networks = (*networks, "--reader", "decord")
    args = ("video", source, target, *networks, "--drop-streams", *preset, *kind.flags, *extra)
    ended = isolated(command(*args), folder / "log", _LIMITS)
    words = f"{kind.name}: {told}; {' '.join(map(str, args[3:]))} to {suffix}"
    keep = [source, folder / "log" / "stderr", target]
    faults = manners(ended) + _of_output(record, kind, ended, source, target, extra)
    left = [path.name for path in folder.iterdir() if path not in (source, target, folder / "log")]
    if left:
        faults.append(("litter", " ".join(left)))
    for fault, detail in faults:
        record.found(number, words, fault, detail, keep)
    if faults:
        record.ended(kind.suffix[1:], "fault")
    elif ended.result["code"]:
        record.refused(kind.suffix[1:], sentence_of(ended))
    else:
        record.ended(kind.suffix[1:], "done")


def _of_output(
    record: Record, kind: Original, ended: Ended, source: Path, target: Path, extra: tuple[str, ...]
) -> list[tuple[str, str]]:
    """What is wrong with the output, or with there being none."""
    if ended.death:
        return []
    log = record.folder / "oracle"
    before = isolated(lambda: readable(source), log, _LIMITS).result or {"frames": 0, "sounds": 0}
    if ended.result["code"]:
        sentence = sentence_of(ended)
        is_lost = before["frames"] and not any(words in sentence + ended.stderr for words in _HONEST)
        faults = [("refused though readable", f"{before}: {masked(sentence)}")] if is_lost else []
        return faults + ([("half output", target.name)] if target.exists() else [])
    if not target.exists():
        return [("no output", "exit code 0")]
    if target.stat().st_size > _MOST_OUTPUT_BYTES:
        return [("huge output", f"{target.stat().st_size} bytes")]
    after: dict[str, Any] = isolated(lambda: strictly_read(target), log, _LIMITS).result or {"wrong": "reader died"}
    if after["wrong"]:
        return [("output that does not decode", after["wrong"])]
    if extra and extra[0] in ("--start", "--end", "--compatible", "--audio"):  # fewer, or counted otherwise
        return []
    faults = []
    if after["frames"] < before["frames"]:
        faults.append(("frames lost", f"{after['frames']} of {before['frames']}: {ended.stderr}"))
    if after["sounds"] < before["sounds"] and not any(word in ended.stderr for word in ("dropped", "left out")):
        faults.append(("sound lost", f"{after['sounds']} of {before['sounds']}: {ended.stderr}"))
    return faults
