"""Gain on held-out pictures: by kernel, with and without refining, and what refining did."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.kernels import Picture
from concertdeblur.cam import Area
from concertdeblur.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.metrics import Frame, psnr_db
from concertdeblur.training.pictures import read_picture

SIDE_PX = 256  # the paper's pictures: one cell of BRMR


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelRow:
    """Mean PSNR in dB over the pictures, for one kernel."""

    kernel: str
    blurred_db: float
    generated_db: float  # iGAN alone
    refined_db: float  # with BRMR


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutReport:
    """The figures of a weight set on held-out pictures."""

    num_pictures: int
    level: float
    rows: tuple[KernelRow, ...]
    sharp_db: float  # sharp input, with BRMR
    worst_sharp_db: float
    windows_tried: int
    windows_kept: int
    kept_gain_db: float  # mean gain of the windows that were kept, in those windows
    kept_that_lost: float  # share of them whose PSNR fell

    @property
    def generated_gain_db(self) -> float:
        """Mean gain of iGAN alone over the kernels."""
        return float(np.mean([row.generated_db - row.blurred_db for row in self.rows]))

    @property
    def refined_gain_db(self) -> float:
        """Mean gain with BRMR over the kernels."""
        return float(np.mean([row.refined_db - row.blurred_db for row in self.rows]))

    def markdown(self) -> str:
        """The report as a Markdown table and three sentences."""
        lines = ["| kernel | blurred, dB | iGAN alone | with BRMR | gain |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {r.kernel} | {r.blurred_db:.2f} | {r.generated_db:.2f} | {r.refined_db:.2f} "
            f"| {r.refined_db - r.blurred_db:+.2f} |"
            for r in self.rows
        ]
        blurred = float(np.mean([row.blurred_db for row in self.rows]))
        lines.append(
            f"| mean | {blurred:.2f} | {blurred + self.generated_gain_db:.2f} "
            f"| {blurred + self.refined_gain_db:.2f} | {self.refined_gain_db:+.2f} |"
        )
        kept = self.windows_kept / max(1, self.windows_tried)
        lines += [
            "",
            f"{self.num_pictures} held-out pictures, level {self.level}. Sharp input comes back at "
            f"{self.sharp_db:.1f} dB (worst {self.worst_sharp_db:.1f}). BRMR tried {self.windows_tried} windows "
            f"and kept {self.windows_kept} ({100 * kept:.0f} %); a kept window gained {self.kept_gain_db:+.3f} dB, "
            f"{100 * self.kept_that_lost:.0f} % of them lost.",
        ]
        return "\n".join(lines)


def read_centres(files: list[Path], side_px: int = SIDE_PX) -> list[Picture]:
    """The middle of each picture, (side, side, 3) RGB, as training reads it.

    Raises:
        TrainingError: If one cannot be read or is too small.
    """
    centres = []
    for file in files:
        picture = read_picture(file, side_px)
        y, x = (picture.shape[0] - side_px) // 2, (picture.shape[1] - side_px) // 2
        centres.append(np.ascontiguousarray(picture[y : y + side_px, x : x + side_px]))
    return centres


def evaluate_held_out(deblurrer: Deblurrer, files: list[Path], *, level: float = 0.5) -> HeldOutReport:
    """Blur the middle of every picture with each of the seven kernels, deblur, compare.

    Args:
        deblurrer: The weight set.
        files: Sharp pictures that it was not trained on.
        level: Level of the blur.
    """
    pictures = read_centres(files)
    rows: list[KernelRow] = []
    gains: list[float] = []
    tried = 0
    for kernel in Kernel:
        figures = []
        for sharp_u8 in pictures:
            sharp = sharp_u8.astype(np.float32) / np.float32(255)
            blurred = blur(sharp_u8, kernel, level).astype(np.float32) / np.float32(255)
            generated = deblurrer.deblur_picture(blurred, DeblurOptions(refine=False))
            refined = deblurrer.deblur_picture(blurred, DeblurOptions(is_capped=False))
            figures.append([psnr_db(_float(p), sharp) for p in (blurred, generated.pixels, refined.pixels)])
            tried += len(refined.windows_tried)
            gains += [
                _in(window, refined.pixels, sharp) - _in(window, generated.pixels, sharp)
                for window in refined.windows_kept
            ]
        blurred_db, generated_db, refined_db = np.mean(figures, axis=0).tolist()
        rows.append(
            KernelRow(kernel=kernel.value, blurred_db=blurred_db, generated_db=generated_db, refined_db=refined_db)
        )
    fidelity = [
        psnr_db(_float(deblurrer.deblur_picture(s, DeblurOptions(is_capped=False)).pixels), s)
        for s in (p.astype(np.float32) / np.float32(255) for p in pictures)
    ]
    return HeldOutReport(
        num_pictures=len(pictures),
        level=level,
        rows=tuple(rows),
        sharp_db=float(np.mean(fidelity)),
        worst_sharp_db=min(fidelity),
        windows_tried=tried,
        windows_kept=len(gains),
        kept_gain_db=float(np.mean(gains)) if gains else 0.0,
        kept_that_lost=float(np.mean([gain < 0 for gain in gains])) if gains else 0.0,
    )


def _in(window: Area, picture: object, sharp: Frame) -> float:
    at = window.of_pixels()
    return psnr_db(_float(picture)[at], sharp[at])


def _float(pixels: object) -> Frame:
    return np.asarray(pixels, dtype=np.float32)
