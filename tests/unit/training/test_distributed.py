"""Two processes of one run, as torchrun starts them: what becomes of one when the other fails."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

from concertdeblur.training.distributed import joined
from tests.commands import environment

_RUN = """
import sys
import time
import torch
from concertdeblur.errors import TrainingError
from concertdeblur.training.distributed import joined, others_wait

device = torch.device("cpu")
with joined(device) as world:
    with others_wait(device):
        if world.is_first:
            time.sleep(0.5)
            open("made", "w").close()
    print(open("made").read() + "made")
    with others_wait(device):
        if world.is_first and sys.argv[1] == "fails":
            raise KeyboardInterrupt
    print("goes on")
"""


def run_both(folder: Path, how: str) -> list[subprocess.CompletedProcess[str]]:
    """Run `_RUN` in two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = environment() | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _RUN, how], cwd=folder, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    ended = []
    for child in both:
        out, err = child.communicate(timeout=120)
        ended.append(subprocess.CompletedProcess(child.args, child.returncode, out, err))
    return ended


def test_others_wait_for_what_the_first_one_makes(tmp_path: Path) -> None:
    for ended in run_both(tmp_path, "works"):
        assert (ended.returncode, ended.stdout) == (0, "made\ngoes on\n"), ended.stderr


def test_no_process_goes_on_without_what_the_first_one_should_have_made(tmp_path: Path) -> None:
    first, second = run_both(tmp_path, "fails")
    assert "KeyboardInterrupt" in first.stderr
    assert second.returncode == 1
    assert second.stdout == "made\n"
    assert "TrainingError: another process of this run has ended before its work was done" in second.stderr


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_processes_wait_longer_for_each_other_than_any_work_takes(
    monkeypatch: pytest.MonkeyPatch, device: str, backend: str
) -> None:
    begun: dict[str, float] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(
        distributed, "init_process_group", lambda name, timeout: begun.update({name: timeout.total_seconds()})
    )
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with joined(torch.device(device)) as world:
        assert (world.rank, world.size, world.is_first) == (1, 2, False)
    assert begun.keys() == {backend}
    assert begun[backend] >= 24 * 3600
