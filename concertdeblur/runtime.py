"""Device, precision and threads are decided here, once, and reported; no other module decides them again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import cv2
import torch

from concertdeblur.cpus import quota_cpus
from concertdeblur.errors import MissingDependencyError, UsageError

Device = Literal["auto", "cpu", "cuda"]
Backend = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """What the networks run on."""

    device: torch.device
    backend: Literal["torch", "openvino"]
    dtype: torch.dtype  # of the convolutions; confidences are fp32 in any case

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{self.backend} on {name} in {str(self.dtype).removeprefix('torch.')}"


def choose_runtime(device: str = "auto", backend: str = "auto") -> Runtime:
    """Resolve what the user asked for against what is there.

    Pools of threads keep to the quota of this process's container from here on.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        backend: "auto", "torch" or "openvino" (CPU only; "auto" takes it where it is installed).

    Raises:
        UsageError: If the device or backend is unknown, absent, or they do not go together.
        MissingDependencyError: If OpenVINO is asked for and not installed.

    """
    _keep_to_quota()
    chosen = _choose_device(device)
    if backend not in ("auto", "torch", "openvino"):
        raise UsageError(f"unknown backend '{backend}'; choose auto, torch or openvino")
    has_openvino = find_spec("openvino") is not None
    if backend == "openvino":
        if chosen.type != "cpu":
            raise UsageError(f"the backend openvino runs on the CPU, not on {chosen}; use --backend torch")
        if not has_openvino:
            raise MissingDependencyError("OpenVINO is not installed; install 'concertdeblur[openvino]'")
    use_openvino = chosen.type == "cpu" and has_openvino and backend != "torch"
    backend_used: Literal["torch", "openvino"] = "openvino" if use_openvino else "torch"
    return Runtime(device=chosen, backend=backend_used, dtype=_convolution_dtype(chosen, backend_used))


def _convolution_dtype(device: torch.device, backend: Literal["torch", "openvino"]) -> torch.dtype:
    """Half precision if it is faster; but torch on a CPU stays in fp32, as the reference for all others."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if backend == "openvino" and has_fast_bfloat16(device) else torch.float32


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 gain on a device: on a GPU, and on a processor with instructions for them.

    With AVX512-BF16 the restoration takes 0.57 of its time, in OpenVINO and in training. Without it, bfloat16 takes 100
    times as long as fp32.
    """
    if device.type == "cuda":
        return True
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def _keep_to_quota() -> None:
    """Hold pools of threads to the quota of the process: by themselves they know its affinity only."""
    limit = quota_cpus()
    if limit is not None:
        torch.set_num_threads(min(limit, torch.get_num_threads()))
        cv2.setNumThreads(min(limit, cv2.getNumThreads()))


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Hold torch to so many threads of the CPU in this block: busy pools on the same cores slow each other down."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_a_stage() -> Iterator[None]:
    """Hold torch and OpenCV to the thread that calls them in this block, because stages beside it use the other cores.

    Of a frame of 1280x720 it saves 3 % of the CPU time.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with torch_threads(1):
            yield
    finally:
        cv2.setNumThreads(before)


def flush_denormals() -> None:
    """Take numbers below 1e-38 for 0 from here on, in this thread and in those that it starts.

    A product with such a number takes an Intel processor a hundred times as long. Gradients through saturated units are
    full of them: the backward pass of a trained generator took 1.6 s with them and 0.2 s without. torch's pool of
    threads keeps the setting of its first use, so call this before anything is computed.
    """
    torch.set_flush_denormal(True)


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device '{device}'; choose auto, cpu or cuda") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{device}'; choose auto, cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device can be used here; use --device cpu, or see the README on CUDA")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no {device}; this machine has {torch.cuda.device_count()} CUDA device(s)")
    return chosen
