"""concertdeblur: blurry concert footage in, sharper footage out, sound and timing untouched.

    import concertdeblur
    sharper = concertdeblur.load("concert").deblur(frames)

The public names are loaded on first use, since torch takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from concertdeblur.version import __version__

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredFrame, DeblurredPicture, Deblurrer
    from concertdeblur.errors import ConcertDeblurError
    from concertdeblur.frame import Frame, StreamInfo
    from concertdeblur.pretrained import load

__all__ = [
    "ConcertDeblurError",
    "DeblurOptions",
    "DeblurredFrame",
    "DeblurredPicture",
    "Deblurrer",
    "Frame",
    "StreamInfo",
    "__version__",
    "load",
]

_HOMES = {
    "ConcertDeblurError": "errors",
    "DeblurOptions": "deblurring.deblurrer",
    "DeblurredFrame": "deblurring.deblurrer",
    "DeblurredPicture": "deblurring.deblurrer",
    "Deblurrer": "deblurring.deblurrer",
    "Frame": "frame",
    "StreamInfo": "frame",
    "load": "pretrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'concertdeblur' has no attribute '{name}'")
    return getattr(import_module(f"concertdeblur.{_HOMES[name]}"), name)
