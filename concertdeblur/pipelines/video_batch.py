"""Several clips, or folders of them: each with its output, one after the other; a clip that fails stops no other."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from concertdeblur.errors import ConcertDeblurError, SourceError, TargetError, UsageError
from concertdeblur.media.clip_folder import CLIP_SUFFIXES, clips_in, looks_like_clip
from concertdeblur.media.containers import FORMATS
from concertdeblur.pipelines.batch import (
    BatchCount,
    Item,
    folder_of_all,
    is_output,
    make_folder,
    output_name,
    run_batch,
)
from concertdeblur.pipelines.deblur_video import VideoRun
from concertdeblur.pipelines.kept_networks import KeptNetworks
from concertdeblur.pipelines.segments.work_folder import remove_remains
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer

_DEFAULT_SUFFIX = ".mp4"
_MADE = ".deblurred"  # what a default output name has before its suffix
_MOST_NAMED = 20  # of the clips that failed, in the last line


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSummary:
    """What became of several clips."""

    num_done: int
    num_done_before: int  # their outputs were there already
    failed: tuple[Path, ...]

    def text(self) -> str:
        """In one line."""
        whole = self.num_done + self.num_done_before + len(self.failed)
        before = f", {self.num_done_before} done by an earlier run" if self.num_done_before else ""
        return f"{_counted(whole)}: {self.num_done} done now{before}."


def find_items(
    sources: Sequence[Path], target: Path | None, *, recursive: bool = False, as_mp4: bool = False
) -> list[Item]:
    """The clips behind some names, with their outputs.

    Args:
        sources: Clips, or folders of clips.
        target: The output of one clip, or the folder of the outputs; None: beside the source, with `.deblurred` in
            its name.
        recursive: Whether folders are searched with their subfolders, whose names the outputs keep.
        as_mp4: Whether outputs that nobody named are mp4, whatever the input.

    Raises:
        SourceError: If a folder is missing or holds no clip.
        TargetError: If the target is a file where a folder is needed, or the source itself.
        UsageError: If there are several sources and no folder as target.

    """
    if len(sources) == 1 and not sources[0].is_dir():
        source = sources[0]
        if target is None:
            return [Item(source=source, target=source.with_name(_written_name(source, as_mp4, mark=_MADE)))]
        return [Item(source=source, target=target / _written_name(source, as_mp4) if target.is_dir() else target)]
    if target is None:
        if len(sources) > 1:
            raise UsageError("several inputs need a folder for their outputs: name one last")
        folder = sources[0].resolve()
        if not folder.name:
            raise TargetError(f"{sources[0]}: has no folder beside it for the outputs; name one last")
        target = folder.with_name(f"{folder.name}{_MADE}")
    if target.exists() and not target.is_dir():
        raise TargetError(f"{target}: is a file; several clips need a folder for their outputs: name one last")
    if not target.exists() and looks_like_clip(target):
        raise UsageError(f"{target}: names a clip; several clips need a folder for their outputs: name one last")
    found: list[tuple[Path, Path]] = []  # (clip, place of its output in the target)
    for source in sources:
        if source.is_dir():
            found += _of_folder(source, target, recursive=recursive)
        else:
            found.append((source, Path(source.name)))
    return _named(found, target, as_mp4)


def _of_folder(folder: Path, target: Path, *, recursive: bool) -> list[tuple[Path, Path]]:
    if target.resolve() == folder.resolve():
        raise TargetError(f"{target}: input and output are the same folder")
    try:
        clips = [clip for clip in clips_in(folder, recursive=recursive) if not is_output(clip, folder, target)]
        if not clips:
            is_below = not recursive and clips_in(folder, recursive=True)
            hint = "; its subfolders do: --recursive takes them" if is_below else ""
            raise SourceError(f"{folder}: the folder holds no clip{hint}")
    except ConcertDeblurError:
        raise
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return [(clip, clip.relative_to(folder)) for clip in clips]


def _named(found: list[tuple[Path, Path]], target: Path, as_mp4: bool) -> list[Item]:
    """The outputs; a clip that was named twice has one."""
    items: dict[Path, Item] = {}
    for source, place in found:
        made = target / place.with_name(_written_name(place, as_mp4))
        if made in items:
            other = items[made].source
            if other.resolve() == source.resolve():
                continue
            raise UsageError(f"{source} and {other} would get the same output name; rename one")
        items[made] = Item(source=source, target=made)
    return list(items.values())


def _written_name(path: Path, as_mp4: bool, *, mark: str = "") -> str:
    kept = {suffix for suffix, name in FORMATS.items() if name == "mp4" or not as_mp4}
    suffix = path.suffix if path.suffix.lower() in kept else _DEFAULT_SUFFIX
    return output_name(path, suffix, converted=CLIP_SUFFIXES - kept, mark=mark)


def deblur_batch(
    items: Sequence[Item],
    job: VideoJob,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    on_failure: Callable[[Path, Exception], object] = lambda _source, _error: None,
    stop: threading.Event | None = None,
    kept: KeptNetworks | None = None,
) -> Iterator[VideoSummary | BatchSummary]:
    """Deblur clip after clip.

    A clip whose output exists is done, unless the job overwrites. Sound that an output cannot hold is converted, since
    nobody chose its container, and outputs get their input's date, unless the job says otherwise.

    Args:
        items: What to do.
        job: The user's choices, for every clip.
        on_progress: As for `deblur_video`.
        on_warning: As for `deblur_video`; each warning names its clip.
        on_note: As for `deblur_video`; each note names its clip.
        on_failure: Called with a clip and what went wrong with it.
        stop: When set, the run ends with `Interrupted`.
        kept: Networks that an earlier call left there for the next one.

    Yields:
        A summary after each clip, and at last one of the batch; work goes on when the next is asked for.

    Raises:
        SourceError: At the end, if some clips failed.
        UsageError: If heatmap or compare files are asked for, which belong to one clip.
        TargetError: If the outputs' folder cannot be written to, or the disk is full.
        WeightsError: If the weights cannot be loaded.
        MissingDependencyError: If a package or program is missing.
        Interrupted: If `stop` is set.

    """
    if job.heatmap or job.compare:
        raise UsageError("heatmap and compare name one file; use them with one clip, not with a folder")
    job = replace(job, fits_sound=True, keep_date=job.keep_date is not False)
    deblurrer: Deblurrer | None = None
    networks = kept or KeptNetworks()

    def is_done(item: Item) -> bool:
        return item.target.is_file() and not job.overwrite

    def make(item: Item) -> VideoSummary:
        nonlocal deblurrer
        run = VideoRun(
            source=item.source, target=item.target, job=job, on_progress=on_progress,
            on_warning=naming(item.source, on_warning), on_note=naming(item.source, on_note), stop=stop,
        )  # fmt: skip
        run.deblurrer, run.num_clips, run.kept = deblurrer, len(items), networks
        try:
            make_folder(item.target.parent)
            return run.guarded()
        finally:
            deblurrer = run.deblurrer

    for item in filter(is_done, items):
        remove_remains(item.target)
    if not all(map(is_done, items)):
        make_folder(folder_of_all(items))
    count = BatchCount()
    yield from run_batch(items, make, count, is_done=is_done, on_failure=on_failure, wording=_failed_text)
    yield BatchSummary(num_done=count.num_made, num_done_before=count.num_there, failed=())


def batch_failure(count: BatchCount) -> SourceError:
    """The error at the end of a batch in which some clips failed."""
    return SourceError(_failed_text(count))


def _failed_text(count: BatchCount) -> str:
    failed, done = count.failed, count.num_made + count.num_there
    names = ", ".join(path.name for path in failed[:_MOST_NAMED]) + (", ..." if len(failed) > _MOST_NAMED else "")
    others = f"; the other {done} {'is' if done == 1 else 'are'} done" if done else ""
    return f"{len(failed)} of {_counted(count.num_items)} failed: {names}{others}"


def naming(source: Path, on_warning: Callable[[str], None]) -> Callable[[str], None]:
    """Have every message name its clip."""

    def named(message: str) -> None:
        on_warning(message if source.name in message else f"{source.name}: {message}")

    return named


def _counted(number: int) -> str:
    return f"{number} clip{'' if number == 1 else 's'}"
