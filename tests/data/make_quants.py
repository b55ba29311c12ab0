#!/usr/bin/env python3
"""Makes quants.bin: random blocks of every block type and the floats they stand for.

Independent of the library: each element is looked up on its own, by the tables in docs/formats.md, and computed as an exact
fraction that is rounded to a float once.  The file is one record a type: name (8 bytes, zero-padded), number of blocks and
elements of a block (u32), the blocks, the floats; little-endian."""
import os
import random
import struct
from fractions import Fraction

IQ4_NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]


def half(b, at):
    return Fraction(struct.unpack_from("<e", b, at)[0])


def bits(b, at, bit):
    return b[at + bit // 8] >> bit % 8 & 1


def nibble(b, at, i, bytes_):
    return b[at + i % bytes_] >> 4 * (i // bytes_ % 2) & 15


def k_codes(b, g):
    if g < 4:
        return b[4 + g] & 63, b[8 + g] & 63
    return (b[12 + g - 4] & 15) | b[4 + g - 4] >> 6 << 4, (b[12 + g - 4] >> 4) | b[8 + g - 4] >> 6 << 4


def q8_0(b, i):
    return half(b, 0) * struct.unpack_from("b", b, 2 + i)[0]


def q4_0(b, i):
    return half(b, 0) * (nibble(b, 2, i, 16) - 8)


def q4_1(b, i):
    return half(b, 0) * nibble(b, 4, i, 16) + half(b, 2)


def q5_0(b, i):
    return half(b, 0) * ((nibble(b, 6, i, 16) | bits(b, 2, i) << 4) - 16)


def q5_1(b, i):
    return half(b, 0) * (nibble(b, 8, i, 16) | bits(b, 4, i) << 4) + half(b, 2)


def q2_k(b, i):
    q = b[16 + i // 128 * 32 + i % 32] >> 2 * (i % 128 // 32) & 3
    return half(b, 80) * (b[i // 16] & 15) * q - half(b, 82) * (b[i // 16] >> 4)


def q3_k(b, i):
    q = b[32 + i // 128 * 32 + i % 32] >> 2 * (i % 128 // 32) & 3
    q -= 0 if b[i % 32] >> i // 32 & 1 else 4
    g = i // 16
    code = (b[96 + g % 8] >> 4 * (g // 8) & 15) | (b[104 + g % 4] >> 2 * (g // 4) & 3) << 4
    return half(b, 108) * (code - 32) * q


def q4_k(b, i):
    scale, least = k_codes(b, i // 32)
    return half(b, 0) * scale * nibble(b, 16 + i // 64 * 32, i % 64, 32) - half(b, 2) * least


def q5_k(b, i):
    scale, least = k_codes(b, i // 32)
    q = nibble(b, 48 + i // 64 * 32, i % 64, 32) | (b[16 + i % 32] >> i // 32 & 1) << 4
    return half(b, 0) * scale * q - half(b, 2) * least


def q6_k(b, i):
    h, r = divmod(i, 128)
    q = (b[64 * h + r % 64] >> 4 * (r // 64) & 15) | (b[128 + 32 * h + r % 32] >> 2 * (r // 32) & 3) << 4
    return half(b, 208) * struct.unpack_from("b", b, 192 + i // 16)[0] * (q - 32)


def iq4_nl(b, i):
    return half(b, 0) * IQ4_NL[nibble(b, 2, i, 16)]


# name: elements and bytes of a block, where its f16 numbers are, one element
TYPES = {
    "Q8_0": (32, 34, [0], q8_0), "Q4_0": (32, 18, [0], q4_0), "Q4_1": (32, 20, [0, 2], q4_1), "Q5_0": (32, 22, [0], q5_0),
    "Q5_1": (32, 24, [0, 2], q5_1), "Q2_K": (256, 84, [80, 82], q2_k), "Q3_K": (256, 110, [108], q3_k),
    "Q4_K": (256, 144, [0, 2], q4_k), "Q5_K": (256, 176, [0, 2], q5_k), "Q6_K": (256, 210, [208], q6_k),
    "IQ4_NL": (32, 18, [0], iq4_nl),
}


def random_block(rng, size, halves):
    """Any bytes, but scales that are finite and not all of one size: their exponents are 2^-14 to 2^1, or subnormal."""
    block = bytearray(rng.randrange(256) for _ in range(size))
    for at in halves:
        struct.pack_into("<H", block, at, rng.randrange(2) << 15 | rng.randrange(17) << 10 | rng.randrange(1024))
    return bytes(block)


def main():
    rng = random.Random(20)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "quants.bin"), "wb") as f:
        for name, (elements, size, halves, element) in TYPES.items():
            count = 8 if elements == 32 else 2
            blocks = [random_block(rng, size, halves) for _ in range(count)]
            f.write(name.encode().ljust(8, b"\0") + struct.pack("<II", count, elements) + b"".join(blocks))
            for block in blocks:
                f.write(struct.pack(f"<{elements}f", *[float(element(block, i)) for i in range(elements)]))


main()
