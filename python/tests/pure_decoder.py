"""A decoder in plain Python, to compare speeds with: entries of scalar fields, nothing checked."""

import struct


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def entries(data, names):
    """The entries of an image; ``names`` gives the fields' names by number, for the first entry and the others."""
    at, decoded = 8, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        end, entry = at + size, {}
        fields = names[0 if not decoded else 1]
        while at < end:
            tag, at = varint(data, at)
            entry[fields[tag >> 3]], at = varint(data, at)
        decoded.append(entry)
    return decoded
