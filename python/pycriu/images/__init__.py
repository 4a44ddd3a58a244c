"""Checkpoint images as Python objects, and back to the same bytes.

    with open("pstree.img", "rb") as f:
        image = pycriu.images.load(f, pretty=True)
    image["entries"][0]["pid"]

An image is ``{"magic": "PSTREE", "entries": [...]}``. Bytes are base64 strings; with ``pretty``, numbers look as their
display options say (addresses in hexadecimal, flags by name). Either form is dumped to the same bytes.
"""

from .._errors import ImageError, MagicException
from . import magic, pb, pb2dict
from ._codec import dump, dumps, handlers, info, load, loads

__all__ = ["ImageError", "MagicException", "dump", "dumps", "handlers", "info", "load", "loads", "magic", "pb", "pb2dict"]
