"""`bench --peers` and `bench --sizes`: every contender runs, parts are processes of their own, tables are whole."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from concertdeblur.benchmark.contenders import CONTENDERS, REFERENCE, PeerContender, measure, restored
from concertdeblur.benchmark.counts import paper_macs, paper_tiles
from concertdeblur.benchmark.memory import peak_rss_mb
from concertdeblur.cpus import available_cpus
from concertdeblur.errors import Interrupted
from concertdeblur.models.paper import PaperGenerator
from concertdeblur.pipelines import bench_part, bench_peers
from concertdeblur.pipelines.bench_part import PartFailed, run_part
from concertdeblur.pipelines.bench_sizes import SizesJob, bench_sizes
from concertdeblur.progress import StageProgress
from tests.commands import environment

_NAMES = [one.name for one in CONTENDERS]


@pytest.mark.parametrize("name", _NAMES)
def test_every_contender_runs(name: str) -> None:
    found = measure(name, "torch", height=64, width=96, num_frames=2)
    assert found.seconds_per_frame > 0
    assert found.gmacs is not None
    assert found.gmacs > 0
    assert found.parameters_m > 1
    assert "torch on CPU" in found.runtime


def test_refining_costs_multiply_adds_and_networks() -> None:
    whole, bare = (measure(name, "torch", height=64, width=96, num_frames=2) for name in _NAMES[:2])
    assert whole.parameters_m > bare.parameters_m
    assert whole.gmacs is not None
    assert bare.gmacs is not None
    assert whole.gmacs >= bare.gmacs
    assert bare.gmacs * 1e9 > 20_000 * 64 * 96  # the generator along the motion: some 40,000 a pixel


def test_frames_go_through_as_pixels() -> None:
    given = np.random.default_rng(2).integers(0, 256, (45, 67, 3), np.uint8)
    seen = []

    def step(frame: torch.Tensor) -> torch.Tensor:
        seen.append(frame.shape)
        return frame

    assert np.array_equal(restored(step, given, 32, torch.device("cpu")), given)
    assert seen == [(1, 3, 64, 96)]


def test_multiply_adds_of_the_papers_networks() -> None:
    """Each weight of a level, down and up, is used once for each px of the level's coarse side."""
    unet = PaperGenerator().restoration.unet
    expected = sum(
        layer.weight.numel() * (128 >> level) ** 2
        for side in (unet.downs, unet.ups)
        for level, part in enumerate(side)
        for layer in part.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    )
    macs = paper_macs()
    assert macs.generator == expected
    assert macs.generator / 5 < macs.patch_generator < macs.generator / 3
    assert paper_tiles(720, 1280) == 15
    assert paper_tiles(257, 256) == 2


def test_memory_is_the_most_that_there_was() -> None:
    before = peak_rss_mb()
    taken = np.ones(300 * 2**20, np.uint8)
    most = peak_rss_mb()
    assert taken[-1] == 1
    del taken
    assert peak_rss_mb() >= most
    assert most >= min(before, 300)


def _answered(what: Mapping[str, Any], _: threading.Event, **__: Any) -> dict[str, Any]:
    """Made-up figures: as many tenths of a second as the name has letters, twice as fast with OpenVINO."""
    if what["name"] == "MIMO-UNet" and what["backend"] == "openvino":
        raise PartFailed("RuntimeError: no such layer")
    seconds = len(what["name"]) / 10 / (2 if what["backend"] == "openvino" else 1)
    gmacs = None if what["backend"] == "openvino" else 3.0
    return {
        "seconds_per_frame": seconds,
        "gmacs": gmacs,
        "parameters_m": 1.5,
        "peak_rss_mb": 700.0,
        "runtime": f"{what['backend']} on CPU",
    }


def test_the_table_compares_all_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_peers, "run_part", _answered)
    warnings, seen = list[str](), list[StageProgress]()
    summary = bench_peers.bench_peers(bench_peers.PeersJob(), on_progress=seen.append, on_warning=warnings.append)
    assert [one.done for one in seen] == list(range(2 * len(CONTENDERS) + 1))
    assert warnings == ["MIMO-UNet does not run with openvino: RuntimeError: no such layer"]
    rows = {row.name: row for row in summary.rows}
    assert list(rows) == _NAMES
    fast = rows["concert-fast"].timings
    assert fast["torch"] is not None
    assert fast["openvino"] is not None
    assert fast["torch"].ratio == pytest.approx(len("concert-fast") / len(REFERENCE))
    assert fast["openvino"].seconds_per_frame == pytest.approx(0.6)
    assert rows["MIMO-UNet"].timings["openvino"] is None
    assert rows["MIMO-UNet"].gmacs == 3.0
    assert summary.drift == pytest.approx(1)
    lines = summary.text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(CONTENDERS) + 2
    assert len({line.count("|") for line in table}) == 1
    assert "| MIMO-UNet | 31.73 | Cho et al. 2021 | 1.50 | 3.0 | 0.90 | 1.29 | 700 | does not run |  |  |" in table
    assert lines[-1].startswith("1280x720, ")


def test_each_published_figure_names_its_source() -> None:
    peers = [one for one in CONTENDERS if isinstance(one, PeerContender)]
    assert len(peers) == 4
    assert all(one.source and one.gopro_psnr_db is not None and 25 < one.gopro_psnr_db < 35 for one in peers)


def test_a_part_is_measured_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", environment())
    what = {"part": "contender", "name": "DeblurGAN-v2, MobileNetV2", "backend": "torch", "num_frames": 1}
    found = run_part({**what, "height": 64, "width": 64}, threading.Event(), cores=1)
    here = measure("DeblurGAN-v2, MobileNetV2", "torch", height=64, width=64, num_frames=1)
    assert (found["gmacs"], found["parameters_m"]) == (here.gmacs, here.parameters_m)
    assert 100 < found["peak_rss_mb"] < here.peak_rss_mb
    with pytest.raises(PartFailed, match="KeyError: 'nobody'"):
        run_part({**what, "name": "nobody", "height": 64, "width": 64}, threading.Event())


def test_a_part_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", environment())
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started_s = time.monotonic()
    what = {"part": "contender", "name": "MIMO-UNet", "backend": "torch", "num_frames": 2}
    with pytest.raises(Interrupted):
        run_part({**what, "height": 2160, "width": 3840}, stop)
    assert time.monotonic() - started_s < 20


def test_a_part_that_is_killed_says_so() -> None:
    assert bench_part._why(-9, []) == "ended by signal 9, as where memory runs out"
    assert bench_part._why(1, ["Traceback", "ValueError: no", ""]) == "ValueError: no"


def test_cost_over_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", environment())
    plot = tmp_path / "growth.png"
    job = SizesJob(weights="concert-fast", frames=3, plot=plot, sizes=((64, 64), (128, 96)))
    summary = bench_sizes(job)
    threads = [1, 2][: available_cpus()]
    assert [(row.width, row.height, row.threads) for row in summary.rows] == [
        (width, height, number) for width, height in job.sizes for number in threads
    ]
    for row in summary.rows:
        assert row.seconds_per_frame is not None
        assert row.seconds_per_frame > 0
        assert row.peak_rss_mb is not None
        assert 100 < row.peak_rss_mb < 5000
    table = [line for line in summary.text().splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    picture = cv2.imread(str(plot))
    assert picture is not None
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert (180, 119, 31) in colours


def test_contenders_have_names_of_their_own() -> None:
    assert len(set(_NAMES)) == len(_NAMES)
    assert REFERENCE in _NAMES
    assert CONTENDERS[0].gopro_psnr_db is None  # not measured on all of GOPRO
