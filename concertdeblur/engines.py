"""A network made ready to run: eager torch, or OpenVINO on a CPU.

An engine is called like its module, with tensors on the runtime's device, and returns fp32.
"""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from concertdeblur.runtime import Runtime

Engine = Callable[..., Tensor]

_TRACED_PX = 128  # at least: a network that needs a larger multiple is traced on that


def make_engine(module: nn.Module, runtime: Runtime) -> Engine:
    """The module on the runtime's device and backend, for inference; safe to call from one thread at a time."""
    module = module.eval().requires_grad_(False)
    if runtime.backend == "openvino":
        return OpenVinoEngine(module)
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

    The network is converted and compiled once, at the first call, for any batch and frame size.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module.float().cpu()
        self._compiled: Any = None

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the compiled model."""
        if self._compiled is None:
            self._compiled = self._compile(tensors)
        result = self._compiled([tensor.detach().float().contiguous().numpy() for tensor in tensors])[0]
        return torch.from_numpy(result)

    def _compile(self, tensors: tuple[Tensor, ...]) -> Any:
        ov = load_openvino()
        # Traced on a corner: what is traced holds for every size, and takes a second instead of ten.
        side = max(_TRACED_PX, getattr(self._module, "multiple_px", 0))
        example = tuple(_corner(t.detach().float(), tensors[0], side) for t in tensors)
        shapes = [ov.PartialShape([-1, t.shape[1], *[-1] * (t.ndim - 2)]) for t in tensors]
        with warnings.catch_warnings():
            # OpenVINO traces with torch.jit, which torch 2.13 calls deprecated; the result is compared in tests.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", category=TracerWarning)  # instance norm looks at sizes
            model = ov.convert_model(self._module, example_input=example, input=shapes)
        return ov.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})


def _corner(tensor: Tensor, frames: Tensor, side_px: int) -> Tensor:
    """The part of a tensor that belongs to the frames' first `side_px`; it may have one value for several px."""
    down, across = frames.shape[2] // tensor.shape[2], frames.shape[3] // tensor.shape[3]
    return tensor[..., : side_px // down, : side_px // across].contiguous()


def load_openvino() -> Any:
    """The module `openvino`, without its telemetry.

    On import and on every conversion OpenVINO reports to a statistics server, unless its telemetry package is
    missing. None in `sys.modules` makes it missing: nobody who deblurs a clip has agreed to that.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    return import_module("openvino")
