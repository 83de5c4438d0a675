"""What taps are worth to a linear filter, by how flow is searched: `python docs/path_taps.py REAL`.

REAL is a folder of pairs of clips, as `concertdeblur evaluate --real` takes them. For each way of searching flow,
weights of the taps are fitted by least squares, one set for each range of speeds, on two thirds of a sequence's
frames, and judged on the others. There is no network: the figures say what the samples are worth.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.media.sequences import find_sequences
from concertdeblur.models.path_taps import NUM_TAPS, Flow, plane_in, taps_of
from concertdeblur.models.path_taps import Path as Motion

SPEEDS_PX = (0.5, 1.5, 3, 6, 12, 24)  # borders of the ranges
PIXELS = 12_000  # of a frame
# area in which flow is searched (None: the whole frame), finest level of the search, smoothness, softness afterwards
WAYS = {
    "whole frame, finest level 0": (None, 0, 20.0, 0.0),
    "whole frame, finest level 1": (None, 1, 20.0, 0.0),
    "320x180, finest level 0": (320 * 180, 0, 20.0, 0.0),
    "320x180, finest level 1": (320 * 180, 1, 20.0, 0.0),
    "320x180, finest level 1, smooth (as in path_taps.py)": (320 * 180, 1, 60.0, 2.5),
    "320x180, finest level 2, smooth": (320 * 180, 2, 60.0, 2.5),
}
Rows = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def searched(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], way: str) -> Flow:
    """Flow between two frames' lumas, in px of the full frame."""
    area, finest, smoothness, softness = WAYS[way]
    height, width = first.shape
    factor = 1.0 if area is None else min(1.0, (area / (height * width)) ** 0.5)
    size = round(width * factor), round(height * factor)
    small = [cv2.resize(some, size, interpolation=cv2.INTER_AREA) for some in (first, second)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest)
    search.setVariationalRefinementAlpha(smoothness)
    flow = np.asarray(search.calc(small[0], small[1], None), dtype=np.float32)  # type: ignore[call-overload]
    if softness:
        flow = np.asarray(cv2.GaussianBlur(flow, (0, 0), softness), dtype=np.float32)
    return flow * np.array([width / size[0], height / size[1]], dtype=np.float32)


def rows_of(frames: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]], way: str, every: int) -> Iterator[Rows]:
    """Of every so many frames: taps less the frame, truth less the frame, and the range of speed of some pixels."""
    draw = np.random.default_rng(0)
    lumas = [np.asarray(cv2.cvtColor(blurred, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for blurred, _ in frames]
    for number in range(1, len(frames) - 1, every):
        blurred, sharp = frames[number]
        height, width = blurred.shape[:2]
        flows = [searched(lumas[number], lumas[beside], way) for beside in (number - 1, number + 1)]
        motion = Motion(to_before=flows[0], to_after=flows[1])
        velocity = motion.velocity()
        assert velocity is not None
        unit = [frame.astype(np.float32) / 255 for frame in (frames[number - 1][0], blurred, frames[number + 1][0])]
        taps = taps_of(unit[0], unit[1], unit[2], motion)[: 3 * NUM_TAPS].reshape(3, NUM_TAPS, -1)
        speed = np.hypot(*np.moveaxis(plane_in(velocity, height, width, slice(0, height), slice(0, width)), -1, 0))
        picked = draw.integers(0, height * width, PIXELS)
        frame = unit[1].reshape(-1, 3)[picked]
        ways = taps[:, :, picked].transpose(2, 0, 1) - frame[..., None]
        lacking = (sharp.astype(np.float32) / 255).reshape(-1, 3)[picked] - frame
        yield ways.astype(np.float64), lacking.astype(np.float64), np.digitize(speed.reshape(-1)[picked], SPEEDS_PX)


def fitted(rows: list[Rows]) -> npt.NDArray[np.float64]:
    """Weights of the taps by least squares, (ranges, NUM_TAPS)."""
    weights = np.zeros((len(SPEEDS_PX) + 1, NUM_TAPS))
    for number in range(len(weights)):
        ways = np.concatenate([ways[speed == number].reshape(-1, NUM_TAPS) for ways, _, speed in rows])
        lacking = np.concatenate([lacking[speed == number].reshape(-1) for _, lacking, speed in rows])
        square = ways.T @ ways
        square += (1e-4 * np.trace(square) / NUM_TAPS + 1e-8) * np.eye(NUM_TAPS)
        weights[number] = np.linalg.solve(square, ways.T @ lacking)
    return weights


def gain_db(rows: list[Rows], weights: npt.NDArray[np.float64]) -> float:
    """Mean gain in PSNR over the frames."""
    gains = []
    for ways, lacking, speed in rows:
        left = lacking - np.einsum("nck,nk->nc", ways, weights[speed])
        gains.append(10 * np.log10(np.square(lacking).mean() / np.square(left).mean()))
    return float(np.mean(gains))


def resized(picture: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """A picture scaled down."""
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@click.command()
@click.argument("real", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--scale", default=1.0, show_default=True, help="Frames are scaled by so much first.")
@click.option("--every", default=4, show_default=True, help="Frames from one that is looked at to the next.")
def main(real: Path, scale: float, every: int) -> None:
    """Print what each way of searching flow is worth."""
    for sequence in find_sequences(real):
        frames = [(resized(pair.blurred_picture(), scale), resized(pair.sharp, scale)) for pair in sequence.frames()]
        border = 2 * len(frames) // 3
        for way in WAYS:
            known, others = (list(rows_of(part, way, every)) for part in (frames[:border], frames[border:]))
            weights = fitted(known)
            gains = [f"{gain_db(some, weights):+.2f} dB" for some in (known, others)]
            click.echo(f"{sequence.name}: {way}: fitted {gains[0]}, others {gains[1]}")


if __name__ == "__main__":
    main()
