"""A decoder in plain Python that makes what pycriu.images.loads makes, of images without raw data behind their entries.

It goes by the schema, as any decoder must: names, types, repeated and required fields, enums by name, bytes as base64.
"""

import base64
import struct

from google.protobuf import descriptor_pb2

from pycriu import _native

_FILES = descriptor_pb2.FileDescriptorSet.FromString(_native.descriptors).file
_MESSAGES, _ENUMS = {}, {}


def _collect(prefix, messages, enums):
    for enum in enums:
        _ENUMS[prefix + enum.name] = {value.number: value.name for value in enum.value}
    for message in messages:
        name = prefix + message.name
        _MESSAGES[name] = {
            field.number: (field.name, field.type, field.label == 3, field.type_name) for field in message.field
        }, [field.name for field in message.field if field.label == 2]
        _collect(name + ".", message.nested_type, message.enum_type)


for _file in _FILES:
    _collect("." + (_file.package + "." if _file.package else ""), _file.message_type, _file.enum_type)


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _scalar(kind, type_name, value):
    if kind in (3, 5) and value >> 63:  # int64, int32
        return value - (1 << 64)
    if kind in (17, 18):  # sint32, sint64
        return (value >> 1) ^ -(value & 1)
    if kind == 8:
        return bool(value)
    if kind == 14:
        number = value - (1 << 64) if value >> 63 else value
        return _ENUMS[type_name].get(number, number)
    return value


def _message(type_name, data, at, end):
    fields, required = _MESSAGES[type_name]
    found = {}
    while at < end:
        tag, at = _varint(data, at)
        name, kind, repeated, inner = fields[tag >> 3]
        wire = tag & 7
        values = []
        if wire == 0:
            value, at = _varint(data, at)
            values.append(_scalar(kind, inner, value))
        elif wire == 2:
            size, at = _varint(data, at)
            stop = at + size
            if stop > end:
                raise ValueError("cut off")
            if kind == 11:
                values.append(_message(inner, data, at, stop))
            elif kind == 9:
                values.append(data[at:stop].decode())
            elif kind == 12:
                values.append(base64.encodebytes(data[at:stop]).decode())
            else:
                while at < stop:
                    value, at = _varint(data, at)
                    values.append(_scalar(kind, inner, value))
            at = stop
        else:
            size = 8 if wire == 1 else 4
            values.append(int.from_bytes(data[at:at + size], "little"))
            at += size
        if repeated:
            found.setdefault(name, []).extend(values)
        else:
            found[name] = values[-1]
    for name in required:
        if name not in found:
            raise ValueError("lacks " + name)
    return found


def loads(data, messages):
    """The entries of an image; ``messages`` names the message of the first entry and of the others."""
    at, entries = 8, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + size > len(data):
            raise ValueError("cut off")
        entries.append(_message(messages[1 if entries else 0], data, at, at + size))
        at += size
    return entries
