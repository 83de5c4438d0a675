"""`concertdeblur annotate`: serve the review page until asked to stop."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from concertdeblur.dataset.frames import FrameRecord, read_frames
from concertdeblur.dataset.reviews import ReviewLog
from concertdeblur.errors import DatasetError
from concertdeblur.pages.server import missing_extra, serve


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotateSummary:
    """The numbers of a review."""

    dataset: Path
    num_frames: int
    num_reviewed: int  # frames with a decision, of this run or an earlier one
    num_dropped: int  # frames that were dropped, of these
    num_now: int  # frames decided in this run

    def text(self) -> str:
        """One line."""
        return (
            f"{self.num_now} frames reviewed now, {self.num_reviewed} of {self.num_frames} in all,"
            f" {self.num_dropped} dropped; build-dataset applies it on its next run"
        )


def annotate(
    dataset: Path, *, stop: threading.Event, on_ready: Callable[[str], None], open_browser: bool = True
) -> AnnotateSummary:
    """Serve the review page of a data set on the loopback until `stop` is set.

    Args:
        dataset: Folder that build-dataset made.
        stop: Ends the server.
        on_ready: Called with the page's address, which holds the token.
        open_browser: Open the page in the user's browser.

    Raises:
        DatasetError: If the folder is no data set, its files make no sense, or it is being reviewed already.
        MissingDependencyError: Without FastAPI and uvicorn.

    """
    try:
        from concertdeblur.dataset.review_server import ReviewSession, make_review_app
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    records = read_frames(dataset)
    if not records:
        raise DatasetError(f"{dataset}: has no frame to review")
    pictures = {record.frame_id: _picture(dataset, record) for record in records}
    with ReviewLog(dataset) as log:
        session = ReviewSession(log)
        app = make_review_app(records, pictures, session)
        serve(app, stop=stop, on_ready=on_ready, open_browser=open_browser)
        reviews = {
            record.frame_id: log.reviews[record.frame_id] for record in records if record.frame_id in log.reviews
        }
        return AnnotateSummary(
            dataset=dataset,
            num_frames=len(records),
            num_reviewed=len(reviews),
            num_dropped=sum(not review.keep for review in reviews.values()),
            num_now=len(session.decided),
        )


def _picture(dataset: Path, record: FrameRecord) -> Path:
    """The frame's file, which must lie inside the data set, links followed."""
    path = (dataset / record.picture).resolve()
    if not path.is_relative_to(dataset.resolve()):
        raise DatasetError(f"{dataset}: picture {record.picture} lies outside the data set")
    return path
