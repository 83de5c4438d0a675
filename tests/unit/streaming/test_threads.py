"""Bounded threads: order, bounds, errors, early ends; no thread is left alive."""

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator

import pytest

from concertdeblur.errors import Interrupted
from concertdeblur.streaming import Prefetch, Sink

_SLOW_S = 0.002
_LONG_S = 20.0  # never waited for in full unless a test fails


@pytest.fixture(autouse=True)
def no_thread_left() -> Generator[None, None, None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONG_S
    while not is_true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


class Counted:
    """An iterable that counts what was taken from it, and knows whether it was closed."""

    def __init__(self, num_items: int, *, fails_at: int | None = None, pause_s: float = 0.0) -> None:
        self.num_items, self.fails_at, self.pause_s = num_items, fails_at, pause_s
        self.num_made = 0
        self.is_closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.num_items):
                if number == self.fails_at:
                    fail_as_the_source()
                time.sleep(self.pause_s)
                self.num_made += 1
                yield number
        finally:
            self.is_closed = True


def fail_as_the_source() -> None:
    raise ValueError("broken frame 3")


def collect(items: Iterator[int], into: list[int]) -> None:
    """Item by item, so that those before an error are seen."""
    for item in items:
        into.append(item)  # noqa: PERF402 (extend would lose them)


def push_all(sink: Sink[int], num_items: int) -> None:
    for number in range(num_items):
        sink.push(number)


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__))


def test_importing_streaming_does_not_import_torch() -> None:
    code = "import sys, concertdeblur.streaming; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestPrefetch:
    @pytest.mark.parametrize("depth", [1, 2, 7])
    @pytest.mark.parametrize(("pause_s", "consumer_pause_s"), [(0, 0), (_SLOW_S, 0), (0, _SLOW_S)])
    def test_keeps_order_and_loses_nothing(self, depth: int, pause_s: float, consumer_pause_s: float) -> None:
        got = []
        for item in Prefetch(Counted(40, pause_s=pause_s), depth=depth):
            time.sleep(consumer_pause_s)
            got.append(item)
        assert got == list(range(40))

    @pytest.mark.parametrize("depth", [1, 2, 7])
    def test_is_never_further_ahead_than_depth(self, depth: int) -> None:
        source = Counted(30)
        with Prefetch(source, depth=depth) as items:
            for num_taken in range(20):
                wait_until(lambda bound=num_taken + depth: source.num_made >= bound)  # type: ignore[misc]
                time.sleep(_SLOW_S)
                assert source.num_made == num_taken + depth
                next(items)

    def test_an_error_comes_after_the_items_before_it_with_its_traceback(self) -> None:
        got: list[int] = []
        with pytest.raises(ValueError, match="broken frame 3") as caught:
            collect(Prefetch(Counted(9, fails_at=3), depth=2), got)
        assert got == [0, 1, 2]
        assert "fail_as_the_source" in trace_of(caught.value)

    def test_an_iterable_that_cannot_be_iterated_raises_in_the_caller(self) -> None:
        with pytest.raises(TypeError, match="not iterable"):
            list(Prefetch(3, depth=1))  # type: ignore[arg-type]

    def test_an_error_while_the_source_closes_is_raised(self) -> None:
        def source() -> Generator[int, None, None]:
            try:
                yield 1
            finally:
                raise OSError("disk gone")

        with pytest.raises(OSError, match="disk gone"):
            list(Prefetch(source(), depth=2))

    def test_leaving_early_closes_the_source_and_joins(self) -> None:
        source = Counted(1000)
        items = Prefetch(source, depth=2)
        for item in items:
            if item == 5:
                break
        items.close()
        assert source.is_closed
        assert source.num_made <= 8

    def test_an_error_in_the_consumer_joins(self) -> None:
        source = Counted(1000)

        def fail_at_the_first() -> None:
            with Prefetch(source, depth=2) as items:
                raise KeyError(next(items))

        with pytest.raises(KeyError):
            fail_at_the_first()
        assert source.is_closed

    def test_a_dropped_prefetch_ends_its_thread(self) -> None:
        items = Prefetch(Counted(1000), depth=2, name="dropped")
        next(items)
        del items
        wait_until(lambda: "dropped" not in [thread.name for thread in threading.enumerate()])

    def test_closed_twice_and_read_after_the_end(self) -> None:
        items = Prefetch(Counted(2), depth=2)
        assert list(items) == [0, 1]
        assert list(items) == []
        items.close()
        items.close()

    def test_stop_ends_a_wait_and_joins(self) -> None:
        stop, release = threading.Event(), threading.Event()

        def source() -> Generator[int, None, None]:
            yield 0
            threading.Timer(0.02, release.set).start()
            stop.set()  # while the consumer waits for item 1
            release.wait(_LONG_S)
            yield 1

        items = Prefetch(source(), depth=1, stop=stop)
        with pytest.raises(Interrupted):
            list(items)

    def test_stop_wins_over_items_that_are_ready(self) -> None:
        stop = threading.Event()
        source = Counted(9)
        items = Prefetch(source, depth=4, stop=stop)
        assert next(items) == 0
        stop.set()
        with pytest.raises(Interrupted):
            next(items)

    @pytest.mark.parametrize("depth", [0, -1])
    def test_depth_must_be_positive(self, depth: int) -> None:
        with pytest.raises(ValueError, match="depth must be at least 1"):
            Prefetch([], depth=depth)


