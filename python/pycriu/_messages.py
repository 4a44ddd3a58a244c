"""Message classes made from the compiled .proto files that the library carries.

Each .proto is a module: ``pycriu.rpc_pb2``, ``pycriu.images.core_pb2`` and so on, in a descriptor pool of this package's
own, so that no other copy of these files in the same program is in the way.
"""

import importlib.abc
import importlib.machinery
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

from . import _native

_pool = descriptor_pool.DescriptorPool()
_files = {}
for _file in descriptor_pb2.FileDescriptorSet.FromString(_native.descriptors).file:
    _pool.AddSerializedFile(_file.SerializeToString())
    _files[_file.name] = _file

if hasattr(message_factory, "GetMessageClass"):
    _class_of = message_factory.GetMessageClass
else:  # protobuf before 4.22
    _class_of = message_factory.MessageFactory(_pool).GetPrototype

#: Modules by their last name: core_pb2 -> core.proto
_modules = {name[:-len(".proto")].replace("-", "_") + "_pb2": name for name in _files if "/" not in name}


def message_class(name):
    """The class of the message of this name."""
    return _class_of(_pool.FindMessageTypeByName(name))


def fill(module, proto):
    """Gives a module what protoc would have put there."""
    descriptor = _pool.FindFileByName(proto)
    names = module.__dict__
    names["DESCRIPTOR"] = descriptor
    for name, message in descriptor.message_types_by_name.items():
        names[name] = _class_of(message)
        names[name].__module__ = module.__name__
    for name, enum in descriptor.enum_types_by_name.items():
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        for value in enum.values:
            names[value.name] = value.number
    for name, extension in descriptor.extensions_by_name.items():
        names[name] = extension
        names[name.upper() + "_FIELD_NUMBER"] = extension.number


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the ``*_pb2`` modules."""

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.rpartition(".")
        if name in _modules and (package == "pycriu.images" or fullname == "pycriu.rpc_pb2"):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        fill(module, _modules[module.__name__.rpartition(".")[2]])


if not any(type(finder).__module__ == __name__ for finder in sys.meta_path):
    sys.meta_path.append(_Finder())
