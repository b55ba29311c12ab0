#!/usr/bin/env python3
"""Packs a safetensors file as torch.save() would pack the same tensors: safetensors_to_pth.py IN OUT [PREFIX].

PREFIX goes before each name.  Python's own pickle writes the pickle; stand-ins of torch's functions and types give the names
that it has to mention."""
import collections
import json
import pickle
import struct
import sys
import types
import zipfile

TYPES = {"F32": ("FloatStorage", 4), "F16": ("HalfStorage", 2), "BF16": ("BFloat16Storage", 2)}

torch = sys.modules["torch"] = types.ModuleType("torch")
utils = sys.modules["torch._utils"] = types.ModuleType("torch._utils")
for kind, _ in TYPES.values():
    setattr(torch, kind, type(kind, (), {"__module__": "torch"}))


def _rebuild_tensor_v2():
    pass


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2


class Storage:
    def __init__(self, kind, key, count):
        self.id = ("storage", getattr(torch, kind), key, "cuda:0", count)


class Tensor:
    def __init__(self, storage, shape):
        stride = [1]
        for size in reversed(shape[1:]):
            stride.insert(0, stride[0] * size)
        self.parts = (storage, 0, tuple(shape), tuple(stride[:len(shape)]), False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.parts


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.id if isinstance(value, Storage) else None


def main(source, target, prefix=""):
    with open(source, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    tensors, storages = collections.OrderedDict(), []
    for key, (name, tensor) in enumerate(header.items()):
        kind, size = TYPES[tensor["dtype"]]
        begin, end = tensor["data_offsets"]
        storages.append(data[begin:end])
        tensors[prefix + name] = Tensor(Storage(kind, str(key), (end - begin) // size), tensor["shape"])
    with zipfile.ZipFile(target, "w") as archive:
        with archive.open("model/data.pkl", "w") as file:
            Pickler(file, protocol=2).dump(tensors)
        archive.writestr("model/byteorder", "little")
        for key, storage in enumerate(storages):
            archive.writestr("model/data/%d" % key, storage)
        archive.writestr("model/version", "3\n")


main(*sys.argv[1:])
