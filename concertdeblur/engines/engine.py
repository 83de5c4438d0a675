"""A network made ready to run: eager torch, or OpenVINO on a CPU.

An engine is called like its module, with tensors on the runtime's device, and returns fp32.
"""

import contextlib
import hashlib
import platform
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from concertdeblur.cpus import allowed_cpus, quota_cpus
from concertdeblur.engines.cache import forget, keep, kept
from concertdeblur.runtime import Runtime

Engine = Callable[..., Tensor]

_TRACED_PX = 128  # a network that needs a larger multiple is traced on that
_core_making = threading.Lock()
_compiling = threading.Lock()  # engines of one stream are used from several threads; warning filters are the process's
_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def make_engine(
    module: nn.Module,
    runtime: Runtime,
    *,
    is_kept: bool = False,
    is_exact: bool = False,
    is_sized: bool = False,
    num_at_once: int = 1,
) -> Engine:
    """The module on the runtime's device and backend, for inference.

    Args:
        module: With its final weights.
        runtime: What it runs on.
        is_kept: Whether OpenVINO's compiled network is kept for the next run; it pays for weights that are used again.
        is_exact: Whether the network stays in fp32 where others have half precision. Networks that decide need it,
            those that draw do not.
        is_sized: Whether OpenVINO compiles the network for the sizes that it is given, and again when they change. A
            call at 1280x720 then takes 0.3 GB instead of 0.7; the numbers differ by rounding.
        num_at_once: How many threads may call it at the same time. OpenVINO divides the cores among so many calls.

    """
    module = module.eval().requires_grad_(False)
    if is_exact:
        runtime = replace(runtime, dtype=torch.float32)
    if runtime.backend == "openvino":
        return OpenVinoEngine(module, runtime.dtype, is_kept=is_kept, is_sized=is_sized, num_at_once=num_at_once)
    return TorchEngine(module, runtime)


class TorchEngine:
    """Eager torch; channels_last, and mixed precision on a GPU."""

    def __init__(self, module: nn.Module, runtime: Runtime) -> None:
        self._module = module.to(runtime.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._runtime = runtime

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the module without gradients."""
        mixed = self._runtime.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self._runtime.device.type, self._runtime.dtype, enabled=mixed):
            out: Tensor = self._module(*tensors)
        return out.float()


class OpenVinoEngine:
    """OpenVINO on the CPU; unlike eager torch it stays fast while the codecs want the same cores.

    At the first call the network is converted and compiled, or it is read from the cache of an earlier run (cache.py),
    which takes a fiftieth of the time. A compiled network takes one kind of numbers in each input, so the taps of 8-bit
    frames and those of other frames have a compiled network each.

    Args:
        module: With its final weights.
        dtype: Of convolutions, float32 or bfloat16.
        is_kept: Whether it is kept for the next run.
        is_sized: Whether it is compiled for the sizes of the call before, or for any batch and frame size.
        num_at_once: How many threads may call it at the same time; each call has its share of the cores.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype = torch.float32,
        *,
        is_kept: bool = False,
        is_sized: bool = False,
        num_at_once: int = 1,
    ) -> None:
        self._module = module.float().cpu()
        self._config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype]}
        limit = quota_cpus()
        if limit is not None and limit < allowed_cpus():
            self._config["INFERENCE_NUM_THREADS"] = str(limit)
        if num_at_once > 1:
            self._config["NUM_STREAMS"] = str(num_at_once)
        self._is_kept = is_kept
        self._is_sized = is_sized
        self._num_at_once = num_at_once
        self._ready: dict[tuple[torch.dtype, ...], _Ready] = {}  # by the types of the inputs
        self._readying = threading.Lock()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the compiled model."""
        read = [_as_read(tensor).contiguous() for tensor in tensors]
        requests = self._requests(read)
        request = requests.get()
        try:
            # shared, because a copy of a window's taps would take a twentieth of the time
            result = request.infer([tensor.numpy() for tensor in read], share_inputs=True)[0]
        finally:
            requests.put(request)
        return torch.from_numpy(result)

    def _requests(self, tensors: list[Tensor]) -> "SimpleQueue[Any]":
        """The requests that no call uses now, of a network that takes these tensors."""
        dtypes, shapes = tuple(tensor.dtype for tensor in tensors), self._shapes(tensors)
        with self._readying:
            ready = self._ready.get(dtypes)
            if ready is None or ready.shapes != shapes:
                if self._is_sized:
                    self._ready.clear()  # its memory may go before another one's is taken
                compiled, requests = self._kept_or_compiled(tensors), SimpleQueue[Any]()
                for _ in range(self._num_at_once):
                    requests.put(compiled.create_infer_request())
                ready = self._ready[dtypes] = _Ready(shapes, requests)
            return ready.requests

    def _shapes(self, tensors: list[Tensor]) -> list[list[int]]:
        """What the network is compiled for; -1 stands for any number."""
        if self._is_sized:
            return [list(tensor.shape) for tensor in tensors]
        return [[-1, tensor.shape[1], *[-1] * (tensor.ndim - 2)] for tensor in tensors]

    def _kept_or_compiled(self, tensors: list[Tensor]) -> Any:
        openvino_core()  # before any array of this engine goes to the bindings
        if not self._is_kept:
            return self._compile(tensors)
        dtypes = [str(tensor.dtype) for tensor in tensors]
        key = _key(self._module, self._config, list(zip(self._shapes(tensors), dtypes, strict=True)))
        content = kept(key)
        if content is not None:
            try:
                return openvino_core().import_model(content, "CPU", self._config)
            except RuntimeError:  # OpenVINO does not take the cached network any more, whatever the reason
                forget(key)
        compiled = self._compile(tensors)
        with contextlib.suppress(RuntimeError):
            keep(key, compiled.export_model().getvalue())
        return compiled

    def _compile(self, tensors: list[Tensor]) -> Any:
        ov = load_openvino()
        # It is traced on a corner of the frame: the trace holds for every size, and takes a second instead of ten.
        side = max(_TRACED_PX, getattr(self._module, "multiple_px", 0))
        example = tuple(_corner(t, tensors[0], side) for t in tensors)
        shapes = [ov.PartialShape(shape) for shape in self._shapes(tensors)]
        with _compiling, warnings.catch_warnings():
            # OpenVINO reads what torch.jit traces, which torch 2.13 calls deprecated; the result is compared in tests.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", category=TracerWarning)  # instance norm reads sizes
            # a check of the trace would take as long again
            traced = torch.jit.trace(self._module, example, check_trace=False)  # type: ignore[no-untyped-call]
            model = ov.convert_model(traced, example_input=example, input=shapes)
        return openvino_core().compile_model(model, "CPU", self._config)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A compiled network."""

    shapes: list[list[int]]
    requests: "SimpleQueue[Any]"


