"""A model that writes what a test wants: an RWKV-4 whose layers add nothing, so that each token has one successor.

    chains: {"<think": [" I reason", "</think>", "Hello", "\\n\\n"]}

After a prompt that ends in "<think" it writes these pieces.  Each piece is a token of its own, in one place of one chain; after the
last one comes token 0, which ends a text."""

import json
import math
import os
import struct

WIDTH = 256


def one_hot(index):
    return [1.0 if i == index else 0.0 for i in range(WIDTH)]


def normed(vector):
    """LayerNorm."""
    mean = sum(vector) / WIDTH
    scale = math.sqrt(sum((v - mean) ** 2 for v in vector) / WIDTH + 1e-5)
    return [(v - mean) / scale for v in vector]


def write_vocabulary(path, pieces):
    with open(path, "w", encoding="utf-8") as file:
        for i in range(256):
            file.write(f"{i + 1} {ascii(bytes([i]))} 1\n")
        for i, piece in enumerate(pieces):
            file.write(f"{i + 257} {ascii(piece)} {len(piece.encode())}\n")


def tensors(successors, vocabulary):
    zero, one = [0.0] * WIDTH, [1.0] * WIDTH
    embedding = [one_hot(token) if token < WIDTH else zero for token in range(vocabulary)]
    head = [zero for _ in range(vocabulary)]
    for index, (token, following) in enumerate(successors):
        embedding[token] = one_hot(index)
        head[following] = [a + b for a, b in zip(head[following], normed(one_hot(index)))]
    flat = lambda rows: [value for row in rows for value in row]
    square = flat([zero] * WIDTH)
    out = {"emb.weight": ([vocabulary, WIDTH], flat(embedding)), "head.weight": ([vocabulary, WIDTH], flat(head))}
    for name in ("blocks.0.ln0", "ln_out", "blocks.0.ln1", "blocks.0.ln2"):
        out[name + ".weight"], out[name + ".bias"] = ([WIDTH], one), ([WIDTH], zero)
    for name in ("att.receptance", "att.key", "att.value", "att.output", "ffn.key", "ffn.value", "ffn.receptance"):
        out[f"blocks.0.{name}.weight"] = ([WIDTH, WIDTH], square)
    for name in ("att.time_mix_r", "att.time_mix_k", "att.time_mix_v", "ffn.time_mix_k", "ffn.time_mix_r"):
        out["blocks.0." + name] = ([1, 1, WIDTH], one)
    for name in ("time_decay", "time_first"):
        out["blocks.0.att." + name] = ([WIDTH], zero)
    return out


def make(folder, chains):
    """The options that serve it."""
    pieces = ["\n\n"]
    for first, chain in chains.items():
        pieces += [piece for piece in (first, *chain) if len(piece.encode()) > 1 and piece not in pieces]
    number = {piece: 257 + i for i, piece in enumerate(pieces)} | {chr(i): i + 1 for i in range(128)}
    successors = []
    for first, chain in chains.items():
        names = [first, *chain]
        successors += [(number[a], number[b]) for a, b in zip(names, names[1:])]
        if chain[-1] != "\n\n":
            successors.append((number[chain[-1]], 0))
    assert len({token for token, _ in successors}) == len(successors) <= WIDTH, "a token with two successors"
    header, data = {}, b""
    for name, (shape, values) in tensors(successors, 257 + len(pieces)).items():
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    model, vocabulary = os.path.join(folder, "reciter.safetensors"), os.path.join(folder, "vocabulary.txt")
    text = json.dumps(header).encode()
    with open(model, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    write_vocabulary(vocabulary, pieces)
    return ["-m", model, "--vocab", vocabulary, "--template", "g1"]


if __name__ == "__main__":  # reciter.py FOLDER: for a look with any client, with an answer and a call
    import sys
    WORDS = " Clear| skies| over| the| city|, a| light| wind|, and| no| rain| until| the evening".split("|")
    CALL = ["\n", '{"name": "weather", "argu', 'ments": {"city": "Paris"}}', "\n```"]
    print(*make(sys.argv[1], {":": [*WORDS, "\n\n"], "time": [*(word + "." for word in WORDS)], "```json": CALL}))
