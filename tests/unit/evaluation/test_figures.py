"""Figures of an evaluation: intervals, IoU, steps of refining, tables, plots; against slow or exact references."""

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel, blur
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.cam import Area
from concertdeblur.evaluation import detection, generated_clips
from concertdeblur.evaluation.contenders import Contender, Restored, WeightSet
from concertdeblur.evaluation.metrics import Frame, as_float
from concertdeblur.evaluation.pairs import EvaluationPair
from concertdeblur.evaluation.plots import Series, histogram, interval_plot
from concertdeblur.evaluation.refining import Refining, follow, summarise
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.evaluation.tables import Figures, Scored, Tables
from concertdeblur.pretrained import Manifest
from concertdeblur.psnr import psnr_db
from concertdeblur.runtime import choose_runtime
from tests.networks import SMALL, random_networks
from tests.pictures import photograph

_ALWAYS = BrmrSettings(max_iterations=3, max_shift=1.0, feather_px=0)


def pair(picture: str, kernel: str, shot_type: str = "") -> EvaluationPair:
    return EvaluationPair(
        name=f"{picture}, {kernel}", picture=picture, group=picture, kernel=kernel, shot_type=shot_type,
        sharp=Path(picture), blurred=None, level=0.5,
    )  # fmt: skip


def weight_set() -> WeightSet:
    manifest = Manifest(recipe="random", architecture=SMALL, brmr=_ALWAYS, files=())
    return WeightSet(
        name="random", folder=Path("random"), manifest=manifest, networks=random_networks(),
        runtime=choose_runtime("cpu", "torch"),
    )  # fmt: skip


