"""`concertdeblur doctor`: what is installed, what would run here, and how long a frame takes."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module, metadata
from pathlib import Path

from concertdeblur.cpus import available_cpus, busy_cpus
from concertdeblur.errors import ConcertDeblurError
from concertdeblur.version import __version__

_FRAME_HW = (720, 1280)
_BUSY_CORES = 0.3  # a browser that plays a film takes about so much
_CLIP_FRAMES = 4 * 60 * 30  # a song: 4 minutes at 30 frames/s

# (distribution, module, whether every run needs it, what to do if it is missing)
_PACKAGES = (
    ("torch", "torch", True, "install PyTorch: pip install torch"),
    ("av", "av", True, "pip install 'av>=18.1,<19'"),
    ("opencv-python", "cv2", True, "pip install opencv-python; Debian: apt install libgl1 libglib2.0-0 libx11-6"),
    ("numpy", "numpy", True, "pip install numpy"),
    ("pillow", "PIL", True, "for pictures: pip install 'pillow>=13,<14'"),
    ("safetensors", "safetensors", True, "pip install safetensors"),
    ("pi-heif", "pi_heif", False, "for HEIC pictures: pip install pi-heif"),
    ("decord2", "decord", False, "for --reader decord: pip install decord2"),
    ("ffmpeg-python", "ffmpeg", False, "for --writer ffmpeg: pip install ffmpeg-python"),
    ("openvino", "openvino", False, "runs faster on a CPU: pip install 'concertdeblur[openvino]'"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A program or package."""

    name: str
    version: str | None  # None: not there, or does not load
    is_needed: bool  # False: some option needs it
    advice: str  # what to do where it is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """An encoder in PyAV's build."""

    name: str  # as `--codec` takes it
    is_usable: bool  # False: a hardware encoder whose device is not here


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightSet:
    """A weight set on this machine."""

    name: str
    is_intact: bool  # every file is there and has its sha256
    problem: str  # a sentence; empty if intact
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorReport:
    """What this machine is fit for."""

    parts: tuple[Part, ...]
    codecs: tuple[Codec, ...]
    devices: tuple[str, ...]
    runtime: str | None  # what the networks would run on; None if nothing
    num_cores: int  # that this process may use
    busy_cores: float | None  # how many of them other programs keep busy; None: not known
    memory_bytes: int | None
    free_memory_bytes: int | None
    weight_sets: tuple[WeightSet, ...]
    frame_720p_s: float | None  # estimated seconds a frame of 1280x720, deblurring only
    fast_720p_s: float | None  # the same with the fast set, if it is there and another one was timed
    no_speed_reason: str  # why there is no estimate; empty if there is one
    fitness: str  # one sentence
    problems: tuple[str, ...]  # nothing is deblurred until these are solved
    advice: tuple[str, ...]  # packages that would add something

    @property
    def is_busy(self) -> bool:
        """Whether other programs take so much of the machine that a trial says little about it."""
        return _is_busy(self.busy_cores)


def diagnose(*, weights: str = "concert", device: str = "auto", backend: str = "auto") -> DoctorReport:
    """Look at this machine; takes some seconds, most of them for timing.

    Args:
        weights: The set to time: a shipped name, or a folder.
        device: As for `load`.
        backend: As for `load`.

    """
    parts = (*_own_parts(), *(_package(*row) for row in _PACKAGES), _ffmpeg())
    missing = {part.name for part in parts if part.version is None}
    problems = [f"{part.name}: {part.advice}" for part in parts if part.version is None and part.is_needed]
    codecs = () if "av" in missing else _codecs()
    weight_sets: tuple[WeightSet, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    runtime = None
    frame_s, fast_s, reason = None, None, "not measured: a needed package is missing"
    busy = busy_cpus()
    if not missing & {part.name for part in parts if part.is_needed}:
        devices = _devices()
        weight_sets = _weight_sets(weights)
        problems += [weight_set.problem for weight_set in weight_sets if not weight_set.is_intact]
        try:
            runtime = _runtime(device, backend)
            frame_s, reason = _time_frame(weights, device, backend), ""
            fast_s = _time_fast(weights, device, backend)
            busy = max(busy or 0.0, busy_cpus() or 0.0)  # programs that began meanwhile count, too
        except ConcertDeblurError as error:
            reason = f"not measured: {error}"
            if runtime is None:
                problems.append(str(error))
        except Exception as error:  # any error of a broken installation is a finding of this command
            reason = f"not measured: {type(error).__name__}: {error}"
            problems.append(f"a frame could not be deblurred ({type(error).__name__}: {error})")
    memory_bytes, free_memory_bytes = _memory()
    return DoctorReport(
        parts=parts,
        codecs=codecs,
        devices=devices,
        runtime=runtime,
        num_cores=available_cpus(),
        busy_cores=busy,
        memory_bytes=memory_bytes,
        free_memory_bytes=free_memory_bytes,
        weight_sets=weight_sets,
        frame_720p_s=frame_s,
        no_speed_reason=reason,
        fast_720p_s=fast_s,
        fitness=fitness_of(frame_s, fast_s, busy_cores=busy),
        problems=tuple(dict.fromkeys(problems)),
        advice=tuple(f"{part.name}: {part.advice}" for part in parts if part.version is None and not part.is_needed),
    )


def fitness_of(frame_720p_s: float | None, fast_720p_s: float | None = None, *, busy_cores: float | None = None) -> str:
    """A sentence that says what a machine with this time for a frame of 1280x720 is fit for; two if it is busy."""
    if frame_720p_s is None:
        return "What this machine is fit for is not known, since no frame could be timed."
    clip_s = frame_720p_s * _CLIP_FRAMES
    if frame_720p_s <= 1 / 30:
        fit = "fit for long clips, at the speed they play or faster"
    elif clip_s <= 3600:
        fit = "fit for whole songs"
    elif clip_s <= 12 * 3600:
        fit = "fit for a song overnight, and for excerpts (--start, --end) at once"
    else:
        fit = "fit for pictures and short excerpts (--start, --end)"
    told = f"This machine is {fit}: a 4-minute clip of 1280x720 at 30 frames/s takes about {_span(clip_s)}"
    fast = "" if fast_720p_s is None else f", or {_span(fast_720p_s * _CLIP_FRAMES)} with --quality fast"
    if _is_busy(busy_cores):
        return (
            f"{told}{fast}. Do not rely on that: other programs keep {busy_cores:.1f} cores busy just now, and without"
            " them it is faster; run doctor again when they are done."
        )
    return f"{told}{fast}."


def _is_busy(busy_cores: float | None) -> bool:
    return busy_cores is not None and busy_cores >= _BUSY_CORES


def _span(seconds: float) -> str:
    if seconds < 90 * 60:
        minutes = max(1, round(seconds / 60))
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _own_parts() -> tuple[Part, ...]:
    return (
        Part(name="concertdeblur", version=__version__, is_needed=True, advice=""),
        Part(name="python", version=platform.python_version(), is_needed=True, advice=""),
    )


def _package(distribution: str, module: str, is_needed: bool, advice: str) -> Part:
    """A package, which counts only if it also loads: without libGL opencv-python is installed, but broken."""
    try:
        _load(module)
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = str(getattr(sys.modules[module], "__version__", "unknown"))
    except ModuleNotFoundError:
        version = None
    except Exception as error:  # an ImportError, an OSError of a shared library: any error is the finding
        return Part(name=distribution, version=None, is_needed=is_needed, advice=f"does not load ({error}); {advice}")
    return Part(name=distribution, version=version, is_needed=is_needed, advice=advice)


def _ffmpeg() -> Part:
    advice = "for --writer ffmpeg: install the program ffmpeg (Debian: apt install ffmpeg)"
    path, version = shutil.which("ffmpeg"), None
    if path is not None:
        try:
            told = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=20).stdout  # noqa: S603
            words = told.split(maxsplit=3)
            version = words[2] if words[:2] == ["ffmpeg", "version"] and len(words) > 2 else None
        except (OSError, subprocess.TimeoutExpired):
            advice = f"{path} does not run; {advice}"
    return Part(name="ffmpeg (program)", version=version, is_needed=False, advice=advice)


