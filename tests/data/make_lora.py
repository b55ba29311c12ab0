#!/usr/bin/env python3
"""Writes a tiny RWKV-7 model, two adapters for it and the model with both, merged by numpy in F32: make_lora.py FOLDER.

Sums over a rank go from its first to its last, which is the order that docs/formats.md promises; so the merged model is equal to
the bit.  Needs numpy; its files are in tests/data/lora."""
import json
import os
import struct
import sys

import numpy

folder = sys.argv[1]
L, C, F, V, N, RANK = 2, 32, 64, 40, 8, 8
random = numpy.random.default_rng(1)
f32 = numpy.float32


def numbers(*shape):
    return random.uniform(-0.5, 0.5, shape).astype(f32)


def save(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        kept = numpy.ascontiguousarray(values, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(kept)]}
        data += kept
    text = json.dumps(header).encode()
    with open(os.path.join(folder, path), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def product(b, a):
    total = numpy.zeros((b.shape[0], a.shape[1]), f32)
    for k in range(a.shape[0]):
        total = total + b[:, k:k + 1] * a[k:k + 1, :]
    return total


def add_product(w, b, a, scale):
    return w + f32(scale) * product(b, a)


def give_lengths(w, magnitude):
    lengths = numpy.sqrt((w.astype(numpy.float64) ** 2).sum(1)).astype(f32)
    return w * (magnitude / lengths)[:, None]


def add_rows(w, d):
    r, columns = d.shape[0], w.shape[1]
    return w + d[numpy.arange(columns) % r, :].T


def add_blocks(w, d):
    r, out = d.shape[1], w.copy()
    for k in range(w.shape[1] // r):
        for i in range(w.shape[0] // r):
            v = w[i * r:i * r + r, k * r:k * r + r]
            out[i * r:i * r + r, k * r:k * r + r] = v + (product(v, d[k]) + d[k])
    return out


model = {"emb.weight": numbers(V, C), "head.weight": numbers(V, C)}
for i in range(L):
    part = f"blocks.{i}."
    norms = ["ln1", "ln2", "att.ln_x"] + (["ln0"] if i == 0 else [])
    model |= {f"{part}{n}.{k}": numbers(C) for n in norms for k in ("weight", "bias")}
    model |= {f"{part}att.x_{q}": numbers(1, 1, C) for q in "rwkvag"}
    model |= {f"{part}att.{n}": numbers(1, 1, C) for n in ["w0", "a0", "k_k", "k_a"] + (["v0"] if i else [])}
    model |= {f"{part}att.{q}1": numbers(C, RANK) for q in ("wagv" if i else "wag")}
    model |= {f"{part}att.{q}2": numbers(RANK, C) for q in ("wagv" if i else "wag")}
    model[part + "att.r_k"] = numbers(C // N, N)
    model |= {f"{part}att.{n}.weight": numbers(C, C) for n in ("receptance", "key", "value", "output")}
    model |= {part + "ffn.x_k": numbers(1, 1, C), part + "ffn.key.weight": numbers(F, C), part + "ffn.value.weight": numbers(C, F)}
model |= {"ln_out.weight": numbers(C), "ln_out.bias": numbers(C)}
save("model.safetensors", model)
merged = dict(model)

# Of Hugging Face's peft, in fla's names: scale = alpha / sqrt(rank), with another alpha for one matrix.
ALPHA, OTHER = 6, 3
peft = {}
fla = {"r_proj": "receptance", "k_proj": "key", "v_proj": "value", "o_proj": "output"}


def peft_product(module, name, out, columns, rank, alpha):
    a, b = numbers(rank, columns), numbers(out, rank)
    peft[f"base_model.model.{module}.lora_A.weight"] = a
    peft[f"base_model.model.{module}.lora_B.weight"] = b
    merged[name] = add_product(merged[name], b, a, alpha / numpy.sqrt(rank))


for i in range(L):
    for module, name in fla.items():
        alpha = OTHER if module == "v_proj" else ALPHA
        peft_product(f"model.layers.{i}.attn.{module}", f"blocks.{i}.att.{name}.weight", C, C, 5, alpha)
    peft_product(f"model.layers.{i}.ffn.value", f"blocks.{i}.ffn.value.weight", C, F, 1, ALPHA)
magnitude = numbers(C) + f32(1)
peft["base_model.model.model.layers.0.ffn.value.lora_magnitude_vector"] = magnitude
merged["blocks.0.ffn.value.weight"] = give_lengths(merged["blocks.0.ffn.value.weight"], magnitude)
peft_product("lm_head", "head.weight", V, C, 3, ALPHA)
a, b = numbers(4, V), numbers(C, 4)
peft["base_model.model.model.embeddings.lora_embedding_A"] = a
peft["base_model.model.model.embeddings.lora_embedding_B"] = b
merged["emb.weight"] = add_product(merged["emb.weight"], numpy.ascontiguousarray(a.T), numpy.ascontiguousarray(b.T), ALPHA / 2)
a, b = numbers(2, C), numbers(RANK, 2)  # a linear layer [RANK, C], whose weight is the transpose of w1
peft["base_model.model.model.layers.1.attn.w_lora.lora.0.lora_A.weight"] = a
peft["base_model.model.model.layers.1.attn.w_lora.lora.0.lora_B.weight"] = b
merged["blocks.1.att.w1"] = add_product(merged["blocks.1.att.w1"].T, b, a, ALPHA / numpy.sqrt(2)).T
peft["base_model.model.model.norm.modules_to_save.default.weight"] = merged["ln_out.weight"] = numbers(C)
save("peft/adapter_model.safetensors", peft)
config = {"peft_type": "LORA", "r": 5, "lora_alpha": ALPHA, "use_rslora": True, "init_lora_weights": True,
          "alpha_pattern": {"attn.v_proj": OTHER}, "rank_pattern": {"lm_head": 3}, "use_dora": False}
with open(os.path.join(folder, "peft/adapter_config.json"), "w") as file:
    json.dump(config, file, indent=2)
    file.write("\n")

# Of RWKV-PEFT: what was added last time comes first.
tuned = {}
for i in range(L):
    d = numbers(4, F)
    tuned[f"blocks.{i}.ffn.key.disha"] = d
    merged[f"blocks.{i}.ffn.key.weight"] = add_rows(merged[f"blocks.{i}.ffn.key.weight"], d)
    d = numbers(C // 8, 8, 8)
    tuned[f"blocks.{i}.att.output.bone"] = d
    merged[f"blocks.{i}.att.output.weight"] = add_blocks(merged[f"blocks.{i}.att.output.weight"], d)
    a, b, first_a, first_b = numbers(4, C), numbers(C, 4), numbers(4, C), numbers(C, 4)
    for part, values in zip(("lora_A", "lora_B", "init_lora_A", "init_lora_B"), (a, b, first_a, first_b)):
        tuned[f"blocks.{i}.att.key.{part}"] = values
    merged[f"blocks.{i}.att.key.weight"] = add_product(add_product(merged[f"blocks.{i}.att.key.weight"], first_b, first_a, -1), b, a, 1)
    tuned[f"blocks.{i}.att.x_r"] = merged[f"blocks.{i}.att.x_r"] = numbers(1, 1, C)
save("rwkv_peft.safetensors", tuned)
save("merged.safetensors", merged)
