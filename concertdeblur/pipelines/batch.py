"""Several items, one after the other. An item with an output is done, and one that fails stops no other."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from concertdeblur.errors import Interrupted, MissingDependencyError, SourceError, TargetError, WeightsError
from concertdeblur.media.output_file import is_disk_full, target_error

SummaryT = TypeVar("SummaryT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An input and its output."""

    source: Path
    target: Path


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(kw_only=True, slots=True)
class BatchCount:
    """How a batch went; counted while it goes."""

    num_items: int = 0
    num_made: int = 0
    num_there: int = 0  # items that an earlier run has done
    failed: list[Path] = field(default_factory=list)


def run_batch(
    items: Sequence[ItemT],
    make: Callable[[ItemT], SummaryT],
    count: BatchCount,
    *,
    is_done: Callable[[ItemT], bool],
    on_failure: Callable[[Path, Exception], object],
    wording: Callable[[BatchCount], str],
) -> Iterator[SummaryT]:
    """Make output after output.

    Args:
        items: What to do.
        make: Makes the output of an item and sums up what it did.
        count: Filled while the batch goes.
        is_done: Whether an item has its output already.
        on_failure: Called with an input and what went wrong with it.
        wording: Says how the batch went, for the error at its end.

    Yields:
        A summary after each output; work goes on when the next is asked for.

    Raises:
        SourceError: At the end, if some items failed.
        TargetError: If the disk is full.
        WeightsError: If the weights cannot be loaded.
        MissingDependencyError: If a package or program is missing.
        Interrupted: If `make` was interrupted; the message says how many items are done.

    """
    count.num_items = len(items)
    targets: dict[str, Path] = {}  # output in small letters -> the first one of that name
    for item in items:
        # disks such as a camera's make no difference between a.mp4 and A.mp4
        first = targets.setdefault(str(item.target).casefold(), item.target)
        if first != item.target and _is_same_file(first, item.target):
            count.failed.append(item.source)
            told = f"{item.target}: is the same file as {first.name} on this disk; rename an input"
            on_failure(item.source, TargetError(told))
            continue
        if is_done(item):
            count.num_there += 1
            continue
        try:
            made = make(item)
        except Interrupted as error:
            raise Interrupted(f"{count.num_made + count.num_there} of {len(items)} are done; {error}") from error
        except (WeightsError, MissingDependencyError):  # every other item would fail alike
            raise
        except Exception as error:
            if is_disk_full(error):
                raise
            count.failed.append(item.source)
            on_failure(item.source, error)
        else:
            count.num_made += 1
            yield made
    if count.failed:
        raise SourceError(wording(count))


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is missing
        return False


def output_name(source: Path, suffix: str, *, converted: Collection[str], mark: str = "") -> str:
    """The name of an output that nobody named: `a.mp4` stays `a.mp4`, and `a.avi` becomes `a.avi.mp4`.

    It depends on the source's name alone, and differs between all sources of a folder. So a source that comes later
    never finds an output of its name that was made of another one.

    Args:
        source: The input.
        suffix: Of the output.
        converted: Suffixes of inputs whose outputs get another one. A name with one of them inside, such as
            `a.avi.mp4`, gets a further suffix, too.
        mark: What stands before the output's suffix.

    """
    is_kept = source.suffix == suffix and not any(inner.lower() in converted for inner in source.suffixes[:-1])
    return f"{source.stem if is_kept else source.name}{mark}{suffix}"


def is_output(path: Path, folder: Path, target: Path) -> bool:
    """Whether a file that was found in a folder of inputs lies in the outputs' folder, which is below that one."""
    outputs = target.resolve()
    return folder.resolve() in outputs.parents and outputs in path.resolve().parents


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, unless it is there, and check that it can be written to.

    Raises:
        TargetError: If it cannot be made or written to.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise target_error(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TargetError(f"{folder}: cannot be written to; choose another folder, or allow it")


def folder_of_all(items: Sequence[Item]) -> Path:
    """The folder that holds all outputs, maybe in folders below it."""
    return Path(os.path.commonpath([item.target.parent.absolute() for item in items]))