def _codecs() -> tuple[Codec, ...]:
    from concertdeblur.media.encoders import available_codecs

    return tuple(Codec(name=codec, is_usable=_opens(codec)) for codec in available_codecs())


def _opens(codec: str) -> bool:
    """Whether the encoder opens for a picture size; a hardware encoder looks for its device then."""
    import av

    from concertdeblur.media.encoders import EncoderSettings, supported_pixel_formats

    settings = EncoderSettings(codec=codec, num_threads=1)
    if not settings.is_hardware:
        return True
    try:
        context = av.CodecContext.create(settings.encoder, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.height, context.width = 256, 256
        context.pix_fmt = (supported_pixel_formats(settings.encoder) or ("yuv420p",))[0]
        context.framerate = Fraction(25)
        context.open()
    except (av.error.FFmpegError, ValueError, RuntimeError, OSError):
        return False
    return True


def _devices() -> tuple[str, ...]:
    import torch

    cards = [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    return ("cpu", *cards)


def _runtime(device: str, backend: str) -> str:
    from concertdeblur.runtime import choose_runtime

    return str(choose_runtime(device, backend))


def _weight_sets(weights: str) -> tuple[WeightSet, ...]:
    """The shipped sets, and the one asked for."""
    from concertdeblur.pretrained import WEIGHTS_FOLDER

    shipped = [path.parent.name for path in sorted(WEIGHTS_FOLDER.glob("*/manifest.toml"))]
    return tuple(_weight_set(name) for name in dict.fromkeys([*shipped, weights]))


def _weight_set(name: str) -> WeightSet:
    from concertdeblur import pretrained

    problem, size_bytes = "", 0
    try:
        folder = pretrained.find_weights(name)
        manifest = pretrained.read_manifest(folder)
        pretrained.check_files(folder, manifest)
        size_bytes = sum((folder / row.file).stat().st_size for row in manifest.files)
    except (ConcertDeblurError, OSError) as error:
        problem = str(error)
    return WeightSet(name=name, is_intact=not problem, problem=problem, size_bytes=size_bytes)


def _time_frame(weights: str, device: str, backend: str) -> float:
    """Seconds for a frame of 1280x720."""
    from concertdeblur import pretrained
    from concertdeblur.pipelines.quality import seconds_a_frame

    deblurrer = pretrained.load(weights, device=device, backend=backend)
    return seconds_a_frame(deblurrer, *_FRAME_HW)


def _time_fast(weights: str, device: str, backend: str) -> float | None:
    from concertdeblur import pretrained

    is_asked = weights == pretrained.DEFAULT_WEIGHTS and pretrained.has_fast()
    return _time_frame(pretrained.FAST_WEIGHTS, device, backend) if is_asked else None


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory, whole and free, within the limit of this process's control group; None where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in lines)}
        whole, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, KeyError):
        return None, None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no limit says "max"
        return whole, free
    return min(whole, limit), min(free, max(0, limit - used))


def _load(module: str) -> None:
    """Import a package as a job would import it."""
    if module == "openvino":
        from concertdeblur.engines import load_openvino

        load_openvino()
    else:
        import_module(module)
