"""The order of streams: late and out of turn gives what the plain sequence gives; without a wait it does not."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concertdeblur.streaming import (
    HostDevice,
    OverlappedPipeline,
    Prefetch,
    Slot,
    Stages,
    ThreadDevice,
    overlap,
)
from tests.property.late_device import Array, LateDevice, Tensor

_WEIGHT = 7
_MODULUS = 1_000_003
_NUM_SEEDS = 150


def plain_sequence(batches: list[Array]) -> list[Array]:
    """What the stages below compute, one batch after the other, as one would write it without a GPU."""
    results, memory, decision = [], 0, 0
    for batch in batches:
        memory = (memory * 3 + int(batch.sum())) % _MODULUS
        generated = ((batch * _WEIGHT + memory) * 2 + batch) % _MODULUS
        decision = int(generated[0] + decision) % 5
        results.append((generated * 2 + batch + decision) % _MODULUS)
    return results


class SimulatedStages:
    """Stages with several kernels each, temporaries, own state, and pinned buffers, on a LateDevice."""

    def __init__(self, device: LateDevice, *, reads_back: bool) -> None:
        self._device = device
        self._reads_back = reads_back
        self._weight = Tensor(device, (1,))
        self._memory = Tensor(device, (1,))
        self._decision = Tensor(device, (1,))
        for tensor, value in ((self._memory, 0), (self._decision, 0), (self._weight, _WEIGHT)):
            device.launch(lambda block, value=value: block.fill(value), tensor)  # on the caller's stream
        self.decisions: list[int] = []

    def stages(self) -> Stages[Array, Array]:
        return Stages(
            copy_in=self.copy_in,
            generate=self.generate,
            restore=self.restore,
            refine=self.refine,
            copy_out=self.copy_out,
            finish=self.finish,
        )

    def copy_in(self, batch: Array, slot: Slot) -> Tensor:
        staging = slot.pinned("in", batch.shape, np.int64)
        staging[:] = batch
        frames = Tensor(self._device, batch.shape)
        self._in_halves(copy_block, frames, staging)
        return frames

    def generate(self, frames: Tensor, slot: Slot) -> tuple[Tensor, Tensor]:
        scaled, result = Tensor(self._device, frames.block.shape), Tensor(self._device, frames.block.shape)
        self._in_halves(scale_block, scaled, frames, weight=self._weight)
        self._device.launch(remember_block, self._memory, frames)
        self._in_halves(add_block, result, scaled, weight=self._memory)
        return frames, result

    def restore(self, generated: tuple[Tensor, Tensor], slot: Slot) -> tuple[Tensor, Tensor]:
        frames, result = generated
        restored = Tensor(self._device, frames.block.shape)
        self._in_halves(double_block, restored, result)
        self._in_halves(add_in_place, restored, frames)
        self._in_halves(remainder_block, restored, restored)
        return frames, restored

    def refine(self, generated: tuple[Tensor, Tensor], slot: Slot) -> Tensor:
        frames, result = generated
        refined = Tensor(self._device, frames.block.shape)
        self._device.launch(decide_block, self._decision, result)
        if self._reads_back:
            self._device.block_on_current()
            self.decisions.append(int(self._decision.block[0]))
        self._in_halves(double_block, refined, result)
        self._in_halves(add_in_place, refined, frames)
        self._device.launch(lambda block, decision: add_block(block, block, decision), refined, self._decision)
        return refined

    def copy_out(self, refined: Tensor, slot: Slot) -> Array:
        out = slot.pinned("out", refined.block.shape, np.int64)
        self._in_halves(copy_block, out, refined)
        return out

    def finish(self, out: Array, slot: Slot) -> Array:
        return out.copy()

    def _in_halves(
        self,
        kernel: Callable[..., None],
        to: Tensor | Array,
        of: Tensor | Array,
        weight: Tensor | None = None,
    ) -> None:
        for half in (0, 1):
            self._device.launch(
                lambda to, of, *rest, half=half: kernel(to[half::2], of[half::2], *rest),
                *((to, of) if weight is None else (to, of, weight)),
            )


def copy_block(to: Array, of: Array) -> None:
    to[:] = of


def scale_block(to: Array, of: Array, weight: Array) -> None:
    to[:] = of * weight[0]


def add_block(to: Array, of: Array, weight: Array) -> None:
    to[:] = (of + weight[0]) % _MODULUS


def remember_block(memory: Array, of: Array) -> None:
    memory[0] = (memory[0] * 3 + of.sum()) % _MODULUS


def decide_block(decision: Array, of: Array) -> None:
    decision[0] = (of[0] + decision[0]) % 5


def double_block(to: Array, of: Array) -> None:
    to[:] = of * 2


def add_in_place(to: Array, of: Array) -> None:
    to += of


def remainder_block(to: Array, of: Array) -> None:
    to[:] = of % _MODULUS


def batches_of(seed: int, num_batches: int, size: int = 6) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 1000, (num_batches, size)))


def collect(results: Iterator[Array], into: list[Array]) -> None:
    """One by one, so that those before an error are seen."""
    for result in results:
        into.append(result)  # noqa: PERF402 (extend would lose them)


def late_device(seed: int, *, num_restoring: int, defers: bool = False, ignores: object = None) -> LateDevice:
    num_streams = 4 + (num_restoring if num_restoring > 1 else 0)
    return LateDevice(seed, defers=defers, ignores=ignores, num_streams=num_streams)


def pipeline_on(
    device: LateDevice, *, depth: int, reads_back: bool, num_restoring: int = 1
) -> OverlappedPipeline[Array, Array]:
    stages = SimulatedStages(device, reads_back=reads_back).stages()
    return OverlappedPipeline(device, stages, depth=depth, num_restoring=num_restoring)


def same(results: list[Array], expected: list[Array]) -> bool:
    return len(results) == len(expected) and all(map(np.array_equal, results, expected))


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_batches=st.integers(0, 9),
    depth=st.integers(1, 4),
    num_restoring=st.integers(1, 3),
    defers=st.booleans(),
    reads_back=st.booleans(),
)
def test_late_and_out_of_turn_gives_what_the_plain_sequence_gives(
    seed: int, num_batches: int, depth: int, num_restoring: int, defers: bool, reads_back: bool
) -> None:
    batches = batches_of(seed, num_batches)
    device = late_device(seed, num_restoring=num_restoring, defers=defers)
    pipeline = pipeline_on(device, depth=depth, reads_back=reads_back, num_restoring=num_restoring)
    assert same(list(pipeline.run(batches)), plain_sequence(batches))
    assert device.violations == []
    assert not any(stream.work for stream in device.streams)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), num_kept=st.integers(0, 5), depth=st.integers(1, 4), defers=st.booleans())
def test_leaving_early_waits_for_the_device(seed: int, num_kept: int, depth: int, defers: bool) -> None:
    batches = batches_of(seed, 6)
    device = LateDevice(seed, defers=defers)
    results = pipeline_on(device, depth=depth, reads_back=False).run(batches)
    kept = [next(results) for _ in range(num_kept)]
    results.close()
    assert same(kept, plain_sequence(batches)[:num_kept])
    assert device.violations == []
    assert not any(stream.work for stream in device.streams if stream is not device.caller)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    fails_in=st.sampled_from(["copy_in", "generate", "restore", "refine", "copy_out", "finish"]),
    fails_at=st.integers(0, 4),
    depth=st.integers(1, 3),
)
def test_an_error_in_a_stage_comes_after_the_device_is_idle(
    seed: int, fails_in: str, fails_at: int, depth: int
) -> None:
    batches = batches_of(seed, 5)
    device = LateDevice(seed)
    simulated = SimulatedStages(device, reads_back=False)
    works, num_calls = getattr(simulated, fails_in), 0

    def fails(value: Any, slot: Slot) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == fails_at + 1:
            raise MemoryError("CUDA out of memory")
        return works(value, slot)

    setattr(simulated, fails_in, fails)
    got: list[Array] = []
    with pytest.raises(MemoryError, match="out of memory"):
        collect(OverlappedPipeline(device, simulated.stages(), depth=depth).run(batches), got)
    assert len(got) <= fails_at
    assert same(got, plain_sequence(batches)[: len(got)])
    assert not any(stream.work for stream in device.streams)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), fails_at=st.integers(0, 5), depth=st.integers(1, 4))
def test_an_error_of_the_source_comes_after_the_results_before_it(seed: int, fails_at: int, depth: int) -> None:
    batches = batches_of(seed, fails_at)

    def source() -> Any:
        yield from batches
        raise OSError("broken frame")

    device = LateDevice(seed)
    got: list[Array] = []
    with pytest.raises(OSError, match="broken frame"):
        collect(pipeline_on(device, depth=depth, reads_back=True).run(source()), got)
    assert same(got, plain_sequence(batches))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), taken=st.integers(1, 6), depth=st.integers(1, 4))
def test_looks_at_most_depth_batches_ahead(seed: int, taken: int, depth: int) -> None:
    num_made = 0

    def source() -> Any:
        nonlocal num_made
        for batch in batches_of(seed, 30):
            num_made += 1
            yield batch

    results = pipeline_on(LateDevice(seed), depth=depth, reads_back=False).run(source())
    for num_taken in range(taken):
        next(results)
        assert num_made == num_taken + depth
    results.close()


def is_caught(
    seed: int,
    *,
    ignores: object = None,
    defers: bool = False,
    num_restoring: int = 1,
    spoil: Callable[[Any], None] = lambda _: None,
) -> bool:
    """Whether a wrong order shows on this seed: in the results, by an error, or as memory freed too early."""
    batches = batches_of(seed, 6)
    device = late_device(seed, ignores=ignores, defers=defers, num_restoring=num_restoring)
    pipeline = pipeline_on(device, depth=3, reads_back=False, num_restoring=num_restoring)
    spoil(pipeline)
    try:
        results = list(pipeline.run(batches))
    except (IndexError, AttributeError, TypeError, ValueError):  # a stage called before its input exists
        return True
    return not same(results, plain_sequence(batches)) or bool(device.violations)


def test_with_every_wait_in_place_nothing_is_caught() -> None:
    assert not any(
        is_caught(seed, defers=defers, num_restoring=num_restoring)
        for seed in range(_NUM_SEEDS)
        for defers in (False, True)
        for num_restoring in (1, 2)
    )


@pytest.mark.parametrize("defers", [False, True], ids=["like CUDA", "like threads"])
@pytest.mark.parametrize(
    "ignores",
    [
        pytest.param((0, -1), id="rule 1: copy_in after the caller"),
        pytest.param((1, 0), id="rule 2: generate after copy_in"),
        pytest.param((2, 1), id="rule 3: refine after generate"),
        pytest.param((3, 2), id="rule 4: copy_out after refine"),
        pytest.param("synchronize", id="rule 5: finish, and the slot's next batch, after copy_out"),
    ],
)
def test_without_one_wait_frames_are_corrupted(ignores: object, defers: bool) -> None:
    assert any(is_caught(seed, ignores=ignores, defers=defers) for seed in range(_NUM_SEEDS))


@pytest.mark.parametrize("defers", [False, True], ids=["like CUDA", "like threads"])
@pytest.mark.parametrize(
    "ignores",
    [
        pytest.param((5, 1), id="rule 2: restore after generate"),
        pytest.param((2, 5), id="rule 3: refine after restore"),
        pytest.param((3, 2), id="rule 4: copy_out after refine"),
    ],
)
def test_without_one_wait_of_two_that_restore_frames_are_corrupted(ignores: object, defers: bool) -> None:
    assert any(is_caught(seed, ignores=ignores, defers=defers, num_restoring=2) for seed in range(_NUM_SEEDS))


def test_if_batches_in_flight_share_a_slot_frames_are_corrupted() -> None:
    def share(pipeline: Any) -> None:
        pipeline._slots = pipeline._slots[:1] * len(pipeline._slots)

    assert any(is_caught(seed, spoil=share) for seed in range(_NUM_SEEDS))


class _Forgetful(list[Any]):
    """Keeps only the last value, as if nobody owned what a later stage still reads."""

    def append(self, value: Any) -> None:
        self[:] = [value]


@pytest.mark.parametrize("looks_at", ["results", "memory"])
def test_rule_6_if_values_are_not_kept_frames_are_corrupted(looks_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flight = overlap._Flight
    monkeypatch.setattr(overlap, "_Flight", lambda slot, values: flight(slot, _Forgetful(values)))

    def is_seen(seed: int) -> bool:
        batches, device = batches_of(seed, 6), LateDevice(seed)
        results = list(pipeline_on(device, depth=3, reads_back=False).run(batches))
        return bool(device.violations) if looks_at == "memory" else not same(results, plain_sequence(batches))

    assert any(is_seen(seed) for seed in range(_NUM_SEEDS))


def test_rule_7_without_the_wait_at_the_end_work_is_left_on_memory_let_go() -> None:
    def is_seen(seed: int) -> bool:
        device = LateDevice(seed, ignores="release")
        results = pipeline_on(device, depth=3, reads_back=False).run(batches_of(seed, 6))
        next(results)
        results.close()
        return bool(device.violations)

    assert any(is_seen(seed) for seed in range(_NUM_SEEDS))


def test_generating_the_next_batch_can_overlap_refining() -> None:
    """While the host is blocked in refine(0), generate(1) is with the device, and neither waits for the other."""
    orders = set()
    for seed in range(_NUM_SEEDS):
        device = LateDevice(seed)
        simulated = SimulatedStages(device, reads_back=True)
        log: list[str] = []
        generate, refine = simulated.generate, simulated.refine

        def logged(name: str, stage: Any, log: list[str] = log, device: LateDevice = device) -> Any:
            def call(value: Any, slot: Slot) -> Any:
                device.launch(lambda: log.append(name))
                return stage(value, slot)

            return call

        simulated.generate = logged("generate", generate)  # type: ignore[method-assign]
        simulated.refine = logged("refine", refine)  # type: ignore[method-assign]
        list(OverlappedPipeline(device, simulated.stages()).run(batches_of(seed, 2)))
        orders.add(tuple(log))
    assert orders == {
        ("generate", "generate", "refine", "refine"),
        ("generate", "refine", "generate", "refine"),
    }


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_batches=st.integers(0, 8),
    depth=st.integers(1, 4),
    num_restoring=st.integers(1, 3),
    device=st.sampled_from([HostDevice, ThreadDevice]),
)
def test_the_real_devices_on_a_cpu_give_the_plain_sequence(
    seed: int, num_batches: int, depth: int, num_restoring: int, device: Any
) -> None:
    memory, decision = [0], [0]

    def generate(frames: Array, slot: Slot) -> tuple[Array, Array]:
        memory[0] = (memory[0] * 3 + int(frames.sum())) % _MODULUS
        return frames, (frames * _WEIGHT + memory[0]) % _MODULUS

    def restore(generated: tuple[Array, Array], slot: Slot) -> tuple[Array, Array]:
        frames, result = generated
        return frames, (result * 2 + frames) % _MODULUS

    def refine(generated: tuple[Array, Array], slot: Slot) -> Array:
        frames, result = generated
        decision[0] = int(result[0] + decision[0]) % 5
        return (result * 2 + frames + decision[0]) % _MODULUS

    def copy(value: Array, slot: Slot) -> Array:
        buffer = slot.pinned("in", value.shape, value.dtype)
        buffer[:] = value
        return buffer

    def copy_out(value: Array, slot: Slot) -> Array:
        buffer = slot.pinned("out", value.shape, value.dtype)
        buffer[:] = value
        return buffer

    stages: Stages[Array, Array] = Stages(
        copy_in=copy,
        generate=generate,
        restore=restore,
        refine=refine,
        copy_out=copy_out,
        finish=lambda out, _: out.copy(),
    )
    batches = batches_of(seed, num_batches)
    pipeline = OverlappedPipeline(device(), stages, depth=depth, num_restoring=num_restoring)
    assert same(list(pipeline.run(batches)), plain_sequence(batches))


def triple_and_add(by: int, item: int) -> int:
    return item * 3 + by


@settings(max_examples=40, deadline=None)
@given(items=st.lists(st.integers(), max_size=30), depth=st.integers(1, 5), num_stages=st.integers(0, 4))
def test_threads_give_the_plain_sequence(items: list[int], depth: int, num_stages: int) -> None:
    expected, made = items, iter(items)
    for by in range(num_stages):
        stage = partial(triple_and_add, by)
        expected = [stage(item) for item in expected]
        made = Prefetch(map(stage, made), depth=depth)
    assert list(made) == expected
