"""Predicts the smear of each place of a single picture, in tiles where the picture is large."""

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.deblurring.tiles import tiles_of
from concertdeblur.engines import make_engine
from concertdeblur.models.path_taps import Flow, Samples
from concertdeblur.models.smear_predictor import PREDICTED_PX, SmearPredictor, read_smear
from concertdeblur.runtime import Runtime

_TILE_PX = 1024  # what a tile gives; it is predicted with a margin around it


class SmearSearch:
    """A predictor of smears made ready to run; used from one thread at a time.

    Args:
        predictor: The network with its final weights.
        runtime: What it runs on.
    """

    def __init__(self, predictor: SmearPredictor, runtime: Runtime) -> None:
        self._engine = make_engine(predictor, runtime, is_kept=True, is_exact=True)
        self._device = runtime.device
        self._multiple_px = predictor.multiple_px
        self._margin_px = predictor.receptive_margin_px + -predictor.receptive_margin_px % predictor.multiple_px

    @torch.inference_mode()
    def __call__(self, samples: Samples) -> Flow:
        """The smear of a picture, of either sign.

        Args:
            samples: (H, W, 3) RGB, uint8 or float32 in [0, 1].

        Returns:
            (h, w, 2): x and y in px of the picture.
        """
        luma = cv2.cvtColor(samples, cv2.COLOR_RGB2GRAY)
        height, width = luma.shape
        missing = -height % self._multiple_px, -width % self._multiple_px
        luma = cv2.copyMakeBorder(luma, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        unit = 1 / 255 if luma.dtype == np.uint8 else 1.0
        predicted = self._predicted(torch.from_numpy(luma)[None, None], unit)
        smear = read_smear(predicted)
        scale = smear.shape[0] / luma.shape[0]
        return smear[: max(1, round(height * scale)), : max(1, round(width * scale))]

    def _predicted(self, luma_11HW: Tensor, unit: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """The network's numbers (3, h, w); a tile sees as much around it as the network does, so no seam is left."""
        height, width = luma_11HW.shape[2:]
        found = np.empty((3, height // PREDICTED_PX, width // PREDICTED_PX), np.float32)
        margin, side = self._margin_px, _TILE_PX + 2 * self._margin_px
        for area in tiles_of(height, width, side, step=_TILE_PX):
            tile = (unit * luma_11HW[(..., *area.of_pixels())].float()).to(self._device)
            made = self._engine(tile)[0].numpy(force=True)
            top, left = (0 if start == 0 else margin // PREDICTED_PX for start in (area.y, area.x))
            y, x = area.y // PREDICTED_PX + top, area.x // PREDICTED_PX + left
            found[:, y : y + made.shape[1] - top, x : x + made.shape[2] - left] = made[:, top:, left:]
        return found
