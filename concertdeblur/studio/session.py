"""One run of `concertdeblur studio`: clips that are named are taken up, the page is served, work goes on."""

import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concertdeblur.pages.server import missing_extra, serve
from concertdeblur.studio.clips import Clips
from concertdeblur.studio.workspace import StudioIsOpenError, Workspace

_LOOK_S = 1.0  # between two looks for clips of a second call of the command


@dataclass(frozen=True, kw_only=True, slots=True)
class StudioSummary:
    """How the studio was left."""

    folder: Path
    num_clips: int
    num_done: int
    num_at_work: int  # which the next start goes on with

    def text(self) -> str:
        """One line."""
        left = f"; {self.num_at_work} at work, which the next start goes on with" if self.num_at_work else ""
        return f"The studio is closed. Clips: {self.num_clips}, done: {self.num_done}{left}."


def open_studio(
    sources: Sequence[Path], folder: Path, networks: dict[str, Any], *, stop: threading.Event,
    on_ready: Callable[[str], None], on_warning: Callable[[str], None] = lambda _: None, open_browser: bool = True,
) -> StudioSummary | None:  # fmt: skip
    """Serve the studio's page until `stop` is set.

    Args:
        sources: Clips and pictures that are read where they lie.
        folder: Where the studio keeps clips, records and outputs; made if missing.
        networks: What deblurs, as `previewing.Networks` takes it.
        stop: Ends the studio; work in hand is kept.
        on_ready: Told the page's address, which holds the token.
        on_warning: Told of each clip that is in the folder and cannot be shown.
        open_browser: Open the page in the user's browser.

    Returns:
        How it was left; None if a studio was open there already, whose page has the clips now.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user.

    """
    try:
        from concertdeblur.studio.api import make_studio_app
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    workspace = Workspace(folder)
    try:
        with workspace:
            for lost in workspace.unreadable():
                on_warning(f"{lost}: its clip.json cannot be read by this version, so its clip is not shown, but kept")
            for source in sources:
                workspace.add_in_place(source)
            clips = Clips(workspace, networks)
            app = make_studio_app(clips, workspace, has_choice=not networks.get("weights"))

            def tell(address: str) -> None:
                workspace.tell_address(address)
                on_ready(address)

            try:
                clips.begin()
                threading.Thread(target=_look_for_new, args=(clips,), daemon=True).start()
                serve(
                    app, stop=stop, on_ready=tell, open_browser=open_browser, before_end=clips.close,
                    large_paths=("/api/clips",),
                )  # fmt: skip
            finally:
                clips.close()
            return _summary(folder, clips)
    except StudioIsOpenError as open_already:
        for source in sources:
            workspace.add_in_place(source)
        on_ready(open_already.address)
        if open_browser:
            webbrowser.open(open_already.address)
        return None


def _look_for_new(clips: Clips) -> None:
    waiting = threading.Event()
    while not clips.is_closed:
        clips.look_for_new()
        waiting.wait(_LOOK_S)


def _summary(folder: Path, clips: Clips) -> StudioSummary:
    states = [view["state"] for view in clips.views()]
    at_work = sum(state in ("waiting", "running", "paused") for state in states)
    return StudioSummary(folder=folder, num_clips=len(states), num_done=states.count("done"), num_at_work=at_work)
