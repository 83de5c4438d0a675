"""Makes pairs to judge by out of real clips: `python docs/real_pairs.py CLIPS OUT --photos PHOTOS`.

Two kinds: averages of a clip's consecutive frames, as GOPRO and REDS were made; and, with `--photos`, photographs that
training holds out, blurred along the paths that the clip's pixels took. Sensor, noise and compression of a camera are
on both. `concertdeblur evaluate --all --data OUT/averaged` takes the one kind, OUT/lent the other.
"""

from itertools import cycle, islice
from pathlib import Path

import click
import cv2
import numpy as np

from concertdeblur.blur.averaging import timed_pairs
from concertdeblur.blur.capture import CapturedPair
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.lent_motion import lend, motions
from concertdeblur.errors import SourceError
from concertdeblur.training.data.clip_pairs import find_clips
from concertdeblur.training.data.pictures import read_picture
from concertdeblur.training.data.sources import DataSettings, find_sources

LEAST_PX, SIDE_PX = 256, 480
MOTION_EVERY = 8  # frames


@click.command()
@click.argument("clips", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--photos", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Sharp pictures.")
@click.option("--count", default=24, show_default=True, help="Pairs of each kind that a clip gives at most.")
@click.option("--seed", default=1000, show_default=True, help="What is random follows it.")
def main(clips: Path, out: Path, photos: Path | None, count: int, seed: int) -> None:
    """Write each clip's pairs as OUT/averaged/<clip>/blur and /sharp, and OUT/lent/<clip>/blur and /sharp."""
    held_out = () if photos is None else find_sources(photos, DataSettings(max_held_out=10**9)).pictures
    pictures = [picture.path for picture in held_out if picture.split == "held_out"]
    for number, clip in enumerate(find_clips(clips)):
        pairs = timed_pairs(clip, seed=seed + number, max_pairs=count, sides_px=(LEAST_PX, SIDE_PX))
        of_frames = 0
        try:
            for time_s, pair in pairs:
                write(out / "averaged" / clip.stem, f"{time_s:08.3f}", pair)
                of_frames += 1
        except SourceError as error:
            click.echo(f"no averages: {error}")  # the clip is too small; its motion can be lent
        found = list(motions(clip, every=MOTION_EVERY)) if pictures else []
        for place, motion in enumerate(islice(cycle(found), count if found else 0)):
            rng = np.random.default_rng([seed, number, place])
            picture = middle(read_picture(pictures[int(rng.integers(len(pictures)))], LEAST_PX))
            write(out / "lent" / clip.stem, f"{place:03d}", lend(motion, picture, rng))
        click.echo(f"{clip.name}: {of_frames} averages of its frames, {len(found)} motions")


def middle(picture: Picture) -> Picture:
    """At most SIDE_PX square."""
    top, left = (max(0, length - SIDE_PX) // 2 for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + SIDE_PX, left : left + SIDE_PX])


def write(folder: Path, name: str, pair: CapturedPair) -> None:
    """Write a pair."""
    for part, picture in (("blur", pair.blurred), ("sharp", pair.sharp)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / part / f"{name}.png"), np.ascontiguousarray(picture[:, :, ::-1]))


if __name__ == "__main__":
    main()
