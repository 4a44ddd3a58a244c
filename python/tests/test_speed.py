"""Decoding in Rust against decoding in Python, on a large pagemap."""

import struct
import time

from pure_decoder import entries

from pycriu import images

NAMES = ({1: "pages_id"}, {1: "vaddr", 2: "compat_nr_pages", 4: "flags", 5: "nr_pages"})


def pagemap(records):
    return {
        "magic": "PAGEMAP",
        "entries": [{"pages_id": 1}]
        + [
            {"vaddr": 0x7F0000000000 + 0x3000 * i, "compat_nr_pages": 2, "flags": 4, "nr_pages": 2}
            for i in range(records)
        ],
    }


def best(times, function):
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
    return min(taken), result


def test_twenty_times_as_fast():
    data = images.dumps(pagemap(200_000))
    slow, expected = best(2, lambda: entries(data, NAMES))
    fast, image = best(4, lambda: images.loads(data))
    assert image["entries"] == expected
    ratio = slow / fast
    print(f"{len(data) / 1e6:.1f} MB: Python {slow:.3f} s, Rust {fast:.3f} s, {ratio:.0f} times")
    assert ratio >= 20, f"{ratio:.1f} times"


def test_payloads_are_copied_not_searched():
    payload = 8 << 20
    entry = {"pipe_id": 1, "bytes": payload}
    import base64

    image = {"magic": "PIPES_DATA", "entries": [dict(entry, extra=base64.encodebytes(b"x" * payload).decode())]}
    data = images.dumps(image)
    assert images.loads(data) == image
    assert struct.unpack_from("<I", data, 8)[0] < 32
