"""FFmpeg's description of a file in words, which says some things that PyAV does not give."""

import logging
import re
import threading
from typing import Any, cast

import av.logging
from av.container import InputContainer

STREAM = re.compile(r"^\s*Stream #\d+:(\d+)")
_TAG = re.compile(r": \w+: \w+ \((\w+) / 0x[0-9A-Fa-f]+\)")
_log_lock = threading.Lock()


def codec_tag(container: InputContainer, index: int) -> str:
    """The four letters by which a container names a stream's codec; empty if there are none."""
    for line in described(container).splitlines():
        if (match := STREAM.match(line)) and int(match[1]) == index:
            found = _TAG.search(line)
            return found[1] if found else ""
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
