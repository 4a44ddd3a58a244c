"""The way of CRIU's own pycriu: messages of the protobuf package, turned into dicts field by field.

Run with PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python and the paths of images, each with the messages of its first and its
other entries behind it, it times this and pycriu.images.loads, checks that both make the same, and prints
`BYTES PROTOBUF-SECONDS OUR-SECONDS` for each image.
"""

import base64
import struct
import sys
import time

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.internal import api_implementation

from pycriu import images


def _value(field, value):
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return message_dict(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.encodebytes(value).decode()
    if field.type == FieldDescriptor.TYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    return value


def message_dict(message):
    found = {}
    for field, value in message.ListFields():
        # Older releases know `label` only.
        if getattr(field, "is_repeated", None) or getattr(field, "label", 0) == 3:
            found[field.name] = [_value(field, element) for element in value]
        else:
            found[field.name] = _value(field, value)
    return found


def loads(data, messages):
    at, entries = 8, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        message = getattr(images.pb, messages[1 if entries else 0])()
        message.ParseFromString(data[at:at + size])
        entries.append(message_dict(message))
        at += size
    return entries


def seconds(times, function):
    taken = []
    for _ in range(times):
        start = time.thread_time()
        result = function()
        taken.append(time.thread_time() - start)
    return min(taken), result


def main():
    assert api_implementation.Type() == "python", api_implementation.Type()
    for path, first, others in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
        with open(path, "rb") as f:
            data = f.read()
        fast, image = seconds(3, lambda: images.loads(data))
        slow, entries = seconds(1, lambda: loads(data, (first, others)))
        assert image["entries"] == entries, path
        print(len(data), slow, fast)


if __name__ == "__main__":
    main()
