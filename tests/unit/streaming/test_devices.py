"""The devices below OverlappedPipeline: the plain sequence, threads, and CUDA through torch."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from concertdeblur.streaming import CudaDevice, HostDevice, OverlappedPipeline, Slot, Stages, ThreadDevice

_LONG_S = 20.0  # never waited for in full unless a test fails


@pytest.fixture(autouse=True)
def no_thread_left() -> Generator[None, None, None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Logged:
    """Stages that pass a number on and log their calls; one of them may do more."""

    def __init__(self, **more: Any) -> None:
        self.calls: list[str] = []
        self.slots: list[Slot] = []
        self._more = more

    def stages(self) -> Stages[int, int]:
        names = ("copy_in", "generate", "restore", "refine", "copy_out", "finish")
        return Stages(**{name: self._stage(name) for name in names})

    def _stage(self, name: str) -> Any:
        def call(number: int, slot: Slot) -> int:
            self.calls.append(f"{name} {number}")
            if name == "copy_in":
                self.slots.append(slot)
            if name in self._more:
                self._more[name](number)
            return number

        return call


def fail_at_2(number: int) -> None:
    if number == 2:
        raise ValueError("cannot do 2")


class TestOrderOfIssue:
    def test_generating_is_issued_before_the_refining_that_it_overlaps(self) -> None:
        logged = Logged()
        assert list(OverlappedPipeline(HostDevice(), logged.stages()).run(range(3))) == [0, 1, 2]
        assert logged.calls == [
            *("copy_in 0", "generate 0", "restore 0", "copy_in 1", "generate 1", "restore 1"),
            *("refine 0", "copy_out 0", "finish 0"),
            *("copy_in 2", "generate 2", "restore 2", "refine 1", "copy_out 1", "finish 1"),
            *("refine 2", "copy_out 2", "finish 2"),
        ]

    def test_depth_1_is_the_plain_sequence(self) -> None:
        logged = Logged()
        assert list(OverlappedPipeline(HostDevice(), logged.stages(), depth=1).run(range(9))) == list(range(9))
        assert [call.split()[1] for call in logged.calls] == [str(number) for number in range(9) for _ in range(6)]

    def test_a_slot_comes_again_after_depth_batches(self) -> None:
        logged = Logged()
        list(OverlappedPipeline(HostDevice(), logged.stages(), depth=3).run(range(7)))
        assert [logged.slots.index(slot) for slot in logged.slots] == [0, 1, 2, 0, 1, 2, 0]

    def test_depth_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="must be at least 1"):
            OverlappedPipeline(HostDevice(), Logged().stages(), depth=0)

    def test_at_least_one_batch_is_restored_at_a_time(self) -> None:
        with pytest.raises(ValueError, match="must be at least 1"):
            OverlappedPipeline(HostDevice(), Logged().stages(), num_restoring=0)


class TestSlot:
    def test_keeps_a_buffer_while_shape_and_dtype_stay(self) -> None:
        slot = Slot(HostDevice())
        first = slot.pinned("in", (2, 3), np.uint8)
        assert (first.shape, first.dtype) == ((2, 3), np.dtype(np.uint8))
        assert slot.pinned("in", (2, 3), "uint8") is first
        assert slot.pinned("out", (2, 3), np.uint8) is not first
        assert slot.pinned("in", (1, 3), np.uint8).shape == (1, 3)
        assert slot.pinned("in", (1, 3), np.uint16).dtype == np.uint16


class TestThreadDevice:
    def test_refining_overlaps_generating_the_next_batch(self) -> None:
        meeting = threading.Barrier(2, timeout=_LONG_S)
        logged = Logged(
            generate=lambda number: number > 0 and meeting.wait(),
            refine=lambda number: number < 4 and meeting.wait(),  # refine k meets generate k + 1, or both fail
        )
        assert list(OverlappedPipeline(ThreadDevice(), logged.stages()).run(range(5))) == list(range(5))

    def test_as_many_batches_as_wanted_are_restored_at_the_same_time(self) -> None:
        meeting = threading.Barrier(2, timeout=_LONG_S)
        logged = Logged(restore=lambda _: meeting.wait())
        pipeline = OverlappedPipeline(ThreadDevice(), logged.stages(), depth=3, num_restoring=2)
        assert list(pipeline.run(range(6))) == list(range(6))

    @pytest.mark.parametrize("stage", ["copy_in", "generate", "restore", "refine", "copy_out", "finish"])
    def test_an_error_reaches_the_caller_and_the_next_run_works(self, stage: str) -> None:
        logged = Logged(**{stage: fail_at_2})
        pipeline = OverlappedPipeline(ThreadDevice(), logged.stages(), num_restoring=2)
        with pytest.raises(ValueError, match="cannot do 2"):
            list(pipeline.run(range(1000)))
        assert "copy_out 6" not in logged.calls
        assert list(pipeline.run([0, 1])) == [0, 1]

    @pytest.mark.parametrize("num_taken", [0, 1, 5])
    def test_leaving_early_joins(self, num_taken: int) -> None:
        results = OverlappedPipeline(ThreadDevice(), Logged().stages(), depth=3).run(range(1000))
        assert [next(results) for _ in range(num_taken)] == list(range(num_taken))
        results.close()

    def test_an_error_in_the_source_joins(self) -> None:
        def source() -> Generator[int, None, None]:
            yield 0
            raise OSError("broken frame")

        with pytest.raises(OSError, match="broken frame"):
            list(OverlappedPipeline(ThreadDevice(), Logged().stages()).run(source()))


class FailingDevice(HostDevice):
    """A GPU that is gone: waiting for it fails too."""

    def release(self, stream: None) -> None:
        raise RuntimeError("illegal memory access")


class TestErrorsWhileWaitingForTheDevice:
    def test_a_second_error_is_noted_on_the_first(self) -> None:
        with pytest.raises(ValueError, match="cannot do 2") as caught:
            list(OverlappedPipeline(FailingDevice(), Logged(refine=fail_at_2).stages()).run(range(5)))
        assert "illegal memory access" in " ".join(caught.value.__notes__)

    def test_alone_it_is_raised(self) -> None:
        with pytest.raises(RuntimeError, match="illegal memory access"):
            list(OverlappedPipeline(FailingDevice(), Logged().stages()).run(range(5)))


class RecordedCuda:
    """Stands in for torch.cuda where there is no GPU, and writes down what it is asked to do."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "caller"
        self.num_streams = 0

    def Stream(self, device: Any) -> Any:
        name = ("copy_in", "generate", "refine", "copy_out")[self.num_streams]
        self.num_streams += 1
        return SimpleNamespace(
            name=name,
            wait_event=lambda event: self.log.append(f"{name} waits for {event.behind}"),
            synchronize=lambda: self.log.append(f"host waits for {name}"),
        )

    def Event(self) -> Any:
        event = SimpleNamespace(behind="nothing")
        event.record = lambda stream: setattr(event, "behind", stream.name)
        event.synchronize = lambda: self.log.append(f"host waits behind {event.behind}")
        return event

    def current_stream(self, device: Any) -> Any:
        return SimpleNamespace(name=self.current)

    @contextmanager
    def stream(self, stream: Any) -> Generator[None, None, None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before


class TestCudaDevice:
    def test_what_it_asks_of_torch(self) -> None:
        device, cuda = CudaDevice("cuda:0"), RecordedCuda()
        log = cuda.log
        device._torch = SimpleNamespace(cuda=cuda)

        def stage(name: str) -> Any:
            return lambda number, _: log.append(f"{name} on {cuda.current}")

        names = ("copy_in", "generate", "restore", "refine", "copy_out", "finish")
        stages: Stages[int, None] = Stages(**{name: stage(name) for name in names})
        list(OverlappedPipeline(device, stages).run([0]))
        assert log == [
            *("copy_in waits for caller", "copy_in on copy_in"),
            *("generate waits for copy_in", "generate on generate", "restore on generate"),
            *("refine waits for generate", "refine on refine"),
            *("copy_out waits for refine", "copy_out on copy_out"),
            *("host waits behind copy_out", "finish on caller"),
            *(f"host waits for {name}" for name in ("copy_in", "generate", "refine", "copy_out")),
        ]

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_a_pinned_buffer_is_a_view_of_torch_memory(self, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        asked: list[bool] = []

        def empty(num_bytes: int, *, dtype: Any, pin_memory: bool) -> torch.Tensor:
            asked.append(pin_memory)
            return torch.zeros(num_bytes, dtype=dtype)

        device = CudaDevice()
        device._torch = SimpleNamespace(empty=empty, uint8=torch.uint8)
        buffer = device.pinned((2, 3, 4), dtype)
        assert (buffer.shape, buffer.dtype, asked) == ((2, 3, 4), np.dtype(dtype), [True])
        buffer[1, 2, 3] = 7
        assert torch.from_numpy(buffer).data_ptr() == buffer.ctypes.data

    def test_on_a_gpu_it_gives_the_plain_sequence(self) -> None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU; its order is tested on a simulated device")
        batches = [np.random.default_rng(k).integers(0, 256, (64, 512, 512)).astype(np.float32) for k in range(12)]

        results = list(OverlappedPipeline(CudaDevice(), slow_cuda_stages(torch), depth=2).run(batches))
        decision = 0.0
        for batch, result in zip(batches, results, strict=True):
            decision = (decision + float(batch[0, 0, 0])) % 5
            assert np.array_equal(result, (batch * 2 + 1) + batch + decision)


def slow_cuda_stages(torch: Any) -> Stages[Any, Any]:
    """Stages that keep the GPU busy for a while first, so that a missing wait shows."""
    busy_cycles = 20_000_000
    decision = torch.zeros((), device="cuda")

    def copy_in(batch: Any, slot: Slot) -> Any:
        staging = slot.pinned("in", batch.shape, batch.dtype)
        staging[:] = batch
        torch.cuda._sleep(busy_cycles)
        return torch.from_numpy(staging).to("cuda", non_blocking=True)

    def generate(frames: Any, slot: Slot) -> Any:
        torch.cuda._sleep(busy_cycles)
        return frames, frames * 2

    def restore(generated: Any, slot: Slot) -> Any:
        frames, doubled = generated
        torch.cuda._sleep(busy_cycles)
        return frames, doubled + 1

    def refine(generated: Any, slot: Slot) -> Any:
        frames, result = generated
        torch.cuda._sleep(busy_cycles)
        decision.add_(frames[0, 0, 0]).remainder_(5)
        float(decision)  # blocks the host, as BRMR's decisions do
        return result + frames + decision

    def copy_out(refined: Any, slot: Slot) -> Any:
        torch.cuda._sleep(busy_cycles)
        out = slot.pinned("out", tuple(refined.shape), np.float32)
        torch.from_numpy(out).copy_(refined, non_blocking=True)
        return out

    return Stages(
        copy_in=copy_in,
        generate=generate,
        restore=restore,
        refine=refine,
        copy_out=copy_out,
        finish=lambda out, _: out.copy(),
    )
