"""Every exception of the package."""

import os
from typing import NamedTuple


class Blocker(NamedTuple):
    """State that stands in the way of a dump or restore."""

    pid: int
    phase: str
    object: str
    cause: str
    hint: str
    errno: int

    def __str__(self):
        where = f"pid {self.pid} " if self.pid else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.object}: {self.cause}{hint}"


class CRIUException(Exception):
    """What everything that fails raises; the base of the others."""


class CRIUExceptionInternal(CRIUException):
    """The engine was not reached, or did not answer as it should."""


class Error(CRIUException):
    """An operation failed, and everything is as it was before.

    Its text says all of it; the attributes say it piece by piece.
    """

    def __init__(self, message, pid=0, phase="", object="", cause="", hint="", errno=0, blockers=()):
        super().__init__(message)
        self.message = message
        #: The process concerned; 0 when it is about no single one.
        self.pid = pid
        #: The phase of the operation; ``client`` when the engine was never reached.
        self.phase = phase
        self.object = object
        self.cause = cause
        #: The option or step that would help; empty when there is none.
        self.hint = hint
        #: A positive errno, 0 for none.
        self.errno = errno
        #: Everything that stood in the way, when it was more than one thing.
        self.blockers = tuple(blockers)

    def __str__(self):
        further = [b for b in map(str, self.blockers) if b not in self.message]
        return "\n  ".join([self.message, *further])

    def __reduce__(self):
        state = (self.message, self.pid, self.phase, self.object, self.cause, self.hint, self.errno, self.blockers)
        return type(self), state


class Blocked(Error):
    """There is state that cannot be saved or restored; ``blockers`` lists all of it."""


class OptionError(Error, ValueError):
    """Options that are wrong or contradict each other."""


class NoProcess(Error):
    """There is no such process."""


class PidTaken(Error):
    """A pid to be restored belongs to another process."""


class Cancelled(Error):
    """The operation was cancelled."""


class DeadlineExceeded(Error):
    """The operation did not end within its deadline."""


class WorkerError(Error, CRIUExceptionInternal):
    """The engine could not be started or reached, died, or answered nonsense."""


class Unsupported(Error):
    """The engine does not know this request."""


class CallbackRefused(Error):
    """A ``notify`` function said no."""


_NAMES = {0: "EMPTY", 1: "DUMP", 2: "RESTORE", 3: "CHECK", 4: "PRE_DUMP", 5: "PAGE_SERVER", 7: "CPUINFO_DUMP",
          8: "CPUINFO_CHECK", 9: "FEATURE_CHECK", 10: "VERSION", 11: "WAIT_PID", 12: "PAGE_SERVER_CHLD",
          13: "SINGLE_PRE_DUMP"}


class CRIUExceptionExternal(CRIUException):
    """The engine said no to a request of class ``criu``."""

    def __init__(self, req_typ, resp_typ, errno, error=None):
        super().__init__(req_typ, resp_typ, errno)
        self.typ = req_typ
        self.resp_typ = resp_typ
        self.errno = errno
        #: The ``pycriu.Error`` with everything that is known about it, if there is one.
        self.error = error

    def __str__(self):
        name = _NAMES.get(self.typ, self.typ)
        if self.error is not None:
            return f"{name}: {self.error}"
        if self.typ != self.resp_typ:
            return f"{name} was answered by {_NAMES.get(self.resp_typ, self.resp_typ)}"
        return f"{name} failed: {os.strerror(self.errno) if self.errno else 'the log has the reason'}"


class ImageError(ValueError):
    """An image that is damaged, or an object of which no image can be made."""

    def __init__(self, file, offset, reason):
        super().__init__(file, offset, reason)
        #: The file, or the part of the object.
        self.file = file
        #: Where in the file; None for an object.
        self.offset = offset
        self.reason = reason

    def __str__(self):
        at = "" if self.offset is None else f" offset {self.offset}:"
        return f"{self.file}:{at} {self.reason}"


class MagicException(ImageError):
    """The magic is that of no image. Files of raw memory (pages-*.img) have none at all."""

    def __init__(self, magic, file="image"):
        super().__init__(file, 0, f"magic {magic:#x} is that of no image (pages-*.img have none)")
        self.magic = magic

    def __reduce__(self):
        return type(self), (self.magic, self.file)
