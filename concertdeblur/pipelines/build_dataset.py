"""`concertdeblur build-dataset`: from a list of clips to blur pairs.

Read `_Build.run` from top to bottom to see the whole job. Whatever takes long is kept in the folder's cache as soon
as it is done, so that a run which was stopped goes on there and ends the same.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av.error

from concertdeblur.dataset import manifest
from concertdeblur.dataset.duplicates import NEAR_BITS, distance_bits
from concertdeblur.dataset.frames import FRAMES_FILE, FrameRecord, write_frames
from concertdeblur.dataset.pairs import METADATA_FILE, PairRow, make_pairs
from concertdeblur.dataset.picks import FRAMES_FOLDER, Pick, Picks, pick_frames
from concertdeblur.dataset.scan import Scan, scan_clip
from concertdeblur.dataset.shots import SceneDetectCuts
from concertdeblur.dataset.sources import Entry, Failure, Source, file_digest, local_clips, plain, read_list
from concertdeblur.dataset.split import SplitName, split_sources
from concertdeblur.dataset.workspace import MANIFEST_FILE, Workspace, open_workspace, read_json, read_png
from concertdeblur.errors import ConcertDeblurError, DatasetError, Interrupted, SourceError, TargetError
from concertdeblur.media.containers import error_text
from concertdeblur.pipelines.dataset_job import DatasetJob, DatasetSummary
from concertdeblur.progress import StageProgress

__all__ = ["DatasetJob", "DatasetSummary", "build_dataset"]

_PICKER = 1  # counts up whenever other frames would be picked


def build_dataset(
    urls: Path,
    target: Path,
    job: DatasetJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> DatasetSummary:
    """Build a data set, or go on with it.

    Args:
        urls: The list: a URL, file or folder a line.
        target: The data set's folder.
        job: The user's choices.
        on_progress: Called now and then in every stage.
        on_warning: Called once for each source that fails, and for what is not as asked for.
        stop: When set, the run ends with `Interrupted`; the next one goes on.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; what was built stays.

    """
    entries = read_list(urls)
    with open_workspace(target) as workspace:
        return _Build(
            entries=entries, list_folder=urls.parent, workspace=workspace, job=job, on_progress=on_progress,
            on_warning=on_warning, stop=stop,
        ).run()  # fmt: skip


@dataclass(kw_only=True, slots=True)
class _Found:
    """What one source gave."""

    source: Source
    scan: Scan
    picks: Picks
    kept: list[Pick] = field(default_factory=list)  # that no other source shows
    split: SplitName | None = None
    num_pairs: int = 0


@dataclass(kw_only=True, slots=True)
class _Build:
    """One run."""

    entries: list[Entry]
    list_folder: Path
    workspace: Workspace
    job: DatasetJob
    on_progress: Callable[[StageProgress], None]
    on_warning: Callable[[str], None]
    stop: threading.Event | None
    failures: list[Failure] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)

    def run(self) -> DatasetSummary:
        """Fetch, look, pick, blur, write: in this order."""
        manifest.begin(self.workspace, self.job.lasting(), self.on_warning)
        found = self._look(self._fetch())
        self._drop_duplicates(found)
        self._split(found)
        records = self._records(found)
        rows = self._pairs(found, records)
        self._write(found, records, rows)
        return self._summary(found, records, rows)

    def _fetch(self) -> list[Source]:
        """Every clip that can be had, in the order of the list, none twice."""
        sources: dict[str, Source] = {}
        titles: set[str] = set()
        for entry in self._counted(self.entries, "fetch", "sources"):
            for address, path in self._clips_of(entry):
                try:
                    sha256 = file_digest(path)
                except SourceError as error:
                    self._fail(address, error)
                    continue
                if sha256 in sources and sources[sha256].address == address:
                    self._warn(f"{address}: is in the list twice; it is taken once")
                    continue
                if sha256 in sources:
                    self._warn(f"{address}: is the same clip as {sources[sha256].address}; it is taken once")
                    continue
                title = entry.title if entry.title and address == entry.address else plain(path.stem)
                title = title if title and title not in titles else plain(f"{title} ({sha256[:8]})")
                titles.add(title)
                sources[sha256] = Source(address=address, path=path, sha256=sha256, title=title, licence=entry.licence)
        return list(sources.values())

    def _clips_of(self, entry: Entry) -> list[tuple[str, Path]]:
        try:
            if entry.is_url:
                raise SourceError("URLs are not fetched yet")
            return local_clips(entry, self.list_folder)
        except SourceError as error:
            self._fail(entry.address, error)
            return []

    def _look(self, sources: Sequence[Source]) -> list[_Found]:
        """Scan and pick, source by source; each is kept in the cache once it is done."""
        found = []
        for number, source in enumerate(sources):
            where = f"{number + 1} of {len(sources)}"
            try:
                scan, picks = self._scan_and_pick(source, where)
            except (Interrupted, TargetError):
                raise
            except av.error.FFmpegError as error:
                self._fail(source.address, SourceError(f"FFmpeg cannot read it ({error_text(error)})"))
                continue
            except ConcertDeblurError as error:
                self._fail(source.address, error)
                continue
            if not picks.picks:
                reasons = ", ".join(f"{num} {reason}" for reason, num in picks.dropped.items()) or "it has no frames"
                self._fail(source.address, SourceError(f"no sharp frame was found ({reasons})"))
            found.append(_Found(source=source, scan=scan, picks=picks))
        return found

    def _scan_and_pick(self, source: Source, where: str) -> tuple[Scan, Picks]:
        cached = self.workspace.path(".cache", "sources", f"{source.key}-{self._fingerprint()}.json")
        row = read_json(cached)
        if row is not None:
            scan, picks = Scan.from_json(row["scan"]), Picks.from_json(row["picks"])
            if all(self.workspace.path(FRAMES_FOLDER, f"{pick.frame_id}.png").exists() for pick in picks.picks):
                return scan, picks
        started_s, stage = time.monotonic(), f"look for sharp frames ({where})"

        def tell(num_frames: int) -> None:
            if num_frames % 25 == 0:
                self.on_progress(
                    StageProgress(
                        stage=stage, done=num_frames, total=None, unit="frames", elapsed_s=time.monotonic() - started_s
                    )
                )

        scan = scan_clip(source.path, SceneDetectCuts, on_frame=tell, on_warning=self._warn, stop=self.stop)
        picks = pick_frames(source, scan, self.job.pick_options, self.workspace, stop=self.stop)
        self.workspace.write_json(cached, {"scan": scan.to_json(), "picks": picks.to_json()})
        return scan, picks

    def _fingerprint(self) -> str:
        """Of all that decides which frames of a clip are picked."""
        facts = [_PICKER, self.job.shots, asdict(self.job.pick_options), manifest.versions()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def _drop_duplicates(self, found: Sequence[_Found]) -> None:
        """Of frames that look alike in different sources, keep the sharpest; of equal ones the first."""
        everything = [(pick, one) for one in found for pick in one.picks.picks]
        everything.sort(key=lambda item: -item[0].sharpness)
        kept_hashes: list[int] = []
        kept_ids: set[str] = set()
        for pick, _ in everything:
            hashed = int(pick.perceptual_hash, 16)
            if all(distance_bits(hashed, other) > NEAR_BITS for other in kept_hashes):
                kept_hashes.append(hashed)
                kept_ids.add(pick.frame_id)
        for one in found:
            one.kept = [pick for pick in one.picks.picks if pick.frame_id in kept_ids]

    def _split(self, found: Sequence[_Found]) -> None:
        num_frames = {one.source.sha256: len(one.kept) for one in found if one.kept}
        splits = split_sources(num_frames, self.job.seed)
        for one in found:
            one.split = splits.get(one.source.sha256)
        if len(splits) == 1:
            self._warn("only one source gave frames: all of them are to train with, none to test with")
        if not splits:
            raise DatasetError("no source gave a frame; see the warnings above for each")

    def _records(self, found: Sequence[_Found]) -> dict[str, FrameRecord]:
        return {
            pick.frame_id: FrameRecord(
                frame_id=pick.frame_id, source=one.source.title, timestamp_s=pick.timestamp_s,
                sharpness=pick.sharpness, picture=pick.picture,
            )
            for one in found
            for pick in one.kept
        }  # fmt: skip

    def _pairs(self, found: Sequence[_Found], records: dict[str, FrameRecord]) -> dict[SplitName, list[PairRow]]:
        rows: dict[SplitName, list[PairRow]] = {"train": [], "test": []}
        todo = [(one, pick) for one in found for pick in one.kept]
        for one, pick in self._counted(todo, "blur", "frames"):
            picture = read_png(self.workspace.folder / pick.picture)
            if picture is None:
                raise DatasetError(f"{self.workspace.folder / pick.picture}: is damaged; delete it and run it again")
            assert one.split is not None
            made = list(
                make_pairs(
                    records[pick.frame_id], picture, self.job.pair_options, split=one.split,
                    licence=one.source.licence, workspace=self.workspace,
                )
            )  # fmt: skip
            one.num_pairs += len(made)
            rows[one.split] += made
        return rows

    def _write(
        self, found: Sequence[_Found], records: dict[str, FrameRecord], rows: dict[SplitName, list[PairRow]]
    ) -> None:
        """Lists last: what they name is there."""
        workspace, files = self.workspace, {}
        write_frames(workspace.folder, records.values())
        files[FRAMES_FILE] = manifest.file_sha256(workspace.folder / FRAMES_FILE)
        for split, some in rows.items():
            if not some:
                continue
            path = workspace.path(split, METADATA_FILE)
            workspace.write_text(path, "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in some))
            files[f"{split}/{METADATA_FILE}"] = manifest.file_sha256(path)
        sources = [
            manifest.SourceRecord(
                source=one.source.title, address=one.source.address, sha256=one.source.sha256,
                licence=one.source.licence, split=one.split or "", num_frames=len(one.kept), num_pairs=one.num_pairs,
                duration_s=one.scan.duration_s, num_shots=one.scan.num_shots, dropped=self._dropped(one),
            )
            for one in found
        ]  # fmt: skip
        made = manifest.manifest_of(self.job.lasting(), sources, self.failures, files)
        workspace.write_json(workspace.path(MANIFEST_FILE), made)

    def _dropped(self, one: _Found) -> dict[str, int]:
        num_alike = len(one.picks.picks) - len(one.kept)
        return {**one.picks.dropped, **({"like a frame of another source": num_alike} if num_alike else {})}

    def _summary(
        self, found: Sequence[_Found], records: dict[str, FrameRecord], rows: dict[SplitName, list[PairRow]]
    ) -> DatasetSummary:
        dropped: Counter[str] = Counter()
        for one in found:
            dropped.update(self._dropped(one))
        return DatasetSummary(
            target=self.workspace.folder,
            num_sources=sum(bool(one.kept) for one in found),
            num_failed=len(self.failures),
            num_frames=len(records),
            num_pairs=sum(map(len, rows.values())),
            num_test_pairs=len(rows["test"]),
            dropped=dict(sorted(dropped.items())),
            elapsed_s=round(time.monotonic() - self.started_s, 3),
            summary_page=self.workspace.folder / "summary.html",
        )

    def _counted(self, things: Sequence[Any], stage: str, unit: str) -> Iterator[Any]:
        """The things one by one, told as progress; a stop is seen between them."""
        started_s = time.monotonic()
        for done, thing in enumerate(things):
            if self.stop is not None and self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {len(things)} {unit}; run it again to go on")
            yield thing
            elapsed_s = time.monotonic() - started_s
            self.on_progress(
                StageProgress(stage=stage, done=done + 1, total=len(things), unit=unit, elapsed_s=elapsed_s)
            )

    def _fail(self, address: str, error: Exception) -> None:
        reason = str(error)
        self.failures.append(Failure(address=address, reason=reason))
        self._warn(reason if address in reason else f"{address}: {reason}")

    def _warn(self, message: str) -> None:
        self.on_warning(message)
