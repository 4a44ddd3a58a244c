"""CRIU's own Python interface: class ``criu`` with requests as messages."""

import os
import socket

from . import _native, _worker  # noqa: F401  the second names the worker
from . import rpc_pb2 as rpc
from ._errors import CRIUExceptionExternal, CRIUExceptionInternal, Error, Unsupported

CR_DEFAULT_SERVICE_ADDRESS = "./criu_service.socket"


class criu:
    """Calls the engine with the options in ``opts``, a ``rpc.criu_opts`` message.

    The engine is the package's own; ``use_sk``, ``use_fd`` and ``use_binary`` name another one.
    """

    def __init__(self):
        self.opts = rpc.criu_opts()
        self._engine = {"binary": None, "address": None, "fd": None}
        self._connection = _native.Connection()

    def use_sk(self, sk_name):
        """Use the service that listens on this socket."""
        self._use(address=os.fspath(sk_name))

    def use_fd(self, fd):
        """Use the engine at the other end of this connected socket (a number or a socket object)."""
        self._use(fd=fd.fileno() if isinstance(fd, socket.socket) else fd)

    def use_binary(self, bin_name):
        """Use this ``criu`` program; a name without a slash is looked up in PATH."""
        self._use(binary=os.fspath(bin_name))

    def check(self):
        """Raises CRIUExceptionExternal when this kernel lacks what is needed."""
        self._ask(rpc.CHECK)

    def dump(self):
        """Saves the tree of ``opts.pid``, or of this process; returns the ``criu_dump_resp``, whose ``restored`` tells the
        restored process from the one that was saved."""
        return self._ask(rpc.DUMP).dump

    def pre_dump(self):
        """Saves the memory of the tree and lets it run on."""
        self._ask(rpc.PRE_DUMP)

    def restore(self):
        """Restores the tree; returns the ``criu_restore_resp`` with its root's ``pid``."""
        return self._ask(rpc.RESTORE).restore

    def page_server_chld(self):
        """Starts a page server; returns the ``criu_page_server_info`` with its ``pid`` and ``port``."""
        return self._ask(rpc.PAGE_SERVER_CHLD, keep_open=True).ps

    def wait_pid(self, pid):
        """Waits for a page server to end; returns its status."""
        return self._ask(rpc.WAIT_PID, pid=pid).status

    def _use(self, **engine):
        self._engine = dict({"binary": None, "address": None, "fd": None}, **engine)
        self._connection = _native.Connection()

    def _ask(self, kind, **fields):
        request = rpc.criu_req(type=kind, **fields)
        request.opts.MergeFrom(self.opts)
        if not request.opts.HasField("images_dir_fd"):
            request.opts.images_dir_fd = -1
        functions = {"progress": None, "log": None, "log_level": 0, "notify": None}
        try:
            answer = self._connection.exchange(request.SerializeToString(), self._engine, functions)
        except CRIUExceptionInternal:
            raise
        except Error as e:
            answered = rpc.EMPTY if isinstance(e, Unsupported) else kind
            raise CRIUExceptionExternal(kind, answered, e.errno, e) from e
        return rpc.criu_resp.FromString(answer)
