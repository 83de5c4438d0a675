"""Sequences of a moving picture, blurred along its motion, with their sharp truths; as folders of frames or clips."""

from pathlib import Path

import av
import cv2
import numpy as np

from concertdeblur.blur.kernels import Picture
from tests.pictures import photograph


def moving_pair(
    num_frames: int, *, height: int = 144, width: int = 160, step_px: int = 6
) -> tuple[list[Picture], list[Picture]]:
    """Blurred and sharp frames of a camera that pans by `step_px` a frame, open all the time."""
    wide = photograph(height, width + step_px * (num_frames + 2))

    def at(left: int) -> Picture:
        return np.ascontiguousarray(wide[:, left : left + width])

    middles = [step_px * (number + 1) for number in range(num_frames)]
    reach = range(-(step_px // 2), step_px // 2 + 1)
    exposed = [np.mean([at(middle + offset) for offset in reach], axis=0) for middle in middles]
    return [np.asarray(mean + 0.5, dtype=np.uint8) for mean in exposed], [at(middle) for middle in middles]


def write_gopro_folder(root: Path, name: str, num_frames: int, *, height: int = 144, width: int = 160) -> None:
    """A sequence in GOPRO's layout: `blur` beside `sharp`."""
    for folder, pictures in zip(("blur", "sharp"), moving_pair(num_frames, height=height, width=width), strict=True):
        target = root / name / folder
        target.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            assert cv2.imwrite(str(target / f"{number:06d}.png"), np.ascontiguousarray(picture[:, :, ::-1]))


def write_pair_of_clips(folder: Path, num_frames: int, *, height: int = 144, width: int = 160) -> None:
    """A pair of clips, `a_blurred.mkv` beside `a_sharp.mkv`."""
    folder.mkdir()
    for half, pictures in zip(("blurred", "sharp"), moving_pair(num_frames, height=height, width=width), strict=True):
        with av.open(str(folder / f"a_{half}.mkv"), "w") as output:
            stream = output.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
            for picture in pictures:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            output.mux(stream.encode())
