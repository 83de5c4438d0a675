"""`concertdeblur build-dataset`: from a list of clips to blur pairs.

Read `_Build.run` from top to bottom to see the whole job. Results that take long are kept in the folder's cache as soon
as they are there. So a run that was stopped goes on there, and its result is the same.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import av.error

from concertdeblur.dataset import manifest
from concertdeblur.dataset.collection import Collection
from concertdeblur.dataset.downloads import Downloader
from concertdeblur.dataset.findings import Finder, Finding, drop_duplicates
from concertdeblur.dataset.frames import FRAMES_FILE, FrameRecord, frames_text
from concertdeblur.dataset.labels import Suggestions, is_dropped, reviewed
from concertdeblur.dataset.pairs import METADATA_FILE, PairPlace, PairRow, make_pairs
from concertdeblur.dataset.picks import FRAMES_FOLDER
from concertdeblur.dataset.reviews import Review, read_reviews
from concertdeblur.dataset.shots import choose_detector
from concertdeblur.dataset.sources import Entry, Failure, Source, one_line, read_list, utf8_text
from concertdeblur.dataset.split import SplitName, split_sources
from concertdeblur.dataset.summary_page import (
    SHEET_FILE,
    SUMMARY_FILE,
    Picture,
    contact_sheet,
    shown_on_page,
    summary_page,
    thumbnail,
)
from concertdeblur.dataset.versions import versions
from concertdeblur.dataset.workspace import CACHE, MANIFEST_FILE, Workspace, open_workspace, read_png
from concertdeblur.errors import ConcertDeblurError, DatasetError, Interrupted, MissingDependencyError, TargetError
from concertdeblur.media.containers import error_text
from concertdeblur.media.output_file import is_disk_full
from concertdeblur.pipelines.cluster_dataset import find_on_cluster
from concertdeblur.pipelines.dataset_job import LEAST_TRAINED_PX, DatasetJob, DatasetSummary
from concertdeblur.progress import StageProgress

__all__ = ["DatasetJob", "DatasetSummary", "build_dataset"]

T = TypeVar("T")
_SPLITS: tuple[SplitName, ...] = ("train", "test")
_OUR_PICTURE = re.compile(r"[0-9a-f]{12}-[0-9]{8,}(-[a-z0-9-]+)?\.png")


def build_dataset(
    urls: Path,
    target: Path,
    job: DatasetJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    on_failure: Callable[[Exception], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> DatasetSummary:
    """Build a data set, or go on with it.

    Args:
        urls: The list, with a URL, file or folder in each line.
        target: The data set's folder.
        job: The user's choices.
        on_progress: Called now and then in every stage.
        on_warning: Called once for each source that fails, and for each choice that cannot be kept.
        on_failure: Called with the error of a source that fails unexpectedly.
        stop: When set, the run ends with `Interrupted`; the next one goes on.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; what was built stays.

    """
    entries = read_list(urls)
    with open_workspace(target) as workspace:
        telling = _Telling(on_progress=on_progress, on_warning=on_warning, on_failure=on_failure, stop=stop)
        return _Build(entries=entries, list_folder=urls.parent, workspace=workspace, job=job, telling=telling).run()


@dataclass(kw_only=True, slots=True)
class _Telling:
    """How a run reports, and finds out that it should stop."""

    on_progress: Callable[[StageProgress], None]
    on_warning: Callable[[str], None]
    on_failure: Callable[[Exception], None]
    stop: threading.Event | None
    last: StageProgress | None = None

    def counted(self, things: Sequence[T], stage: str, unit: str) -> Iterator[T]:
        """Give the things one by one and report progress; between two of them the run may be stopped."""
        started_s = time.monotonic()
        for done, thing in enumerate(things):
            if self.stop is not None and self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {len(things)} {unit}; run it again to go on")
            self._tell(StageProgress(stage=stage, done=done, total=len(things), unit=unit, elapsed_s=_since(started_s)))
            yield thing
        done = len(things)
        self._tell(StageProgress(stage=stage, done=done, total=done, unit=unit, elapsed_s=_since(started_s)))

    def detail(self, words: str) -> None:
        """Report what is being done with the present thing."""
        if (last := self.last) is not None:
            facts = {"now": words}
            self.on_progress(
                StageProgress(
                    stage=last.stage, done=last.done, total=last.total, unit=last.unit, elapsed_s=last.elapsed_s,
                    facts=facts,
                )
            )  # fmt: skip

    def _tell(self, progress: StageProgress) -> None:
        self.last = progress
        self.on_progress(progress)


@dataclass(kw_only=True, slots=True)
class _Build:
    """One run."""

    entries: list[Entry]
    list_folder: Path
    workspace: Workspace
    job: DatasetJob
    telling: _Telling
    failures: list[Failure] = field(default_factory=list)
    rows: dict[SplitName, list[PairRow]] = field(default_factory=lambda: {"train": [], "test": []})
    thumbs: dict[str, Picture] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)

    def run(self) -> DatasetSummary:
        """Fetch, look, pick, name, split, blur, write: in this order."""
        read_reviews(self.workspace.folder)  # so that unreadable reviews are an error before the work, and not after it
        before = manifest.begin(self.workspace, self.job.lasting(), self.telling.on_warning)
        if self.job.is_too_small_to_train:
            self.telling.on_warning(
                f"with --size {self.job.size} the set cannot be trained with: 'concertdeblur train' takes pictures of"
                f" {LEAST_TRAINED_PX} px and more"
            )
        findings = self._look(before)
        drop_duplicates(findings)
        reviews = read_reviews(self.workspace.folder)
        self._split(findings, reviews)
        records = self._make(findings, reviews, is_fresh=before.versions != versions())
        dropped_ids = frozenset(record.frame_id for record in records if is_dropped(reviews.get(record.frame_id)))
        if records and len(dropped_ids) == len(records):
            self.telling.on_warning("every frame was dropped in review: the data set is empty until one is taken back")
        self._write(before, findings, records)
        self._show(findings, records, dropped_ids)
        self._remove_stale(findings)
        return self._summary(findings)

    def _look(self, before: manifest.Before) -> list[Finding]:
        """The frames of every source; if a source cannot be read now, those that an earlier run found stay."""
        job, telling = self.job, self.telling
        name, make_detector = choose_detector(job.shots)
        finder = Finder(
            self.workspace, job.pick_options, make_detector=make_detector, detector_name=name,
            on_progress=telling.on_progress, on_warning=telling.on_warning,
        )  # fmt: skip
        downloader = Downloader(
            self.workspace.path(CACHE, "downloads"), job.download_options, on_progress=telling.detail,
            on_warning=telling.on_warning, is_needed=lambda sha256: not finder.is_known(sha256), stop=telling.stop,
        )  # fmt: skip
        collection = Collection(self.list_folder, downloader, on_warning=telling.on_warning)
        for entry in telling.counted(self.entries, "fetch", "sources"):
            for failure in self._collected(collection, entry):
                known = [old for old in before.under(failure.address) if finder.is_known(old.sha256)]
                if known:
                    telling.on_warning(f"{failure.address}: {failure.reason}; the frames of an earlier run are kept")
                    collection.add_known(known)
                else:
                    self._fail(failure.address, failure.reason)
        before.check_kinship(collection.sources, telling.on_warning)
        manifest.reopen(self.workspace, before)
        unknown = [source for source in collection.sources if not finder.is_known(source.sha256)]
        if job.cluster is not None and unknown:
            find_on_cluster(
                job.cluster, self.workspace, job.pick_options, job.shots, unknown, on_progress=telling.on_progress,
                on_warning=telling.on_warning, stop=telling.stop,
            )  # fmt: skip
        found = (self._find(finder, collection, source) for source in collection.sources)
        return [finding for finding in found if finding is not None]

    def _collected(self, collection: Collection, entry: Entry) -> Iterator[Failure]:
        """Collect the clips of one line; returns its failures, since any error belongs to that line."""
        try:
            yield from collection.add(entry)
        except Exception as error:
            yield Failure(address=entry.address, reason=self._reason(error))

    def _find(self, finder: Finder, collection: Collection, source: Source) -> Finding | None:
        try:
            finding = finder.find(source, self.telling.stop)
        except Exception as error:
            self._fail(source.address, self._reason(error).removeprefix(f"{source.path}: "))
            collection.forget(source)
            return None
        if not finding.picks.picks:
            reasons = ", ".join(f"{num} {reason}" for reason, num in finding.picks.dropped.items())
            self._fail(source.address, f"no sharp frame was found ({reasons or 'it has hardly any'})")
        return finding

    def _split(self, findings: Sequence[Finding], reviews: Mapping[str, Review]) -> None:
        for finding in findings:
            finding.num_dropped = sum(is_dropped(reviews.get(pick.frame_id)) for pick in finding.kept)
        num_frames = {finding.source.sha256: finding.num_frames for finding in findings if finding.num_frames}
        splits = split_sources(num_frames, self.job.seed)
        for finding in findings:
            finding.split = splits.get(finding.source.sha256)
        if not any(finding.kept for finding in findings):
            raise DatasetError("no source gave a frame; see the warnings above, one for each")
        if len(splits) == 1:
            self.telling.on_warning("only one source gave frames: all are to train with, none to test with")

    def _make(self, findings: Sequence[Finding], reviews: Mapping[str, Review], *, is_fresh: bool) -> list[FrameRecord]:
        """Name every frame, and make the pairs of those that were not dropped."""
        suggestions = Suggestions(self.workspace, versions(), self.telling.on_warning)
        records = []
        todo = [(finding, pick) for finding in findings for pick in finding.kept]
        shown_ids = shown_on_page([pick.frame_id for _, pick in todo])
        for finding, pick in self.telling.counted(todo, "blur", "frames"):
            picture = read_png(self.workspace.folder / pick.picture)
            if picture is None:
                raise DatasetError(f"{self.workspace.folder / pick.picture}: is damaged; delete it and run it again")
            record = FrameRecord(
                frame_id=pick.frame_id, source=finding.source.title, timestamp_s=pick.timestamp_s,
                sharpness=pick.sharpness, picture=pick.picture,
            )  # fmt: skip
            review = reviews.get(pick.frame_id)
            record = reviewed(suggestions.label(record, picture), review)
            records.append(record)
            if pick.frame_id in shown_ids:
                self.thumbs[pick.frame_id] = thumbnail(picture)
            if finding.split is not None and not is_dropped(review):
                place = PairPlace(
                    workspace=self.workspace, split=finding.split, licence=finding.source.licence, is_fresh=is_fresh
                )
                pairs = list(make_pairs(record, picture, self.job.pair_options, place=place))
                self.rows[finding.split] += pairs
                finding.num_pairs += len(pairs)
        return records

    def _write(self, before: manifest.Before, findings: Sequence[Finding], records: Sequence[FrameRecord]) -> None:
        """Write the lists, when everything that they name is there, and then the manifest."""
        workspace, texts = self.workspace, {FRAMES_FILE: frames_text(records)}
        for split in _SPLITS:
            lines = [json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in self.rows[split]]
            texts |= {f"{split}/{METADATA_FILE}": "".join(lines)} if lines else {}
        files = {name: manifest.text_sha256(text) for name, text in texts.items()}
        manifest.reopen(workspace, before, files)
        for name in manifest.WATCHED_FILES:
            path = workspace.path(*name.split("/"))
            if name in texts:
                workspace.write_text(path, texts[name])
            else:
                path.unlink(missing_ok=True)
        made = manifest.manifest_of(self.job.lasting(), findings, self.failures, files)
        workspace.write_json(workspace.path(MANIFEST_FILE), made)

    def _show(self, findings: Sequence[Finding], records: Sequence[FrameRecord], dropped_ids: frozenset[str]) -> None:
        rows = [row for split in _SPLITS for row in self.rows[split]]
        page = summary_page(findings, records, dropped_ids, rows, thumbs=self.thumbs, failures=self.failures)
        self.workspace.write_text(self.workspace.path(SUMMARY_FILE), page)
        kept_ids = [record.frame_id for record in records if record.frame_id not in dropped_ids]
        shown = [self.thumbs[frame_id] for frame_id in kept_ids if frame_id in self.thumbs]
        self.workspace.write_png(self.workspace.path(SHEET_FILE), contact_sheet(shown))

    def _remove_stale(self, findings: Sequence[Finding]) -> None:
        """Delete our pictures that no list names any more: of dropped frames, and of sources that left the list."""
        named = {FRAMES_FOLDER: {f"{pick.frame_id}.png" for finding in findings for pick in finding.picks.picks}}
        for split in _SPLITS:
            rows = self.rows[split]
            named[split] = {row.file_name for row in rows} | {row.sharp_file_name for row in rows}
        for folder, names in named.items():
            if not (path := self.workspace.path(folder)).is_dir():
                continue
            for file in path.iterdir():
                if _OUR_PICTURE.fullmatch(file.name) and file.name not in names:
                    file.unlink()
            if not any(path.iterdir()):
                path.rmdir()

    def _summary(self, findings: Sequence[Finding]) -> DatasetSummary:
        dropped: Counter[str] = Counter()
        for finding in findings:
            dropped.update(finding.dropped)
        return DatasetSummary(
            target=self.workspace.folder,
            num_sources=sum(finding.num_frames > 0 for finding in findings),
            num_failed=len(self.failures),
            num_frames=sum(finding.num_frames for finding in findings),
            num_pairs=sum(map(len, self.rows.values())),
            num_test_pairs=len(self.rows["test"]),
            dropped=dict(sorted(dropped.items())),
            elapsed_s=round(time.monotonic() - self.started_s, 3),
            summary_page=self.workspace.folder / SUMMARY_FILE,
        )

    def _reason(self, error: Exception) -> str:
        """The reason why a source fails; an error that is not the source's is raised again."""
        if isinstance(error, (Interrupted, TargetError, MissingDependencyError)) or is_disk_full(error):
            raise error
        if isinstance(error, ConcertDeblurError):
            return str(error)
        if isinstance(error, av.error.FFmpegError):
            return f"FFmpeg cannot read it ({error_text(error)})"
        self.telling.on_failure(error)
        reason = f"{type(error).__name__}: {one_line(str(error))}"
        return f"cannot be processed ({reason}); --debug tells more, for a bug report"

    def _fail(self, address: str, reason: str) -> None:
        address, reason = utf8_text(address), utf8_text(reason)
        self.failures.append(Failure(address=address, reason=reason))
        self.telling.on_warning(reason if address in reason else f"{address}: {reason}")


def _since(started_s: float) -> float:
    return time.monotonic() - started_s
