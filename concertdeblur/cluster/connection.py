"""A Ray cluster that runs already, joined for as long as a block lasts."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from concertdeblur.errors import ClusterError, MissingDependencyError, UsageError

AUTO = "auto"
_KNOCK_S = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster; gives the module `ray`.

    Args:
        address: `HOST:PORT` of the cluster's head, or "auto": the cluster that this machine belongs to.

    Raises:
        MissingDependencyError: If Ray is not installed.
        UsageError: If the address is none.
        ClusterError: If no cluster answers there, or it runs other versions of Ray or Python.

    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)  # as Ray's own commands do
    if address != AUTO:
        _knock(address)
    # Ray's own processes would talk to standard error, and report what is done with them
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("Ray is not installed; install 'concertdeblur[cluster]'") from error
    # Ray prints what happens to nodes on standard output, which belongs to the commands. It has no option against that.
    ray._private.worker.print_to_stdstream = _unheard
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if is_main else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
    except Exception as error:
        raise ClusterError(_refusal(address, error)) from error
    finally:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See whether anybody answers: Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16 and "/" not in host):
        raise UsageError(
            f"--cluster takes auto or HOST:PORT of a cluster that this machine belongs to, but it is {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
    except OSError as error:
        why = error.strerror or error
        raise ClusterError(f"nobody answers at {address} ({why}); is it the address of the cluster's head?") from error


def _refusal(address: str, error: Exception) -> str:
    """Why a cluster cannot be joined."""
    text = " ".join(str(error).split())
    if "version mismatch" in text.lower():
        return f"the cluster at {address} runs other versions of Ray or Python than this machine ({text[:200]})"
    if address == AUTO:
        return (
            "no Ray cluster runs on this machine; start one with `ray start --head`, join one with `ray start"
            " --address=HOST:PORT`, or name the address of one that this machine belongs to"
        )
    return f"no Ray cluster of this machine answers at {address} ({text[:200] or type(error).__name__})"


def _unheard(*_message: object, **_choices: object) -> None:
    """Print nothing."""
