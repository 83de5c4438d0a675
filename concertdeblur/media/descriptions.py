"""FFmpeg's description of a file in words, which says some things that PyAV does not give."""

import logging
import re
import threading
from typing import Any, cast

import av.logging
from av.container import InputContainer
from av.stream import Stream

STREAM = re.compile(r"^\s*Stream #\d+:(\d+)")
_TAG = re.compile(r": \w+: \w+ \((\w+) / 0x[0-9A-Fa-f]+\)")
_OWN_ORDER = re.compile(r"\b\d+ channels \(")
_log_lock = threading.Lock()


def codec_tag(container: InputContainer, index: int) -> str:
    """The four letters by which a container names a stream's codec; empty if there are none."""
    found = _TAG.search(_line(container, index))
    return found[1] if found else ""


def has_own_channel_order(stream: Stream) -> bool:
    """Whether sound names its channels one by one, in an order that is none of FFmpeg's layouts.

    Reading `layout` of such a codec context ends the process: PyAV 18 frees the names, which FFmpeg frees again. So do
    its decoded frames.
    """
    return bool(_OWN_ORDER.search(_line(cast(InputContainer, stream.container), stream.index)))


def _line(container: InputContainer, index: int) -> str:
    """The line of FFmpeg's description about one stream; empty if there is none."""
    for line in described(container).splitlines():
        if (match := STREAM.match(line)) and int(match[1]) == index:
            return line
    return ""


def described(container: InputContainer) -> str:
    """FFmpeg's description of a file, which PyAV gives only while its logging is on."""
    logger = logging.getLogger("libav")
    with _log_lock:
        level, muted = av.logging.get_level(), logger.disabled
        av.logging.set_level(av.logging.INFO)
        logger.disabled = True  # other threads' messages stay unseen as before
        try:
            return str(cast(Any, container).dumps_format())  # missing in PyAV's stub
        finally:
            av.logging.set_level(level)
            logger.disabled = muted
