"""Access, queueing, clients that disconnect or do not read, and how the server ends."""

import base64
import contextlib
import json
import os
import select
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from server import PROGRAM, Server, wait_for

COMPLETIONS = "/v1/completions"
LONG = {"prompt": "Once upon a time", "max_tokens": 4096, "temperature": 0, "logit_bias": {"0": -100}}  # it never ends by itself


def words(count, first="word"):
    """A prompt of at least so many tokens."""
    return first + " " + " ".join(f"{i % 97}" for i in range(count))


def basic(password, user="anyone"):
    """The header of a browser that has asked for a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", "2", "--queue", "2", "--cache-memory", "0", "--max-prompt", "2000000")

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, code

    def metric(self, name):
        return self.server.metrics()["rwkvk_" + name]

    def tearDown(self):
        wait_for(lambda: self.metric("sessions_busy") == 0 and self.metric("requests_queued") == 0)

    def start(self, body):
        """A client whose text is being written."""
        client = self.server.open_stream(COMPLETIONS, body)
        data = b""
        while b'"text"' not in data:
            data += client.recv(65536)
        return client

    def test_a_client_that_closes_frees_its_session(self):
        client = self.start(LONG)
        client.close()
        steps = self.metric("steps_total")
        wait_for(lambda: self.metric("sessions_busy") == 0)
        self.assertLessEqual(self.metric("steps_total") - steps, 2)

    def test_a_client_that_closes_while_its_prompt_is_read(self):
        for stream in (True, False):
            before = self.metric("prompt_tokens_total")
            client = self.server.open_stream(COMPLETIONS, {"prompt": words(20000), "stream": stream})
            wait_for(lambda: self.metric("prompt_tokens_total") > before)
            self.assertGreaterEqual(self.metric("prompt_tokens_total") - before, 20000)
            client.close()
            steps, read = self.metric("steps_total"), self.metric("tokens_generated_total")
            wait_for(lambda: self.metric("sessions_busy") == 0)
            self.assertLessEqual(self.metric("steps_total") - steps, 2)
            self.assertEqual(self.metric("tokens_generated_total"), read)

    def test_those_that_wait_have_an_order_and_a_limit(self):
        running = [self.start(LONG) for _ in range(2)]
        waiting = [self.server.open_stream(COMPLETIONS, LONG) for _ in range(2)]
        wait_for(lambda: self.metric("requests_queued") == 2)
        status, headers, data = self.server.request("POST", COMPLETIONS, LONG)
        error = json.loads(data)["error"]
        self.assertEqual((status, error["code"], error["type"]), (503, "queue_full", "server_error"))
        self.assertGreater(int(headers["Retry-After"]), 0)
        self.assertEqual(self.server.get("/health")[0], 200)
        waiting[0].close()  # while it waits
        wait_for(lambda: self.metric("requests_queued") == 1)
        running[0].close()  # the other one begins
        data = b""
        while b'"text"' not in data:
            data += waiting[1].recv(65536)
        for client in (running[1], waiting[1]):
            client.close()

    def test_a_silent_stream_gets_comments(self):
        running = [self.start(LONG) for _ in range(2)]
        waiting = self.server.open_stream(COMPLETIONS, LONG)
        waiting.settimeout(20)
        for client in running:  # who do not read: their texts wait, and so does the queue
            client.settimeout(20)
        data, start = b"", time.monotonic()
        while b": waiting\n\n" not in data:
            data += waiting.recv(65536)
        self.assertGreater(time.monotonic() - start, 3)
        for client in (*running, waiting):
            client.close()

    def test_a_client_that_does_not_read_stops_nobody(self):
        slow = self.start({**LONG, "logprobs": 20})
        events = self.server.stream(COMPLETIONS, {**LONG, "max_tokens": 300})
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
        slow.close()

    def test_long_texts_make_nobody_wait(self):
        """Splitting them into tokens takes long; others are answered before it is done."""
        data = json.dumps({"content": "x " * 700000}).encode()
        writers = [self.server.connect() for _ in range(3)]
        for writer in writers:
            writer.sendall(self.server.head("POST", "/tokenize", len(data)) + data[:-1])
        other = self.server.connect()
        health = lambda: (other.sendall(self.server.head("GET", "/health")), self.assertIn(b'"ok"', other.recv(4096)))
        health()
        for writer in writers:
            writer.sendall(data[-1:])
        for _ in range(10):
            health()
        answered = select.select(writers, [], [], 0)[0]
        self.assertLess(len(answered), len(writers))
        for writer in writers:
            self.assertTrue(writer.recv(4096).startswith(b"HTTP/1.1 200 "))
            writer.close()
        other.close()

    def test_choices_wait_for_as_many_sessions(self):
        client = self.start(LONG)
        results = []
        thread = threading.Thread(target=lambda: results.append(self.server.post(COMPLETIONS, {**LONG, "n": 2, "max_tokens": 4})))
        thread.start()
        wait_for(lambda: self.metric("requests_queued") == 1)
        client.close()
        thread.join(60)
        self.assertEqual((results[0][0], len(results[0][1]["choices"])), (200, 2))

class Slow(unittest.TestCase):
    def test_who_reads_nothing_is_dropped(self):
        server = Server("--parallel", "2", "--timeout", "2")
        self.addCleanup(server.stop)
        body = {"messages": [{"role": "user", "content": LONG["prompt"]}], "logprobs": True, "top_logprobs": 20}
        client = server.open_stream("/v1/chat/completions", {**LONG, **body}, buffer=4096)
        for busy in (1, 0):
            wait_for(lambda: server.metrics()["rwkvk_sessions_busy"] == busy)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(1 << 20):
                data += more
        client.close()
        self.assertTrue(data.startswith(b"HTTP/1.1 200 "))
        self.assertFalse(b"[DONE]" in data)


class Open(unittest.TestCase):
    def test_anyone_may_use_it(self):
        """By an address that other machines reach, under any name; but no page of another site."""
        server = Server("--parallel", "2", "--host", "0.0.0.0", "--open")
        self.addCleanup(server.stop)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing
                server.host = probe.getsockname()[0]
            except OSError:
                pass  # a machine without a network has none but loopback
        for name in (f"{server.host}:{server.port}", "any.example", "10.0.0.1:80"):
            self.assertEqual(server.get("/v1/models", Host=name)[0], 200, name)
            self.assertEqual(server.post(COMPLETIONS, {"prompt": "x", "max_tokens": 1}, {"Host": name})[0], 200, name)
        self.assertEqual(server.request("GET", "/")[0], 200)
        self.assertEqual(server.get("/v1/models", Host="any.example", Origin="http://any.example")[0], 200)
        self.assertEqual(server.get("/v1/models", Host="any.example", Origin="http://evil.example")[0], 403)


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".keys", delete=False) as file:
            file.write("# ours\nfirst-key\n\nsecond-key\r\n")
            cls.path = file.name
        cls.server = Server("--parallel", "2", "--api-key", cls.path, "--cors", "https://page.example", "--name", "mine",
                            "--host", "0.0.0.0")

    @classmethod
    def tearDownClass(cls):
        os.unlink(cls.path)
        code = cls.server.stop()
        assert code == 0, code

    def test_keys(self):
        for key in ("first-key", "second-key"):
            self.assertEqual(self.server.get("/v1/models", Authorization="Bearer " + key, Host="any.example")[0], 200)
        for header in (None, "", "Bearer", "Bearer ", "Bearer first-ke", "Bearer first-key2", "Basic first-key", "first-key",
                       "Bearer # ours", "Bearer first-keyfirst-key"):
            for path in ("/v1/models", "/v1/models/mine", "/metrics"):
                status, _, data = self.server.request("GET", path, headers={"Authorization": header})
                self.assertEqual((status, json.loads(data)["error"]["code"]), (401, "invalid_api_key"), header)
            self.assertEqual(self.server.post(COMPLETIONS, {"prompt": "x"}, {"Authorization": header})[0], 401)
        self.assertEqual(self.server.get("/health")[0], 200)

    def test_what_is_there_is_a_secret_too(self):
        for path in ("/nothing", "/v1/models/other", "/v1/models/mine"):
            self.assertEqual(self.server.get(path)[0], 401, path)
        self.assertEqual(self.server.get("/v1/models/other", Authorization="Bearer first-key")[0], 404)

    def test_the_page_asks_for_a_password(self):
        status, headers, _ = self.server.request("GET", "/")
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, 'Basic realm="rwkvk", charset="UTF-8"'))
        self.assertEqual(self.server.request("GET", "/metrics")[1]["WWW-Authenticate"], "Bearer")
        for password, status in (("first-key", 200), ("second-key", 200), ("first-ke", 401), ("", 401), ("first-key:", 401)):
            for user in ("", "anyone"):
                for path in ("/", "/v1/models", "/metrics"):
                    self.assertEqual(self.server.get(path, **basic(password, user))[0], status, (user, password, path))
        for text in ("first-key", "Zmlyc3Qta2V5", "Zmlyc3Qta2V5OmZpcnN0LWtleQ", "====", ""):  # no base64, no colon, cut
            self.assertEqual(self.server.get("/", Authorization="Basic " + text)[0], 401, text)

    def test_pages_elsewhere_cannot_use_a_password(self):
        """Browsers send it with every page's requests."""
        body = {"prompt": "x", "max_tokens": 1}
        own = {"Host": "server.example:8080", **basic("first-key")}
        for origin, status in ((None, 200), ("http://server.example:8080", 200), ("https://page.example", 200),
                               ("http://evil.example", 403), ("null", 403), ("http://server.example", 403)):
            for path, content in ((COMPLETIONS, body), ("/tokenize", {"content": "x"})):
                self.assertEqual(self.server.post(path, content, {**own, "Origin": origin})[0], status, (origin, path))
            self.assertEqual(self.server.request("GET", "/v1/models", headers={**own, "Origin": origin})[0], status, origin)
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            self.assertEqual(self.server.post(COMPLETIONS, json.dumps(body).encode(), {**own, "Content-Type": kind})[0], 415)
        bearer = {"Authorization": "Bearer first-key", "Origin": "http://evil.example"}
        self.assertEqual(self.server.post(COMPLETIONS, body, bearer)[0], 200, "no browser sends this by itself")

    def test_cors(self):
        asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        status, headers, _ = self.server.request("OPTIONS", COMPLETIONS, headers=asked)
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, "https://page.example"))
        self.assertIn("Authorization", headers["Access-Control-Allow-Headers"])
        status, headers, _ = self.server.request("GET", "/v1/models", headers={"Authorization": "Bearer first-key"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "https://page.example"))


