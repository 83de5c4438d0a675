"""What segments depend on: only where all of it is the same may a run go on with what an earlier one did."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av

from concertdeblur.frame import StreamInfo
from concertdeblur.media.encoding import Encoding
from concertdeblur.pipelines.segments.work_folder import file_digest
from concertdeblur.pipelines.video_job import VideoJob
from concertdeblur.version import __version__

SOURCE, WEIGHTS, WEIGHT_SET = "source", "weights", "weight set"
_HASHED = {SOURCE: "the source", WEIGHTS: "the weights"}
# What of a job changes no frame, or is told of in other words: the encoding, the weights' hash, the runtime.
_OTHER_CHOICES = frozenset({
    "weights", "quality", "device", "backend", "writer", "codec", "crf", "preset", "overwrite", "restart", "keep_date",
    "audio", "fits_sound", "drop_streams", "heatmap", "compare",
})  # fmt: skip
_PACKAGES = ("torch", "openvino", "numpy", "opencv-python", "decord2")


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkFacts:
    """Which networks run, and on what."""

    name: str  # of the weight set
    digest: str
    runtime: str


def asked(
    source: Path, job: VideoJob, info: StreamInfo, encodings: Mapping[str, Encoding], networks: NetworkFacts | None
) -> dict[str, str]:
    """Everything that a run's segments depend on, as words and hashes.

    Args:
        source: The clip.
        job: The user's choices.
        info: Its video stream.
        encodings: How each output is encoded, by its name.
        networks: None for identity.

    """
    told = {SOURCE: file_digest(source)}
    choices = [each.name for each in fields(job) if each.name not in _OTHER_CHOICES]
    told |= {f"--{name.removesuffix('_s').replace('_', '-')}": str(getattr(job, name)) for name in choices}
    told["video stream"] = str(info.index)
    for name, encoding in encodings.items():
        settings = encoding.settings
        options = " ".join(f"{key}={value}" for key, value in settings.options(info.hdr).items())
        told[f"encoding of the {name}"] = (
            f"{settings.encoder} {options} {encoding.pixel_format} in {encoding.format_name}"
            f" with {settings.num_threads} threads"
        )
    if networks is not None:
        told |= {WEIGHT_SET: networks.name, WEIGHTS: networks.digest, "runtime": networks.runtime}
    return told | versions()


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first thing in which two differ, in words; empty if there is none."""
    for name in {**now, **before}:
        if before.get(name) != now.get(name):
            if name in _HASHED:
                return f"{_HASHED[name]} changed"
            return f"{name} was {before.get(name, 'not there')} and is {now.get(name, 'not there')}"
    return ""


def versions() -> dict[str, str]:
    """The versions of all that pixels and packets depend on."""
    made = {"concertdeblur": __version__, "PyAV": av.__version__, "Python": platform.python_version()}
    made |= {name: ".".join(map(str, numbers)) for name, numbers in sorted(av.library_versions.items())}
    for package in _PACKAGES:
        try:
            made[package] = version(package)
        except PackageNotFoundError:
            made[package] = "none"
    return {f"version of {name}": text for name, text in made.items()}
