#!/usr/bin/env python3
"""Continues a text: hello.py [MODEL [VOCABULARY]].  With the wheel, as packaging/python makes it; without a model, a story."""

import sys

import rwkvk

with rwkvk.Model(*sys.argv[1:2], vocab=sys.argv[2] if len(sys.argv) > 2 else None) as model, model.session() as session:
    print(f"{model.info.device}, RWKV-{model.info.version}, {model.info.parameters} parameters", file=sys.stderr)
    prompt = "Once upon a time"
    logits = session.eval(prompt)
    best = max(range(len(logits)), key=logits.__getitem__)
    print(f"most probable: {model.decode([best])!r}", file=sys.stderr)
    print(prompt, end="", flush=True)
    for piece in session.generate(100, sampling=model.sampling(seed=1)):
        print(piece, end="", flush=True)
    print()
