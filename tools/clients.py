#!/usr/bin/env python3
"""Measures how fast a server with OpenAI's API answers several clients at a time: tokens a second of all together, and the time
to the first token.

    tools/clients.py http://127.0.0.1:8080 --clients 1,4,16 --requests 4 --tokens 100

Each client sends that many requests one after the other, each with a prompt of its own, so that nothing of it was read before.  A
reply's tokens are counted by its usage; a client's rate is that of the tokens after its first text."""

import argparse
import http.client
import json
import random
import threading
import time
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--clients", default="1,4,16")
parser.add_argument("--requests", type=int, default=4)
parser.add_argument("--tokens", type=int, default=100)
parser.add_argument("--prompt-words", type=int, default=50)
parser.add_argument("--seed", type=int, default=int(time.time()))
args = parser.parse_args()
server = urlsplit(args.url)
WORDS = "the of and to in is was for that on as with by at from his it an are which be this had he or also has".split()


def ask(draw, results):
    """Appends seconds to the first text, seconds after it, tokens."""
    prompt = " ".join(draw.choices(WORDS, k=args.prompt_words))
    body = {"prompt": prompt, "max_tokens": args.tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
            "logit_bias": {"0": -100}}
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=600)
    start, first, usage = time.monotonic(), None, None
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    while line := reply.readline():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if first is None and any(choice.get("text") for choice in event["choices"]):
            first = time.monotonic()
        usage = event.get("usage") or usage
    results.append((first - start, time.monotonic() - first, usage["completion_tokens"]))
    connection.close()


def be_client(number, results):
    draw = random.Random(args.seed * 1000 + number)
    for _ in range(args.requests):
        ask(draw, results)


def measure(clients):
    results, start = [], time.monotonic()
    threads = [threading.Thread(target=be_client, args=(clients * 100 + i, results)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, firsts = time.monotonic() - start, sorted(first for first, _, _ in results)
    tokens, rest = sum(count for _, _, count in results), sum(after for _, after, _ in results)
    at = lambda share: firsts[min(len(firsts) - 1, int(share * len(firsts)))]
    print(f"{clients} clients: {tokens / seconds:.1f} tokens/s, first token {at(0.5):.3f} s median, {at(0.99):.3f} s 99th; "
          f"{1000 * rest / tokens:.2f} ms a token of a text", flush=True)


for count in args.clients.split(","):
    measure(int(count))
