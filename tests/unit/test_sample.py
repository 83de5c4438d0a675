"""The sample clip: the same every time, with sound, with something to sharpen."""

from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from concertdeblur.sample import NUM_FRAMES, sharp_frames, write_sample


def test_frames_are_the_same_every_time_and_move() -> None:
    first, second = ([*islice(sharp_frames(), 3)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_the_clip_has_all_frames_its_sound_and_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "sample.mp4"
    write_sample(path)
    with av.open(str(path)) as clip:
        frames = [frame.to_ndarray(format="gray") for frame in clip.decode(video=0)]
        context = clip.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        clip.seek(0)
        num_samples = sum(frame.samples for frame in clip.decode(audio=0))
    assert len(frames) == NUM_FRAMES
    assert abs(num_samples - 3 * 48_000) <= 2048
    sharp = cv2.cvtColor(next(sharp_frames()), cv2.COLOR_RGB2GRAY)
    assert cv2.Laplacian(frames[0], cv2.CV_64F).var() < 0.3 * cv2.Laplacian(sharp, cv2.CV_64F).var()
