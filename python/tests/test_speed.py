"""Decoding in Rust against decoding in Python: the same text and the same objects of the same images."""

import base64
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import protobuf_decoder
import pure_decoder

from protobuf_decoder import seconds
from pycriu import _native, images


def pagemap(records):
    return {
        "magic": "PAGEMAP",
        "entries": [{"pages_id": 1}]
        + [
            {"vaddr": 0x7F0000000000 + 0x3000 * i, "compat_nr_pages": 2, "flags": 4, "nr_pages": 2}
            for i in range(records)
        ],
    }


def image_set(golden):
    """Images of every size of entry: a large pagemap, and many tasks, files and areas."""
    yield images.dumps(pagemap(30_000)), (".pagemap_head", ".pagemap_entry")
    for pattern, message, times in (
        ("files/core-*.img", ".core_entry", 1000),
        ("memory/mm-*.img", ".mm_entry", 300),
        ("watch/files.img", ".file_entry", 300),
    ):
        data = next(golden.glob(pattern)).read_bytes()
        yield data[:8] + data[8:] * times, (message, message)


def test_loads_is_twenty_times_as_fast_as_protobuf_in_python(golden, tmp_path):
    """What `pip install protobuf` falls back to where it has no compiled part, and pycriu's way to dicts above it."""
    arguments = []
    for i, (data, messages) in enumerate(image_set(golden)):
        image = tmp_path / f"{i}.img"
        image.write_bytes(data)
        arguments += [str(image), *(message.lstrip(".") for message in messages)]
    program = Path(protobuf_decoder.__file__)
    environment = dict(os.environ, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")
    done = subprocess.run([sys.executable, program, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    size, slow, fast = (sum(column) for column in zip(*(map(float, line.split()) for line in done.stdout.splitlines())))
    print(f"{size / 1e6:.1f} MB to objects: protobuf in Python {slow:.2f} s, images.loads {fast:.3f} s, {slow / fast:.0f} times")
    assert slow / fast >= 20, f"{slow / fast:.1f} times"


def test_crit_decode_is_twenty_times_as_fast_as_the_tightest_python(golden, tmp_path):
    """Against a decoder that does nothing but this: `crit decode`, the same bytes as its objects and json.dump give; and
    images.loads. Objects cost Python's own time to make, on either side, so that this gains less."""
    size = slow = fast = slow_objects = fast_objects = 0
    for i, (data, messages) in enumerate(image_set(golden)):
        image, text, plain = (tmp_path / f"{i}.{name}" for name in ("img", "json", "plain"))
        image.write_bytes(data)
        taken, status = seconds(3, lambda: _native.crit(["decode", "-i", str(image), "-o", str(text)]))
        assert status == 0
        fast += taken
        objects, entries = seconds(1, lambda: pure_decoder.loads(image.read_bytes(), messages))
        magic = images.magic.by_val[struct.unpack_from("<I", data, 4)[0]]
        with plain.open("w") as f:
            taken, _ = seconds(1, lambda: json.dump({"magic": magic, "entries": entries}, f))
        slow += objects + taken
        assert text.read_bytes() == plain.read_bytes()
        slow_objects += objects
        taken, loaded = seconds(3, lambda: images.loads(data))
        fast_objects += taken
        assert loaded["entries"] == entries
        size += len(data)
    print(f"{size / 1e6:.1f} MB: to JSON {slow:.2f} s and {fast:.3f} s, {slow / fast:.0f} times; "
          f"to objects {slow_objects:.2f} s and {fast_objects:.3f} s, {slow_objects / fast_objects:.0f} times")
    assert slow / fast >= 20, f"{slow / fast:.1f} times"
    assert slow_objects / fast_objects >= 6, f"{slow_objects / fast_objects:.1f} times"


def test_payloads_are_copied_not_searched():
    payload = 8 << 20
    entry = {"pipe_id": 1, "bytes": payload}
    image = {"magic": "PIPES_DATA", "entries": [dict(entry, extra=base64.encodebytes(b"x" * payload).decode())]}
    data = images.dumps(image)
    assert images.loads(data) == image
    assert struct.unpack_from("<I", data, 8)[0] < 32
