"""The magics of images: numbers by name, names by number. Files of raw bytes have 0."""

from .. import _native

by_name = dict(_native.magics())
by_val = {}
for _name, _value in by_name.items():
    if _value:
        # Where several names share a number, the one that is written today.
        by_val[_value] = _native.identify(_value.to_bytes(4, "little"))[1]

IMG_COMMON_MAGIC = 0x54564319
IMG_SERVICE_MAGIC = 0x55105940
for _name, _value in (("IMG_COMMON", IMG_COMMON_MAGIC), ("IMG_SERVICE", IMG_SERVICE_MAGIC)):
    by_name.setdefault(_name, _value)
    by_val.setdefault(_value, _name)

