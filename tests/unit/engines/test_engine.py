"""Every backend runs the same network."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from concertdeblur.engines import OpenVinoEngine, cache, make_engine
from concertdeblur.runtime import Runtime
from tests.networks import SMALL_PAPER, random_networks


def on_cpu(backend: Literal["torch", "openvino"], dtype: torch.dtype = torch.float32) -> Runtime:
    return Runtime(device=torch.device("cpu"), backend=backend, dtype=dtype)


@pytest.mark.parametrize("network", ["generator", "patch", "discriminator"])
def test_openvino_gives_torchs_numbers_for_every_size_and_batch(network: str) -> None:
    pytest.importorskip("openvino")
    networks = random_networks()
    module = {
        "generator": networks.image_generator.restoration,
        "patch": networks.patch_generator.restoration,
        "discriminator": networks.discriminator,
    }[network]
    engines = [make_engine(module, on_cpu("openvino")), make_engine(module, on_cpu("torch"))]
    draw = torch.Generator().manual_seed(0)
    num_views = {"generator": 4, "patch": 10, "discriminator": 3}[network]
    for batch, height, width in ((1, 64, 96), (3, 128, 128), (1, 208, 112), (2, 16, 16)):
        given = [torch.rand(batch, channels, height, width, generator=draw) for channels in (3, num_views)]
        if network != "discriminator":
            given.append(torch.randn(batch, 128, height // 16, width // 16, generator=draw))
        made, expected = (engine(*given) for engine in engines)
        assert made.shape == expected.shape
        assert (made - expected).abs().max() < 1e-4
        again = engines[0](*(2 * tensor for tensor in given))
        assert not torch.equal(again, made)  # results are not overwritten by the next call
        assert (made - expected).abs().max() < 1e-4


def test_a_sized_engine_serves_several_threads_and_follows_a_change_of_size() -> None:
    pytest.importorskip("openvino")
    module = random_networks().image_generator.restoration
    shared = make_engine(module, on_cpu("openvino"), is_sized=True, num_at_once=2)
    alone = make_engine(module, on_cpu("openvino"), is_sized=True)
    plain = make_engine(module, on_cpu("torch"))
    draw = torch.Generator().manual_seed(0)

    def given(height: int, width: int) -> list[torch.Tensor]:
        frames = [torch.rand(1, channels, height, width, generator=draw) for channels in (3, 4)]
        return [*frames, torch.randn(1, 128, height // 16, width // 16, generator=draw)]

    with ThreadPoolExecutor(4) as threads:
        for height, width in ((64, 96), (128, 64), (64, 96)):
            frames = [given(height, width) for _ in range(6)]
            together = list(threads.map(lambda frame: shared(*frame), frames))
            for frame, made in zip(frames, together, strict=True):
                assert torch.equal(made, alone(*frame))  # the same bits, whoever has how many cores
                assert (made - plain(*frame)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("network", "side"), [("image_generator", 256), ("patch_generator", 128), ("discriminator", 256)]
)
def test_openvino_runs_the_papers_networks(network: str, side: int) -> None:
    pytest.importorskip("openvino")
    networks = random_networks(SMALL_PAPER)
    module = networks.by_name()[network]
    module = getattr(module, "restoration", module)
    engines = [make_engine(module, on_cpu("openvino")), make_engine(module, on_cpu("torch"))]
    given = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))] * 2
    made, expected = (engine(*given[: 2 if network == "discriminator" else 1]) for engine in engines)
    assert (made - expected).abs().max() < 1e-3


def test_half_precision_is_for_what_draws_and_not_for_what_decides() -> None:
    """Where a processor has no bfloat16, OpenVINO takes fp32 in its place."""
    pytest.importorskip("openvino")
    networks = random_networks()
    draw = torch.Generator().manual_seed(0)
    frames, guesses = (torch.rand(1, channels, 128, 192, generator=draw) for channels in (3, 4))
    half = on_cpu("openvino", torch.bfloat16)
    given = frames, guesses, torch.randn(1, 128, 8, 12, generator=draw)
    module = networks.image_generator.restoration
    off = make_engine(module, half)(*given) - make_engine(module, on_cpu("torch"))(*given)
    assert off.square().mean().sqrt() < 0.5 / 255  # of random networks, which change the frame beyond all measure
    judged = frames, guesses[:, :3]
    judge = make_engine(networks.discriminator, half, is_exact=True)
    assert (judge(*judged) - make_engine(networks.discriminator, on_cpu("torch"))(*judged)).abs().max() < 1e-4


def test_nothing_is_reported_to_anyone() -> None:
    """OpenVINO's converter sends statistics where it can import its telemetry package."""
    pytest.importorskip("openvino")
    code = (
        "from tests.networks import random_deblurrer; from tests.pictures import photograph; import sys;"
        "random_deblurrer(backend='openvino').deblur(photograph(64, 64));"
        "sys.exit(any(name.startswith('openvino_telemetry') and module for name, module in sys.modules.items()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_signal_can_be_handled_after_engines_have_gone() -> None:
    """OpenVINO changes the stack that signals are handled on; one that was unmapped ended the process."""
    pytest.importorskip("openvino")
    code = (
        "import signal, sys, torch; from concertdeblur.engines import OpenVinoEngine as Engine\n"
        "def use(is_kept):\n    Engine(torch.nn.Conv2d(3, 3, 3), is_kept=is_kept)(torch.rand(1, 3, 64, 64))\n"
        "use(False), use(True), use(True)\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_the_first_calls_of_a_process_may_come_from_several_threads() -> None:
    """OpenVINO's bindings waited for ever, once in some hundred runs, where two threads brought the first arrays."""
    pytest.importorskip("openvino")
    code = (
        "import threading, torch\n"
        "from concertdeblur.engines import OpenVinoEngine\n"
        "engines = [OpenVinoEngine(torch.nn.Conv2d(3, 3, 3)) for _ in range(4)]\n"
        "made, start = [], threading.Barrier(4)\n"
        "def call(engine):\n"
        "    start.wait()\n"
        "    made.append(engine(torch.rand(1, 3, 32, 32)).shape)\n"
        "threads = [threading.Thread(target=call, args=(engine,)) for engine in engines]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(made))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


class _MeanOfTaps(nn.Module):
    """The mean of frames and taps, which are 8 bits as uint8, or float in [0, 1]."""

    def forward(self, frames: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
        unit = 1.0 if taps.is_floating_point() else 1 / 255
        return (frames + taps.float() * unit) / 2


class TestKeptNetworks:
    """What was compiled once is read by the next run: the same numbers, and never those of other weights."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        pytest.importorskip("openvino")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        return tmp_path / "concertdeblur" / "networks"

    def run(self, *, weight: float = 1.0, is_kept: bool = True) -> torch.Tensor:
        networks = random_networks()
        with torch.inference_mode():
            next(networks.discriminator.parameters()).mul_(weight)
        given = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
        return OpenVinoEngine(networks.discriminator, is_kept=is_kept)(*given)

    def test_the_next_run_does_not_compile_and_gives_the_same_bits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = self.run()
        monkeypatch.setattr(OpenVinoEngine, "_compile", None)
        assert torch.equal(self.run(), expected)

    def test_other_weights_are_another_network(self, folder: Path) -> None:
        assert not torch.equal(self.run(), self.run(weight=1.5))
        assert torch.equal(self.run(weight=1.5), self.run(weight=1.5, is_kept=False))
        assert len(list(folder.iterdir())) == 2

    @pytest.mark.parametrize("are_bytes_first", [True, False])
    def test_bytes_and_floats_have_a_network_each(self, folder: Path, *, are_bytes_first: bool) -> None:
        draw = torch.Generator().manual_seed(0)
        frames = torch.rand(1, 3, 64, 64, generator=draw)
        taps = torch.randint(256, (1, 3, 64, 64), generator=draw, dtype=torch.uint8)
        given = [taps, taps.float() / 255] if are_bytes_first else [taps.float() / 255, taps]
        engine, expected = OpenVinoEngine(_MeanOfTaps(), is_kept=True), (frames + taps.float() / 255) / 2
        for some in given:  # in one run, and then each as the first of a run
            assert torch.allclose(engine(frames, some), expected, atol=1e-5)
            assert torch.allclose(OpenVinoEngine(_MeanOfTaps(), is_kept=True)(frames, some), expected, atol=1e-5)
        assert len(list(folder.iterdir())) == 2

    def test_what_openvino_does_not_take_any_more_is_compiled_anew(self, folder: Path) -> None:
        expected = self.run()
        (path,) = folder.iterdir()
        cache.keep(path.stem, b"of another version")
        assert torch.equal(self.run(), expected)
        assert cache.kept(path.stem) not in (None, b"of another version")

    def test_only_who_asks_for_it_keeps_anything(self, folder: Path) -> None:
        self.run(is_kept=False)
        assert not folder.exists()
