"""`concertdeblur image`: read a picture, deblur it, write it with everything that it carries."""

import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from concertdeblur.deblurring.cam import heat_overlay
from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredPicture
from concertdeblur.errors import TargetError, UsageError
from concertdeblur.frame import Pixels
from concertdeblur.media.output_file import OutputFile, keep_date, target_error
from concertdeblur.pictures.formats import FORMATS, PictureFormat, format_of
from concertdeblur.pictures.metadata import Metadata
from concertdeblur.pictures.reading import PictureFile, open_picture
from concertdeblur.pictures.stills import Still
from concertdeblur.pictures.writing import Sequence, encode, what_is_lost
from concertdeblur.progress import duration_text, runtime_text

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageJob:
    """Every choice of a user."""

    strength: float = 1.0
    refine: bool = True
    weights: str | None = None  # name of a shipped set, or the folder of another; None: by the quality
    quality: Literal["auto", "best", "fast"] = "auto"  # a picture takes seconds: auto is the best
    device: str = "auto"
    backend: str = "auto"
    overwrite: bool = False
    skip_existing: bool = False  # a picture with an output is done; in folders this is always so
    recursive: bool = False  # subfolders of folders are searched, too
    keep_date: bool | None = None  # the output's file date is the input's; None: in folders only
    strip_metadata: bool = False  # only the colour profile goes with the pixels
    jpeg_quality: int = 95
    heatmap: Path | None = None
    compare: Path | None = None  # before and after side by side

    def __post_init__(self) -> None:
        if self.weights is not None and self.quality != "auto":
            raise UsageError("a weight set and a quality do not go together: the quality chooses a set")
        if not 1 <= self.jpeg_quality <= 100:
            raise UsageError(f"JPEG quality must lie between 1 and 100, but it is {self.jpeg_quality}")
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing do not go together")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSummary:
    """What a run did; windows are (y, x, height, width) in px, of the first picture."""

    source: Path
    target: Path
    height: int
    width: int
    num_pictures: int = 1  # frames of an animation, or pages
    windows_tried: int
    windows_accepted: int
    windows: tuple[tuple[int, int, int, int], ...]
    elapsed_s: float
    runtime: str

    def text(self) -> str:
        """In words."""
        rows = [
            ("picture", f"{self.width} x {self.height} px (width x height)"),
            ("time", duration_text(self.elapsed_s)),
        ]
        if self.windows_tried:
            rows.append(("windows", f"{self.windows_accepted} of {self.windows_tried} tried were refined"))
        rows.append(("ran on", runtime_text(self.runtime)))
        return "\n".join([f"{self.target} is written.", *(f"  {name:<9} {text}" for name, text in rows)])


@dataclass(slots=True)
class LoadedNetworks:
    """The networks of a job, loaded when the first picture needs them."""

    job: ImageJob
    deblurrer: "Deblurrer | None" = None

    def deblur(self, pixels: Pixels, options: DeblurOptions) -> DeblurredPicture:
        """Deblur (height, width, 3) pixels; strength 0 without a heatmap needs no network."""
        if options.strength == 0 and not options.heatmap:
            return DeblurredPicture(pixels=pixels, heatmap=None, windows_tried=(), windows_kept=())
        if self.deblurrer is None:
            from concertdeblur import pretrained

            weights = self.job.weights or pretrained.weights_of(self.job.quality)
            self.deblurrer = pretrained.load(weights, device=self.job.device, backend=self.job.backend)
        return self.deblurrer.deblur_picture(pixels, options)

    @property
    def runtime(self) -> str:
        """What the networks ran on; "identity" if none ran."""
        return "identity" if self.deblurrer is None else str(self.deblurrer.runtime)


