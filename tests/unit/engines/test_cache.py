"""Compiled networks are kept for the next run, and whatever is wrong with the folder goes unnoticed."""

import os
import threading
import time
from pathlib import Path

import pytest

from concertdeblur.engines import cache
from concertdeblur.engines.cache import cache_folder, keep, kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "concertdeblur" / "networks"


def test_what_was_kept_comes_back_and_nothing_else_lies_there(folder: Path) -> None:
    assert kept("a") is None
    keep("a", b"content")
    keep("a", b"newer")
    assert kept("a") == b"newer"
    assert kept("b") is None
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda entry: entry[:-1], lambda entry: b"", lambda entry: entry[:-1] + b"?"])
def test_a_damaged_entry_is_none_and_is_replaced(folder: Path, damage: object) -> None:
    assert callable(damage)
    keep("a", b"content")
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert kept("a") is None
    keep("a", b"content")
    assert kept("a") == b"content"


def test_a_folder_that_cannot_be_used_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "concertdeblur").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep("a", b"content")
    assert kept("a") is None

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    keep("a", b"content")
    assert kept("a") is None


def test_a_relative_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "concertdeblur" / "networks"


def test_the_folder_does_not_grow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_BYTES", 3500)
    monkeypatch.setattr(cache, "_MOST_BYTES_OF_ENTRY", 2000)
    now_s = time.time()
    for number, key in enumerate("abc"):
        keep(key, bytes(1000))
        os.utime(folder / f"{key}.network", (now_s - 100 + number,) * 2)
    assert kept("a") is not None  # so it is not the oldest any more
    (folder / "abandoned.part").write_bytes(b"half")
    os.utime(folder / "abandoned.part", (now_s - 7200,) * 2)
    (folder / "under-way.part").write_bytes(b"half")
    keep("d", bytes(1000))
    keep("too-large", bytes(2001))
    assert {path.name for path in folder.iterdir()} == {"a.network", "c.network", "d.network", "under-way.part"}


def test_several_may_write_and_read_at_once(folder: Path) -> None:
    contents = {bytes([number]) * 100_000 for number in range(4)}
    seen: list[bytes | None] = []

    def work(content: bytes) -> None:
        for _ in range(20):
            keep("a", content)
            seen.append(kept("a"))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert set(seen) <= contents
    assert len(list(folder.iterdir())) == 1
