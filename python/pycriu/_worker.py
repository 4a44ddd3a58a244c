"""Finds the library that is its own worker: the package's, else an installed one, else the ``criu`` command."""

import os

from . import _native

NAME = "libcriu.so.2"


def _candidates():
    yield os.path.join(os.path.dirname(os.path.abspath(__file__)), NAME)
    # A package of a distribution leaves the library where the others find it.
    machine = os.uname().machine
    for prefix in ("/usr/local/lib", "/usr/lib"):
        for place in (f"{machine}-linux-gnu", "", "../lib64"):
            yield os.path.normpath(os.path.join(prefix, place, NAME))


def find():
    return next((path for path in _candidates() if os.path.exists(path)), None)


_native.set_worker(find())
