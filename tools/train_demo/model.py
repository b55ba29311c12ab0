"""RWKV-7 for training on a CPU: the parallel form over whole sequences, with the names and shapes of the parameters that
released RWKV-7 checkpoints have.

Initial values follow RWKV-7's published recipe: mixes and decays spread over the channels, deeper layers mixing less, and
matrices that write into the residual zero.
"""
import ctypes
import math
import pathlib
import subprocess

import torch
from torch import nn
from torch.nn import functional as F

HEAD = 64


def load_kernels():
    """kernels.c, compiled for this processor into build/train_demo if that is missing or out of date."""
    source = pathlib.Path(__file__).resolve().with_name("kernels.c")
    library = source.parents[2] / "build" / "train_demo" / "kernels.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        library.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", str(source),
                        "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


KERNELS = load_kernels()


def pointers(tensors):
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]


def pointer_array(tensors):
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


class Shift(torch.autograd.Function):
    """x mixed with its predecessors in time, once for each row of m; x is [batch, time, width]."""

    @staticmethod
    def forward(ctx, x, m):
        x, m = x.contiguous(), m.contiguous()
        out = [torch.empty_like(x, dtype=torch.bfloat16) for _ in m]
        KERNELS.shift_forward(*x.shape, len(m), *pointers((x, m)), pointer_array(out))
        ctx.save_for_backward(x, m)
        return tuple(out)

    @staticmethod
    def backward(ctx, *dout):
        x, m = ctx.saved_tensors
        dout = [d.contiguous() for d in dout]
        dx, dm = torch.empty_like(x), torch.zeros_like(m)
        KERNELS.shift_backward(*x.shape, len(m), *pointers((x, m)), pointer_array(dout), *pointers((dx, dm)))
        return dx, dm


