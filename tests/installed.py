"""The wheel as a user gets it: built out of the sdist, installed alone, and the sample clip through it.

`python -m tests.installed [PYTHON]` makes a bare virtual environment with that interpreter (by default this one).
It has nothing of the checkout or of the tests. The first thing that does not work ends it.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
_INDEX = ("--extra-index-url", "https://download.pytorch.org/whl/cpu", "--timeout", "15", "--retries", "1")
_NUM_FRAMES = 10
_SEEN = """
import av, concertdeblur, sys
with av.open(sys.argv[1]) as clip:
    frames, sounds = sum(1 for _ in clip.decode(video=0)), len(clip.streams.audio)
print(concertdeblur.__version__, concertdeblur.__file__, frames, sounds)
"""


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist of the checkout, and the wheel of that sdist, in an empty folder; nothing is downloaded."""
    _hatchling(ROOT, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    _hatchling(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def _hatchling(source: Path, target: str, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)],
        cwd=source, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main(python: str = sys.executable) -> int:
    """Build, install, deblur; gives 1 and says why if something does not work."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="concertdeblur-installed-") as name:
        folder = Path(name)
        (folder / "dist").mkdir()
        sdist, wheel = build(folder / "dist")
        _say(f"{sdist.name} {sdist.stat().st_size / 1e6:.1f} MB, {wheel.name} {wheel.stat().st_size / 1e6:.1f} MB")
        bare = folder / "bare" / "bin"
        _run([python, "-m", "venv", bare.parent], folder)
        install: list[str | Path] = [bare / "pip", "install", "-qq", "--no-compile", "-c", ROOT / "constraints.txt"]
        _run([*install, *_INDEX, "--no-deps", "torch"], folder)  # only torch is asked for at two places
        _run([*install, f"{wheel}[openvino]"], folder)
        _say(f"installed after {time.monotonic() - started_s:.0f} s")
        _run([bare / "python", "-m", "concertdeblur.sample", "sample.mp4"], folder)
        clips = ["sample.mp4", "sharper.mp4"]
        told = _run([bare / "concertdeblur", "video", *clips, "--end", f"{_NUM_FRAMES / 25}", "--json"], folder)
        done = json.loads(told.splitlines()[-1])
        version, home, frames, sounds = _run([bare / "python", "-c", _SEEN, clips[1]], folder).split()
        _say(f"concertdeblur {version}: {frames} frames, {done['windows_tried']} windows tried, on {done['runtime']}")
        expected = str(bare.parent), str(_NUM_FRAMES), "1"
        if (home[: len(expected[0])], frames, sounds) != expected:
            _say(f"expected {_NUM_FRAMES} frames and sound from {bare.parent}, found {frames}, {sounds} from {home}")
            return 1
    _say(f"the installed wheel works ({time.monotonic() - started_s:.0f} s)")
    return 0


def _run(command: list[str | Path], folder: Path) -> str:
    """What it writes to standard output; what it complains of is shown."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    texts = [str(part) for part in command]
    return subprocess.run(
        texts, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=900
    ).stdout


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
