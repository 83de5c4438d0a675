"""Windows are mined once for each iGAN. Mining stops when time is up, and the next call goes on from there."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from concertdeblur.progress import StageProgress
from concertdeblur.training.distributed import wait_for_all
from concertdeblur.training.session import Session
from concertdeblur.training.window_store import MINED_PARTS, MinedParts, load_windows, save_windows

WindowsT = TypeVar("WindowsT")


def mined_windows(
    session: Session,
    kind: type[WindowsT],
    origin: dict[str, Any],
    mine: Callable[[int], WindowsT],
    *,
    num_pictures: int,
    batch_size: int,
) -> WindowsT | None:
    """The windows to train pGAN on: those of an earlier call if they have the same origin, else newly mined windows.

    Args:
        session: The call of `train`; the first of its processes mines.
        kind: Dataclass of tensors that holds windows.
        origin: Plain data that says how the windows are mined.
        mine: Mines the windows of a step by its number, in a batch of pictures.
        num_pictures: Number of pictures in which windows are mined, rounded up to whole batches.
        batch_size: Number of pictures of a step.

    Returns:
        The windows; None if there was no time to mine them all.

    Raises:
        Interrupted: If the user wanted to stop; the windows mined so far are saved.
    """
    path = session.out / "mining.safetensors"
    windows = load_windows(path, kind, origin)
    if windows is None:
        try:
            if session.world.is_first:
                parts = MinedParts(session.out / MINED_PARTS, kind, origin)
                if _mine_the_rest(session, parts, mine, num_pictures, batch_size):
                    windows = parts.joined()
                    save_windows(path, windows, origin)
                    parts.remove()
                    _warn_of_other_windows(session)
        finally:
            wait_for_all()  # in any case, because the other processes wait even if the first one is stopped
        windows = windows or load_windows(path, kind, origin)
    if windows is not None:
        session.stands_at, session.done_stage = "mining", "mining"
    return windows


def _mine_the_rest(
    session: Session,
    parts: MinedParts[WindowsT],
    mine: Callable[[int], WindowsT],
    num_pictures: int,
    batch_size: int,
) -> bool:
    """Mine the steps that are left; True if there was time for all of them."""
    begun, done = time.monotonic(), min(num_pictures, parts.step * batch_size)
    begun_at = done
    try:
        while done < num_pictures:
            session.stands_at = f"{done} of {num_pictures} pictures of mining"
            if session.stop.is_set():
                raise session.interrupted()
            if time.monotonic() >= session.until_s:
                return False
            parts.add(mine(parts.step))
            done = min(num_pictures, parts.step * batch_size)
            session.narrator.on_progress(
                StageProgress(
                    stage="mine windows", done=done, total=num_pictures, unit="pictures",
                    elapsed_s=time.monotonic() - begun, begun_at=begun_at,
                )
            )  # fmt: skip
    finally:
        if done < num_pictures:
            parts.save()
    return True


def _warn_of_other_windows(session: Session) -> None:
    if (session.out / "pgan.safetensors").exists():
        session.narrator.on_warning(
            "pGAN was trained on windows of an earlier iGAN; '--stage pgan --restart' trains it on the new ones"
        )
