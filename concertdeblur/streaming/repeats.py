"""An item that repeats the one before it shares its result; phones and frame rate converters repeat frames."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_REPEATS = 3  # most repeats that wait for one result; the next one is computed anew, so memory is bounded


def computed_once(
    items: Iterable[T],
    compute: Callable[[Iterator[T]], Generator[R, None, None]],
    *,
    is_repeat: Callable[[T, T], bool],
    repeated: Callable[[R, T], R],
) -> Generator[R, None, None]:
    """Give the result of each item; in a run of equal items only the first one is computed.

    Args:
        items: In order.
        compute: Gives one result for each item that it takes, in order; it may take items ahead.
        is_repeat: Whether an item (the second argument) equals the one before it.
        repeated: Makes the result of an item from that of the equal item before it.

    Yields:
        One result for each item, in order.

    Raises:
        Exception: What `items` or `compute` raised, after the results before it and their repeats.

    """
    runs: deque[list[T]] = deque()  # each run has the items of one result; the last run may still grow

    def firsts() -> Iterator[T]:
        for item in items:
            if runs and len(runs[-1]) <= _MOST_REPEATS and is_repeat(runs[-1][0], item):
                runs[-1].append(item)
                continue
            runs.append([item])
            yield item

    # A result's run is complete only once `compute` has taken the next item, or found that there is none.
    before: tuple[list[T], R] | None = None
    failure: Exception | None = None
    with closing(compute(firsts())) as results:
        while True:
            try:
                result = next(results)
            except StopIteration:
                break
            except Exception as error:  # the repeats before it are given first
                failure = error
                break
            if before is not None:
                yield from _again(*before, repeated)
                runs.popleft()
            before = runs[0], result
            yield result
    if before is not None:
        yield from _again(*before, repeated)
    if failure is not None:
        raise failure


def _again(run: list[T], result: R, repeated: Callable[[R, T], R]) -> Iterator[R]:
    for item in run[1:]:
        yield repeated(result, item)
