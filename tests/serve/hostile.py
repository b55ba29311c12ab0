"""Malicious or broken clients: which replies they get, that others do not notice them, and that they leave nothing behind."""

import concurrent.futures
import json
import os
import random
import re
import resource
import socket
import struct
import time
import unittest

from server import Server

COMPLETIONS = "/v1/completions"
GOOD = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
LONG = {"prompt": "Once upon a time", "max_tokens": 4096, "temperature": 0, "logit_bias": {"0": -100}, "stream": True}
SLOW_SECONDS = 60  # by then the server has given up on slow clients: twice its limit


def message(body, *headers, method="POST", path=COMPLETIONS, version="HTTP/1.1"):
    """The bytes of a request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} {version}", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        cls.server = Server("--parallel", "4", "--queue", "8", "--cache-memory", "16")
        cls.expected = cls.server.post(COMPLETIONS, GOOD)[1]["choices"][0]["text"]

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, code

    def setUp(self):
        self.files = self.open_files()

    def tearDown(self):
        """Nothing remains of earlier clients, and others are served as before."""
        self.soon(lambda: not any(self.busy()), self.busy)
        self.good()
        self.soon(lambda: self.open_files() <= self.files, self.open_files)
        self.assertIsNone(self.server.process.poll())

    def soon(self, what, state):
        end = time.monotonic() + SLOW_SECONDS
        while not what():
            self.assertLess(time.monotonic(), end, state())
            time.sleep(0.05)

    def busy(self):
        metrics = self.server.metrics()
        return [metrics["rwkvk_" + name] for name in ("requests_running", "requests_queued", "sessions_busy")]

    def open_files(self):
        return len(os.listdir(f"/proc/{self.server.process.pid}/fd"))

    def memory(self):
        with open(f"/proc/{self.server.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) * 1024

    def good(self):
        status, reply = self.server.post(COMPLETIONS, GOOD)
        self.assertEqual((status, reply["choices"][0]["text"]), (200, self.expected))

    def ask(self, data):
        """The reply until the server closes or has answered; b"" if it closes without one."""
        with self.server.connect() as client:
            try:
                client.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has seen enough; its reply may still be read
            reply = b""
            try:
                while part := client.recv(65536):
                    reply += part
                    head, end, body = reply.partition(b"\r\n\r\n")
                    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                    if end and length and len(body) >= int(length[1]):
                        break
            except ConnectionResetError:
                pass
            return reply

    def last_words(self, data):
        """The reply if nothing follows the data."""
        with self.server.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            reply = b""
            try:
                while part := client.recv(65536):
                    reply += part
            except ConnectionResetError:
                pass
            return reply

    def status(self, data):
        """The status of the reply; 0: closed without one."""
        reply = self.ask(data)
        return int(reply.split()[1]) if reply else 0

    # ---- heads

    def test_half_requests(self):
        whole = message(GOOD)
        for length in [*range(0, len(whole), 7), len(whole) - 1]:
            for end in (socket.SHUT_WR, None):
                with self.server.connect() as client:
                    client.sendall(whole[:length])
                    if end is not None:
                        client.shutdown(end)

    def test_many_and_long_headers(self):
        before = self.memory()
        for data in (
            message(GOOD, *[f"X-{i}: {i}" for i in range(10000)]),
            message(GOOD, "X: " + "x" * 1000000),
            message(GOOD, *["Host: localhost"] * 5000),
            message(GOOD, path="/" + "x" * 1000000),
            b"x" * 1000000,
        ):
            self.assertIn(self.status(data), (0, 400, 413, 414, 431, 494))
        self.assertLess(self.memory() - before, 16 << 20)

    def test_heads_that_are_none(self):
        for data in (
            b"\0" * 4096,
            b"\r\n" * 4096,
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /\xff\x9b2J%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"G\xc2\x9bT / HTTP/1.1\r\nHost: \xff\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200 + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            message(GOOD, method="\x01"),
            message(GOOD, path="\xff\xfe"),
            message(GOOD, path="/../../etc/passwd"),
            message(GOOD, path="//v1/models"),
            message(GOOD, "Content-Type: text/plain", "Content-Type: application/json"),
        ):
            with self.subTest(data=data[:60]):
                reply = self.last_words(data)
                self.assertRegex(reply, rb"^(HTTP/1\.[01] [245]\d\d |$)")
                if b"application/json" in reply:
                    self.assertIn("error", json.loads(reply.partition(b"\r\n\r\n")[2]))
        self.assertFalse([line for line in self.server.log if not line.isascii() or "\x1b" in line])

    def test_random_bytes(self):
        draw = random.Random(1)
        whole = message(GOOD)
        for _ in range(200):
            spoilt = bytearray(whole)
            for _ in range(draw.randrange(1, 6)):
                spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
            with self.server.connect() as client:
                client.sendall(draw.randbytes(draw.randrange(1, 2000)) if draw.randrange(4) == 0 else bytes(spoilt))

    # ---- bodies

    def test_bodies_of_100_megabytes(self):
        before = self.memory()
        piece = b"x" * (1 << 20)
        self.assertEqual(self.status(message(b'"' + piece, f"Content-Length: {100 << 20}")), 413)
        self.assertIn(
            self.status(message(chunked(b'{"prompt":"', *[piece] * 100, b'"}'), "Transfer-Encoding: chunked")), (0, 413)
        )
        self.assertIn(self.status(message(b'"' + piece * 100)), (0, 413))
        self.assertLess(self.memory() - before, 32 << 20)

    def test_many_large_bodies_at_once(self):
        """Together they may not be more than one server wants to hold."""
        before = self.memory()
        clients = [self.server.connect() for _ in range(40)]
        half = message(b'{"prompt":"' + b"x" * (3 << 20), f"Content-Length: {4 << 20}")
        for client in clients:
            self.addCleanup(client.close)
            client.setblocking(False)
        sent = [0] * len(clients)
        for _ in range(200):
            for i, client in enumerate(clients):
                try:
                    sent[i] += client.send(half[sent[i] : sent[i] + 65536])
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    pass
        self.good()
        self.assertLess(self.memory() - before, 160 << 20)

    def test_lengths_that_lie(self):
        data = json.dumps({"content": "word"}).encode()
        self.assertIn(b'"tokens"', self.last_words(message(data, path="/tokenize")))
        for headers in (
            ("Content-Length: -1",),
            ("Content-Length: 99999999999999999999999",),
            ("Content-Length: 0x10",),
            ("Content-Length: ",),
            ("Content-Length: 1", f"Content-Length: {len(data)}"),
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: chunked, gzip",),
            ("Transfer-Encoding: gzip",),
        ):
            with self.subTest(headers=headers):
                self.assertNotIn(
                    b'"tokens"',
                    self.last_words(message(data, *headers, path="/tokenize")),
                    "a request of doubtful length was answered",
                )
        for body in (
            b"zz\r\n",
            b"-1\r\n",
            b"ffffffffffffffffff\r\nx",
            b"5\r\nabc",
            b"1;" + b"x" * 100000 + b"\r\n{\r\n0\r\n\r\n",
        ):
            with self.server.connect() as client:
                client.sendall(message(body, "Transfer-Encoding: chunked"))

    def test_json_that_is_hard_to_read(self):
        deep = b"[" * 100000
        for data in (
            deep,
            b'{"prompt":' + deep + b"]" * 100000 + b"}",
            b'{"a":' * 50000,
            b'{"prompt":"\xff\xfe"}',
            b'{"prompt":"\\ud800"}',
            b'{"prompt":1e999}',
            b'{"prompt":"x","temperature":1e999}',
            b'{"prompt":"x","seed":' + b"9" * 5000 + b"}",
            b'{"prompt":"x","stop":' + json.dumps(["x"] * 100000).encode() + b"}",
            b"",
            b"null",
            b'{"prompt":"x"}{"prompt":"x"}',
            b'{"prompt":"x","logit_bias":' + json.dumps({str(i): 1 for i in range(50000)}).encode() + b"}",
            b'{"prompt":"x","state":' + json.dumps("s" * 1000000).encode() + b"}",
        ):
            with self.subTest(data=data[:40]):
                self.assertEqual(self.status(message(data)), 400)
        self.assertIn(self.status(message(b'{"prompt":"a\\u0000b","max_tokens":1}')), (200, 400))

    def test_prompts_that_are_hard_to_cut(self):
        """Prompts are split where states are worth keeping, before their tokens are counted."""
        many = [{"role": "user", "content": "x"}] * 100000
        self.assertEqual(self.status(message({"messages": many}, path="/v1/chat/completions")), 400)
        for letter in "x ":
            self.assertEqual(self.status(message({"prompt": letter * 4000000})), 400)

    # ---- time

    def test_slow_clients(self):
        """Heads and bodies that arrive a byte at a time, silent connections, streams that are not read: the server gives up on
        each of them, and meanwhile serves others."""
        head, body = message(GOOD)[:60], message(GOOD)
        kinds = {
            "silent": b"",
            "head": head,
            "body": body[:-40],
            "chunks": message(b"1\r\n{\r\n", "Transfer-Encoding: chunked"),
        }
        slow = [(kind, self.server.connect()) for kind in kinds for _ in range(30)]
        for kind, client in slow:
            client.sendall(kinds[kind])
            client.setblocking(False)
        deaf = [self.server.open_stream(COMPLETIONS, {**LONG, "logprobs": 5}) for _ in range(2)]
        end = time.monotonic() + SLOW_SECONDS
        while slow and time.monotonic() < end:
            self.good()
            slow = [(kind, client) for kind, client in slow if self.trickle(client, kind)]
            time.sleep(1)
        self.assertEqual([kind for kind, _ in slow], [])
        for client in deaf:
            client.close()

    def trickle(self, client, kind):
        """Sends one more byte; false: the server has closed."""
        try:
            if kind != "silent":
                client.send(b"1\r\n \r\n" if kind == "chunks" else b"x")
            if client.recv(4096) == b"":
                client.close()
                return False
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            client.close()
            return False
        return True

    # ---- crowds

    def test_closing_at_random_moments(self):
        draw = random.Random(2)
        bodies = [GOOD, {**GOOD, "stream": True}, LONG, {**LONG, "n": 3}, {"prompt": "word " * 3000, "max_tokens": 4}]

        def client(seed):
            own = random.Random(seed)
            whole = message(own.choice(bodies))
            with self.server.connect() as one:
                one.sendall(whole[: len(whole) if own.randrange(4) else own.randrange(len(whole))])
                one.settimeout(own.random() * 0.4)
                try:
                    while one.recv(own.choice((1, 100, 4096))) and own.randrange(8):
                        pass
                except (TimeoutError, ConnectionResetError):
                    pass
                if own.randrange(2):  # closes with a reset
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            list(pool.map(client, [draw.random() for _ in range(300)]))

    def test_500_connections(self):
        """All at once: each is answered, or told to come back later."""
        clients = [self.server.connect() for _ in range(500)]
        for client in clients:
            client.sendall(message(GOOD, "Connection: close"))
        replies = []
        for client in clients:
            reply = b""
            while part := client.recv(65536):
                reply += part
            client.close()
            replies.append(reply)
        statuses = [int(reply.split()[1]) for reply in replies]
        self.assertLessEqual(set(statuses), {200, 503})
        self.assertGreaterEqual(statuses.count(200), 8)
        for status, reply in zip(statuses, replies):
            answer = json.loads(reply.partition(b"\r\n\r\n")[2])
            self.assertEqual(
                answer["choices"][0]["text"] if status == 200 else answer["error"]["code"],
                self.expected if status == 200 else "queue_full",
            )

    def test_more_connections_than_there_are(self):
        clients = [socket.socket() for _ in range(1200)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((self.server.host, self.server.port))
        time.sleep(1)
        for client in clients:
            client.close()

    def test_requests_on_one_connection(self):
        """Sent before the replies are read."""
        with self.server.connect() as client:
            client.sendall(message(GOOD) * 20 + message(GOOD, "Connection: close"))
            reply = b""
            while part := client.recv(65536):
                reply += part
        self.assertEqual(reply.count(b"HTTP/1.1 200 OK"), 21)


if __name__ == "__main__":
    unittest.main(verbosity=2)