class TestIntervals:
    def test_the_interval_of_the_mean_is_as_wide_as_theory_says(self) -> None:
        values = np.random.default_rng(1).normal(30, 2, 400).tolist()
        found = estimate(values, [str(n) for n in range(400)])
        assert found.mean == pytest.approx(np.mean(values))
        assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / np.sqrt(400), rel=0.12)
        assert found == estimate(values, [str(n) for n in range(400)])  # seeded
        assert found != estimate(values, [str(n) for n in range(400)], seed=1)

    def test_seven_versions_of_a_picture_are_not_seven_pictures(self) -> None:
        values = np.repeat(np.random.default_rng(1).normal(30, 2, 20), 7).tolist()
        by_picture = estimate(values, [str(n // 7) for n in range(140)])
        as_if_free = estimate(values, [str(n) for n in range(140)])
        assert by_picture.high - by_picture.low > 2 * (as_if_free.high - as_if_free.low)
        assert (by_picture.num, by_picture.num_groups) == (140, 20)

    def test_one_alone_has_no_interval(self) -> None:
        assert estimate([1.0, 2.0], ["a", "a"]).text() == "1.50"
        assert estimate([1.0, 2.0], ["a", "b"]).text(1, sign=True) == "+1.5 (+1.0 to +2.0)"
        assert estimate([-1e-9, -1e-9], ["a", "b"]).text(sign=True) == "+0.00 (+0.00 to +0.00)"


class TestTables:
    def scored(self) -> list[Scored]:
        made = []
        for number, (picture, shot) in enumerate((("a", "CU"), ("b", "MIS"), ("c", "CU"))):
            for kernel in (Kernel.HORIZONTAL.value, Kernel.MEDIAN.value, "capture"):
                base = 20.0 + number + (10 if kernel == "capture" else 0)
                figures: Mapping[str, Figures] = {
                    "blurred": Figures(psnr_db=base, ssim=0.5, seconds=0),
                    "igan": Figures(psnr_db=base + 1, ssim=0.6, seconds=1),
                    "brmr": Figures(psnr_db=base + 1 + number, ssim=0.7, seconds=2),
                }
                made.append(Scored(pair=pair(picture, kernel, shot), figures=figures))
        return made

    def tables(self) -> Tables:
        def nothing(blurred: Frame) -> Restored:
            return Restored(pixels=blurred)

        keys = ("blurred", "igan", "brmr")
        return Tables(self.scored(), [Contender(key=key, label=key.upper(), restore=nothing) for key in keys], seed=0)

    def test_the_mean_leaves_capture_out(self) -> None:
        table = self.tables().by_kernel()
        assert table is not None
        assert [(row.name, row.num_pairs) for row in table.rows] == [
            ("horizontal", 3), ("median", 3), ("mean of the seven", 6), ("capture", 3),
        ]  # fmt: skip
        assert table.rows[2].fields["brmr"].psnr_db.mean == pytest.approx(21 + 2)
        assert table.rows[2].fields["brmr"].gain_db.mean == pytest.approx(2)
        assert table.rows[3].fields["igan"].psnr_db.mean == pytest.approx(32)

    def test_shot_types_in_the_order_of_the_paper(self) -> None:
        table = self.tables().by_shot_type()
        assert table is not None
        assert [(row.name, row.num_pairs) for row in table.rows] == [("CU", 4), ("MIS", 2)]

    def test_margins_are_paired(self) -> None:
        margins = {margin.over: margin.gain_db for margin in self.tables().margins()}
        assert margins["IGAN"].mean == pytest.approx(1)
        assert margins["BLURRED"].mean == pytest.approx(2)

    def test_no_table_without_pairs_for_it(self) -> None:
        assert self.tables().of_unknown_blur("Table 3") is None


class TestDetection:
    def test_overlap(self) -> None:
        a = Area(y=0, x=0, height=128, width=128)
        assert detection.overlap(a, a) == 1
        assert detection.overlap(a, Area(y=64, x=0, height=128, width=128)) == pytest.approx(1 / 3)
        assert detection.overlap(a, Area(y=128, x=0, height=128, width=128)) == 0

    @pytest.mark.parametrize("where", ["grid", "anywhere"])
    def test_a_perfect_map_finds_the_patch(self, where: detection.Where) -> None:
        rng = np.random.default_rng(3)
        for _ in range(20):
            patch = detection.draw_patch(where, rng)
            fine = np.ones((256, 256))
            fine[patch.of_pixels()] = -1
            coarse = fine.reshape(32, 8, 32, 8).mean((1, 3))  # H^s - H^b, one value for 8x8 px
            found = detection.find_patch(coarse, where)
            assert detection.overlap(patch, found) > (0.999 if where == "grid" else 0.93)

    def test_dense_search_agrees_with_trying_every_place(self) -> None:
        coarse = np.random.default_rng(5).normal(size=(32, 32))
        found = detection.find_patch(coarse, "anywhere")
        import cv2

        fine = cv2.resize(-0.5 * coarse, (256, 256), interpolation=cv2.INTER_LINEAR)
        sums = {(y, x): fine[y : y + 128, x : x + 128].sum() for y in range(129) for x in range(129)}
        assert (found.y, found.x) == max(sums, key=lambda at: sums[at])

    def test_only_the_patch_is_blurred(self) -> None:
        sharp = photograph(256, 256)
        patch = Area(y=5, x=70, height=128, width=128)
        partly = detection.partly_blurred(sharp, Kernel.GAUSSIAN, 0.5, patch)
        assert np.array_equal(partly[patch.of_pixels()], blur(sharp, Kernel.GAUSSIAN, 0.5)[patch.of_pixels()])
        partly[patch.of_pixels()] = sharp[patch.of_pixels()]
        assert np.array_equal(partly, sharp)


class TestRefining:
    @pytest.mark.parametrize("size", [(256, 256), (256, 400)])
    def test_steps_add_up_to_the_whole(self, size: tuple[int, int]) -> None:
        weights = weight_set()
        sharp = as_float(photograph(*size))
        blurred = as_float(blur(photograph(*size), Kernel.GAUSSIAN, 0.5))
        generated, refined = weights.generate(blurred), weights.refine(blurred)
        found = follow(weights, blurred, sharp, generated.pixels, refined)
        assert found.num_cells == (1 if size[1] == 256 else 2)
        assert found.num_tried == len(refined.tried)
        assert len(found.step_gains_db) == len(refined.kept)
        assert found.gain_db == pytest.approx(psnr_db(refined.pixels, sharp) - psnr_db(generated.pixels, sharp))

    def test_a_step_of_the_same_window_is_counted_by_itself(self) -> None:
        """One cell whose three steps all lie in one window: their gains add up to the window's."""
        weights = weight_set()
        sharp = as_float(photograph(128, 128))
        blurred = as_float(blur(photograph(128, 128), Kernel.GAUSSIAN, 0.5))
        generated, refined = weights.generate(blurred), weights.refine(blurred)
        found = follow(weights, blurred, sharp, generated.pixels, refined)
        assert sum(found.step_gains_db) == pytest.approx(found.gain_db, abs=1e-6)
        assert found.num_capped == (len(found.step_gains_db) == 3)

    def test_the_report(self) -> None:
        some = [
            Refining(num_cells=1, num_tried=3, num_capped=0, step_gains_db=(0.5, -0.1), gain_db=0.2),
            Refining(num_cells=1, num_tried=1, num_capped=0, step_gains_db=(), gain_db=0.0),
            Refining(num_cells=1, num_tried=4, num_capped=1, step_gains_db=(0.1,) * 4, gain_db=-0.3),
        ]
        found = summarise(some, ["a", "b", "c"], max_iterations=4, seed=0)
        assert found.iterations.mean == pytest.approx(8 / 3)
        assert found.accepted_share is not None
        assert found.accepted_share.mean == pytest.approx(6 / 8)
        assert found.capped_share.mean == pytest.approx(1 / 3)
        assert found.lost_share is not None
        assert found.lost_share.mean == pytest.approx(1 / 6)
        assert found.accepting_share.mean == pytest.approx(2 / 3)
        assert found.accepting_gain_db is not None
        assert found.accepting_gain_db.mean == pytest.approx(-0.05)
        assert found.worst_accepting_db == -0.3


class TestGeneratedClips:
    def test_the_pan_moves_by_its_step(self) -> None:
        frames = generated_clips.pan(photograph(256, 512), num_frames=3)
        assert frames is not None
        two_steps = round(2 * generated_clips.STEP_PX)
        assert psnr_db(as_float(frames[2][:, :-two_steps]), as_float(frames[0][:, two_steps:])) > 60

    def test_small_pictures_give_no_clip(self) -> None:
        assert generated_clips.pan(photograph(100, 512)) is None
        assert not generated_clips.shaken(photograph(100, 512), (6,), seed=0)

    def test_the_faster_the_camera_shakes_the_further_it_moves_and_the_more_it_blurs(self) -> None:
        photo, found = photograph(400, 512), {}
        for speed_px, (sharp, blurred) in generated_clips.shaken(photo, (2, 8, 20), seed=3).items():
            grey = [frame.mean(2).astype(np.float32) for frame in sharp[:2]]
            assert math.hypot(*cv2.phaseCorrelate(*grey)[0]) == pytest.approx(speed_px, rel=0.15)
            shifts = list(itertools.product((-2, -1, 0, 1, 2), repeat=2))
            aside = [psnr_db(as_float(blurred[0]), as_float(np.roll(sharp[0], by, (0, 1)))) for by in shifts]
            assert shifts[int(np.argmax(aside))] == (0, 0)
            found[speed_px] = psnr_db(as_float(blurred[0]), as_float(sharp[0]))
        assert found[2] > found[8] + 2 > found[20] + 4
        assert np.array_equal(generated_clips.shaken(photo, (20,), seed=3)[20][1], blurred)


class TestPlots:
    def test_plots_are_well_formed_and_show_every_row(self) -> None:
        e = Estimate(mean=1.0, low=-0.5, high=2.0, num=3, num_groups=3)
        plot = interval_plot(
            ["<a>", "b"], [Series(label="x & y", estimates=(e, e), marks=(1.16, None))], unit="dB", title="t"
        )
        root = ElementTree.fromstring(plot)  # noqa: S314
        assert len(root.findall(".//circle")) == 2
        assert len(root.findall(".//path")) == 1
        bars = ElementTree.fromstring(histogram([0.1, 0.2, -0.4], unit="dB", title="t"))  # noqa: S314
        titles = [title.text or "" for title in bars.findall(".//rect/title")]
        assert sum(int(re.findall(r"\d+$", title)[0]) for title in titles) == 3