def _as_read(tensor: Tensor) -> Tensor:
    """A tensor as a compiled network takes it: bytes stay bytes, all else becomes float32."""
    return tensor.detach() if tensor.dtype == torch.uint8 else tensor.detach().float()


def _corner(tensor: Tensor, frames: Tensor, side_px: int) -> Tensor:
    """The part of a tensor that belongs to the frames' first `side_px`; it may have one value for several px."""
    down, across = frames.shape[2] // tensor.shape[2], frames.shape[3] // tensor.shape[3]
    return tensor[..., : side_px // down, : side_px // across].contiguous()


def _key(module: nn.Module, config: dict[str, str], inputs: list[tuple[list[int], str]]) -> str:
    """A key of all that the compiled network depends on: weights, structure, inputs, code, versions, machine.

    Of each input it has the sizes that the network is compiled for, and the type.
    """
    core = openvino_core()
    processor = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    versions = (
        torch.__version__,
        load_openvino().get_version(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
    )
    told = hashlib.sha256(repr((versions, processor, config, inputs, repr(module))).encode())
    for name, part in module.named_modules():
        choices = {
            key: value for key, value in vars(part).items() if isinstance(value, bool | int | float | str | tuple)
        }
        told.update(repr((name, sorted(choices.items()))).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        told.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        told.update(tensor.detach().contiguous().numpy().data)
    for path in _sources(module):
        told.update(path.read_bytes())
    return told.hexdigest()


def _sources(module: nn.Module) -> list[Path]:
    """The source files that the network's code may call: those of its classes, all beside them, and this one."""
    names = {type(part).__module__ for part in module.modules()}
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names if not name.startswith("torch."))
    folders = {Path(file).parent for file in files if file}
    return [Path(__file__), *sorted(path for folder in folders for path in folder.glob("*.py"))]


def load_openvino() -> Any:
    """The module `openvino`, without its telemetry.

    On import and on every conversion OpenVINO reports to a statistics server, unless its telemetry package is
    missing. None in `sys.modules` makes it missing: nobody who deblurs a clip has agreed to that.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def openvino_core() -> Any:
    """OpenVINO's one `Core` of this process; safe for several threads.

    OpenVINO's CPU plugin sets the signal stack of the thread that makes it, and restores the earlier stack at its end.
    With two plugins the second may restore a stack that the first has unmapped. The next Ctrl-C is then a segmentation
    fault.
    """
    with _core_making:
        return _made_core()


@lru_cache(maxsize=1)
def _made_core() -> Any:
    openvino = load_openvino()
    # The first array that the bindings take makes them look up numpy, once and for all. If two threads bring their
    # first arrays at the same time, one waits for the look-up while it holds Python's lock, which the look-up needs.
    openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()
