"""The frames of each source: found once, then kept in the data set's cache for the next run."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

from concertdeblur.dataset.duplicates import NEAR_BITS, distance_bits
from concertdeblur.dataset.picks import FRAMES_FOLDER, Pick, PickOptions, Picks, pick_frames
from concertdeblur.dataset.scan import Scan, scan_clip
from concertdeblur.dataset.shots import CutDetector
from concertdeblur.dataset.sources import Source
from concertdeblur.dataset.split import SplitName
from concertdeblur.dataset.versions import picking_versions
from concertdeblur.dataset.workspace import CACHE, Workspace, read_json
from concertdeblur.progress import StageProgress
from concertdeblur.settings import sealed, unsealed

_PICKER = 8  # raise it when a change of the code picks other frames
_TELL_EVERY = 25  # frames between two reports of progress


@dataclass(kw_only=True, slots=True)
class Finding:
    """The frames that were picked from one source, and which of them are kept."""

    source: Source
    scan: Scan
    picks: Picks
    kept: list[Pick] = field(default_factory=list)  # picks of which no other source has a sharper version
    num_dropped: int = 0  # of those that are kept, dropped in review
    split: SplitName | None = None
    num_pairs: int = 0

    @property
    def num_frames(self) -> int:
        """The frames that pairs are made of."""
        return len(self.kept) - self.num_dropped

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> number of stretches of shots, or of frames, that were left out for it."""
        num_alike = len(self.picks.picks) - len(self.kept)
        later = {"like a frame of another source": num_alike, "dropped in review": self.num_dropped}
        return {**self.picks.dropped, **{reason: number for reason, number in later.items() if number}}


class Finder:
    """Looks for the frames of one source after the other."""

    def __init__(
        self,
        workspace: Workspace,
        options: PickOptions,
        *,
        make_detector: Callable[[Fraction], CutDetector],
        detector_name: str,
        on_progress: Callable[[StageProgress], None],
        on_warning: Callable[[str], None],
    ) -> None:
        self._workspace, self._options, self._make_detector = workspace, options, make_detector
        self._on_progress, self._on_warning = on_progress, on_warning
        facts = [_PICKER, detector_name, asdict(options), picking_versions()]
        # of everything that decides which frames of a clip are picked
        self._fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        self._num_before = 0
        self._started_s = time.monotonic()

    def is_known(self, sha256: str) -> bool:
        """Whether a source was looked through before, and all its frames are there."""
        return self._cached(sha256) is not None

    def find(self, source: Source, stop: threading.Event | None = None) -> Finding:
        """Scan the clip and keep its sharpest frames, unless an earlier run did.

        Raises:
            SourceError: If it is no clip that can be read.
            UnsupportedStreamError: If it is interlaced, or changes its size.
            TargetError: If frames cannot be written.
            Interrupted: If `stop` is set.

        """
        if (cached := self._cached(source.sha256)) is not None:
            return Finding(source=source, scan=cached[0], picks=cached[1])
        scan = scan_clip(
            source.path,
            self._make_detector,
            least_sharpness=self._options.least_sharpness,
            on_frame=self._tell,
            on_warning=self._on_warning,
            stop=stop,
        )
        self._num_before += scan.num_frames
        picks = pick_frames(source, scan, self._options, self._workspace, on_pick=self._tell_pick, stop=stop)
        path = self._cache_path(source.sha256)
        self._workspace.write_json(path, sealed({"scan": scan.to_json(), "picks": picks.to_json()}))
        return Finding(source=source, scan=scan, picks=picks)

    def _cache_path(self, sha256: str) -> Path:
        return self._workspace.path(CACHE, "sources", f"{sha256[:12]}-{self._fingerprint}.json")

    def _cached(self, sha256: str) -> tuple[Scan, Picks] | None:
        try:
            row = unsealed(read_json(self._cache_path(sha256)))
            scan, picks = Scan.from_json(row["scan"]), Picks.from_json(row["picks"])
        except (TypeError, ValueError, KeyError, AttributeError):  # the file is not there, not ours, or damaged
            return None
        files = (self._workspace.path(FRAMES_FOLDER, f"{pick.frame_id}.png") for pick in picks.picks)
        return (scan, picks) if all(file.is_file() for file in files) else None

    def _tell(self, num_frames: int) -> None:
        if num_frames % _TELL_EVERY == 0:
            self._tell_progress(self._num_before + num_frames)

    def _tell_pick(self, done: int, total: int) -> None:
        self._tell_progress(self._num_before, {"taking": f"{done} of {total}"})

    def _tell_progress(self, done: int, facts: Mapping[str, str] | None = None) -> None:
        elapsed_s = time.monotonic() - self._started_s
        stage = "look for sharp frames"
        self._on_progress(
            StageProgress(stage=stage, done=done, total=None, unit="frames", elapsed_s=elapsed_s, facts=facts or {})
        )


def drop_duplicates(findings: Sequence[Finding]) -> None:
    """Keep, of frames that look alike in whatever sources, the sharpest; of equally sharp ones the first."""
    everything = [pick for finding in findings for pick in finding.picks.picks]
    kept_hashes: list[int] = []
    kept_ids: set[str] = set()
    for pick in sorted(everything, key=lambda pick: -pick.sharpness):
        hashed = int(pick.perceptual_hash, 16)
        if all(distance_bits(hashed, other) > NEAR_BITS for other in kept_hashes):
            kept_hashes.append(hashed)
            kept_ids.add(pick.frame_id)
    for finding in findings:
        finding.kept = [pick for pick in finding.picks.picks if pick.frame_id in kept_ids]
