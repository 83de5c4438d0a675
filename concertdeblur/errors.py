"""Every error that concertdeblur raises on purpose.

::

    ConcertDeblurError
    ├── UsageError (ValueError)              options that contradict each other or are out of range
    ├── SettingsError (ValueError)           a recipe file with an unknown key or a bad value
    ├── SourceError (OSError)                the input is missing, unreadable or not a video or picture
    │   └── BrokenFramesError                broken frames under ``strict``
    ├── TargetError (OSError)                the output cannot be written, or would overwrite something
    ├── UnsupportedStreamError (ValueError)  a stream that this container, codec or backend cannot hold
    ├── WeightsError (ValueError)            weights are missing, altered or of another architecture
    ├── DatasetError (ValueError)            a data set's folder or list that makes no sense, or gave no pair
    ├── TrainingError (RuntimeError)         training cannot start or go on (data, resume, NaN)
    ├── ClusterError (RuntimeError)           no cluster, none of its nodes fits, or it is lost
    ├── MissingDependencyError (ImportError) an optional package or program is not installed
    └── Interrupted (RuntimeError)           the caller asked to stop; the message says how far it got

The command line turns each into one sentence on standard error: exit code 2 for ``UsageError``,
130 for ``Interrupted``, 1 for all others.
"""


class ConcertDeblurError(Exception):
    """Base of all errors raised on purpose; its message is one sentence for a user."""


class UsageError(ConcertDeblurError, ValueError):
    """Options that contradict each other or lie outside their range."""


class SettingsError(ConcertDeblurError, ValueError):
    """A recipe with an unknown key or a value of the wrong kind."""


class SourceError(ConcertDeblurError, OSError):
    """The input is missing, unreadable, or holds no video or picture."""


class BrokenFramesError(SourceError):
    """The input has frames that do not decode, and the caller asked for ``strict``."""


class TargetError(ConcertDeblurError, OSError):
    """The output cannot be written, or writing it would destroy something."""


class UnsupportedStreamError(ConcertDeblurError, ValueError):
    """A stream that the chosen container, codec or backend cannot hold."""


class WeightsError(ConcertDeblurError, ValueError):
    """A weight set is missing, altered, or belongs to another architecture."""


class DatasetError(ConcertDeblurError, ValueError):
    """A data set's folder, list or metadata makes no sense, or nothing could be built."""


class TrainingError(ConcertDeblurError, RuntimeError):
    """Training cannot start or go on: data, resume point, or a loss that is not a number."""


class ClusterError(ConcertDeblurError, RuntimeError):
    """There is no cluster, none of its nodes fits, or it is lost while it works."""


class MissingDependencyError(ConcertDeblurError, ImportError):
    """An optional package or program that this job needs is not installed."""


class Interrupted(ConcertDeblurError, RuntimeError):
    """The caller asked to stop; the message says how far the work got."""
