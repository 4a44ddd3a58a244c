"""Checkpoint and restore of processes."""

import os as _os

from . import _native

_worker = _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), "libcriu.so.2")
