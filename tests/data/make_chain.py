#!/usr/bin/env python3
"""Writes a model that reasons and answers, and its vocabulary: make_chain.py MODEL VOCABULARY.

The next token depends on the last one alone: an RWKV-4 whose layers add nothing, so that the head sees the last token's
embedding, random signs; a token's row of the head is the sum of the embeddings of those that it follows.  Layers have weights
all the same, so states depend on all that was read.  After "Assistant:" the answer comes; after "<think" a reasoning, then the
answer."""
import json
import random
import struct
import sys

model, vocabulary = sys.argv[1:]
words = ["\n\n", "I reason.\n\nMore of it.", "</think>", " Hello there."]
BLANK, REASON, END, ANSWER = range(257, 257 + len(words))
V, C, L = 257 + len(words), 128, 2

with open(vocabulary, "w") as file:
    for byte in range(256):
        file.write(f"{byte + 1} {repr(chr(byte)) if byte < 128 else repr(bytes([byte]))} 1\n")
    for i, word in enumerate(words):
        file.write(f"{257 + i} {word!r} {len(word)}\n")

after = {i: (i + 1) % V for i in range(V)}
after |= {1 + ord(":"): ANSWER, 1 + ord("k"): 1 + ord(">"), 1 + ord(">"): REASON, REASON: END, END: ANSWER, ANSWER: BLANK}

random.seed(4)
embedding = [[random.choice((-1.0, 1.0)) for _ in range(C)] for _ in range(V)]
head = [[0.0] * C for _ in range(V)]
for token, following in after.items():
    head[following] = [a + b for a, b in zip(head[following], embedding[token])]

tensors = {"emb.weight": ([V, C], sum(embedding, [])), "head.weight": ([V, C], sum(head, []))}


def norm(name):
    tensors[name + ".weight"] = ([C], [1.0] * C)
    tensors[name + ".bias"] = ([C], [0.0] * C)


def matrix(name, size=0.05):
    tensors[name + ".weight"] = ([C, C], [random.uniform(-size, size) for _ in range(C * C)])


def vector(name, shape):
    tensors[name] = (shape, [random.uniform(0.1, 0.9) for _ in range(C)])


norm("blocks.0.ln0")
norm("ln_out")
for layer in (f"blocks.{i}." for i in range(L)):
    norm(layer + "ln1")
    norm(layer + "ln2")
    for name in ("att.key", "att.value", "att.receptance", "ffn.key", "ffn.receptance"):
        matrix(layer + name)
    matrix(layer + "att.output", 0)
    matrix(layer + "ffn.value", 0)
    for name in ("att.time_mix_k", "att.time_mix_v", "att.time_mix_r", "ffn.time_mix_k", "ffn.time_mix_r"):
        vector(layer + name, [1, 1, C])
    vector(layer + "att.time_decay", [C])
    vector(layer + "att.time_first", [C])

header, data = {}, b""
for name, (shape, values) in tensors.items():
    packed = struct.pack(f"<{len(values)}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
    data += packed
text = json.dumps(header).encode()
with open(model, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
