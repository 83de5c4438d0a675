"""Several pictures, or folders of them, in one call of `concertdeblur image`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from concertdeblur.errors import Interrupted, SourceError, TargetError, UsageError
from concertdeblur.pictures.formats import (
    READ_ONLY_SUFFIXES,
    WRITTEN_SUFFIXES,
    default_suffix,
    is_picture_name,
    is_stray_name,
    why_not_read,
)
from concertdeblur.pipelines.batch import (
    BatchCount,
    Item,
    folder_of_all,
    is_output,
    make_folder,
    output_name,
    run_batch,
)
from concertdeblur.pipelines.deblur_image import ImageJob, ImageSummary, LoadedNetworks, deblur_image

MARK = ".deblurred"  # what an output beside its picture has before its suffix


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTask(Item):
    """One picture to deblur."""

    is_of_folder: bool = False  # found in a folder
    makes_folder: bool = False  # the output goes into a folder, which may be missing

    def make_folder(self) -> None:
        """Make the output's folder, if this program is to make it.

        Raises:
            TargetError: If it cannot be made.
        """
        if self.makes_folder:
            make_folder(self.target.parent)


def plan_images(paths: Sequence[Path], job: ImageJob) -> list[ImageTask]:
    """Choose the output of each picture that a command line names.

    The last path is the output if it is a folder, if it does not exist, or if there are two paths. Without an output,
    `photo.jpg` becomes `photo.deblurred.jpg` beside it, and the folder `photos` the folder `photos.deblurred`.

    Args:
        paths: Pictures and folders, and perhaps an output.
        job: Whether folders are searched with their subfolders, and whether one heatmap or comparison is asked for.

    Raises:
        UsageError: If one output is named for several pictures, or a heatmap or comparison of several is asked for.
        SourceError: If the folders hold no picture.
        TargetError: If a folder is its own output.
    """
    sources, target = _split([path for path in paths if len(paths) == 1 or not is_stray_name(path)])
    if target is None:
        tasks = [task for path in sources for task in _beside(path, job)]
    elif len(sources) == 1 and not sources[0].is_dir() and not _is_folder(target):
        return [ImageTask(source=sources[0], target=target)]
    else:
        if target.suffix.lower() in WRITTEN_SUFFIXES and not target.is_dir():
            raise UsageError(f"{target}: several pictures need a folder as OUT; this names a picture")
        tasks = [task for path in sources for task in _into(path, target, job)]
    if not tasks:
        told = ", ".join(str(path) for path in sources)
        deeper = "" if job.recursive else "; --recursive searches subfolders, too"
        raise SourceError(f"{told}: no pictures to deblur found{deeper}")
    if len(tasks) > 1 and (job.heatmap or job.compare):
        raise UsageError("--heatmap and --compare belong to one picture, not to several")
    return _apart(tasks)


def passed_over(paths: Sequence[Path], job: ImageJob) -> list[Path]:
    """Pictures in folders whose kind is not supported, such as camera raw: they are named, but are no failures."""
    folders = [path for path in paths if path.is_dir()]
    found = (each for folder in folders for each in (folder.rglob("*") if job.recursive else folder.iterdir()))
    return sorted(each for each in found if why_not_read(each) is not None and not each.name.startswith("."))


def deblur_images(
    tasks: Sequence[ImageTask],
    job: ImageJob,
    *,
    count: BatchCount | None = None,
    on_warning: Callable[[str], None] = lambda _message: None,
    on_failure: Callable[[Path, Exception], object] = lambda _path, _error: None,
) -> Iterator[ImageSummary]:
    """Deblur pictures one after another; one that fails is named, and does not stop the others.

    Yields a summary after each one that is written.

    Args:
        tasks: The planned pictures.
        job: The user's choices, for every picture.
        count: Filled while the batch goes.
        on_warning: Called for each thing that is not kept, with the picture's name.
        on_failure: Called for each picture that failed, with the error.

    Raises:
        SourceError: At the end, if some pictures failed; the message names them.
        TargetError: If the outputs' folder cannot be written to, or the disk is full.
        WeightsError: If the weights cannot be loaded.
        Interrupted: After Ctrl-C; the message says how many are done.
    """
    networks = LoadedNetworks(job)

    def is_done(task: ImageTask) -> bool:
        is_of_batch = task.is_of_folder or (task.makes_folder and len(tasks) > 1)
        is_kept = job.skip_existing or (is_of_batch and not job.overwrite)
        return is_kept and task.target.is_file()  # outputs appear under their names only when they are complete

    def make(task: ImageTask) -> ImageSummary:
        own = job if job.keep_date is not None else replace(job, keep_date=task.is_of_folder)
        try:
            task.make_folder()
            return deblur_image(task.source, task.target, own, networks=networks, on_warning=on_warning)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped") from error

    new = [task for task in tasks if task.makes_folder and not is_done(task)]
    if new:
        make_folder(folder_of_all(new))
    counted = count or BatchCount()
    yield from run_batch(tasks, make, counted, is_done=is_done, on_failure=on_failure, wording=batch_text)


def batch_text(count: BatchCount) -> str:
    """A batch of pictures in one sentence."""
    parts = [f"{count.num_made} of {count.num_items} pictures are written"]
    if count.num_there:
        parts.append(f"{count.num_there} were there already")
    if count.failed:
        parts.append(f"{len(count.failed)} failed: {', '.join(str(path) for path in count.failed)}")
    return ", ".join(parts)


def _split(paths: list[Path]) -> tuple[list[Path], Path | None]:
    """The inputs, and the output if the last path is one."""
    if len(paths) == 1:
        return paths, None
    last = paths[-1]
    is_output = len(paths) == 2 or last.is_dir() or not last.exists()
    return (paths[:-1], last) if is_output else (paths, None)


def _is_folder(target: Path) -> bool:
    return target.is_dir() or not (target.suffix or target.exists())


def _beside(path: Path, job: ImageJob) -> list[ImageTask]:
    if path.is_dir():
        place = path.resolve() if path.name in ("", "..") else path  # such as `.`
        if not place.name:
            raise TargetError(f"{path}: has no folder beside it for the outputs; name one last")
        return _into(path, place.with_name(f"{path.resolve().name}{MARK}"), job)
    if path.stem.endswith(MARK):  # an output of an earlier run, which `photos/*` names
        return []
    return [ImageTask(source=path, target=path.with_name(written_name(path, mark=MARK)))]


def _into(path: Path, folder: Path, job: ImageJob) -> list[ImageTask]:
    """The tasks of an output folder: a picture keeps its name, and a folder's pictures keep their subfolders."""
    if not path.is_dir():
        return [ImageTask(source=path, target=folder / written_name(path), makes_folder=True)]
    if path.resolve() == folder.resolve():
        raise TargetError(f"{folder}: input and output are the same folder; choose another one")
    tasks = []
    for source in sorted(path.rglob("*") if job.recursive else path.iterdir()):
        within = source.relative_to(path)
        is_stray = any(part.startswith(".") for part in within.parts) or not is_picture_name(source)
        if is_stray or not source.is_file() or is_output(source, path, folder):
            continue
        target = folder / within.with_name(written_name(source))
        tasks.append(ImageTask(source=source, target=target, is_of_folder=True, makes_folder=True))
    return tasks


def written_name(path: Path, *, mark: str = "") -> str:
    """The name of a picture's output: `IMG_1.jpg` keeps it, `IMG_1.heic` becomes `IMG_1.heic.jpg`."""
    return output_name(path, default_suffix(path), converted=READ_ONLY_SUFFIXES, mark=mark)


def _apart(tasks: list[ImageTask]) -> list[ImageTask]:
    """The same tasks with no two outputs of one name: of two folders with i.jpg, the second one's becomes i-2.jpg.

    A picture that was named twice has one.
    """
    made: dict[Path, ImageTask] = {}
    seen: set[tuple[Path, Path]] = set()
    for task in tasks:
        target, number = task.target, 2
        same = (task.source.resolve(), target)
        if same in seen:
            continue
        seen.add(same)
        while target in made:
            target = task.target.with_stem(f"{task.target.stem}-{number}")
            number += 1
        made[target] = replace(task, target=target)
    return list(made.values())
