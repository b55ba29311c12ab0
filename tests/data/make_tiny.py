#!/usr/bin/env python3
"""Writes a tiny RWKV-4, 5.0, 5.1, 5.2 or 6 model of random weights, official names and shapes: make_tiny.py VERSION FILE."""
import json
import random
import struct
import sys

version, path = sys.argv[1:]
L, C, F, V, N, DECAY, MIX = 2, 32, 64, 40, 8, 8, 4
H = C // N
has_gate = version in ("5.1", "5.2", "6")
norm = {"weight": [C], "bias": [C]}
ffn = {"key.weight": [F, C], "value.weight": [C, F], "receptance.weight": [C, C]}
att = {name + ".weight": [C, C] for name in ("receptance", "key", "value", "output") + ("gate",) * has_gate}
if version == "6":
    att.update({"time_maa_" + q: [1, 1, C] for q in "xwkvrg"})
    att.update({"time_maa_w1": [C, 5 * MIX], "time_maa_w2": [5, MIX, C], "time_decay": [1, 1, C], "time_faaaa": [H, N],
                "time_decay_w1": [C, DECAY], "time_decay_w2": [DECAY, C]})
else:
    att.update({"time_mix_" + q: [1, 1, C] for q in "rkvg"[:3 + has_gate]})
    one = [C] if version == "4" else [H, N] if version == "5.2" else [H]
    att.update({"time_decay": one, "time_faaaa" if version == "5.2" else "time_first": one})
ffn.update({("time_maa_" if version == "6" else "time_mix_") + q: [1, 1, C] for q in "kr"})

parts = {"ln1": norm, "ln2": norm, "att": att, "ffn": ffn} | ({"att.ln_x": norm} if version != "4" else {})
shapes = {"emb.weight": [V, C], "head.weight": [V, C]}
shapes |= {f"{part}.{name}": [C] for part in ("blocks.0.ln0", "ln_out") for name in norm}
shapes |= {f"blocks.{i}.{part}.{name}": s for i in range(L) for part, names in parts.items() for name, s in names.items()}

random.seed(1)
header, data = {}, b""
for name, shape in shapes.items():
    count = 1
    for n in shape:
        count *= n
    values = struct.pack(f"<{count}f", *(random.uniform(-0.5, 0.5) for _ in range(count)))
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
    data += values
text = json.dumps(header).encode()
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
