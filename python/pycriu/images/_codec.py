"""Reading and writing of images. The work is done in Rust."""

from .. import _native
from .magic import by_name


def _name_of(f):
    name = getattr(f, "name", None)
    return name if isinstance(name, str) else "image"


def load(f, pretty=False, no_payload=False):
    """The image in a file that is open for reading bytes.

    With ``no_payload``, the raw data behind entries is left out; only its size is told.

    Raises MagicException for a file that is no image, ImageError (with file and offset) for a damaged one.
    """
    return _native.load(_bytes_of(f.read()), _name_of(f), bool(pretty), not no_payload)


def loads(s, pretty=False):
    """The image in a bytes object."""
    return _native.load(_bytes_of(s), "image", bool(pretty), True)


def dumps(img):
    """The bytes of an image. Raises ImageError when the object is none."""
    return _native.dump(img)


def dump(img, f):
    """Writes an image to a file that is open for writing bytes; nothing is written of one that is wrong."""
    f.write(_native.dump(img))


def info(f):
    """The magic and the number of entries of an image."""
    name, count = _native.count(_bytes_of(f.read()), _name_of(f))
    return {"magic": name, "count": count}


def _bytes_of(data):
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"an image is bytes, not {type(data).__name__}; open its file in mode 'rb'")


class _Handler:
    """Reads and writes the images of one magic."""

    def __init__(self, name):
        self.magic = name

    def load(self, f, pretty=False, no_payload=False):
        """The entries of the image in a file."""
        return self._checked(load(f, pretty, no_payload))["entries"]

    def loads(self, s, pretty=False):
        return self._checked(loads(s, pretty))["entries"]

    def dumps(self, entries):
        """The whole image of these entries, its magic included."""
        return dumps({"magic": self.magic, "entries": entries})

    def dump(self, entries, f):
        f.write(self.dumps(entries))

    def count(self, f):
        return info(f)["count"]

    def _checked(self, img):
        if by_name[img["magic"]] != by_name[self.magic]:
            raise ValueError(f"the image is a {img['magic']}, not a {self.magic}")
        return img


#: One handler for each magic that has entries, by its name.
handlers = {name: _Handler(name) for name, value in by_name.items() if value}
