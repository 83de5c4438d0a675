"""`concertdeblur image`: read a picture, deblur it, write it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from concertdeblur.deblurring.cam import heat_overlay
from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredPicture
from concertdeblur.errors import SourceError, TargetError, UsageError
from concertdeblur.frame import Pixels
from concertdeblur.media.output_file import OutputFile
from concertdeblur.progress import duration_text

_LOSSY_OPTIONS = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95]}
_DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
_SUFFIXES = frozenset({*_LOSSY_OPTIONS, *_DEEP_SUFFIXES, ".webp", ".bmp"})


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
    heatmap: Path | None = None
    compare: Path | None = None  # before and after side by side

    def __post_init__(self) -> None:
        if self.weights is not None and self.quality != "auto":
            raise UsageError("a weight set and a quality do not go together: the quality chooses a set")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSummary:
    """What a run did; windows are (y, x, height, width) in px."""

    source: Path
    target: Path
    height: int
    width: int
    windows_tried: int
    windows_accepted: int
    windows: tuple[tuple[int, int, int, int], ...]
    elapsed_s: float
    runtime: str

    def text(self) -> str:
        """In words."""
        rows = [("picture", f"{self.width} x {self.height} px (width x height)"), ("time", duration_text(self.elapsed_s))]
        if self.windows_tried:
            rows.append(("windows", f"{self.windows_accepted} of {self.windows_tried} tried were refined"))
        rows.append(("ran on", self.runtime))
        return "\n".join([f"{self.target} is written.", *(f"  {name:<9} {text}" for name, text in rows)])


def deblur_image(
    source: Path, target: Path, job: ImageJob, *, on_warning: Callable[[str], None] = lambda message: None
) -> ImageSummary:
    """Deblur one picture; the output appears under its name only when it is complete.

    Transparency is kept as it is; a grey picture stays grey.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; no output is left.
    """
    started = time.monotonic()
    options = DeblurOptions(strength=job.strength, refine=job.refine, heatmap=job.heatmap is not None)
    outputs = [OutputFile(path, overwrite=job.overwrite, sources=(source,)) for path in _checked_targets(target, job)]
    decoded = _read(source)
    if decoded.dtype == np.uint16 and target.suffix.lower() not in _DEEP_SUFFIXES:
        on_warning(f"{target.suffix} holds 8 bits a channel; the 16 bits of {source.name} are rounded")
        decoded = (decoded // 257).astype(np.uint8)
    pixels, alpha = _to_rgb(decoded)
    if alpha is not None and target.suffix.lower() in (".jpg", ".jpeg", ".bmp"):
        on_warning(f"{target.suffix} cannot hold transparency; it is dropped")
    made, runtime = _deblurred(pixels, options, job)
    _write(outputs[0], _from_rgb(made.pixels, decoded, alpha))
    if job.compare:
        _write(outputs[-1], _compared(pixels, made.pixels, job.compare))
    if job.heatmap and made.heatmap is not None:
        _write(outputs[1], np.ascontiguousarray(heat_overlay(made.pixels, made.heatmap)[:, :, ::-1]))
    return ImageSummary(
        source=source,
        target=target,
        height=pixels.shape[0],
        width=pixels.shape[1],
        windows_tried=len(made.windows_tried),
        windows_accepted=len(made.windows_kept),
        windows=tuple(
            (w.y, w.x, min(w.height, pixels.shape[0] - w.y), min(w.width, pixels.shape[1] - w.x))  # not its padding
            for w in made.windows_kept
        ),
        elapsed_s=time.monotonic() - started,
        runtime=runtime,
    )


def _checked_targets(target: Path, job: ImageJob) -> list[Path]:
    paths = [target, *(path for path in (job.heatmap, job.compare) if path is not None)]
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES:
            raise UsageError(f"{path.name}: a picture's name must end in one of {', '.join(sorted(_SUFFIXES))}")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("output, --heatmap and --compare must be different files")
    return paths


def _compared(before: Pixels, after: Pixels, target: Path) -> Pixels:
    """Both pictures side by side, as OpenCV writes them."""
    pair: Pixels = np.concatenate([before, after], axis=1)[:, :, ::-1]
    if pair.dtype == np.uint16 and target.suffix.lower() not in _DEEP_SUFFIXES:
        pair = (pair // 257).astype(np.uint8)
    return np.ascontiguousarray(pair)


def _deblurred(pixels: Pixels, options: DeblurOptions, job: ImageJob) -> tuple[DeblurredPicture, str]:
    if options.strength == 0 and not options.heatmap:
        return DeblurredPicture(pixels=pixels, heatmap=None, windows_tried=(), windows_kept=()), "identity"
    from concertdeblur import pretrained

    weights = job.weights or pretrained.weights_of(job.quality)
    deblurrer = pretrained.load(weights, device=job.device, backend=job.backend)
    return deblurrer.deblur_picture(pixels, options), str(deblurrer.runtime)


def _read(source: Path) -> Pixels:
    """The picture as OpenCV reads it: BGR, BGRA or grey, uint8 or uint16, turned upright."""
    if source.is_dir():
        raise SourceError(f"{source}: is a folder; name a picture")
    try:
        data = np.frombuffer(source.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error.strerror})") from error
    if not data.size:
        raise SourceError(f"{source}: is empty")
    try:
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if decoded is not None and decoded.ndim == 3 and decoded.shape[2] == 3:  # EXIF rotation needs another mode
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise SourceError(f"{source}: cannot be read as a picture") from error
    if decoded is None:
        raise SourceError(f"{source}: cannot be read as a picture; for a video use 'concertdeblur video'")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise SourceError(f"{source}: has {decoded.dtype} samples; 8 and 16 bits are supported")
    return np.asarray(decoded, dtype=decoded.dtype)


def _to_rgb(decoded: Pixels) -> tuple[Pixels, Pixels | None]:
    if decoded.ndim == 2:
        return np.repeat(decoded[:, :, None], 3, axis=2), None
    alpha = np.ascontiguousarray(decoded[:, :, 3]) if decoded.shape[2] == 4 else None
    return np.ascontiguousarray(decoded[:, :, 2::-1]), alpha


def _from_rgb(pixels: Pixels, decoded: Pixels, alpha: Pixels | None) -> Pixels:
    """Back to the channels that the picture had."""
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    if decoded.ndim == 2:
        return np.ascontiguousarray(bgr[:, :, 1])
    return bgr if alpha is None else np.ascontiguousarray(np.dstack([bgr, alpha]))


def _write(output: OutputFile, picture: Pixels) -> None:
    suffix = output.target.suffix.lower()
    if picture.ndim == 3 and picture.shape[2] == 4 and suffix in (".jpg", ".jpeg", ".bmp"):
        picture = np.ascontiguousarray(picture[:, :, :3])
    is_encoded, data = cv2.imencode(suffix, picture, _LOSSY_OPTIONS.get(suffix, []))
    if not is_encoded:
        raise TargetError(f"{output.target}: the picture cannot be encoded as {suffix}")
    with output as part:
        try:
            part.write_bytes(data.tobytes())
        except OSError as error:
            raise TargetError(f"{output.target}: cannot be written ({error.strerror})") from error
