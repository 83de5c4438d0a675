"""Bounded stages on threads: decoding before the networks and encoding after them run beside them.

The rules, which every class here keeps:

1. One thread for one stage, so the order is kept and nothing is lost.
2. A producer asks for room before it makes an item. So at most `depth` items that nobody has taken
   exist, and memory does not grow with the clip.
3. An error in a thread ends that thread and is raised again in the caller, the same object with its
   own traceback, after the items before it.
4. Whoever is done first closes the hand-over. That wakes the other side, so no thread is left waiting,
   and every thread is joined before the call that ends it returns.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from concertdeblur.errors import Interrupted
from concertdeblur.streaming.timeline import span

T = TypeVar("T")
_POLL_S = 0.05  # how often a caller that waits looks at its stop event, which cannot notify a condition


class _HandOver(Generic[T]):
    """A bounded first-in, first-out queue between two threads that either of them can end."""

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, but {depth = }")
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def wait_for_room(self, stop: threading.Event | None = None) -> bool:
        """Block the producer until one more item fits; False once nobody will take it."""
        with self._changed:
            self._wait(lambda: self._cancelled or len(self._items) < self._depth, stop)
            return not self._cancelled

    def put(self, item: T) -> None:
        """Hand over an item that there is room for."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def take(self, stop: threading.Event | None = None) -> T:
        """The next item.

        Raises:
            StopIteration: After the last item, or once the hand-over is cancelled.
            BaseException: The producer's own, after the items before it.
            Interrupted: If `stop` is set.

        """
        with self._changed:
            self._wait(lambda: self._cancelled or self._ended or bool(self._items), stop)
            if self._cancelled:
                raise StopIteration
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            error, self._error = self._error or StopIteration(), None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: a cycle would keep the frames of the clip alive

    def end(self, error: BaseException | None = None) -> None:
        """The producer is done, or failed."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The consumer is done: drop what waits, and wake the producer."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def _wait(self, is_ready: Callable[[], bool], stop: threading.Event | None) -> None:
        if stop is None:
            self._changed.wait_for(is_ready)
            return
        while not stop.is_set():
            if self._changed.wait_for(is_ready, timeout=_POLL_S):
                return
        raise Interrupted("stopped on request")


class Prefetch(Generic[T]):
    """Runs an iterable in a thread of its own, at most `depth` items ahead of the consumer.

    An iterator and a context manager, for one consumer thread. An error of the iterable is raised in the
    consumer, after the items before it, with its own traceback. The thread starts at once. It is joined at
    the end of the iterable, after its error, by `close`, and at the end of the `with` block; a Prefetch
    that is dropped without any of these ends its thread too. The iterable's own `close`, if it has one
    (a generator's), is called in the thread.

    Args:
        source: What to iterate over; only the thread touches it.
        depth: Most items that exist and are not yet taken, counting the one in the making.
        name: Of the thread.
        stop: Once it is set, the next item is refused with Interrupted, also if it is waited for already.

    """

    def __init__(
        self, source: Iterable[T], *, depth: int, name: str = "prefetch", stop: threading.Event | None = None
    ) -> None:
        self._items: _HandOver[T] = _HandOver(depth)
        self._stop = stop
        self._thread = threading.Thread(target=_produce, args=(source, self._items), name=name, daemon=True)
        weakref.finalize(self, self._items.cancel)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._items.take(self._stop)
        except BaseException:  # the end, an error or Interrupted; none leaves the thread alive
            self.close()
            raise

    def close(self) -> None:
        """Stop and join the thread; safe to call again.

        Items not taken are dropped, and so is an error behind them: nobody asked for those items.
        """
        self._items.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _produce(source: Iterable[T], items: _HandOver[T]) -> None:
    """Body of a Prefetch's thread. It holds no reference to the Prefetch, so that dropping one ends it."""
    try:
        iterator = iter(source)
        try:
            _hand_over(iterator, items)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
    except BaseException as error:  # raised again in the consumer
        items.end(error)
    else:
        items.end()


def _hand_over(iterator: Iterator[T], items: _HandOver[T]) -> None:
    while items.wait_for_room():
        try:
            with span(threading.current_thread().name):
                item = next(iterator)
        except StopIteration:
            return
        items.put(item)
        del item  # the consumer's alone


class Sink(Generic[T]):
    """Runs a function on every pushed item in a thread of its own, in order.

    A context manager: the end of the block closes it, an error in the block abandons it. For one
    producer thread.

    Args:
        consume: Called in the thread, with one item.
        depth: Most items that wait; `push` blocks while there are as many.
        name: Of the thread.
        stop: Once it is set, `push` raises Interrupted, also if it is blocked already.

    """

    def __init__(
        self,
        consume: Callable[[T], object],
        *,
        depth: int,
        name: str = "sink",
        stop: threading.Event | None = None,
    ) -> None:
        self._items: _HandOver[T] = _HandOver(depth)
        self._errors: list[BaseException] = []
        self._stop = stop
        self._thread = threading.Thread(
            target=_consume, args=(consume, self._items, self._errors), name=name, daemon=True
        )
        weakref.finalize(self, self._items.cancel)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def push(self, item: T) -> None:
        """Hand over one item; blocks while `depth` items wait.

        Raises:
            BaseException: The consumer's own, of an item before; the items after that one are dropped.
            RuntimeError: If the sink was closed or has failed before.
            Interrupted: If `stop` is set.

        """
        if not self._items.wait_for_room(self._stop):
            self.abandon()
            self._raise_error()
            raise RuntimeError("the sink is closed or has failed: it takes no more items")
        self._items.put(item)

    def close(self) -> None:
        """Wait until every item is consumed, join the thread, raise its error if there was one."""
        self._items.end()
        self._thread.join()
        self._items.cancel()
        self._raise_error()

    def abandon(self) -> None:
        """Drop what still waits and join the thread; an error of it is not raised here. Safe to call again."""
        self._items.cancel()
        self._thread.join()

    def _raise_error(self) -> None:
        if self._errors:
            raise self._errors.pop()


def _consume(consume: Callable[[T], object], items: _HandOver[T], errors: list[BaseException]) -> None:
    """Body of a Sink's thread. It holds no reference to the Sink, so that dropping one ends it."""
    try:
        while True:
            try:
                item = items.take()
            except StopIteration:
                return
            with span(threading.current_thread().name):
                consume(item)
            del item  # or it would live on while the next is waited for
    except BaseException as error:  # raised again by push or close
        errors.append(error)
        items.cancel()
