#!/usr/bin/env python3
"""Writes a LoRA adapter of random numbers for all matrices of an RWKV-7 model, to measure what it adds to loading:
make_adapter.py LAYERS WIDTH RANK FILE.  FFN is 4 WIDTH, the vocabulary 65536; F16, as RWKV-PEFT names them."""
import json
import os
import struct
import sys

layers, width, rank = map(int, sys.argv[1:4])
shapes = {"emb": (65536, width), "head": (65536, width)}
for i in range(layers):
    shapes |= {f"blocks.{i}.att.{name}": (width, width) for name in ("receptance", "key", "value", "output")}
    shapes |= {f"blocks.{i}.ffn.key": (4 * width, width), f"blocks.{i}.ffn.value": (width, 4 * width)}

# Halves of 2^-10 to 2^-6 in magnitude: 16 random bits, of which the sign and the fraction stay and the exponent has two.
allowed, least = 0x8fff, 0x1400
header, sizes, at = {}, [], 0
for name, (out, into) in shapes.items():
    for part, shape in (("A", (rank, into)), ("B", (out, rank))):
        count = 2 * shape[0] * shape[1]
        header[f"{name}.lora_{part}"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + count]}
        sizes.append(count)
        at += count
text = json.dumps(header).encode()
with open(sys.argv[4], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for count in sizes:
        bits = int.from_bytes(os.urandom(count), "little")
        mask = int.from_bytes(struct.pack("<H", allowed) * (count // 2), "little")
        base = int.from_bytes(struct.pack("<H", least) * (count // 2), "little")
        file.write(((bits & mask) | base).to_bytes(count, "little"))
