"""`concertdeblur evaluate` as a user runs it: the report's files, every layout of data, and what goes wrong."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel, blur
from concertdeblur.evaluation.baselines import save_baseline
from concertdeblur.models.baselines import BaselineSettings, Kind, build_baseline
from tests.browser import look_at, screenshot
from tests.clips import ClipSpec, make_clip
from tests.commands import command, environment, events, run, run_here
from tests.pictures import photograph
from tests.weight_sets import random_weight_set

pytest.importorskip("torchmetrics", reason="evaluating needs torchmetrics")
_KERNELS = [kernel.value for kernel in Kernel]


def write(path: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[:, :, ::-1])


def patient(args: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end, on however busy a machine."""
    return subprocess.run(args, env=environment(), capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weight_set(tmp_path_factory.mktemp("weights") / "random")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write(folder / "<b>one & all.png", photograph(280, 400))
    write(folder / "two.png", photograph(300, 300)[:, ::-1])
    return folder


@pytest.fixture(scope="module")
def report(pictures: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two pictures, with both baselines and a second weight set."""
    folder = tmp_path_factory.mktemp("report")
    settings = BaselineSettings(width=4, num_blocks=1)
    others: list[object] = []
    kinds: tuple[Kind, ...] = ("multi_scale", "deblurgan")
    for kind in kinds:
        save_baseline(folder / kind, kind, settings, build_baseline(kind, settings), provenance={})
        others += ["--baseline", f"{kind}={folder / kind}"]
    args = command(
        "evaluate", "--data", pictures, "--out", folder / "out", "--weights", weights, "--backend", "torch", "--all",
        *others, "--json", "--clip", make_clip(folder / "clip.mp4", ClipSpec(num_frames=4, height=96, width=128)),
    )  # fmt: skip
    done = patient(args)
    assert done.returncode == 0, done.stderr
    told = events(done.stdout)
    assert told[0]["event"] == "start"
    assert told[-1]["event"] == "done"
    assert told[-1]["num_pairs"] == 16
    stages = [one["stage"] for one in told if one["event"] == "progress"]
    assert list(dict.fromkeys(stages))[2:4] == ["deblur pairs", "deblur sharp pictures"]
    return folder / "out"


def facts(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((report / "report.json").read_text())
    return found


def test_all_three_files_and_nothing_else(report: Path) -> None:
    assert sorted(path.name for path in report.iterdir()) == ["report.html", "report.json", "report.md"]


def test_the_table_has_every_kernel_and_every_contender(report: Path) -> None:
    table = facts(report)["tables"][0]
    assert [row["name"] for row in table["rows"]] == [*_KERNELS, "mean of the seven", "capture"]
    labels = list(table["columns"].values())
    assert set(labels) == {"blurred input", "multi-scale CNN", "DeblurGAN", "iGAN alone", "adversarial BRMR"}
    row = table["rows"][0]["fields"]
    for field in row.values():
        assert field["psnr_db"]["low"] <= field["psnr_db"]["mean"] <= field["psnr_db"]["high"]
        assert field["psnr_db"]["num"] == 2
    assert row["blurred"]["gain_db"]["mean"] == 0


def test_figures_are_those_of_the_pictures(report: Path, pictures: Path) -> None:
    blurred = []
    for path in sorted(pictures.iterdir()):
        full = cv2.imread(str(path))
        assert full is not None
        y, x = (full.shape[0] - 256) // 2, (full.shape[1] - 256) // 2
        sharp = np.ascontiguousarray(full[y : y + 256, x : x + 256, ::-1], dtype=np.uint8)
        error = (blur(sharp, Kernel.VERTICAL, 0.5).astype(float) - sharp) / 255
        blurred.append(-10 * np.log10(np.mean(error**2)))
    row = facts(report)["tables"][0]["rows"][_KERNELS.index("vertical")]
    assert row["fields"]["blurred"]["psnr_db"]["mean"] == pytest.approx(np.mean(blurred), abs=1e-4)


def test_what_it_is_of_is_said(report: Path) -> None:
    origin = facts(report)["origin"]
    assert re.fullmatch("[0-9a-f]{64}", origin["data_sha256"])
    assert origin["options"]["seed"] == 0
    assert {"concertdeblur", "torch", "torchmetrics"} <= origin["versions"].keys()
    assert origin["weight_settings"]["brmr"]["max_iterations"]
    text = (report / "report.md").read_text()
    for part in ("## Table 2: by kernel", "## Margins", "## Blur detection", "## Clips", "VGG"):
        assert part in text
    assert {margin["over"]: margin["paper_db"] for margin in facts(report)["margins"]} == {
        "blurred input": None, "multi-scale CNN": 2.03, "DeblurGAN": 3.36, "iGAN alone": 1.16,
    }  # fmt: skip


def test_a_real_clip_has_its_warping_error(report: Path) -> None:
    (clip,) = facts(report)["clips"]
    assert (clip["clip"], clip["num_frames"]) == ("clip.mp4", 4)
    assert clip["given"]["num"] == 3
    assert clip["ratio"] == pytest.approx(clip["deblurred"]["mean"] / clip["given"]["mean"])
    assert "clip.mp4, 4 frames" in (report / "report.md").read_text()
    assert "clip.mp4, 4 frames" in (report / "report.html").read_text()


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page(report: Path, tmp_path: Path, width: int) -> None:
    seen = look_at(report / "report.html", tmp_path, width=width)
    assert seen.num_pictures == seen.num_shown > 20
    assert seen.num_plots >= 2
    assert seen.requests == ()
    assert seen.complaints == ()
    assert seen.too_wide_px <= 0
    assert {"Table 2: by kernel", "Pictures", "Blur detection", "What this is of"} <= set(seen.headings)


def test_the_page_is_not_blank_and_escapes_names(report: Path, tmp_path: Path) -> None:
    shot = screenshot(report / "report.html", tmp_path, height=3000)
    assert np.all(np.any(np.abs(np.diff(shot.astype(int), axis=1)) > 20, axis=(1, 2)).reshape(10, -1).any(1))
    assert "<b>one" not in (report / "report.html").read_text()


def test_a_report_is_not_replaced_unless_asked_for(report: Path, pictures: Path, weights: Path) -> None:
    before = (report / "report.json").read_bytes()
    done = run_here("evaluate", "--data", pictures, "--out", report, "--weights", weights)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: \S+report\.json exists already; [^\n]*--overwrite\n", done.stderr)
    assert (report / "report.json").read_bytes() == before


def test_pairs_of_build_dataset_have_shot_types(weights: Path, tmp_path: Path) -> None:
    rows = []
    for number, kind in enumerate(("CU", "XLS")):
        sharp = np.ascontiguousarray(photograph(256, 300)[:, 30 * number : 256 + 30 * number])
        write(tmp_path / "set" / "test" / f"{number}-sharp.png", sharp)
        for kernel in (Kernel.GAUSSIAN, Kernel.HORIZONTAL):
            write(tmp_path / "set" / "test" / f"{number}-{kernel}.png", blur(sharp, kernel, 0.5))
            rows.append(
                {
                    "file_name": f"{number}-{kernel}.png", "sharp_file_name": f"{number}-sharp.png",
                    "shot_type": kind, "source": "one clip", "kernel": kernel, "level": 0.5,
                }
            )  # fmt: skip
    write(tmp_path / "set" / "train" / "t.png", photograph(256, 256))
    (tmp_path / "set" / "test" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    train = {"file_name": "t.png", "sharp_file_name": "t.png", "kernel": "gaussian", "level": 0.5}
    (tmp_path / "set" / "train" / "metadata.jsonl").write_text(json.dumps(train))
    out = tmp_path / "out"
    done = run_here("evaluate", "--data", tmp_path / "set", "--out", out, "--weights", weights, "--backend", "torch")
    assert done.returncode == 0, done.stderr
    found = facts(out)
    assert found["origin"]["num_pairs"] == 4
    assert [table["title"] for table in found["tables"]] == ["Table 2: by kernel", "Table 2: by shot type"]
    assert [(row["name"], row["num_pairs"]) for row in found["tables"][1]["rows"]] == [("CU", 2), ("XLS", 2)]


def test_gopro_pairs_are_whole_pictures(weights: Path, tmp_path: Path) -> None:
    for split, number in (("train", 0), ("test", 1), ("test", 2)):
        sharp = photograph(200 + number, 330)  # no multiple of anything
        sequence = tmp_path / "GOPRO" / split / f"seq{number}"
        write(sequence / "sharp" / "1.png", sharp)
        write(sequence / "blur" / "1.png", blur(sharp, Kernel.AVERAGING, 0.3))
        write(sequence / "blur_gamma" / "1.png", blur(sharp, Kernel.AVERAGING, 1))
    out = tmp_path / "out"
    done = run_here(
        "evaluate", "--data", tmp_path / "GOPRO", "--out", out, "--weights", weights, "--backend", "torch",
        "--limit", 1, "--baseline", f"second={weights}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = facts(out)
    assert found["origin"]["num_pairs"] == 1
    assert found["tables"][0]["title"].startswith("Table 3")
    fields = found["tables"][0]["rows"][0]["fields"]
    assert fields["second-igan"] == fields["igan"]  # the same weights
    assert found["detection"] is None  # 201 rows are too few
    assert "one alone" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--data", "nowhere"], "no data at nowhere"),
        (["--weights", "nosuch"], "no weight set 'nosuch'"),
        (["--baseline", "x"], "NAME=FOLDER"),
        (["--baseline", "x=nowhere"], "nowhere"),
        (["--baseline", "igan=nowhere"], "other than blurred, igan, brmr"),
        (["--clip", "a-file"], "a-file"),
        (["--clip", "none.mp4"], "none.mp4"),
        (["--level", "2"], "level must lie between 0 and 1"),
        (["--seed", "-1"], "seed must be 0 at least, but it is -1"),
        (["--limit", "0"], "limit must be 1 at least"),
        (["--out", "a-file"], "a-file is a file"),
    ],
)
def test_bad_input_is_one_sentence(pictures: Path, tmp_path: Path, given: list[str], told: str) -> None:
    (tmp_path / "a-file").write_text("")
    done = run_here("evaluate", "--data", pictures, "--out", "out", *given, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert re.fullmatch(r"Error: [^\n]+\n", done.stderr), done.stderr
    assert told in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_an_altered_baseline_is_refused(pictures: Path, tmp_path: Path) -> None:
    settings = BaselineSettings(width=4, num_blocks=1)
    save_baseline(tmp_path / "base", "deblurgan", settings, build_baseline("deblurgan", settings), provenance={})
    file = tmp_path / "base" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    done = run("evaluate", "--data", pictures, "--out", tmp_path / "out", "--baseline", f"b={tmp_path / 'base'}")
    assert done.returncode == 1
    assert re.fullmatch(r"Error: weights altered: [^\n]+\n", done.stderr)


def test_ctrl_c_writes_nothing(pictures: Path, weights: Path, tmp_path: Path) -> None:
    args = command(
        "evaluate", "--data", pictures, "--out", tmp_path / "out", "--weights", weights, "--backend", "torch", "--json"
    )
    with subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as child:
        assert child.stdout is not None
        while '"deblur pairs"' not in child.stdout.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert re.fullmatch(r"Error: stopped after \d+ of \d+ pairs [^\n]*no report is written\n", stderr), stderr
    assert not list(tmp_path.iterdir())
