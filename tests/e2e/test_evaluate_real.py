"""`concertdeblur evaluate --real` as a user runs it: clips and folders of frames, measured as videos."""

import html
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import concertdeblur
from concertdeblur.blur import Kernel, blur
from concertdeblur.deblurring.deblurrer import DeblurOptions
from concertdeblur.evaluation.baselines import save_baseline
from concertdeblur.frame import Frame
from concertdeblur.models.baselines import BaselineSettings, build_baseline
from concertdeblur.psnr import psnr_db
from tests.browser import look_at
from tests.clips import ClipSpec, make_clip
from tests.commands import events, run_here
from tests.pictures import photograph
from tests.weight_sets import random_weight_set

Picture = npt.NDArray[np.uint8]
NUM_FRAMES = 5


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weight_set(tmp_path_factory.mktemp("weights") / "random")


def sequence() -> list[tuple[Picture, Picture]]:
    wide = photograph(150, 240)
    sharp = [np.ascontiguousarray(wide[:, 4 * n : 4 * n + 200]) for n in range(NUM_FRAMES)]
    return [(blur(frame, Kernel.HORIZONTAL, 0.3), frame) for frame in sharp]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence as GOPRO has them, and a pair of clips."""
    folder = tmp_path_factory.mktemp("real")
    for number, pair in enumerate(sequence()):
        for part, pixels in zip(("blur", "sharp"), pair, strict=True):
            path = folder / "GOPRO" / "test" / "<i>A & B" / part / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels[:, :, ::-1])
    for half in ("blurred", "sharp"):
        make_clip(folder / f"drawn_{half}.mkv", ClipSpec(num_frames=4, height=96, width=128))
    return folder


@pytest.fixture(scope="module")
def report(real: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    settings = BaselineSettings(width=4, num_blocks=1)
    save_baseline(folder / "base", "deblurgan", settings, build_baseline("deblurgan", settings), provenance={})
    done = run_here(
        "evaluate", "--real", real, "--max-frames", 4, "--picture-by-picture", "--out", folder / "out",
        "--weights", weights, "--backend", "torch", "--json", "--baseline", f"deblurgan={folder / 'base'}",
        "--baseline", f"second={weights}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = events(done.stdout)
    assert told[-1]["event"] == "done"
    assert (told[-1]["num_pairs"], told[-1]["num_clips"]) == (0, 2)
    assert dict(told[-1]["rows"]).keys() == {"as video", "BRMR"}
    return folder / "out"


def facts(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((report / "report.json").read_text())
    return found


def test_figures_are_those_of_the_stream_that_video_uses(report: Path, weights: Path) -> None:
    found = facts(report)["real"]
    (one,) = (one for one in found["sequences"] if one["name"] == "GOPRO/test/<i>A & B")
    pairs = sequence()[:4]
    deblurrer = concertdeblur.load(weights, device="cpu", backend="torch")
    for key, refine in (("igan", False), ("brmr", True)):
        frames = (Frame(pts=number, pixels=blurred) for number, (blurred, _) in enumerate(pairs))
        made = list(deblurrer.stream(frames, DeblurOptions(refine=refine)))
        expected = [
            psnr_db(np.asarray(out.frame.pixels), sharp, full_scale=255)
            for out, (_, sharp) in zip(made, pairs, strict=True)
        ]
        assert [frame["psnr_db"][key] for frame in one["frames"]] == pytest.approx(expected, abs=1e-6)
        assert one["figures"][key]["psnr_db"]["mean"] == pytest.approx(np.mean(expected))
    assert one["refining"]["windows_tried"] == sum(out.windows_tried for out in made)
    assert one["refining"]["windows_kept"] == sum(out.windows_accepted for out in made)
    given = [psnr_db(blurred, sharp, full_scale=255) for blurred, sharp in pairs]
    assert one["blurred_db"]["mean"] == pytest.approx(np.mean(given))


def test_every_column_and_clip_is_there(report: Path) -> None:
    found = facts(report)["real"]
    assert found["columns"] == {
        "deblurgan": "DeblurGAN", "second-igan": "second iGAN alone", "second-brmr": "second iGAN and BRMR",
        "igan": "iGAN alone", "brmr": "iGAN and BRMR", "pictures": "picture by picture",
    }  # fmt: skip
    assert [one["num_frames"] for one in found["sequences"]] == [4, 4]
    for one in found["sequences"]:
        assert one["figures"]["second-brmr"]["psnr_db"] == one["figures"]["brmr"]["psnr_db"]  # the same weights
    text = (report / "report.md").read_text()
    for part in ("## Real pairs, as videos", "| drawn | 4 of 128x96 |", "| mean of the clips | 8 |", "windows kept"):
        assert part in text
    assert "Table" not in text


def test_clips_that_equal_their_truth_have_nothing_to_gain(report: Path) -> None:
    (drawn,) = (one for one in facts(report)["real"]["sequences"] if one["name"] == "drawn")
    assert drawn["blurred_db"]["mean"] == 100
    assert drawn["figures"]["brmr"]["gain_db"]["mean"] <= 0


def test_what_it_is_of_is_said(report: Path, real: Path) -> None:
    origin = facts(report)["origin"]
    assert origin["data"] is None
    assert origin["real"] == {
        "folder": str(real), "num_clips": 2, "num_frames": 8, "sha256": origin["real"]["sha256"],
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f]{64}", origin["real"]["sha256"])
    assert origin["options"]["max_frames"] == 4
    for name in ("report.md", "report.html"):
        text = html.unescape((report / name).read_text())
        assert "All frames are measured, whether or not the networks have learned from them" in text, name


def test_a_browser_shows_the_page(report: Path, tmp_path: Path) -> None:
    seen = look_at(report / "report.html", tmp_path, width=1280)
    assert seen.num_pictures == seen.num_shown == 2 * 2 * 2 * 9  # clips, worst and best, whole and crop, columns
    assert seen.num_plots == 1
    assert seen.requests == seen.complaints == ()
    assert seen.too_wide_px <= 0
    assert {"Real pairs, as videos", "What this is of"} <= set(seen.headings)
    assert "<i>A" not in (report / "report.html").read_text()


def test_pictures_and_real_clips_go_into_one_report(real: Path, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics", reason="SSIM of pictures needs torchmetrics")
    (tmp_path / "photos").mkdir()
    assert cv2.imwrite(str(tmp_path / "photos" / "a.png"), photograph(256, 256))
    done = run_here(
        "evaluate", "--real", real, "--data", tmp_path / "photos", "--max-frames", 2, "--out", tmp_path / "out",
        "--weights", weights, "--backend", "torch", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = facts(tmp_path / "out")
    assert found["tables"][0]["title"] == "Table 2: by kernel"
    assert found["real"]["refining"]["num_frames"] == 4


def test_a_frame_between_gaps_is_left_out_and_the_report_says_so(weights: Path, tmp_path: Path) -> None:
    for number, pair in zip((0, 1, 4), sequence(), strict=False):
        for part, pixels in zip(("blur", "sharp"), pair, strict=True):
            (tmp_path / "real" / "a" / part).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "real" / "a" / part / f"{number}.png"), pixels)
    done = run_here(
        "evaluate", "--real", "real", "--out", "out", "--weights", weights, "--backend", "torch", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    left_out = "a from 4: left out, since a video has 2 frames at least, but it has 1"
    assert left_out in " ".join(done.stderr.split())
    found = facts(tmp_path / "out")
    assert [one["num_frames"] for one in found["real"]["sequences"]] == [2]
    assert found["notes"] == [left_out]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "name pictures with --data, or real clips with --real"),
        (["--real", "nowhere"], "nowhere: no such folder; name a folder of clips NAME_blurred"),
        (["--real", "empty"], "no real pairs found"),
        (["--real", "half"], "a_sharp.mp4 is missing"),
        (["--real", "broken"], "a_blurred.mp4"),
        (["--real", "empty", "--max-frames", "1"], "max-frames must be 2 at least"),
        (["--real", "empty", "--limit", "3"], "limit and all are about pictures"),
        (["--data", "empty", "--max-frames", "3"], "name their folder with --real"),
        (["--data", "empty", "--picture-by-picture"], "name their folder with --real"),
        (["--real", "empty", "--baseline", "pictures=x"], "other than blurred, igan, brmr, pictures, sharp"),
    ],
)
def test_bad_input_is_one_sentence(weights: Path, tmp_path: Path, given: list[str], told: str) -> None:
    for name in ("empty", "half", "broken"):
        (tmp_path / name).mkdir()
    make_clip(tmp_path / "half" / "a_blurred.mp4", ClipSpec())
    for half in ("blurred", "sharp"):
        (tmp_path / "broken" / f"a_{half}.mp4").write_text("no clip")
    done = run_here("evaluate", "--out", "out", "--weights", weights, *given, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert re.fullmatch(r"Error: [^\n]+\n", done.stderr), done.stderr
    assert told in done.stderr
    assert not (tmp_path / "out").exists()
