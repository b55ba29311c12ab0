#!/usr/bin/env python3
"""Trains a tiny RWKV-7 on a CPU.

CORPUS holds stories.train.txt.xz, books.train.txt.xz, stories.valid.txt.xz and books.valid.txt.xz; texts in them are
separated by a line <|endoftext|>.  OUT gets vocab.txt, log.txt, the corpus as tokens, step-N.safetensors every --save
steps, and model.safetensors at the end.
"""
import argparse
import lzma
import math
import pathlib
import time

import numpy as np
import torch
from torch.nn import functional as F

import tensors
from model import Rwkv7
from vocab import Vocab, build

SEPARATOR = b"\n<|endoftext|>\n"
VOCAB_BYTES = 4_500_000  # of each part, what the vocabulary is made from


def read_part(corpus, part):
    return lzma.decompress((corpus / f"{part}.txt.xz").read_bytes())


class Part:
    """Tokens of one part of the corpus, and the places where a training sequence may begin."""

    def __init__(self, corpus, name, vocab, cache):
        texts = read_part(corpus, name).rstrip(b"\n").split(SEPARATOR)
        self.bytes = sum(map(len, texts))
        if cache.exists():
            self.tokens = np.load(cache)
        else:
            self.tokens = np.array([token for text in texts for token in (0, *vocab.encode(text))] + [0], np.uint16)
            np.save(cache, self.tokens)
        ends, = np.nonzero(self.tokens == 0)
        # With token 0 before the text and without it, so that the model works with both.
        self.starts = [ends[:-1], ends[:-1] + 1]
        if len(self.tokens) > 2000 * len(texts):  # long texts: at their paragraphs as well
            self.starts.append(np.nonzero(self.tokens == vocab.ids[b"\n\n"])[0] + 1)
        self.starts = np.concatenate(self.starts)

    def batch(self, rng, count, length):
        at = rng.choice(self.starts, count)[:, None] + np.arange(length + 1)
        return torch.from_numpy(self.tokens[at % len(self.tokens)].astype(np.int64))


def orthogonal(g):
    """The nearest matrix with orthonormal rows or columns, roughly, by five Newton-Schulz steps."""
    wide = g.size(0) <= g.size(1)
    x = g.bfloat16() if wide else g.bfloat16().t()
    x = x / (x.float().norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x if wide else x.t()).float()


class Muon:
    """Momentum whose steps are made orthogonal, for the matrices of the blocks."""

    def __init__(self, params, lr, decay, momentum=0.95):
        self.params, self.lr, self.decay, self.momentum = params, lr, decay, momentum
        self.averages = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, rate):
        for p, average in zip(self.params, self.averages):
            average.mul_(self.momentum).add_(p.grad, alpha=1 - self.momentum)
            p.mul_(1 - self.lr * rate * self.decay)
            p.add_(orthogonal(torch.lerp(p.grad, average, self.momentum)),
                   alpha=-self.lr * rate * max(1, p.size(0) / p.size(1)) ** 0.5)


class Optimizer:
    """Muon for the large matrices of the blocks, AdamW for everything else; vectors do not decay."""

    def __init__(self, model, lr, muon, decay):
        named = list(model.named_parameters())
        matrices = [p for name, p in named if name.startswith("blocks") and name.endswith("weight") and p.dim() == 2]
        in_muon = set(map(id, matrices))
        self.rest = [p for _, p in named if id(p) not in in_muon]
        self.lr = lr
        self.adam = torch.optim.AdamW([{"params": [p for p in self.rest if min(p.shape) > 1], "weight_decay": decay},
                                       {"params": [p for p in self.rest if min(p.shape) == 1], "weight_decay": 0.0}],
                                      lr=lr, betas=(0.9, 0.98), eps=1e-10)
        self.muon = Muon(matrices, muon, decay)

    def step(self, rate):
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.lr * rate
        self.adam.step()
        self.muon.step(rate)


def loss_of(model, batch):
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def bits_per_byte(model, part, length=512):
    """Over the whole part, each sequence starting from an empty state."""
    count = (len(part.tokens) - 1) // length
    at = np.arange(count)[:, None] * length + np.arange(length + 1)
    rows = torch.from_numpy(part.tokens[at].astype(np.int64))
    nats = sum(loss_of(model, rows[i:i + 8]).item() * len(rows[i:i + 8]) for i in range(0, count, 8)) * length
    return nats / math.log(2) / (part.bytes * count * length / (len(part.tokens) - 1))