def deblur_image(
    source: Path,
    target: Path,
    job: ImageJob,
    *,
    networks: LoadedNetworks | None = None,
    on_warning: Callable[[str], None] = lambda message: None,
) -> ImageSummary:
    """Deblur one picture, or every picture of an animation or of pages.

    The output appears under its name only when it is complete. Transparency is kept as it is; a grey picture stays
    grey; the picture is turned upright.

    Args:
        source: Any picture that `open_picture` takes.
        target: Its suffix names the format.
        job: What to do.
        networks: Those of earlier pictures, so that they are loaded once.
        on_warning: Called once for each thing that is not kept as it was.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; no output is left.
    """
    started = time.monotonic()
    networks = networks or LoadedNetworks(job)
    options = DeblurOptions(strength=job.strength, refine=job.refine, heatmap=job.heatmap is not None)
    outputs = [OutputFile(path, overwrite=job.overwrite, sources=(source,)) for path in _checked_targets(target, job)]
    opened = open_picture(source)
    _check_size(opened, target, job)
    metadata = opened.metadata.only_colour() if job.strip_metadata else opened.metadata
    _warn(opened, target, metadata, on_warning)
    before = opened.still()
    made = networks.deblur(before.rgb, options)
    others = (opened.still(number) for number in range(1, opened.num_pictures))
    stills = [before.with_rgb(made.pixels), *(s.with_rgb(networks.deblur(s.rgb, options).pixels) for s in others)]
    with ExitStack() as stack:  # all outputs appear, or none
        _write(outputs[0], stills, metadata, job, opened, stack)
        if job.heatmap and made.heatmap is not None:
            shown = Still(pixels=heat_overlay(made.pixels, made.heatmap))
            _write(outputs[1], [shown], metadata.only_colour(), job, opened, stack)
        if job.compare:
            both = Still(pixels=np.concatenate([before.rgb, made.pixels], axis=1))
            _write(outputs[-1], [both], metadata.only_colour(), job, opened, stack)
    if job.keep_date and (told := keep_date(source, target)):
        on_warning(f"{source.name}: {told}")
    return ImageSummary(
        source=source,
        target=target,
        height=opened.height,
        width=opened.width,
        num_pictures=opened.num_pictures,
        windows_tried=len(made.windows_tried),
        windows_accepted=len(made.windows_kept),
        windows=tuple(
            (w.y, w.x, min(w.height, opened.height - w.y), min(w.width, opened.width - w.x))  # without the padding
            for w in made.windows_kept
        ),
        elapsed_s=time.monotonic() - started,
        runtime=networks.runtime,
    )


def _checked_targets(target: Path, job: ImageJob) -> list[Path]:
    paths = [target, *(path for path in (job.heatmap, job.compare) if path is not None)]
    for path in paths:
        format_of(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("output, --heatmap and --compare must be different files")
    return paths


def _check_size(opened: PictureFile, target: Path, job: ImageJob) -> None:
    """Check, before work begins, whether the formats can hold the outputs.

    Raises:
        TargetError: If a side is too long, or there are more pictures than the format holds.
        UsageError: If a heatmap or a comparison is asked for of more than one picture.
    """
    if opened.num_pictures > 1 and (job.heatmap or job.compare):
        raise UsageError(f"{opened.path}: holds {opened.num_pictures} pictures; --heatmap and --compare show one")
    outputs = ((target, opened.width), (job.heatmap, opened.width), (job.compare, 2 * opened.width))
    for path, width in outputs:
        wanted = None if path is None else format_of(path)
        if path is None or wanted is None or _fits(wanted, opened, width):
            continue
        others = ", ".join(one.suffixes[0] for one in FORMATS if _fits(one, opened, width))
        if opened.holds != "one" and wanted.holds != opened.holds:
            kind = "an animation" if opened.holds == "animation" else "a file"
            told = f"{opened.path} is {kind} of {opened.num_pictures} pictures, which {path.suffix} cannot hold"
        else:
            told = f"{path}: {wanted.name} holds {wanted.most_side_px} px a side at most, not {width}x{opened.height}"
        raise TargetError(f"{told}; {others or 'no format'} can")


def _fits(wanted: PictureFormat, opened: PictureFile, width: int) -> bool:
    is_short = wanted.most_side_px is None or max(width, opened.height) <= wanted.most_side_px
    return is_short and (opened.holds == "one" or wanted.holds == opened.holds)


def _warn(opened: PictureFile, target: Path, metadata: Metadata, on_warning: Callable[[str], None]) -> None:
    wanted = format_of(target)
    depth_bits = 8 if opened.holds == "animation" else opened.depth_bits
    lost = what_is_lost(
        wanted, target.suffix, metadata, depth_bits=depth_bits, has_alpha=opened.has_alpha,
        loop=opened.loop if opened.holds == "animation" else 0,
    )  # fmt: skip
    for clause in (*opened.changes, *lost):
        on_warning(f"{opened.path.name}: {clause}")


def _write(
    output: OutputFile, stills: list[Still], metadata: Metadata, job: ImageJob, opened: PictureFile, stack: ExitStack
) -> None:
    """Encode and write; the output appears when `stack` is left.

    `opened` says how an animation plays, and how many bits the source had.
    """
    sequence = Sequence(loop=opened.loop, has_default_picture=opened.has_default_picture)
    try:
        data = encode(
            format_of(output.target), stills, metadata, sequence=sequence, depth_bits=opened.depth_bits,
            jpeg_quality=job.jpeg_quality,
        )  # fmt: skip
    except (ValueError, OSError, TypeError, SyntaxError, KeyError, struct.error) as error:  # Pillow's
        raise TargetError(f"{output.target}: the picture cannot be encoded ({error})") from error
    part = stack.enter_context(output)
    try:
        part.write_bytes(data)
    except OSError as error:
        raise target_error(output.target, error) from error