class Ends(unittest.TestCase):
    def test_what_runs_may_end(self):
        server = Server("--parallel", "2", "--drain", "60")
        client = server.open_stream(COMPLETIONS, {**LONG, "max_tokens": 1500})
        data = client.recv(65536)
        server.interrupt()
        wait_for(lambda: server.get("/health") == (503, b'{"status":"draining"}'))
        self.assertEqual(server.post(COMPLETIONS, {"prompt": "x"})[1]["error"]["code"], "shutting_down")
        while b"[DONE]" not in data[-64:]:
            more = client.recv(65536)
            self.assertTrue(more, "the reply is cut")
            data += more
        client.close()
        self.assertIn(b'"finish_reason":"length"', data)
        self.assertEqual(server.wait(), 0)

    def test_but_not_for_ever(self):
        server = Server("--parallel", "2", "--drain", "1")
        client = server.open_stream(COMPLETIONS, LONG)
        data = client.recv(65536)
        server.interrupt()
        while more := client.recv(65536):
            data += more
        client.close()
        self.assertIn(b'"code":"shutting_down"', data)
        self.assertEqual(server.wait(), 0)

    def test_options_that_do_not_fit(self):
        for options, code, text in ((("--host", "0.0.0.0"), 2, "--api-key FILE, or --open"), (("--parallel", "1"), 2, "at least 2"),
                                    (("--api-key", "/nowhere"), 1, "/nowhere"), (("--api-key", os.devnull), 1, "found none"),
                                    (("--state", "x"), 2, "NAME=FILE"), (("--state", "x=/nowhere"), 1, "/nowhere"),
                                    (("--exact",), 2, "--exact"), (("--template", "odd"), 1, "odd"),
                                    (("--host", "no.such.host.invalid"), 1, "no.such.host.invalid"),
                                    (("--max-tokens", "0"), 2, "at least 1"), (("--timeout", "0"), 2, "at least 1")):
            run = subprocess.run([PROGRAM, "serve", "--port", "0", *options], capture_output=True, text=True, timeout=60)
            self.assertEqual((run.returncode, run.stdout), (code, ""), options)
            self.assertIn(text, run.stderr)

    def test_a_port_in_use(self):
        server = Server("--parallel", "2")
        run = subprocess.run([PROGRAM, "serve", "--port", str(server.port)], capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, f"--port {server.port}: (Address already in use|another program listens there)")
        server.stop()


if __name__ == "__main__":
    unittest.main(verbosity=1)
