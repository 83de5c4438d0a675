"""What runs where, and what cannot."""

import cv2
import pytest
import torch

import concertdeblur.runtime as module
from concertdeblur.errors import MissingDependencyError, UsageError
from concertdeblur.runtime import choose_runtime


def test_a_cpu_runs_on_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert choose_runtime("cpu").backend == "openvino"
    assert choose_runtime("cpu", "torch").backend == "torch"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    runtime = choose_runtime("cpu")
    assert (runtime.backend, runtime.dtype) == ("torch", torch.float32)
    assert "CPU" in str(runtime)
    with pytest.raises(MissingDependencyError, match=r"concertdeblur\[openvino\]"):
        choose_runtime("cpu", "openvino")


@pytest.mark.parametrize(
    ("instructions", "dtype"),
    [
        ({"avx2": True}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_is_for_processors_that_have_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: instructions)
    assert choose_runtime("cpu").dtype == dtype
    assert choose_runtime("cpu", "torch").dtype == torch.float32  # the reference


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is here")
def test_cuda_without_a_gpu_says_so() -> None:
    assert choose_runtime("auto").device.type == "cpu"
    with pytest.raises(UsageError, match="no CUDA device"):
        choose_runtime("cuda")


@pytest.mark.parametrize(
    ("device", "backend"), [("tpu", "auto"), ("nonsense", "auto"), ("mps", "auto"), ("cpu", "onnx")]
)
def test_unknown_names_are_refused(device: str, backend: str) -> None:
    with pytest.raises(UsageError, match="unknown"):
        choose_runtime(device, backend)


def test_a_gpu_takes_half_precision_and_no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    runtime = choose_runtime("cuda:0")
    assert (runtime.backend, runtime.dtype) == ("torch", torch.float16)
    with pytest.raises(UsageError, match="openvino"):
        choose_runtime("cuda", "openvino")
    with pytest.raises(UsageError, match="cuda:3"):
        choose_runtime("cuda:3")


def test_pools_keep_to_the_quota_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(4)
        cv2.setNumThreads(4)
        monkeypatch.setattr(module, "quota_cpus", lambda: 2)
        choose_runtime("cpu")
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
        monkeypatch.setattr(module, "quota_cpus", lambda: None)
        choose_runtime("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
