"""A run of equal items is computed once, in order and in bounded memory."""

from collections.abc import Generator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertdeblur.streaming import computed_once

Made = tuple[tuple[int, str], str, bool]  # an item, its result, whether it was computed for this item


def made_of(item: tuple[int, str]) -> Made:
    return item, item[1].upper(), True


def again(made: Made, item: tuple[int, str]) -> Made:
    return item, made[1], False


class Worker:
    """Takes up to `ahead` items more than it has given results for."""

    def __init__(self, ahead: int = 0) -> None:
        self.taken: list[tuple[int, str]] = []
        self.is_closed = False
        self._ahead = ahead

    def __call__(self, items: Iterator[tuple[int, str]]) -> Generator[Made, None, None]:
        waiting: list[tuple[int, str]] = []
        try:
            for item in items:
                self.taken.append(item)
                waiting.append(item)
                if len(waiting) > self._ahead:
                    yield made_of(waiting.pop(0))
            for item in waiting:
                yield made_of(item)
        finally:
            self.is_closed = True


def same_letter(one: tuple[int, str], other: tuple[int, str]) -> bool:
    return one[1] == other[1]


@given(st.text("ab", max_size=30), st.integers(0, 4))
def test_each_item_gets_the_result_of_its_letter_in_order(letters: str, ahead: int) -> None:
    items = list(enumerate(letters))
    worker = Worker(ahead)
    made = list(computed_once(items, worker, is_repeat=same_letter, repeated=again))
    assert [item for item, _, _ in made] == items
    assert "".join(result for _, result, _ in made) == letters.upper()
    assert [item for item, _, is_own in made if is_own] == worker.taken
    runs = sum(1 for i, letter in enumerate(letters) if i == 0 or letters[i - 1] != letter)
    assert runs <= len(worker.taken) <= runs + len(letters) // 4


def test_a_long_run_is_not_taken_at_once() -> None:
    taken: list[int] = []

    def endless() -> Iterator[tuple[int, str]]:
        for number in range(10**6):
            taken.append(number)
            yield number, "a"

    made = computed_once(endless(), Worker(ahead=1), is_repeat=same_letter, repeated=again)
    for given_back in range(100):
        next(made)
        assert len(taken) - given_back < 20
    made.close()


def test_an_error_comes_after_what_was_before_it_and_the_worker_is_closed() -> None:
    def broken() -> Iterator[tuple[int, str]]:
        yield from enumerate("abbb")
        raise OSError("unplugged")

    worker = Worker()
    stream = computed_once(broken(), worker, is_repeat=same_letter, repeated=again)
    made = [next(stream) for _ in range(4)]
    assert made == [((0, "a"), "A", True), ((1, "b"), "B", True), ((2, "b"), "B", False), ((3, "b"), "B", False)]
    with pytest.raises(OSError, match="unplugged"):
        next(stream)
    assert worker.is_closed
