"""Promises of the weights that the package ships, measured before any encoding."""

import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import torch

import concertdeblur
from concertdeblur.blur import Kernel, blur
from concertdeblur.deblurring import tiles
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.metrics import warping_error
from concertdeblur.frame import Frame
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.drawings import drawing
from tests.golden.regenerate import GOLDEN_FILE, golden_figures
from tests.pictures import photograph

Picture = npt.NDArray[np.uint8]
SIDE = 256


@pytest.fixture(scope="module")
def deblurrer() -> Deblurrer:
    return concertdeblur.load("concert", device="cpu", backend="torch")


@lru_cache(maxsize=1)
def photographs() -> tuple[Picture, ...]:
    """Crops of scikit-image's public-domain photographs; none was trained on."""
    names = ("astronaut", "coffee", "chelsea", "rocket")
    pictures = [np.asarray(getattr(skimage.data, name)(), dtype=np.uint8) for name in names]
    return tuple(
        np.ascontiguousarray(p[(p.shape[0] - SIDE) // 2 :, (p.shape[1] - SIDE) // 2 :][:SIDE, :SIDE]) for p in pictures
    )


def as_float(pixels: Picture) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def gains(deblurrer: Deblurrer) -> dict[Kernel, float]:
    made: dict[Kernel, float] = {}
    for kernel in Kernel:
        differences = []
        for sharp in photographs():
            blurred = as_float(blur(sharp, kernel, 0.5))
            restored = deblurrer.deblur(blurred)
            differences.append(psnr_db(restored, as_float(sharp)) - psnr_db(blurred, as_float(sharp)))
        made[kernel] = float(np.mean(differences))
    return made


@pytest.mark.parametrize("is_video", [False, True])
def test_a_lamp_that_stands_sharp_in_a_soft_scene_gets_no_rings(deblurrer: Deblurrer, is_video: bool) -> None:
    """The scene asks for a filter that would turn the lamp into a target, with a black hole in the middle."""
    wide = cv2.GaussianBlur(photograph(320, 356), (0, 0), 3)[128:, 96:]
    y, x = np.mgrid[:192, :256]
    lamp = np.clip(6.5 - np.hypot(y - 96, x - 160), 0, 1)[..., None]
    views = [np.asarray(0.4 * wide[:, n : n + 256] * (1 - lamp) + 255 * lamp, dtype=np.uint8) for n in range(4)]
    if is_video:
        frames = (Frame(pts=number, pixels=pixels) for number, pixels in enumerate(views))
        made = [np.asarray(one.frame.pixels) for one in deblurrer.stream(frames, DeblurOptions())]
    else:
        views = views[:1]
        made = [deblurrer.deblur(views[0])]
    around = np.s_[96 - 24 : 96 + 24, 160 - 24 : 160 + 24]
    for given, result in zip(views, made, strict=True):
        assert np.abs(result[around].astype(int) - given[around]).max() <= 40


def test_no_kernel_loses_and_the_mean_gains_much(gains: dict[Kernel, float]) -> None:
    assert min(gains.values()) >= 0, gains
    assert np.mean(list(gains.values())) > 2.5, gains


def test_sharp_stays_sharp(deblurrer: Deblurrer) -> None:
    figures = [psnr_db(deblurrer.deblur(as_float(sharp)), as_float(sharp)) for sharp in photographs()]
    assert min(figures) >= 40, figures


def test_what_people_build_is_not_taken_for_blurred(deblurrer: Deblurrer) -> None:
    """The spectrum of equal bars has the zeros of a blur that is as long as the bars are wide."""
    built = [drawing(SIDE, np.random.default_rng([999, number])) for number in range(12)]
    figures = [psnr_db(deblurrer.deblur(as_float(sharp)), as_float(sharp)) for sharp in built]
    assert np.mean(figures) > 70, figures
    assert sum(figure > 40 for figure in figures) >= 10, figures
    gains = []
    for sharp in built:
        smoothed = as_float(blur(sharp, Kernel.BILATERAL, 0.5))
        gains.append(psnr_db(deblurrer.deblur(smoothed), as_float(sharp)) - psnr_db(smoothed, as_float(sharp)))
    assert np.mean(gains) > -0.2, gains


@pytest.mark.parametrize("level", [0, 1, 2, 40, 200, 255])
def test_uniform_frames_stay(deblurrer: Deblurrer, level: int) -> None:
    frame = np.full((180, 320, 3), level, np.uint8)
    assert np.abs(deblurrer.deblur(frame).astype(int) - frame).max() <= 1


def test_strobe_frames_keep_their_flat_areas_and_level(deblurrer: Deblurrer) -> None:
    yy, xx = np.mgrid[:360, :640]
    frame = np.repeat(
        np.where((yy - 180) ** 2 + (xx - 320) ** 2 < 90**2, 255, 0).astype(np.uint8)[..., None], 3, axis=2
    )
    made = deblurrer.deblur(frame).astype(int)
    flat = np.abs(np.hypot(yy - 180, xx - 320) - 90) > 40
    assert np.abs(made - frame)[flat].max() <= 1
    assert abs(made.mean() - frame.mean()) <= max(1, 0.01 * frame.mean())


def test_a_dark_frame_with_detail_is_still_deblurred(deblurrer: Deblurrer) -> None:
    sharp = (photographs()[0] // 6).astype(np.uint8)
    blurred = blur(sharp, Kernel.AVERAGING, 0.5)
    restored = deblurrer.deblur(blurred)
    assert psnr_db(as_float(restored), as_float(sharp)) > psnr_db(as_float(blurred), as_float(sharp)) + 0.5


def test_tiles_agree_with_the_whole_frame(deblurrer: Deblurrer, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.concatenate(photographs()[:3], axis=1)
    blurred = blur(np.concatenate([wide, wide[:, ::-1]]), Kernel.GAUSSIAN, 0.5)
    whole = deblurrer.deblur(blurred, refine=False)
    monkeypatch.setattr(tiles, "_TILE_PX", 160)
    tiled = deblurrer.deblur(blurred, refine=False)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_refining_is_kept_somewhere_and_helps(deblurrer: Deblurrer) -> None:
    kept = 0
    gain = []
    for kernel in (Kernel.AVERAGING, Kernel.GAUSSIAN, Kernel.RESIZING, Kernel.HORIZONTAL):
        for sharp in photographs():
            blurred = as_float(blur(sharp, kernel, 0.5))
            alone = deblurrer.deblur_picture(blurred, DeblurOptions(refine=False)).pixels
            refined = deblurrer.deblur_picture(blurred, DeblurOptions())
            if refined.windows_kept:
                kept += 1
                gain.append(
                    psnr_db(refined.pixels.astype(np.float32), as_float(sharp))
                    - psnr_db(alone.astype(np.float32), as_float(sharp))
                )
    assert kept > 0
    assert np.mean(gain) > 0, gain


PAN_PX = 3


def panning_clip(num_frames: int = 5) -> list[Picture]:
    """A photograph that moves by PAN_PX a frame, as a camera pans."""
    wide = np.asarray(skimage.data.coffee(), dtype=np.uint8)  # type: ignore[no-untyped-call]
    starts = range(40, 40 + PAN_PX * num_frames, PAN_PX)
    return [np.ascontiguousarray(wide[60:300, start : start + 360]) for start in starts]


def deblurred_pan(deblurrer: Deblurrer, kernel: Kernel | None) -> list[npt.NDArray[np.float32]]:
    given = panning_clip() if kernel is None else [blur(frame, kernel, 0.5) for frame in panning_clip()]
    stream = deblurrer.stream(
        [Frame(pts=i, pixels=as_float(pixels)) for i, pixels in enumerate(given)], DeblurOptions()
    )
    return [np.asarray(out.frame.pixels, dtype=np.float32) for out in stream]


@pytest.mark.parametrize(
    "kernel", [Kernel.GAUSSIAN, Kernel.RESIZING, Kernel.AVERAGING, Kernel.HORIZONTAL, Kernel.VERTICAL]
)
def test_output_is_steady_in_time(deblurrer: Deblurrer, kernel: Kernel) -> None:
    """At most 5 % more warping error than the sharp original."""
    made, reference = deblurred_pan(deblurrer, kernel), [as_float(frame) for frame in panning_clip()]
    assert warping_error(made, reference) <= 1.05 * warping_error(reference, reference)


def test_a_sharp_pan_is_steady_in_time(deblurrer: Deblurrer) -> None:
    """The same place of the scene changes by less than a grey level from frame to frame.

    Three pixels a frame are too slow to tell how short the exposure was, so the clip is sharpened a little: it comes
    back at 44 dB and more. Sharper frames have a larger warping error even if nothing flickers, but this pan is exact.
    """
    for before, after in pairwise(deblurred_pan(deblurrer, None)):
        change = 255 * (before[:, PAN_PX:] - after[:, :-PAN_PX])
        assert np.sqrt(np.square(change).mean()) < 1


@pytest.mark.parametrize("instructions", [{}, {"avx512_bf16": True}])
def test_openvino_agrees_with_torch(
    deblurrer: Deblurrer, monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool]
) -> None:
    """Within a grey level in fp32; in bfloat16 (which a processor without it computes in fp32) within 0.02 dB."""
    pytest.importorskip("openvino")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: instructions)
    other = concertdeblur.load("concert", device="cpu", backend="openvino")
    sharp = photographs()[0]
    blurred = blur(sharp, Kernel.AVERAGING, 0.5)
    made, expected = other.deblur(blurred, refine=False), deblurrer.deblur(blurred, refine=False)
    difference = np.abs(made.astype(int) - expected)
    assert difference.max() <= (3 if instructions else 1)
    assert difference.mean() < 0.1
    reached, plain = (psnr_db(as_float(x), as_float(sharp)) for x in (made, expected))
    assert abs(reached - plain) < 0.02


def test_outputs_are_the_golden_ones(deblurrer: Deblurrer) -> None:
    """Small means of fixed regions; `python -m tests.golden.regenerate` after new weights."""
    expected = json.loads(Path(GOLDEN_FILE).read_text())
    made = golden_figures(deblurrer)
    assert made.keys() == expected.keys()
    for name, figures in expected.items():
        assert np.abs(np.array(made[name]) - np.array(figures)).max() < 0.25, name


def test_nothing_of_the_weights_is_half_precision_or_missing(deblurrer: Deblurrer) -> None:
    tensors = [t for m in (deblurrer._image_generator.network,) for t in m.state_dict().values()]
    assert all(t.dtype == torch.float32 for t in tensors)
    assert all(bool(t.isfinite().all()) for t in tensors)
