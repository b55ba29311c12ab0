"""Safetensors files of F16 tensors, read and written with numpy alone."""
import json
import struct

import numpy as np


def read(path):
    """{name: float32 array} in the file's order."""
    raw = path.read_bytes()
    size, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        if info["dtype"] != "F16":
            raise ValueError(f"{path}: {name} is {info['dtype']}, expected F16")
        begin, end = info["data_offsets"]
        values = np.frombuffer(raw[8 + size + begin:8 + size + end], np.float16)
        tensors[name] = values.astype(np.float32).reshape(info["shape"])
    return tensors


def write(path, tensors):
    """Writes {name: array} rounded to F16; the file appears whole or not at all."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, values in tensors.items():
        blob = np.asarray(values).astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_suffix(".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    part.replace(path)
