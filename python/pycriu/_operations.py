"""The operations as functions."""

import contextlib
import difflib
import os
import tempfile

from . import _native, _worker  # noqa: F401  the second names the worker
from . import rpc_pb2 as _rpc
from ._errors import OptionError

_FIELDS = {field.name: field for field in _rpc.criu_opts.DESCRIPTOR.fields}
#: Set by the functions themselves.
_OWN = {"images_dir_fd", "images_dir", "pid", "notify_scripts", "extended", "progress", "log_messages", "deadline_ms"}


def dump(pid, images_dir, *, progress=None, log=None, log_level_wanted=4, notify=None, cancel=None, deadline=None,
         engine=None, **options):
    """Saves the process tree of ``pid`` into ``images_dir``, which is created if need be.

    The tree ends then, unless ``leave_running=True``. When it fails, the tree runs on as before.
    """
    with _request(images_dir, options, create=True) as opts:
        opts["pid"] = _pid(pid)
        _run("dump", opts, locals())


def pre_dump(pid, images_dir, *, progress=None, log=None, log_level_wanted=4, notify=None, cancel=None, deadline=None,
             engine=None, **options):
    """Saves the memory of the tree and lets it run on; a dump with ``parent_img`` saves what has changed since."""
    with _request(images_dir, options, create=True) as opts:
        opts["pid"] = _pid(pid)
        opts.setdefault("track_mem", True)
        _run("pre_dump", opts, locals())


def preflight(pid, *, log=None, log_level_wanted=4, cancel=None, deadline=None, engine=None, **options):
    """Everything that would make a dump of ``pid`` fail, as a tuple of Blockers; changes nothing."""
    progress = notify = None
    # The engine's log goes where images would.
    with tempfile.TemporaryDirectory(prefix="pycriu-") as log_dir, _request(log_dir, options) as opts:
        opts["pid"] = _pid(pid)
        return _run("preflight", opts, locals())


def restore(images_dir, *, child=False, progress=None, log=None, log_level_wanted=4, notify=None, cancel=None,
            deadline=None, engine=None, **options):
    """Restores the tree in ``images_dir`` and returns the pid of its root.

    With ``child=True`` the root becomes a child of this process, to be waited for. When it fails, nothing is left of it.
    """
    with _request(images_dir, options) as opts:
        return _run("restore_child" if child else "restore", opts, locals())


def checkpoint(images_dir, *, progress=None, log=None, log_level_wanted=4, notify=None, cancel=None, deadline=None,
               engine=None, **options):
    """Saves this very process, with its tree, and returns False; in the restored process it returns True.

    The process goes on after the checkpoint, unless ``leave_running=False``.
    """
    options.setdefault("leave_running", True)
    with _request(images_dir, options, create=True) as opts:
        return _run("dump", opts, locals())


def check(*, log=None, log_level_wanted=4, cancel=None, deadline=None, engine=None):
    """Raises Error when this kernel lacks what checkpoint and restore need."""
    progress = notify = None
    with _request(None, {}) as opts:
        _run("check", opts, locals())


def features(*names, engine=None):
    """Which of these features (``mem_track``, ``lazy_pages``, ``pidfd_store``) there are: a dict of bools."""
    known = [field.name for field in _rpc.criu_features.DESCRIPTOR.fields]
    for name in names:
        if name not in known:
            raise ValueError(f"no feature {name!r}; there are {', '.join(known)}")
    wanted = _rpc.criu_features(**{name: True for name in names or known})
    answer = _native.run("features", wanted.SerializeToString(), _engine(engine), _functions({}), None, None)
    found = _rpc.criu_features.FromString(answer)
    return {name: getattr(found, name) for name in names or known}


def version(*, engine=None):
    """The version of the engine, as a tuple."""
    answer = _native.run("version", _wire({"images_dir_fd": -1}), _engine(engine), _functions({}), None, None)
    return answer["major"], answer["minor"], answer["sublevel"]


def _run(what, opts, given):
    wanted = _engine(given["engine"])
    return _native.run(what, _wire(opts), wanted, _functions(given), given["deadline"], given["cancel"])


@contextlib.contextmanager
def _request(images_dir, options, create=False):
    """The options as a dict, the directories open while it is in use."""
    opened = []

    def directory(path):
        if isinstance(path, int):
            return path
        opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return opened[-1]

    opts = {name: _value(name, value) for name, value in options.items() if value is not None and name != "work_dir"}
    if create and not isinstance(images_dir, int):
        os.makedirs(images_dir, mode=0o700, exist_ok=True)
    try:
        opts["images_dir_fd"] = -1 if images_dir is None else directory(images_dir)
        if options.get("work_dir") is not None:
            opts["work_dir_fd"] = directory(options["work_dir"])
        yield opts
    finally:
        for fd in opened:
            os.close(fd)


def _value(name, value):
    """An option's value as its field has it."""
    field = _FIELDS.get(name)
    if field is None or name in _OWN:
        near = difflib.get_close_matches(name, [n for n in _FIELDS if n not in _OWN], 1)
        hint = f"did you mean {near[0]!r}?" if near else "options are the fields of pycriu.rpc.criu_opts"
        raise TypeError(f"no option {name!r}; {hint}")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "SerializeToString"):
        return _native.message_dict(value.DESCRIPTOR.full_name, value.SerializeToString(), False, False)
    if isinstance(value, (list, tuple, set)):
        return [_value(name, element) for element in value]
    return value


def _wire(opts):
    try:
        return _native.message_bytes("criu_opts", opts)
    except (ValueError, TypeError) as e:
        raise OptionError(f"options: {getattr(e, 'reason', e)}", phase="client", object="options", cause=str(e)) from None


def _pid(pid):
    if not isinstance(pid, int) or isinstance(pid, bool):
        raise TypeError(f"a pid is an int, not {type(pid).__name__}")
    if pid <= 0:
        raise OptionError(f"pid {pid}: no process has it; pycriu.checkpoint() saves this one", phase="client",
                          object=f"pid {pid}", cause="no process has it", hint="pycriu.checkpoint() saves this one")
    return pid


def _engine(engine):
    """``None`` for the package's own worker, a path for a ``criu`` program or the socket of a service, an int for a
    connected socket."""
    wanted = {"binary": None, "address": None, "fd": None}
    if engine is None:
        return wanted
    if isinstance(engine, int):
        wanted["fd"] = engine
        return wanted
    path = os.fspath(engine)
    try:
        is_socket = os.path.exists(path) and (os.stat(path).st_mode & 0o170000) == 0o140000
    except OSError:
        is_socket = False
    wanted["address" if is_socket else "binary"] = path
    return wanted


def _functions(given):
    return {
        "progress": given.get("progress"),
        "log": given.get("log"),
        "log_level": given.get("log_level_wanted", 4),
        "notify": given.get("notify"),
    }
