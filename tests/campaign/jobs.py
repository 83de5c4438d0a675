"""Commands that write, each on inputs of its own, and what they make when nothing goes wrong."""

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.campaign.isolation import Limits, command, isolated
from tests.clips import ClipSpec, make_clip
from tests.concert_clips import Shot, shots_clip
from tests.pictures import photograph
from tests.recipes import short_recipe
from tests.weight_sets import random_weight_set

OLD = b"what was there before"
_BUILDING = Limits(wall_s=400, cpu_s=300)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command; its paths are relative to a folder that holds copies of `inputs`."""

    name: str
    inputs: tuple[str, ...]
    args: tuple[object, ...]
    output: str  # file or folder
    compared: str = ""  # pattern of the files that are compared, as against checkpoints, which name seconds; empty: all
    old: tuple[str, ...] = ()  # files that are there before, to be replaced
    whole: bool = True  # a file under its final name is the final file

    def place(self, workshop: Path, folder: Path) -> None:
        """Lay the inputs out, and the old outputs."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.inputs:
            if (workshop / name).is_dir():
                shutil.copytree(workshop / name, folder / name)
            else:
                shutil.copy2(workshop / name, folder / name)
        for name in self.old:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(OLD)

    def act(self, folder: Path, output: Path | None = None) -> Callable[[], dict[str, int]]:
        """What the isolated process does; `output` puts what is written into another folder."""
        place = (output or folder) / self.output
        run = command(*(place if arg == self.output else arg for arg in self.args))

        def act() -> dict[str, int]:
            os.chdir(folder)
            with_short_segments()
            return run()

        return act

    def made(self, folder: Path) -> dict[str, str]:
        """sha256 of every file of the output, by its name."""
        place = folder / self.output
        files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if (not self.compared or path.match(self.compared)) and ".cache" not in path.parts
        }


def with_short_segments() -> None:
    """Cut clips every 10 to 16 frames in this process, so that short ones have several segments."""
    from concertdeblur.pipelines.segments import cutting

    cutting.LEAST_FRAMES, cutting.MOST_FRAMES = 10, 16


_FAST = ("--strength", 0, "--preset", "ultrafast")
JOBS = (
    Job(name="video", inputs=("long.mp4",), args=("video", "long.mp4", "out.mp4", *_FAST, "--overwrite"),
        output="out.mp4", old=("out.mp4",)),
    Job(name="video, networks", inputs=("long.mp4", "weights"), output="out.mp4", old=("out.mp4",),
        args=("video", "long.mp4", "out.mp4", "--weights", "weights", "--backend", "torch", "--no-refine", "--preset",
              "ultrafast", "--overwrite", "--end", "0.8")),
    Job(name="video, ffmpeg", inputs=("long.mp4",), output="out.mp4", old=("out.mp4",),
        args=("video", "long.mp4", "out.mp4", *_FAST, "--overwrite", "--writer", "ffmpeg")),
    Job(name="folder", inputs=("clips",), args=("video", "clips", "out", *_FAST), output="out"),
    Job(name="image", inputs=("photo.png",), args=("image", "photo.png", "out.png", "--strength", 0, "--overwrite"),
        output="out.png", old=("out.png",)),
    Job(name="images", inputs=("pictures",), args=("image", "pictures", "out", "--strength", 0), output="out"),
    Job(name="train", inputs=("pictures", "short.toml"), output="run", compared="weights/*.safetensors", whole=False,
        args=("train", "--recipe", "short.toml", "--data", "pictures", "--out", "run", "--device", "cpu")),
    Job(name="build-dataset", inputs=("shots", "list.txt"), output="set", whole=False,
        args=("build-dataset", "--urls", "list.txt", "--out", "set", "--size", 128)),
)  # fmt: skip


@dataclass(kw_only=True)
class Workshop:
    """The inputs of all jobs, and what each makes of them."""

    folder: Path
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    def finish(self, job: Job) -> Mapping[str, str]:
        """What a job makes when nothing goes wrong; done once."""
        if job.name not in self.expected:
            place = self.folder / f"expected {job.name}"
            job.place(self.folder, place)
            ended = isolated(job.act(place), self.folder / "log", _BUILDING)
            assert ended.result == {"code": 0}, ended.stderr
            self.expected[job.name], self.wall_s[job.name] = job.made(place), ended.wall_s
        return self.expected[job.name]


@functools.cache
def workshop(folder: Path) -> Workshop:
    """Make the inputs, in a process of their own; once for all parts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def make() -> bool:
        options = {"crf": "10", "preset": "ultrafast", "g": "5"}
        make_clip(folder / "long.mp4", ClipSpec(num_frames=60, audio="aac", options=options))
        for number in range(4):
            (folder / "clips").mkdir(exist_ok=True)
            make_clip(folder / "clips" / f"c{number}.mp4", ClipSpec(num_frames=20, audio="aac", options=options))
        (folder / "pictures").mkdir()
        for number in range(4):
            picture = np.roll(photograph(512, 512), 70 * number, axis=1)[:270, :280, ::-1]
            assert cv2.imwrite(str(folder / "pictures" / f"p{number}.png"), np.ascontiguousarray(picture))
        shutil.copy(folder / "pictures" / "p0.png", folder / "photo.png")
        (folder / "short.toml").write_text(short_recipe(igan_steps=3))
        (folder / "shots").mkdir()
        shots_clip(folder / "shots" / "a.mp4", Shot(photo="rocket", num_frames=12))
        shots_clip(folder / "shots" / "b.mp4", Shot(photo="chelsea", num_frames=12))
        (folder / "list.txt").write_text("shots/a.mp4 | Gig\nshots/b.mp4\n")
        random_weight_set(folder / "weights")
        return True

    ended = isolated(make, folder / "log", _BUILDING)
    assert ended.result, ended.stderr
    return Workshop(folder=folder)


def verdict(job: Job, expected: Mapping[str, str], folder: Path) -> list[tuple[str, str]]:
    """What is wrong with the outputs of a run that came to its end."""
    made = job.made(folder)
    if made == expected:
        return []
    differing = sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
    return [("another result than that of a run without trouble", ", ".join(differing[:10]))]


def half_done(job: Job, expected: Mapping[str, str], folder: Path) -> list[tuple[str, str]]:
    """What is wrong with the outputs of a run that did not come to its end: a file is the old one, or the final one."""
    old = hashlib.sha256(OLD).hexdigest()
    made = {name: digest for name, digest in job.made(folder).items() if not _is_in_work(Path(name))}
    wrong = [name for name, digest in made.items() if job.whole and digest not in (old, expected.get(name))]
    lost = [name for name in job.old if name not in made]
    faults: list[tuple[str, Any]] = [("half output under its name", ", ".join(wrong))] if wrong else []
    return faults + ([("old output lost", ", ".join(lost))] if lost else [])


def _is_in_work(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