class Wkv7(torch.autograd.Function):
    """y of the state update in kernels.c; every argument is float [batch, time, heads, 64], time a multiple of 16."""

    @staticmethod
    def forward(ctx, *args):
        args = [x.contiguous() for x in args]
        b, t, h, n = args[0].shape
        y, sa, chunks = (args[0].new_empty(s) for s in ((b, t, h, n), (b, t, h, n), (b, h, t // 16, n, n)))
        KERNELS.wkv7_forward(b, t, h, *pointers((*args, y, sa, chunks)))
        ctx.save_for_backward(*args, sa, chunks)
        return y

    @staticmethod
    def backward(ctx, dy):
        saved = (*ctx.saved_tensors, dy.contiguous())
        b, t, h, _ = dy.shape
        grads = [torch.empty_like(x) for x in saved[:6]]
        KERNELS.wkv7_backward(b, t, h, *pointers((*saved, *grads)))
        return tuple(grads)


class Product(torch.autograd.Function):
    """x @ y with both rounded to bfloat16, which CPUs with AVX512-BF16 multiply 2 to 4 times as fast."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.x_type = x.dtype
        x, y = x.bfloat16(), y.bfloat16()
        ctx.save_for_backward(x, y)
        return (x @ y).float()

    @staticmethod
    def backward(ctx, d):
        x, y = ctx.saved_tensors
        d = d.bfloat16()
        return (d @ y.t()).to(ctx.x_type), (x.t() @ d).float()


def product(x, y):
    return Product.apply(x.flatten(0, -2), y).view(*x.shape[:-1], -1)


class Linear(nn.Module):
    """A matrix without bias, uniform in [-scale, scale]."""

    def __init__(self, inputs, outputs, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-scale, scale))

    def forward(self, x):
        return product(x, self.weight.t())


class TimeMix(nn.Module):
    def __init__(self, c, layer, layers):
        super().__init__()
        self.first = layer == 0
        depth, rest = layer / max(1, layers - 1), 1 - layer / layers  # 0 to 1, and 1 to 1 / layers
        i = torch.arange(c)
        ramp, line = i / c, i / (c - 1) - 0.5  # over all channels
        zigzag = (i % HEAD - (HEAD - 1) / 2) / ((HEAD - 1) / 2)  # over the channels of each head
        zigzag = zigzag * zigzag.abs()

        def vector(x):
            return nn.Parameter(x.reshape(1, 1, c).clone())

        for name, power in dict(r=0.2, w=0.9, k=0.7, v=0.7, a=0.9, g=0.2).items():
            setattr(self, f"x_{name}", vector(1 - ramp ** (power * rest)))
        ranks = dict(w=32, a=32, g=64) if self.first else dict(w=32, a=32, v=32, g=64)
        for name, rank in ranks.items():
            setattr(self, f"{name}1", nn.Parameter(torch.zeros(c, rank)))
            setattr(self, f"{name}2", nn.Parameter(nn.init.orthogonal_(torch.empty(rank, c), gain=0.1)))
        self.w0 = vector(6 * (i / (c - 1)) ** (1 + depth ** 0.3) - 5.5 + 2.5 * zigzag)
        self.a0 = vector(0.3 * zigzag + 0.4 * line - 0.19)
        if not self.first:
            self.v0 = vector(0.73 - 0.4 * line)
        self.k_k, self.k_a = vector(0.71 - 0.1 * line), vector(torch.full((c,), 1.02))
        self.r_k = nn.Parameter(torch.full((c // HEAD, HEAD), -0.04))
        self.receptance, self.value = Linear(c, c, 0.5 / c ** 0.5), Linear(c, c, 0.5 / c ** 0.5)
        self.key, self.output = Linear(c, c, 0.05 / c ** 0.5), Linear(c, c, 0)
        self.ln_x = nn.LayerNorm(c)  # holds the parameters; the norm itself is over each head

    def forward(self, x, v_first):
        def heads(z):
            return z.unflatten(-1, (-1, HEAD))

        xr, xw, xk, xv, xa, xg = Shift.apply(x, torch.cat([getattr(self, f"x_{n}")[0] for n in "rwkvag"]))
        r, k, v = self.receptance(xr), self.key(xk), self.value(xv)
        w = torch.exp(-math.exp(-0.5) * torch.sigmoid(self.w0 + product(torch.tanh(product(xw, self.w1)), self.w2)))
        a = torch.sigmoid(self.a0 + product(product(xa, self.a1), self.a2))
        g = product(torch.sigmoid(product(xg, self.g1)), self.g2)
        if self.first:
            v_first = v
        else:
            v = torch.lerp(v, v_first, torch.sigmoid(self.v0 + product(product(xv, self.v1), self.v2)))
        kk = F.normalize(heads(k * self.k_k), dim=-1)
        k = k * (1 + (a - 1) * self.k_a)
        r, w, k, v, a = map(heads, (r, w, k, v, a))
        y = F.layer_norm(Wkv7.apply(r, w, k, v, -kk, kk * a), (HEAD,), eps=64e-5).flatten(-2)
        y = torch.addcmul(self.ln_x.bias, y, self.ln_x.weight)
        y = y + ((r * k * self.r_k).sum(-1, keepdim=True) * v).flatten(-2)
        return self.output(y * g), v_first


class SquaredRelu(torch.autograd.Function):
    """relu(x @ key.T) ** 2 @ value.T, all of it in bfloat16, as x is."""

    @staticmethod
    def forward(ctx, x, key, value):
        key, value = key.bfloat16(), value.bfloat16()
        hidden = (x @ key.t()).relu_()
        squared = hidden * hidden
        ctx.save_for_backward(x, key, value, hidden, squared)
        return (squared @ value.t()).float()

    @staticmethod
    def backward(ctx, dy):
        x, key, value, hidden, squared = ctx.saved_tensors
        dy = dy.bfloat16()
        d = (dy @ value).mul_(hidden).mul_(2)
        return d @ key, (d.t() @ x).float(), (dy.t() @ squared).float()


class ChannelMix(nn.Module):
    def __init__(self, c, layer, layers):
        super().__init__()
        rest = 1 - layer / layers
        self.x_k = nn.Parameter((1 - (torch.arange(c) / c) ** (rest ** 4)).reshape(1, 1, c))
        self.key, self.value = Linear(c, 4 * c, 0.5 / c ** 0.5), Linear(4 * c, c, 0)

    def forward(self, x):
        mixed, = Shift.apply(x, self.x_k[0])
        return SquaredRelu.apply(mixed.flatten(0, -2), self.key.weight, self.value.weight).view_as(x)


class Block(nn.Module):
    def __init__(self, c, layer, layers):
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(c)
        self.ln1, self.ln2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.att, self.ffn = TimeMix(c, layer, layers), ChannelMix(c, layer, layers)

    def forward(self, x, v_first):
        y, v_first = self.att(self.ln1(x), v_first)
        x = x + y
        return x + self.ffn(self.ln2(x)), v_first


class Rwkv7(nn.Module):
    def __init__(self, vocab, c, layers):
        super().__init__()
        self.emb = nn.Embedding(vocab, c)
        self.emb.weight.data.uniform_(-1e-4, 1e-4)
        self.blocks = nn.ModuleList(Block(c, i, layers) for i in range(layers))
        self.ln_out = nn.LayerNorm(c)
        self.head = Linear(c, vocab, 0.5 / c ** 0.5)

    def forward(self, tokens):
        """The logits [batch, time, vocab] of tokens [batch, time], every sequence from an empty state."""
        x, v_first = self.blocks[0].ln0(self.emb(tokens)), None
        for block in self.blocks:
            x, v_first = block(x, v_first)
        return self.head(self.ln_out(x))
