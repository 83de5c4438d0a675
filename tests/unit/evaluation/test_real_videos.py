"""Real pairs as videos: the figures of deblurrers whose results are known, against plain sums."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.errors import Interrupted, SourceError
from concertdeblur.evaluation.contenders import WeightSet, load_weight_set
from concertdeblur.evaluation.frame_spool import FrameSpool
from concertdeblur.evaluation.metrics import as_float, warping_error
from concertdeblur.evaluation.real_text import text_tables
from concertdeblur.evaluation.real_videos import RealVideoJudge
from concertdeblur.evaluation.stages import Stages
from concertdeblur.evaluation.video_contenders import Made, VideoContender
from concertdeblur.frame import Frame
from concertdeblur.media.sequences import find_sequences
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import choose_runtime
from tests.pictures import photograph
from tests.sequences import write_pair_of_clips
from tests.weight_sets import random_weight_set

Picture = npt.NDArray[np.uint8]
NUM_FRAMES = 9
ADDED, LEFT, KEPT_AT = 12, 5, (2, 3, 7)  # grey levels of the input and of what was made of it


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> WeightSet:
    return load_weight_set(random_weight_set(tmp_path_factory.mktemp("set")), choose_runtime("cpu", "torch"))


def sharp_frames() -> list[Picture]:
    wide = photograph(160, 300) // 2 + 60
    return [np.ascontiguousarray(wide[:, 3 * n : 3 * n + 200]) for n in range(NUM_FRAMES)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        for number, sharp in enumerate(sharp_frames()):
            for part, pixels in (("blur", sharp + ADDED), ("sharp", sharp)):
                (tmp_path / name / part).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / name / part / f"{number}.png"), pixels[:, :, ::-1].astype(np.uint8))
    return tmp_path


def less(frame: Frame, by: int) -> Picture:
    assert frame.pixels is not None
    return np.asarray(frame.pixels.astype(int) - by, dtype=np.uint8)


def generated(frames: Iterable[Frame]) -> Iterator[Made]:
    """Leaves a good part of what was added; the fourth frame is worse than the input."""
    for number, frame in enumerate(frames):
        yield Made(pixels=less(frame, ADDED - LEFT if number != 4 else -3))


def refined(frames: Iterable[Frame]) -> Iterator[Made]:
    """Undoes all of it in the frames where a window is kept."""
    for number, frame in enumerate(frames):
        kept = number in KEPT_AT
        by = ADDED if kept else ADDED - LEFT
        yield Made(pixels=less(frame, by if number != 4 else -3), windows_tried=2, windows_kept=int(kept))


def judge(weights: WeightSet, **choices: int) -> RealVideoJudge:
    columns = (
        VideoContender(key="igan", label="iGAN", deblur=generated),
        VideoContender(key="brmr", label="BRMR", deblur=refined),
    )
    stages = Stages(on_progress=lambda _: None, stop=threading.Event())
    return RealVideoJudge(weights=weights, contenders=columns, seed=0, stages=stages, most_frames=choices.get("most"))


def off_by(levels: float) -> float:
    """PSNR of pixels that are all wrong by so many levels."""
    return float(-20 * np.log10(levels / 255))


def test_figures_are_plain_sums(weights: WeightSet, folder: Path) -> None:
    found = judge(weights).judge(find_sequences(folder))
    assert [one.name for one in found.sequences] == ["one", "two"]
    one = found.sequences[0]
    assert (one.num_frames, one.height, one.width) == (NUM_FRAMES, 160, 200)
    assert one.blurred_db.mean == pytest.approx(off_by(ADDED))
    by_igan = [off_by(ADDED + 3 if n == 4 else LEFT) for n in range(NUM_FRAMES)]
    by_brmr = [100.0 if n in KEPT_AT else db for n, db in enumerate(by_igan)]
    for key, expected in (("igan", by_igan), ("brmr", by_brmr)):
        assert one.figures[key].psnr_db.mean == pytest.approx(np.mean(expected))
        assert one.figures[key].gain_db.mean == pytest.approx(np.mean(expected) - off_by(ADDED))
        assert one.figures[key].seconds > 0
        worst = one.figures[key].worst
        assert (worst.sequence, worst.frame) == ("one", 4)
        assert worst.gain_db == pytest.approx(off_by(ADDED + 3) - off_by(ADDED))
    assert found.figures["brmr"].gain_db.mean == pytest.approx(one.figures["brmr"].gain_db.mean)  # both clips are equal


def test_clips_of_any_width_are_measured(weights: WeightSet, tmp_path: Path) -> None:
    """A phone's are 1080 px wide, and decoders give rows of multiples of 16 px."""
    write_pair_of_clips(tmp_path / "real", 3, height=66, width=186)
    (one,) = judge(weights).judge(find_sequences(tmp_path / "real")).sequences
    assert (one.num_frames, one.height, one.width) == (3, 66, 186)


