"""Makes a small vocabulary in the RWKV World text format and turns text into tokens with it.

The format is one line `ID LITERAL BYTES` per token, with IDs from 1 (0 ends a text).  Tokenizing takes the longest matching
token at every place.  IDs 1 to 256 are the single bytes, so any input can be written.
"""
import ast
import collections
import re

# What a token may not reach across: a contraction's end, a word or number with the space before it, punctuation, space.
WORDS = re.compile(rb"'(?:s|t|re|ve|ll|d|m)\b| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+")


def merged_tokens(word_counts, limit):
    """Byte-pair encoding over words with their counts: the merged tokens in the order they are made."""
    words = [[bytes([byte]) for byte in word] for word in word_counts]
    counts = list(word_counts.values())
    pair_counts, words_with = collections.Counter(), collections.defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pair_counts[pair] += counts[i]
            words_with[pair].add(i)
    made = []
    while len(made) < limit:
        best = max(pair_counts, key=lambda pair: (pair_counts[pair], pair))
        made.append(best[0] + best[1])
        for i in words_with.pop(best):
            word = words[i]
            for pair in zip(word, word[1:]):
                pair_counts[pair] -= counts[i]
            at, joined = 0, []
            while at < len(word):
                if tuple(word[at:at + 2]) == best:
                    joined.append(made[-1])
                    at += 2
                else:
                    joined.append(word[at])
                    at += 1
            words[i] = joined
            for pair in zip(joined, joined[1:]):
                pair_counts[pair] += counts[i]
                words_with[pair].add(i)
        pair_counts.pop(best, None)
    return list(dict.fromkeys(made))


def build(text, size, path):
    """Writes a vocabulary of `size` tokens, including the end of text.

    It makes a quarter more merges than needed and keeps those that greedy tokenizing of the text uses most."""
    counts = collections.Counter(WORDS.findall(text))
    tokens = [bytes([byte]) for byte in range(256)] + merged_tokens(counts, size + size // 4)
    used = collections.Counter(Vocab(tokens).encode(text))
    kept = sorted(range(256, len(tokens)), key=lambda i: -used[i + 1])[:size - 257]
    tokens = tokens[:256] + sorted((tokens[i] for i in kept), key=lambda token: (len(token), token))
    with open(path, "w", encoding="utf-8") as file:
        for i, token in enumerate(tokens, 1):
            literal = repr(token.decode()) if token.isascii() else repr(token)
            file.write(f"{i} {literal} {len(token)}\n")


class Vocab:
    def __init__(self, tokens):
        self.tokens = [b""] + tokens
        self.ids = {token: i for i, token in enumerate(tokens, 1)}
        self.longest = max(map(len, tokens))

    @classmethod
    def load(cls, path):
        tokens = []
        for line in open(path, encoding="utf-8"):
            number, rest = line.rstrip("\n").split(" ", 1)
            token = ast.literal_eval(rest.rsplit(" ", 1)[0])
            tokens.append(token.encode() if isinstance(token, str) else token)
            if int(number) != len(tokens):
                raise ValueError(f"{path}: expected token {len(tokens)}, found {number}")
        return cls(tokens)

    def encode(self, text):
        out, at = [], 0
        while at < len(text):
            for length in range(min(self.longest, len(text) - at), 0, -1):
                token = self.ids.get(text[at:at + length])
                if token is not None:
                    break
            out.append(token)
            at += length
        return out

    def decode(self, ids):
        return b"".join(self.tokens[i] for i in ids)
