"""Checkpoint and restore of processes, with the engine inside.

    import pycriu

    pycriu.dump(4213, "/var/tmp/checkpoint", shell_job=True)
    pycriu.restore("/var/tmp/checkpoint", shell_job=True)

Options are the fields of ``criu_opts``. What fails raises ``pycriu.Error``, and leaves everything as it was; its attributes
tell pid, phase, object, cause, hint, errno and all blockers. ``pycriu.aio`` has the same functions for asyncio,
``pycriu.images`` reads and writes images. Class ``criu`` with its exceptions is CRIU's own Python interface.
"""

from . import _messages, images  # noqa: F401  the first finds the *_pb2 modules
from . import rpc_pb2 as rpc  # noqa: F401
from ._errors import (
    Blocked,
    Blocker,
    CallbackRefused,
    Cancelled,
    CRIUException,
    CRIUExceptionExternal,
    CRIUExceptionInternal,
    DeadlineExceeded,
    Error,
    NoProcess,
    OptionError,
    PidTaken,
    Unsupported,
    WorkerError,
)
from ._native import Canceller
from ._native import version as __version__
from ._operations import check, checkpoint, dump, features, pre_dump, preflight, restore, version
from ._service import CR_DEFAULT_SERVICE_ADDRESS, criu
from . import aio  # noqa: F401  isort:skip

__all__ = [
    "Blocked", "Blocker", "CallbackRefused", "Cancelled", "Canceller", "CRIUException", "CRIUExceptionExternal",
    "CRIUExceptionInternal", "CR_DEFAULT_SERVICE_ADDRESS", "DeadlineExceeded", "Error", "NoProcess", "OptionError",
    "PidTaken", "Unsupported", "WorkerError", "__version__", "aio", "check", "checkpoint", "criu", "dump", "features", "images",
    "pre_dump", "preflight", "restore", "rpc", "version",
]