class TestSink:
    @pytest.mark.parametrize("depth", [1, 2, 7])
    @pytest.mark.parametrize(("pause_s", "consumer_pause_s"), [(0, 0), (_SLOW_S, 0), (0, _SLOW_S)])
    def test_consumes_all_in_order(self, depth: int, pause_s: float, consumer_pause_s: float) -> None:
        got: list[int] = []

        def consume(item: int) -> None:
            time.sleep(consumer_pause_s)
            got.append(item)

        with Sink(consume, depth=depth) as sink:
            for number in range(40):
                time.sleep(pause_s)
                sink.push(number)
        assert got == list(range(40))

    @pytest.mark.parametrize("depth", [1, 3])
    def test_push_blocks_when_depth_items_wait(self, depth: int) -> None:
        may_consume, num_pushed = threading.Event(), 0
        sink: Sink[int] = Sink(lambda _: may_consume.wait(_LONG_S), depth=depth)

        def push_and_count() -> None:
            nonlocal num_pushed
            for number in range(10):
                sink.push(number)
                num_pushed += 1

        pusher = threading.Thread(target=push_and_count)
        pusher.start()
        wait_until(lambda: num_pushed >= depth + 1)  # one is being consumed
        time.sleep(10 * _SLOW_S)
        assert num_pushed == depth + 1
        may_consume.set()
        pusher.join(_LONG_S)
        sink.close()
        assert num_pushed == 10

    def test_an_error_is_raised_by_a_later_push_with_its_traceback(self) -> None:
        got: list[int] = []

        def consume(item: int) -> None:
            if item == 3:
                fail_as_the_source()
            got.append(item)

        sink = Sink(consume, depth=2)
        with pytest.raises(ValueError, match="broken frame 3") as caught:
            push_all(sink, 1000)
        assert got == [0, 1, 2]
        assert "fail_as_the_source" in trace_of(caught.value)
        with pytest.raises(RuntimeError, match="takes no more"):
            sink.push(0)
        sink.close()

    def test_an_error_at_the_last_item_is_raised_by_close(self) -> None:
        sink: Sink[int] = Sink(lambda _: fail_as_the_source(), depth=2)
        sink.push(0)
        with pytest.raises(ValueError, match="broken frame 3"):
            sink.close()
        sink.close()

    def test_an_error_wakes_a_blocked_push(self) -> None:
        started, may_fail = threading.Event(), threading.Event()

        def consume(_: int) -> None:
            started.set()
            may_fail.wait(_LONG_S)
            fail_as_the_source()

        sink: Sink[int] = Sink(consume, depth=1)
        sink.push(0)
        started.wait(_LONG_S)
        sink.push(1)
        timer = threading.Timer(0.02, may_fail.set)
        timer.start()
        with pytest.raises(ValueError, match="broken frame 3"):
            sink.push(2)
        timer.join()

    def test_an_error_in_the_block_abandons_what_waits(self) -> None:
        got: list[int] = []
        is_blocked, may_go = threading.Event(), threading.Event()

        def consume(item: int) -> None:
            is_blocked.set()
            may_go.wait(_LONG_S)
            got.append(item)

        def feed() -> None:
            with Sink(consume, depth=3) as sink:
                for number in range(3):
                    sink.push(number)
                is_blocked.wait(_LONG_S)
                threading.Timer(0.02, may_go.set).start()
                raise KeyError("caller")

        with pytest.raises(KeyError):
            feed()
        assert got == [0]

    def test_stop_ends_a_blocked_push(self) -> None:
        stop, may_go = threading.Event(), threading.Event()
        sink: Sink[int] = Sink(lambda _: may_go.wait(_LONG_S), depth=1, stop=stop)
        sink.push(0)
        timer = threading.Timer(0.02, stop.set)
        timer.start()
        with pytest.raises(Interrupted):
            push_all(sink, 10)
        timer.join()
        may_go.set()
        sink.abandon()

    def test_abandoned_or_closed_twice(self) -> None:
        sink: Sink[int] = Sink(lambda _: None, depth=1)
        sink.push(1)
        sink.close()
        sink.close()
        sink.abandon()

    def test_a_dropped_sink_ends_its_thread(self) -> None:
        sink: Sink[int] = Sink(lambda _: None, depth=1, name="dropped sink")
        sink.push(1)
        del sink
        wait_until(lambda: "dropped sink" not in [thread.name for thread in threading.enumerate()])
