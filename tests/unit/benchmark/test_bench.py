"""`concertdeblur bench`: the arithmetic, the counting, and the event that programs read."""

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from concertdeblur.benchmark.counts import HostReads, convolution_macs, generate_macs
from concertdeblur.benchmark.figures import PaperCost, Round, end_to_end_ratio, gemm_ratio, refine_ratio
from concertdeblur.benchmark.runs import lost_db
from concertdeblur.benchmark.scene import blurred_frames
from concertdeblur.cli.program import cli
from concertdeblur.frame import Frame
from concertdeblur.streaming.timeline import recording, span
from tests.networks import SMALL_PAPER, SMALL_VIDEO, random_networks
from tests.weight_sets import random_weight_set

KEYS = {
    "resolution", "frames", "backend", "seconds_per_frame", "iterations_mean", "end_to_end_ratio", "refine_ratio",
    "gemm_ratio", "paper_ratio", "peak_rss_mb", "stage_seconds", "synchronisations_per_batch",
}  # fmt: skip


def test_perfect_overlap_is_one_and_work_after_work_is_less() -> None:
    overlapped = Round(measured=9.0, network=8.0, codec_cpu=2.0)
    one_by_one = Round(measured=10.0, network=8.0, codec_cpu=2.0)
    assert end_to_end_ratio([overlapped], cores=2) == pytest.approx(1)
    assert end_to_end_ratio([one_by_one], cores=2) == pytest.approx(0.9)
    assert end_to_end_ratio([one_by_one, overlapped, overlapped], cores=2) == pytest.approx(1)  # the median


def test_ratios_of_stages() -> None:
    stages = {
        "describe": 0.1,
        "filter": 0.2,
        "restore": 0.6,
        "generate": 0.1,
        "search results": 0.02,
        "mine": 0.05,
        "refine": 0.13,
        "steady": 9,
    }
    assert refine_ratio(stages) == pytest.approx(0.2)
    assert gemm_ratio(40_000, stages, 100_000) == pytest.approx(0.8)
    assert gemm_ratio(0, stages, 100_000) is None


def test_the_papers_algorithm_judges_each_step_and_the_start() -> None:
    seconds = PaperCost(generator=1.0, discriminator=0.1, patch_generator=0.4)
    assert seconds.of_frame(15) == pytest.approx(15 * (1.0 + 0.1 + 2.3 * 0.5))


def test_multiply_adds_of_convolutions() -> None:
    plain = nn.Conv2d(4, 8, 3, padding=1, groups=2)
    assert convolution_macs(lambda: plain(torch.zeros(1, 4, 10, 20)), plain) == 10 * 20 * 8 * 2 * 9
    up = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
    assert convolution_macs(lambda: up(torch.zeros(2, 6, 10, 20)), up) == 2 * 10 * 20 * 6 * 5 * 16


def test_multiply_adds_of_a_frame_follow_its_size() -> None:
    networks = random_networks()
    restoration = networks.image_generator.restoration
    cell_px = {"hint": 16, "deep.down": 8, "deep.up": 8}  # of the grid that each weight is used once on
    expected = sum(
        layer.weight.numel() * 64 * 96 // cell_px.get(name, 8 if name.startswith("deep") else 4) ** 2
        for name, layer in restoration.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    )
    one_cell = generate_macs(networks, 64, 96) - expected  # the analysis of the only cell
    assert generate_macs(networks, 128, 192) == 4 * expected + one_cell
    video = random_networks(SMALL_VIDEO)
    assert generate_macs(video, 720, 1280) < 0.4 * generate_macs(networks, 720, 1280)  # restored at half the size
    assert generate_macs(random_networks(SMALL_PAPER), 200, 200) == generate_macs(
        random_networks(SMALL_PAPER), 256, 256
    )


def test_reads_are_counted() -> None:
    given = torch.ones(3)
    with HostReads() as reads:
        (given + 1).sum()
        assert reads.count == 0
        given.sum().item()
        given.tolist()
        given.cpu()
        bool(given.sum() > 0)
    assert reads.count == 4


def test_spans_inside_others_are_not_counted_twice() -> None:
    with span("nobody records"), recording() as timeline, span("outer"):
        with span("inner"):
            threading.Event().wait(0.02)
        with span("inner"):
            pass
    outer = next(one for one in timeline.spans if one.name == "outer")
    seconds = timeline.own_seconds()
    assert set(seconds) == {"outer", "inner"}
    assert seconds["inner"] >= 0.02
    assert seconds["outer"] + seconds["inner"] == pytest.approx(outer.end_s - outer.start_s)


def test_the_scene_moves_is_dark_in_parts_and_is_always_the_same() -> None:
    first, second = blurred_frames(144, 256, 2)
    assert np.array_equal(first, next(iter(blurred_frames(144, 256, 2))))
    assert np.abs(first.astype(int) - second).mean() > 2
    assert first[120:].mean() < 25 < first[:100].mean()
    assert first.max() > 150


def test_lost_db_is_what_the_plain_path_is_nearer_by() -> None:
    sharp = np.full((8, 8, 3), 100, np.uint8)
    near, far = (Frame(pts=0, pixels=sharp + np.uint8(error)) for error in (1, 10))
    assert lost_db([far], [near], [sharp]) == pytest.approx(20)
    assert lost_db([near, near], [near, far], [sharp, sharp]) == pytest.approx(-10)


def test_the_last_line_has_every_figure(tmp_path: Path) -> None:
    weights, plot = random_weight_set(tmp_path / "weights"), tmp_path / "stages.png"
    options = ["--size", "128x128", "--frames", "2", "--rounds", "1", "--weights", str(weights), "--plot", str(plot)]
    result = CliRunner().invoke(cli, ["bench", *options, "--backend", "torch", "--json"])
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout.splitlines()[-1])
    assert done["event"] == "done"
    assert set(done) >= KEYS
    assert done["resolution"] == "128x128"
    assert done["frames"] == 2
    ratios = ("seconds_per_frame", "end_to_end_ratio", "refine_ratio", "gemm_ratio", "paper_ratio", "peak_rss_mb")
    assert all(done[name] > 0 for name in ratios)
    assert done["end_to_end_ratio"] < 1.5
    assert sum(done["stage_seconds"].values()) > 0
    picture = cv2.imread(str(plot))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "12by80"), "write WIDTHxHEIGHT"),
        (("--size", "33x64"), "even and 64 px"),
        (("--frames", "1"), "2 frames"),
        (("--plot", "a.jpg"), "does not end in .png"),
        (("--plot", "no/such/folder/a.png"), "no such folder"),
        (("--weights", "nothing"), "no weight set"),
        (("--peers", "--sizes"), "do not go together"),
        (("--peers", "--weights", "concert"), "--weights and --peers do not go together"),
        (("--peers", "--frames", "1"), "2 frames"),
        (("--peers", "--size", "32x64"), "64 px at least"),
        (("--sizes", "--size", "64x64"), "--size and --sizes do not go together"),
        (("--sizes", "--compare-backends"), "--compare-backends and --sizes do not go together"),
        (("--sizes", "--frames", "2"), "3 frames at least"),
        (("--sizes", "--plot", "a.jpg"), "does not end in .png"),
        (("--sizes", "--weights", "nothing"), "no weight set"),
    ],
)
def test_bad_choices_are_one_sentence(options: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(cli, ["bench", *options])
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
