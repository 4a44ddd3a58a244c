"""The classes of all messages in one module: ``pb.core_entry``."""

import sys

from .. import _messages

for _proto in _messages._modules.values():
    _messages.fill(sys.modules[__name__], _proto)
del DESCRIPTOR  # noqa: F821  of the last file only
