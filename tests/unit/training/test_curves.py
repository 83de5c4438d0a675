"""Learning curves: damaged lines are left out, and what is whole is gone on with."""

import json
from pathlib import Path

from concertdeblur.training.curves import Curves

_ROWS = [{"stage": "iGAN", "step": step, "objective": 0.5, "held-out gain": float(step)} for step in (1, 2, 3)]
_DAMAGE = (b'{"stage": "iGAN", "st', b"\xbc\x00\xff", b"[" * 5000, b"[1, 2]", b'{"stage": 1, "step": "x"}', b"null")


def damaged(folder: Path) -> Curves:
    lines = [json.dumps(row).encode() for row in _ROWS]
    (folder / "curves.jsonl").write_bytes(b"\n".join([lines[0], *_DAMAGE, lines[1], lines[2]]) + b"\n")
    return Curves(folder, on_warning=lambda _: None)


def test_what_was_told_last_is_found_behind_damage(tmp_path: Path) -> None:
    assert damaged(tmp_path).last_held_out("iGAN") == {"gain": 3.0}
    assert damaged(tmp_path).last_held_out("pGAN") == {}


def test_a_stage_is_taken_up_without_damage_and_without_what_lies_beyond(tmp_path: Path) -> None:
    with damaged(tmp_path) as curves:
        curves.begin("iGAN", 2)
    kept = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert kept == _ROWS[:2]
