"""Every backend runs the same network."""

import subprocess
import sys

import pytest
import torch

from concertdeblur.engines import make_engine
from concertdeblur.runtime import choose_runtime
from tests.networks import SMALL_PAPER, random_networks


@pytest.mark.parametrize("network", ["generator", "patch", "discriminator"])
def test_openvino_gives_torchs_numbers_for_every_size_and_batch(network: str) -> None:
    pytest.importorskip("openvino")
    networks = random_networks()
    module = {
        "generator": networks.image_generator.restoration,
        "patch": networks.patch_generator.restoration,
        "discriminator": networks.discriminator,
    }[network]
    engines = [make_engine(module, choose_runtime("cpu", backend)) for backend in ("openvino", "torch")]
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


@pytest.mark.parametrize(
    ("network", "side"), [("image_generator", 256), ("patch_generator", 128), ("discriminator", 256)]
)
def test_openvino_runs_the_papers_networks(network: str, side: int) -> None:
    pytest.importorskip("openvino")
    networks = random_networks(SMALL_PAPER)
    module = networks.by_name()[network]
    engines = [
        make_engine(getattr(module, "restoration", module), choose_runtime("cpu", backend))
        for backend in ("openvino", "torch")
    ]
    given = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))] * 2
    made, expected = (engine(*given[: 2 if network == "discriminator" else 1]) for engine in engines)
    assert (made - expected).abs().max() < 1e-3


def test_nothing_is_reported_to_anyone() -> None:
    """OpenVINO's converter sends statistics where it can import its telemetry package."""
    pytest.importorskip("openvino")
    code = (
        "from tests.networks import random_deblurrer; from tests.pictures import photograph; import sys;"
        "random_deblurrer(backend='openvino').deblur(photograph(64, 64));"
        "sys.exit(any(name.startswith('openvino_telemetry') and module for name, module in sys.modules.items()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
