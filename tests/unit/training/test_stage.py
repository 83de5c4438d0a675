"""What every stage promises, on a network of one layer: exact resume, whole checkpoints, agreement of processes."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from concertdeblur.errors import TrainingError, UsageError
from concertdeblur.training.distributed import World, share_of
from concertdeblur.training.report import Report
from concertdeblur.training.stage import Schedule, Stage, StepResult
from tests.commands import environment

_SCHEDULE = Schedule(
    steps=12, cooldown_steps=4, batch_size=4, warmup_steps=2, learning_rate=0.1, save_every=5, evaluate_every=6
)


@dataclass(frozen=True, kw_only=True)
class Points:
    x: Tensor
    y: Tensor


class Line(Stage[Points]):
    """Fits a line; its opponent a constant."""

    def __init__(self, folder: Path, schedule: Schedule = _SCHEDULE, width: int = 1) -> None:
        torch.manual_seed(0)
        super().__init__("line", nn.Linear(width, 1), {"rival": nn.Linear(1, 1)}, schedule, folder)

    def train_step(self, batch: Points) -> StepResult:
        losses = {"l1": (self.network(batch.x) - batch.y).abs().mean()}
        objective = self.descend(losses)
        rival = (self._modules["rival"](batch.x) - batch.y).square().mean()
        self.descend_opponent("rival", rival)
        return StepResult(objective=objective, figures=losses | {"rival": rival})

    def evaluate(self) -> dict[str, float]:
        return {"at_one": float(self.ema.module(torch.ones(1, 1)))}


def points(step: int, *, share: int = 4) -> Points:
    """Share number `step` of the endless list of points; the whole batch of a step by default."""
    generator = torch.Generator().manual_seed(step * share // 4)
    x = torch.rand(4, 1, generator=generator)
    first = step * share % 4
    x = x[first : first + share]
    return Points(x=x, y=3 * x - 1)


def state(stage: Line) -> dict[str, Tensor]:
    stage.save()
    return load_file(stage.checkpoint)


def trained(stage: Line, batches: Callable[[int], Points] = points, *, stop_at: int | None = None) -> list[Report]:
    reports: list[Report] = []
    stage.run(
        batches,
        until_s=1e9,
        on_report=reports.append,
        is_stopped=lambda: stop_at is not None and stage.step >= stop_at,
    )
    return reports


class TestStage:
    @pytest.mark.parametrize("stop_at", [1, 5, 7, 11])
    def test_stopped_and_resumed_is_bitwise_the_same(self, tmp_path: Path, stop_at: int) -> None:
        whole = Line(tmp_path / "whole")
        trained(whole)
        trained(Line(tmp_path / "pieces"), stop_at=stop_at)
        second = Line(tmp_path / "pieces")
        assert second.resume()
        assert second.step == stop_at
        trained(second)
        expected, made = state(whole), state(second)
        assert expected.keys() == made.keys()
        assert all(torch.equal(value, made[name]) for name, value in expected.items())

    def test_killed_between_two_checkpoints_it_resumes_from_the_last(self, tmp_path: Path) -> None:
        whole = Line(tmp_path / "whole")
        trained(whole)

        class Killed(BaseException):
            pass

        class Dying(Line):
            def train_step(self, batch: Points) -> StepResult:
                made = super().train_step(batch)
                if self.step == 7:
                    raise Killed  # in the middle of a step: the network has moved, the step is not counted
                return made

        with pytest.raises(Killed):
            trained(Dying(tmp_path / "pieces"))
        second = Line(tmp_path / "pieces")
        assert second.resume()
        assert second.step == 5
        trained(second)
        made = state(second)
        assert all(torch.equal(value, made[name]) for name, value in state(whole).items())

    def test_an_error_of_the_data_saves_what_was_trained(self, tmp_path: Path) -> None:
        def failing(step: int) -> Points:
            if step == 7:
                raise OSError("the disk is gone")
            return points(step)

        with pytest.raises(OSError, match="the disk"):
            trained(Line(tmp_path), failing)
        second = Line(tmp_path)
        second.resume()
        assert second.step == 7

    def test_no_number_stops_and_keeps_the_last_checkpoint(self, tmp_path: Path) -> None:
        def poisoned(step: int) -> Points:
            good = points(step)
            return good if step < 7 else Points(x=good.x, y=good.y * float("nan"))

        with pytest.raises(TrainingError, match="loss at step 7 is not a number"):
            trained(Line(tmp_path), poisoned)
        second = Line(tmp_path)
        second.resume()
        assert second.step == 5
        assert all(value.isfinite().all() for value in load_file(second.checkpoint).values())

    def test_no_number_in_an_opponent_stops_as_well(self, tmp_path: Path) -> None:
        class Unfair(Line):
            def train_step(self, batch: Points) -> StepResult:
                if self.step == 7:  # as a broken kernel leaves it: the loss is a number, its gradient is none
                    rival = next(self._modules["rival"].parameters())
                    rival.register_hook(lambda slope: slope * float("nan"))  # type: ignore[no-untyped-call]
                return super().train_step(batch)

        with pytest.raises(TrainingError, match="gradient of the rival at step 7 is not a number"):
            trained(Unfair(tmp_path))
        second = Line(tmp_path)
        second.resume()
        assert second.step == 5

    def test_cpu_seconds_are_counted_over_all_pieces(self, tmp_path: Path) -> None:
        def busy(step: int) -> Points:
            until_s = time.process_time() + 0.1
            while time.process_time() < until_s:
                pass
            return points(step)

        trained(Line(tmp_path), busy, stop_at=3)
        second = Line(tmp_path)
        second.resume()
        assert second.cpu_s == pytest.approx(0.3, abs=0.25)
        trained(second, busy, stop_at=6)
        assert 0.6 <= second.cpu_s < 2

    def test_time_that_is_up_saves(self, tmp_path: Path) -> None:
        stage = Line(tmp_path)
        stage.run(points, until_s=0, on_report=lambda _: None)
        assert stage.step == 0
        assert Line(tmp_path).resume()

    def test_reports_carry_figures_on_held_out_data(self, tmp_path: Path) -> None:
        reports = trained(Line(tmp_path))
        assert [report.step for report in reports if report.held_out] == [6, 12]
        assert reports[-1].figures["l1"] < 1.5

    def test_another_architecture_is_refused(self, tmp_path: Path) -> None:
        trained(Line(tmp_path), stop_at=1)
        with pytest.raises(TrainingError, match="another architecture"):
            Line(tmp_path, width=2).resume()

    def test_a_failing_write_leaves_the_old_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trained(Line(tmp_path), stop_at=2)
        before = (tmp_path / "line.safetensors").read_bytes()

        def full(_tensors: object, path: Path, **_: object) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("concertdeblur.training.checkpoint.save_file", full)
        second = Line(tmp_path)
        second.resume()
        with pytest.raises(TrainingError, match=r"cannot be written.*No space"):
            second.save()
        assert (tmp_path / "line.safetensors").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["line.safetensors"]

    @pytest.mark.parametrize(("instructions", "dtype"), [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)])
    def test_mixed_precision_is_for_processors_that_have_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], dtype: torch.dtype
    ) -> None:
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda: instructions)
        with Line(tmp_path).mixed():
            assert nn.Linear(1, 1)(torch.ones(1, 1)).dtype == dtype


_PROCESS = """
import sys
from pathlib import Path
import torch
from concertdeblur.training.distributed import gathered, joined
from tests.unit.training.test_stage import Line, points, trained, state
from safetensors.torch import save_file