def test_what_brmr_added_to_its_own_igan(weights: WeightSet, folder: Path) -> None:
    found = judge(weights).judge(find_sequences(folder)).refining
    added = 100 - off_by(LEFT)
    assert (found.windows_tried, found.windows_kept) == (2 * 2 * NUM_FRAMES, 2 * len(KEPT_AT))
    assert found.kept_share == pytest.approx(len(KEPT_AT) / (2 * NUM_FRAMES))
    assert (found.num_frames, found.num_kept_frames) == (2 * NUM_FRAMES, 2 * len(KEPT_AT))
    assert found.gain_db.mean == pytest.approx(added * len(KEPT_AT) / NUM_FRAMES)
    assert found.kept_gain_db is not None
    assert found.kept_gain_db.mean == pytest.approx(added)
    assert found.worst_db == 0


def test_warping_errors_are_by_the_motion_of_the_sharp_frames(weights: WeightSet, folder: Path) -> None:
    found = judge(weights, most=6).judge(find_sequences(folder / "one")).sequences[0]
    sharp = [as_float(frame) for frame in sharp_frames()[:6]]
    given = [as_float((frame + ADDED).astype(np.uint8)) for frame in sharp_frames()[:6]]
    made = [as_float(one.pixels) for one in refined(Frame(pts=0, pixels=frame) for frame in sharp_frames()[:6])]
    assert found.num_frames == 6
    assert found.sharp_error == pytest.approx(warping_error(sharp, sharp))
    assert found.blurred_error == pytest.approx(warping_error(given, sharp), rel=1e-4)
    expected = warping_error(made, sharp) / warping_error(given, sharp)
    assert found.figures["brmr"].warping_ratio == pytest.approx(expected, rel=1e-4)


def test_worst_and_best_frame_are_shown(weights: WeightSet, folder: Path) -> None:
    made = judge(weights)
    made.judge(find_sequences(folder / "one"))
    worst, best = made.exhibits["one"]
    assert worst.title == "one, worst frame: number 4, -1.94 dB"
    assert best.title.startswith("one, best frame: number 2, +")
    wholes = [panel.caption for panel in best.panels if not panel.is_crop]
    assert wholes == [
        "blurred, 26.55 dB", "iGAN, 34.15 dB", "BRMR, 100.00 dB, 1 of 2 windows kept", "sharp, with the crop below",
        "heatmap: what is still blurred",
    ]  # fmt: skip
    crops = [panel.picture for panel in best.panels if panel.is_crop]
    assert np.array_equal(crops[2], crops[3])  # that of BRMR and the sharp one
    assert len({crop.shape for crop in crops}) == 1


def test_tables_name_every_clip_and_the_mean(weights: WeightSet, folder: Path) -> None:
    tables = text_tables(judge(weights, most=3).judge(find_sequences(folder)))
    for table in tables:
        assert [row[0] for row in table.rows[:2]] == ["one", "two"]
        assert len(table.rows) == 3
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert tables[2].rows[0][1:] == ("1 of 6 (17 %)", "+21.950", "1 of 3", "+65.849", "+0.000")


def test_a_single_frame_is_left_out_and_named(weights: WeightSet, folder: Path) -> None:
    running, warnings = judge(weights), list[str]()
    running.on_warning = warnings.append
    running.check(find_sequences(folder / "two"))
    of_two_alone = running.sha256
    for path in (folder / "one").rglob("[1-9].png"):
        path.unlink()
    found = running.check(find_sequences(folder))
    assert [(sequence.name, count) for sequence, count in found] == [("two", NUM_FRAMES)]
    assert warnings == ["one: left out, since a video has 2 frames at least, but it has 1"]
    assert running.sha256 == of_two_alone


def test_nothing_but_single_frames_is_refused(weights: WeightSet, folder: Path) -> None:
    for path in folder.rglob("[1-9].png"):
        path.unlink()
    with pytest.raises(SourceError, match=r"none of the real pairs has 2 frames .* name a folder of longer clips"):
        judge(weights).judge(find_sequences(folder))


def test_it_can_be_stopped_at_any_frame(weights: WeightSet, folder: Path) -> None:
    stop = threading.Event()

    def heard(progress: StageProgress) -> None:
        if progress.stage == "deblur one" and progress.done == 5:
            stop.set()

    running = judge(weights)
    running.stages = Stages(on_progress=heard, stop=stop)
    with pytest.raises(Interrupted, match=f"stopped after 5 of {2 * NUM_FRAMES} frames"):
        running.judge(find_sequences(folder))


def test_frames_put_aside_come_back() -> None:
    frames = sharp_frames()
    with FrameSpool() as spool:
        for frame in frames:
            spool.add(frame)
        for _ in range(2):
            assert all(np.array_equal(a, b) for a, b in zip(spool.frames(), frames, strict=True))
