"""Frames -> a video file: what every writer can do. `backends` opens one; `encoding` says how it encodes."""

from typing import Protocol

from concertdeblur.frame import Frame


class VideoWriter(Protocol):
    """Writes one video stream, and the companions around it; used from one thread at a time."""

    def write(self, frame: Frame) -> None:
        """Encode one frame; pts must grow."""

    def finish(self) -> None:
        """Drain the encoder, copy the rest of the other streams, complete the file."""

    def close(self) -> None:
        """Release everything, also in the middle; safe after `finish`."""

    def __enter__(self) -> "VideoWriter":
        """Give the writer itself."""

    def __exit__(self, *_: object) -> None:
        """Close."""
