"""Messages as dicts, in the form that entries of images have, and back."""

from .. import _native


def pb2dict(pb, pretty=False, is_hex=False):
    """The dict of a message object. ``is_hex`` shows all numbers in hexadecimal when ``pretty``."""
    return _native.message_dict(pb.DESCRIPTOR.full_name, pb.SerializeToString(), bool(pretty), bool(is_hex))


def dict2pb(d, pb):
    """Sets a message object from the dict that stands for it, and returns it."""
    pb.MergeFromString(_native.message_bytes(pb.DESCRIPTOR.full_name, d))
    return pb
