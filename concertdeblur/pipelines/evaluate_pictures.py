"""The figures of the model card: `python -m concertdeblur.pipelines.evaluate_pictures PHOTOS [WEIGHTS]`."""

import sys
from pathlib import Path

from concertdeblur import pretrained
from concertdeblur.evaluation.held_out import HeldOutReport, evaluate_held_out
from concertdeblur.training.pictures import split_of


def evaluate_pictures(folder: Path, weights: str = pretrained.DEFAULT_WEIGHTS) -> HeldOutReport:
    """Evaluate a weight set on those pictures of a folder that training holds out."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png", ".webp"))
    held_out = [path for path in files if split_of(path.name) == "held_out"]
    return evaluate_held_out(pretrained.load(weights), held_out)


if __name__ == "__main__":
    sys.stdout.write(evaluate_pictures(Path(sys.argv[1]), *sys.argv[2:3]).markdown() + "\n")
