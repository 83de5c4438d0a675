"""Frames are put aside on disk, because a clip that is deblurred in several ways does not fit into memory."""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import TargetError


class FrameSpool:
    """Frames of one size, written once and then read in order. Closing deletes them. Not thread-safe."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._shape: tuple[int, ...] = ()

    def add(self, picture: Picture) -> None:
        """Put a frame aside, (height, width, 3) RGB.

        Raises:
            TargetError: If the disk is full.
        """
        self._shape = picture.shape
        try:
            self._file.write(np.ascontiguousarray(picture).data)
        except OSError as error:
            where = tempfile.gettempdir()
            raise TargetError(f"{where}: frames cannot be put aside there ({error.strerror or error})") from error

    def frames(self) -> Iterator[Picture]:
        """All frames, in order."""
        self._file.seek(0)
        size = int(np.prod(self._shape))
        while raw := self._file.read(size):
            yield np.frombuffer(raw, dtype=np.uint8).reshape(self._shape)

    def __enter__(self) -> Self:
        """Give the spool itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Delete the frames."""
        self._file.close()
