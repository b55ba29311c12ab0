#!/usr/bin/env python3
"""Runs random clients of `rwkvk serve` for a while: they join, wait, read, cancel and continue, and every reply that is read to
its end must be what a lone client got.  At the end the server must have lost nothing, and its memory must not have grown.

    tools/load.py build/release/tools/rwkvk/rwkvk [--minutes 30] [--clients 24] [SERVE-OPTION]...

Linux (memory is read from /proc).  The exit code is 0 if all is well."""

import argparse
import json
import os
import random
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--minutes", type=float, default=30)
parser.add_argument("--clients", type=int, default=24)
parser.add_argument("--seed", type=int, default=1)
args, options = parser.parse_known_args()
os.environ["RWKVK"] = os.path.abspath(args.program)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "serve"))
from server import Server  # noqa: E402: it needs to know the program

PATH = "/v1/completions"
WORDS = ("the", "little", "dog", "ran", "to", "big", "red", "house", "and", "saw", "a", "bird", "who", "was", "sad")
counts = {"whole": 0, "streamed": 0, "cancelled": 0, "busy": 0, "wrong": 0}
lock = threading.Lock()
server = Server("--parallel", "8", "--queue", "16", "-q", *options)


def make_requests(count):
    """With the text that each gets when it is the only client."""
    draw = random.Random(args.seed)
    requests = []
    for seed in range(count):
        prompt = "Once upon a time " + " ".join(draw.choices(WORDS, k=draw.choice((0, 5, 40, 400))))
        body = {"prompt": prompt, "max_tokens": draw.choice((1, 10, 60, 150)), "seed": seed, "n": draw.choice((1, 1, 1, 2))}
        status, reply = server.post(PATH, body)
        assert status == 200, reply
        requests.append((body, [choice["text"] for choice in reply["choices"]]))
    return requests


def count(what):
    with lock:
        counts[what] += 1


def read_whole(body, texts):
    status, reply = server.post(PATH, body)
    if status == 503:
        count("busy")
        time.sleep(0.2)
    else:
        right = status == 200 and [choice["text"] for choice in reply["choices"]] == texts
        count("whole" if right else "wrong")


def read_stream(client, body, texts):
    """Reads slowly, in pieces of any size."""
    data = b""
    while piece := client.recv(random.randint(1, 4096)):
        data += piece
        if data.endswith(b"0\r\n\r\n") or b" 503 " in data[:20]:
            break
    if b" 503 " in data[:20]:
        count("busy")
        return
    got = [""] * len(texts)
    done = b"data: [DONE]" in data
    body_bytes, rest = b"", data.split(b"\r\n\r\n", 1)[1]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body_bytes += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    for event in body_bytes.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in json.loads(event[6:])["choices"]:
                got[choice["index"]] += choice["text"]
    count("streamed" if done and got == texts else "wrong")


def be_client(number, end, requests):
    draw = random.Random(args.seed * 1000 + number)
    while time.monotonic() < end:
        body, texts = draw.choice(requests)
        kind = draw.random()
        if kind < 0.3:
            read_whole(body, texts)
        else:
            client = server.open_stream(PATH, body)
            if kind < 0.6:
                time.sleep(draw.choice((0, 0, 0.01, 0.1, 1)))
                if draw.random() < 0.5:
                    client.recv(draw.randint(1, 2000))
                count("cancelled")
            else:
                read_stream(client, body, texts)
            client.close()
        time.sleep(draw.expovariate(2))


def memory():
    """Resident KiB."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def main():
    requests = make_requests(40)
    start = time.monotonic()
    end = start + 60 * args.minutes
    threads = [threading.Thread(target=be_client, args=(i, end, requests)) for i in range(args.clients)]
    for thread in threads:
        thread.start()
    marks = []
    while time.monotonic() < end:
        time.sleep(min(60, max(1, end - time.monotonic())))
        marks.append(memory())
        print(f"{(time.monotonic() - start) / 60:5.1f} min  {marks[-1]} KiB  {counts}", flush=True)
    for thread in threads:
        thread.join()
    time.sleep(1)
    metrics = server.metrics()
    idle = all(metrics["rwkvk_" + name] == 0 for name in ("requests_running", "requests_queued", "sessions_busy"))
    middle, last = marks[len(marks) // 2], marks[-1]
    print(f"idle: {idle}; memory at half time {middle} KiB, at the end {last} KiB; steps {metrics['rwkvk_steps_total']:.0f}, tokens "
          f"{metrics['rwkvk_tokens_generated_total']:.0f}; exit code {server.stop()}; {counts}")
    return 0 if idle and counts["wrong"] == 0 and last < 1.1 * middle else 1


sys.exit(main())
