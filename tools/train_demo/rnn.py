#!/usr/bin/env python3
"""Runs a trained model one token at a time with numpy alone: the reference for an engine's results.

DIR holds model.safetensors and vocab.txt.  Without --golden or --check it prints samples.
"""
import argparse
import json
import pathlib

import numpy as np

import tensors
from vocab import Vocab

HEAD = 64
GOLDEN_TOKENS = 48
GOLDEN_TEXT = "Tom's dog ran 42 miles -- \"Wow!\" he said.\n\nThe end. \u00e9"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, weight, bias, eps=1e-5):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias


class Model:
    def __init__(self, weights):
        # The mixes and biases are stored as [1, 1, width].
        self.weights = {name: values.squeeze() for name, values in weights.items()}
        self.width = weights["emb.weight"].shape[1]
        self.layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))

    def empty_state(self):
        """For each layer: the last input of the time mix, S of each head [value][key], the last input of the channel mix."""
        heads = self.width // HEAD
        return [[np.zeros(self.width, np.float32), np.zeros((heads, HEAD, HEAD), np.float32),
                 np.zeros(self.width, np.float32)] for _ in range(self.layers)]

    def step(self, token, state):
        """The logits after token; state is changed in place."""
        w = self.weights
        x = norm(w["emb.weight"][token], w["blocks.0.ln0.weight"], w["blocks.0.ln0.bias"])
        v_first = None
        for i, layer in enumerate(state):
            block = {name.split(".", 2)[2]: values for name, values in w.items() if name.startswith(f"blocks.{i}.")}
            normed = norm(x, block["ln1.weight"], block["ln1.bias"])
            att = {name[4:]: values for name, values in block.items() if name.startswith("att.")}
            y, v_first = time_mix(normed, v_first, layer, att)
            x = x + y
            y = norm(x, block["ln2.weight"], block["ln2.bias"])
            mixed, layer[2] = y + (layer[2] - y) * block["ffn.x_k"], y
            x = x + block["ffn.value.weight"] @ np.maximum(block["ffn.key.weight"] @ mixed, 0) ** 2
        return w["head.weight"] @ norm(x, w["ln_out.weight"], w["ln_out.bias"])


def time_mix(x, v_first, layer, p):
    xr, xw, xk, xv, xa, xg = (x + (layer[0] - x) * p["x_" + name] for name in "rwkvag")
    layer[0] = x
    r, k, v = p["receptance.weight"] @ xr, p["key.weight"] @ xk, p["value.weight"] @ xv
    w = np.exp(-np.exp(-0.5) * sigmoid(p["w0"] + np.tanh(xw @ p["w1"]) @ p["w2"]))
    a = sigmoid(p["a0"] + xa @ p["a1"] @ p["a2"])
    g = sigmoid(xg @ p["g1"]) @ p["g2"]
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * sigmoid(p["v0"] + xv @ p["v1"] @ p["v2"])
    kk = (k * p["k_k"]).reshape(-1, HEAD)
    kk = kk / np.maximum(np.linalg.norm(kk, axis=1, keepdims=True), 1e-12)
    k = k * (1 + (a - 1) * p["k_a"])
    r, w, k, v, a = (z.reshape(-1, HEAD) for z in (r, w, k, v, a))
    removed = np.einsum("hij,hj->hi", layer[1], -kk)
    layer[1] = layer[1] * w[:, None] + removed[:, :, None] * (kk * a)[:, None] + v[:, :, None] * k[:, None]
    y = norm(np.einsum("hij,hj->hi", layer[1], r), 1, 0, 64e-5).reshape(-1) * p["ln_x.weight"] + p["ln_x.bias"]
    y = y + ((r * k * p["r_k"]).sum(1, keepdims=True) * v).reshape(-1)
    return p["output.weight"] @ (y * g), v_first


def feed(model, ids):
    """The logits after ids, and the state."""
    state = model.empty_state()
    for token in ids:
        logits = model.step(token, state)
    return logits, state


def sample(model, vocab, prompt, count, rng, temperature, top_p):
    (logits, state), out = feed(model, (0, *vocab.encode(prompt))), []
    for _ in range(count):
        p = np.exp((logits - logits.max()) / max(temperature, 1e-3))
        order = np.argsort(-p)
        p = p[order] / p.sum()
        kept = p * (np.cumsum(p) - p < top_p)
        token = int(order[rng.choice(len(p), p=kept / kept.sum())])
        if token == 0:
            break
        out.append(token)
        logits = model.step(token, state)
    return vocab.decode(out)


def golden(model, vocab, prompt):
    """The reference for an engine's test: the best logits, greedy tokens, and an example of tokenizing."""
    ids = [0, *vocab.encode(prompt.encode())]
    logits, state = feed(model, ids)
    best = [[int(i), round(float(logits[i]), 4)] for i in np.argsort(-logits, kind="stable")[:5]]
    greedy = []
    for _ in range(GOLDEN_TOKENS):
        greedy.append(int(logits.argmax()))
        logits = model.step(greedy[-1], state)
    return {"prompt": prompt, "tokens": ids, "top_logits": best, "greedy": greedy,
            "greedy_text": vocab.decode(greedy).decode(), "tokenizer_text": GOLDEN_TEXT,
            "tokenizer_tokens": vocab.encode(GOLDEN_TEXT.encode())}


def check(model, vocab, weights, text):
    """Prints how far the logits of the training code are from those of this file."""
    import torch
    from model import Rwkv7
    ids = [0, *vocab.encode(text)]
    ids = ids[:len(ids) // 16 * 16]
    trained = Rwkv7(len(vocab.tokens), model.width, model.layers)
    trained.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    with torch.no_grad():
        whole = trained(torch.tensor([ids]))[0].numpy()
    state = model.empty_state()
    steps = np.array([model.step(token, state) for token in ids])
    print(f"{len(ids)} tokens: largest difference {np.abs(whole - steps).max():.4f}, root mean square "
          f"{np.sqrt(((whole - steps) ** 2).mean()):.5f}, of logits with deviation {steps.std():.2f}; "
          f"the same best token at {(whole.argmax(1) == steps.argmax(1)).mean():.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR", help="a folder with model.safetensors and vocab.txt")
    parser.add_argument("--prompt", default="Once upon a time", help="the beginning of the text")
    parser.add_argument("--tokens", type=int, default=200, help="the most tokens to a sample")
    parser.add_argument("--count", type=int, default=1, help="how many samples")
    parser.add_argument("--temperature", type=float, default=0.7, help="sampling temperature")
    parser.add_argument("--top-p", type=float, default=0.9, help="keep the best tokens that sum to this probability")
    parser.add_argument("--seed", type=int, default=1, help="of the samples")
    parser.add_argument("--golden", type=pathlib.Path, metavar="FILE", help="write the golden results as JSON")
    parser.add_argument("--check", action="store_true", help="compare with the training code (needs torch)")
    arg = parser.parse_args()
    weights, vocab = tensors.read(arg.dir / "model.safetensors"), Vocab.load(arg.dir / "vocab.txt")
    model = Model(weights)
    if arg.golden:
        arg.golden.write_text(json.dumps(golden(model, vocab, arg.prompt), indent=1))
        return
    rng = np.random.default_rng(arg.seed)
    for _ in range(arg.count):
        text = arg.prompt.encode() + sample(model, vocab, arg.prompt.encode(), arg.tokens, rng, arg.temperature, arg.top_p)
        print(text.decode(errors="replace"), end="\n\n----\n")
    if arg.check:
        check(model, vocab, weights, text)


if __name__ == "__main__":
    main()