def schedule(arg, step):
    """The factor of the learning rates, and the share of stories: warm up, hold, then fall linearly to almost nothing
    over the last 60% of the steps, while the stories gain weight over the last half.  --constant keeps both."""
    warm = min(1, (step + 1) / arg.warmup)
    if arg.constant:
        return warm, arg.stories
    done = step / arg.steps
    return min(warm, max(0.02, (1 - done) / 0.6)), arg.stories + 0.5 * max(0, done - 0.5)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("corpus", type=pathlib.Path, metavar="CORPUS", help="the folder of the corpus")
    add("out", type=pathlib.Path, metavar="OUT", help="the folder for the results; a vocab.txt in it is kept")
    add("--steps", type=int, default=5000, help="how many steps")
    add("--save", type=int, default=1000, help="save and validate every so many steps")
    add("--start", type=pathlib.Path, metavar="FILE", help="a model.safetensors to go on from")
    add("--vocab", type=int, default=2048, help="tokens in the vocabulary, if it is made")
    add("--width", type=int, default=256, help="channels, a multiple of 64")
    add("--layers", type=int, default=4, help="blocks")
    add("--batch", type=int, default=4, help="sequences to a step")
    add("--length", type=int, default=512, help="tokens to a sequence, a multiple of 16")
    add("--lr", type=float, default=0.003, help="learning rate of AdamW")
    add("--muon", type=float, default=0.02, help="learning rate of Muon")
    add("--decay", type=float, default=0.1, help="weight decay of the matrices")
    add("--warmup", type=int, default=100, help="steps over which the rates rise")
    add("--constant", action="store_true", help="never let the rates fall, nor the share of stories rise")
    add("--stories", type=float, default=0.6, help="share of the stories in the first half of the steps")
    add("--seed", type=int, default=1, help="of the first weights and the choice of sequences")
    add("--threads", type=int, default=1, help="of torch")
    return parser.parse_args()


def prepare(arg):
    """The vocabulary, created if necessary, and the four parts of the corpus."""
    arg.out.mkdir(parents=True, exist_ok=True)
    path = arg.out / "vocab.txt"
    if not path.exists():
        text = b"\n\n".join(read_part(arg.corpus, name)[:VOCAB_BYTES].replace(SEPARATOR, b"\n\n")
                            for name in ("stories.train", "books.train"))
        build(text, arg.vocab, path)
    vocab = Vocab.load(path)
    parts = {name: Part(arg.corpus, name, vocab, arg.out / f"{name}.npy")
             for name in ("stories.train", "books.train", "stories.valid", "books.valid")}
    model = Rwkv7(len(vocab.tokens), arg.width, arg.layers)
    if arg.start:
        model.load_state_dict({name: torch.from_numpy(values) for name, values in tensors.read(arg.start).items()})
    return parts, model


def main():
    arg = arguments()
    torch.set_num_threads(arg.threads)
    torch.manual_seed(arg.seed)
    rng = np.random.default_rng(arg.seed)
    parts, model = prepare(arg)
    optimizer = Optimizer(model, arg.lr, arg.muon, arg.decay)
    log = open(arg.out / "log.txt", "a", buffering=1, encoding="utf-8")
    began = time.time()

    def say(*words):
        print(*words, file=log)
        print(*words, flush=True)

    def save(step, name):
        tensors.write(arg.out / name, {name: values.numpy() for name, values in model.state_dict().items()})
        say(f"{(time.time() - began) / 60:.1f} min, step {step}, bits per byte:",
            " ".join(f"{name} {bits_per_byte(model, parts[name]):.4f}" for name in ("stories.valid", "books.valid")))

    say({name: str(value) for name, value in vars(arg).items()}, sum(p.numel() for p in model.parameters()), "parameters;",
        {name: len(part.tokens) for name, part in parts.items()}, "tokens")
    losses = {"stories": [], "books": []}
    for step in range(arg.steps):
        rate, share = schedule(arg, step)
        kind = "stories" if rng.random() < share else "books"
        loss = loss_of(model, parts[f"{kind}.train"].batch(rng, arg.batch, arg.length))
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step(rate)
        losses[kind].append(loss.item())
        done = step + 1
        if done % 50 == 0:
            means = " ".join(f"{kind} {np.mean(values or [0]):.3f}" for kind, values in losses.items())
            say(f"step {done} {(time.time() - began) / 60:.1f} min, {means}, "
                f"{done * arg.batch * arg.length / (time.time() - began):.0f} tokens/s")
            losses = {"stories": [], "books": []}
        if done % arg.save == 0 and done < arg.steps:
            save(done, f"step-{done}.safetensors")
    save(arg.steps, "model.safetensors")


if __name__ == "__main__":
    main()