with joined(torch.device("cpu")) as world:
    out = Path(sys.argv[1])
    stage = Line(out)
    if world.rank:
        with torch.no_grad():
            stage.network.weight.add_(1)  # begins with other weights, and is given the first one's
    share = 4 // world.size
    batches = lambda step: points(step * world.size + world.rank, share=share)
    stop_at = int(sys.argv[2]) if world.is_first else None  # one is asked to stop, all stop
    trained(stage, batches, stop_at=stop_at)
    shares = gathered(torch.full((2, 1), float(world.rank)))
    torch.save({"shares": shares, "step": stage.step, **stage.network.state_dict()}, out / f"rank{world.rank}.pt")
"""


class TestSeveralProcesses:
    def test_two_with_half_batches_do_what_one_does(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        (tmp_path / "process.py").write_text(_PROCESS)
        ended = subprocess.run(
            [*command, tmp_path / "process.py", tmp_path, "7"],
            env=environment(), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
        alone = Line(tmp_path / "alone")
        trained(alone, stop_at=7)
        assert ranks[0]["step"] == ranks[1]["step"] == 7
        assert all(rank["shares"].flatten().tolist() == [0, 0, 1, 1] for rank in ranks)
        for name, value in alone.network.state_dict().items():
            assert torch.equal(ranks[0][name], ranks[1][name])
            assert torch.allclose(value, ranks[0][name], atol=1e-5), name

    def test_a_batch_that_cannot_be_shared_is_refused(self) -> None:
        assert share_of(8, World(rank=1, size=2)) == 4
        with pytest.raises(UsageError, match="a batch of 8 cannot be shared by 3"):
            share_of(8, World(size=3))
