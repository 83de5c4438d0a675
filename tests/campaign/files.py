"""Damaged weight sets, recipes, runs of training, data sets, reviews, work folders and lists of sources."""

import hashlib
import json
import random
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from tests.campaign.isolation import Limits, command, isolated
from tests.campaign.jobs import JOBS, Job, Workshop, verdict, with_short_segments, workshop
from tests.campaign.mutations import damaged
from tests.campaign.record import Record, manners, sentence_of
from tests.campaign.text_mutations import damaged_text

_LIMITS = Limits(wall_s=200, cpu_s=90)
_TEXTS = (".toml", ".json", ".jsonl", ".txt")
_BY_NAME = {job.name: job for job in JOBS}
_VIDEO, _TRAIN, _DATASET = (_BY_NAME[name] for name in ("video", "train", "build-dataset"))


def run(record: Record) -> None:
    """Each case: one file of one of these is damaged, and what reads it is run."""
    shop = workshop(record.folder.parent / "workshop")
    _make_more(shop)
    kinds: dict[str, Callable[[Path, random.Random, Workshop], tuple[Path, str, Act, Job | None]]] = {
        "weight set": _weight_set, "recipe": _recipe, "run folder": _run_folder, "data set": _data_set,
        "reviews": _reviews, "work folder": _work_folder, "list of sources": _list,
    }  # fmt: skip
    names = list(kinds)
    for number in record.numbers():
        name, folder = names[number % len(names)], record.case_folder(number)
        path, told, act, job = kinds[name](folder, record.draw(number), shop)
        ended = isolated(act, folder / ".log", _LIMITS)
        faults = manners(ended, tells_progress=True)
        if job is not None and not faults and ended.result["code"] == 0:
            faults = verdict(job, shop.finish(job), folder)
        for fault, detail in faults:
            record.found(number, f"{name}: {path.name}: {told}", fault, detail, [path, folder / ".log" / "stderr"])
        if faults:
            record.ended(name, "fault")
        elif ended.result["code"]:
            record.refused(name, sentence_of(ended))
        else:
            record.ended(name, "done")


Act = Callable[[], dict[str, int]]
Case = tuple[Path, str, Act, Job | None]


def _make_more(shop: Workshop) -> None:
    """Finished runs of the jobs, and a video that was stopped in the middle."""
    shop.finish(_TRAIN), shop.finish(_DATASET), shop.finish(_VIDEO)
    place = shop.folder / "stopped"
    _VIDEO.place(shop.folder, place)

    def stop_early() -> bool:
        from concertdeblur.errors import Interrupted
        from concertdeblur.pipelines.deblur_video import Progress, VideoJob, deblur_video

        with_short_segments()
        stop = threading.Event()

        def on_progress(progress: Progress) -> None:
            if progress.num_frames >= 35:
                stop.set()

        job = VideoJob(strength=0, preset="ultrafast", overwrite=True)
        try:
            deblur_video(place / "long.mp4", place / "out.mp4", job, on_progress=on_progress, stop=stop)
        except Interrupted:
            return True
        return False

    ended = isolated(stop_early, shop.folder / "log", _LIMITS)
    assert ended.result, ended.stderr


def _damage(path: Path, draw: random.Random) -> str:
    data = path.read_bytes()
    change = damaged_text if path.suffix in _TEXTS else damaged
    made, told = change(data, path.suffix, draw)
    path.write_bytes(made)
    return told


def _one_of(folder: Path, draw: random.Random, pattern: str = "*") -> Path:
    """A file below a folder; texts as often as all others together."""
    files = sorted(
        path for path in folder.rglob(pattern) if path.is_file() and path.stat().st_size and path.name != "lock"
    )
    texts = [path for path in files if path.suffix in _TEXTS]
    return draw.choice(texts if texts and draw.random() < 0.5 else files)


def _weight_set(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    shutil.copytree(shop.folder / "weights", folder / "weights")
    shutil.copy(shop.folder / "photo.png", folder / "photo.png")
    path = _one_of(folder / "weights", draw)
    told = _damage(path, draw)
    if path.suffix == ".safetensors" and draw.random() < 0.7:  # as if somebody had meant it
        manifest = folder / "weights" / "manifest.toml"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        text = manifest.read_text()
        manifest.write_text(re.sub(rf'("{path.name}"\nsha256 = )"\w+"', rf'\1"{digest}"', text))
        told += ", with its sha256"
    args = ("image", folder / "photo.png", folder / "out.png", "--weights", folder / "weights", "--no-refine")
    return path, told, command(*args, "--device", "cpu", "--backend", "torch"), None


def _recipe(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    from concertdeblur.training.recipe import RECIPES_FOLDER

    path = folder / "own.toml"
    path.write_bytes(draw.choice(sorted(RECIPES_FOLDER.glob("*.toml"))).read_bytes())
    told = _damage(path, draw)
    return path, told, command("train", "--recipe", path, "--data", folder / "nothing", "--out", folder / "run"), None


def _run_folder(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    shutil.copytree(shop.folder / f"expected {_TRAIN.name}", folder, dirs_exist_ok=True)
    path = _one_of(folder / "run", draw)
    told = _damage(path, draw)
    stages = [name for name in ("igan", "mining", "pgan") if draw.random() < 0.3]
    for name in stages:
        (folder / "run" / f"{name}.safetensors").unlink()
    return path, f"{told}; without {stages}", _TRAIN.act(folder), None


def _data_set(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    shutil.copytree(shop.folder / f"expected {_DATASET.name}", folder, dirs_exist_ok=True)
    path = _one_of(folder / "set", draw)
    return path, _damage(path, draw), _DATASET.act(folder), None


def _reviews(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    shutil.copytree(shop.folder / f"expected {_DATASET.name}" / "set", folder / "set")
    frames = [json.loads(line)["frame_id"] for line in (folder / "set" / "frames.jsonl").read_text().splitlines()]
    rows = [{"frame_id": frame, "keep": True, "shot_type": shot} for frame in frames for shot in ("LS", None)]
    (folder / "set" / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "set" / draw.choice(("reviews.jsonl", "reviews.jsonl", "frames.jsonl"))
    told = _damage(path, draw)

    def act() -> dict[str, int]:
        """What `annotate` does before it serves, and its exit."""
        from concertdeblur.cli.exits import report_error
        from concertdeblur.dataset.frames import read_frames
        from concertdeblur.dataset.reviews import ReviewLog

        try:
            read_frames(folder / "set")
            ReviewLog(folder / "set").close()
        except Exception as error:
            return {"code": report_error(error, as_json=False, debug=False)}
        return {"code": 0}

    return path, told, act, None


def _work_folder(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    """Whatever happened to it, the output is the same."""
    shutil.copytree(shop.folder / "stopped", folder, dirs_exist_ok=True)
    path = _one_of(folder / ".out.mp4.concertdeblur", draw)
    return path, _damage(path, draw), _VIDEO.act(folder), _VIDEO


def _list(folder: Path, draw: random.Random, shop: Workshop) -> Case:
    shutil.copytree(shop.folder / f"expected {_DATASET.name}", folder, dirs_exist_ok=True)
    path = folder / "list.txt"
    return path, _damage(path, draw), _DATASET.act(folder), None
