#!/usr/bin/env python3
"""Several servers behind a balancer, with states in a Redis or Valkey server: conversations go on wherever they come to.  The
configurations are those of docs/fleet/, but for their addresses.  Arguments are the tests to run."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from server import Server, wait_for

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/fleet")
STORE_PROGRAM = os.environ.get("STORE_PROGRAM", "redis-server")
KEY, PASSWORD = "a-key-of-clients", "a-password-of-the-store"
CLIENTS, TURNS = 8, 10
WORDS = "the sea was old and the lantern had been cold since her father came home with a note from the hill".split()
OTHER_DRIVER = os.environ.get("OTHER_DRIVER")  # its JSON file


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Store:
    """A Redis or Valkey server that keeps nothing on disk; with TLS if it is given a certificate."""

    def __init__(self, certificate=None):
        self.port = free_port()
        self.listen = ["--port", str(self.port)]
        if certificate:
            self.listen = ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", certificate + ".pem", "--tls-key-file",
                           certificate + ".key", "--tls-ca-cert-file", certificate + ".pem", "--tls-auth-clients", "no"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [STORE_PROGRAM, *self.listen, "--save", "", "--appendonly", "no", "--requirepass", PASSWORD,
             "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"], stdout=subprocess.DEVNULL)
        wait_for(lambda: is_listening(self.port))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, *words):
        """A reply: bytes, a number or a list."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port)) as connection, connection.makefile("rb") as replies:
            for command in ([b"AUTH", PASSWORD.encode()], words):
                arguments = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
                connection.sendall(b"*%d\r\n" % len(command) + arguments)
            self.read(replies)
            return self.read(replies)

    def read(self, replies):
        line = replies.readline().strip()
        kind, rest = line[:1], line[1:]
        assert kind in b"+:$*", line
        if kind == b"$":
            return None if rest == b"-1" else replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read(replies) for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


class Replica:
    """`rwkvk serve` that can be killed and started again on its port."""

    def __init__(self, folder, options, environment):
        self.port = 0
        self.options = ["--api-key", os.path.join(folder, "keys"), "--parallel", str(CLIENTS), "--cache-memory", "64",
                        "--drain", "120", *options]
        self.environment = environment
        self.start()

    def start(self):
        self.server = Server(*self.options, port=self.port, environment=self.environment)
        self.port = self.server.port

    def metrics(self):
        status, data = self.server.get("/metrics", Authorization=f"Bearer {KEY}")
        assert status == 200, data
        lines = [line.rsplit(" ", 1) for line in data.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}


class Failure(Exception):
    """No whole answer: the client asks again."""


class Client:
    """One conversation, which names itself or not.  Every other client streams."""

    def __init__(self, number, port, tokens=24, named=False):
        self.number, self.port, self.tokens, self.failures = number, port, tokens, []
        self.headers = {"X-Conversation": f"conversation {number}"} if named else {}
        self.random = random.Random(number)
        self.messages, self.replicas, self.cached = [], [], []

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        body = {"messages": self.messages, "temperature": 0, "max_tokens": self.tokens, "stream": self.number % 2 == 1,
                "stream_options": {"include_usage": True}}
        if not body["stream"]:
            del body["stream_options"]
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body),
                               {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", **self.headers})
            reply = connection.getresponse()
            data = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failure(repr(error)) from error
        finally:
            connection.close()
        if reply.status != 200:
            raise Failure(f"{reply.status} {data[:200]}")
        text, usage = self.streamed(data) if body["stream"] else self.whole(json.loads(data))
        return text, usage["prompt_tokens_details"]["cached_tokens"], reply.getheader("X-Replica")

    @staticmethod
    def whole(reply):
        return reply["choices"][0]["message"]["content"], reply["usage"]

    @staticmethod
    def streamed(data):
        events = [line[6:] for line in data.decode().split("\n\n") if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise Failure("the stream was cut")
        chunks = [json.loads(event) for event in events[:-1]]
        text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        return text, chunks[-1]["usage"]

    def turn(self):
        words = " ".join(self.random.choice(WORDS) for _ in range(12))
        self.messages.append({"role": "user", "content": f"{words}."})
        for _ in range(50):
            try:
                text, cached, replica = self.ask()
                break
            except Failure as failure:
                print(f"client {self.number}: {failure}", file=sys.stderr)
                self.failures.append(str(failure))
                time.sleep(0.2)
        else:
            raise AssertionError("fifty attempts")
        self.messages.append({"role": "assistant", "content": text})
        self.cached.append(cached)
        self.replicas.append(replica)


def all_turn(clients, meanwhile=lambda: None):
    """A turn of each, at the same time."""
    errors = []

    def run(client):
        try:
            client.turn()
        except BaseException as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Fleet:
    """A store, two replicas, a balancer."""

    def __init__(self, balancer, environments=({}, {})):
        self.folder = tempfile.mkdtemp()
        self.store = Store()
        self.write("keys", KEY)
        address = f"redis://:{PASSWORD}@127.0.0.1:{self.store.port}"
        ways = ["--state-store-file", self.write("store", address)], ["--state-store", address]
        options = ["--state-store-tokens", "16", "--state-store-wait", "60000"]
        if environments[1]:  # by its environment, the third way
            ways, environments = (ways[0], []), (environments[0], {**environments[1], "RWKVK_STATE_STORE": address})
        self.replicas = [Replica(self.folder, options + way, environment) for way, environment in zip(ways, environments)]
        self.port = free_port()
        getattr(self, balancer)()
        wait_for(lambda: is_listening(self.port))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        return path

    def configuration(self, name):
        with open(os.path.join(DOCS, name), encoding="utf-8") as file:
            text = file.read()
        ports = self.port, self.replicas[0].port, self.replicas[1].port
        for old, new in zip(("127.0.0.1:8080", "10.0.0.1:8080", "10.0.0.2:8080"), ports):
            assert old in text
            text = text.replace(old, f"127.0.0.1:{new}")
        return text

    def haproxy(self):
        path = self.write("haproxy.cfg", self.configuration("haproxy.cfg"))
        self.balancer = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL)

    def nginx(self):
        text = self.configuration("nginx.conf")
        for path in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            text = text.replace("http {", f"http {{\n{path}_temp_path {self.folder}/{path};", 1)
        text = text.replace("http {", "http {\naccess_log off;", 1)
        path = self.write("nginx.conf", text + f"pid {self.folder}/pid;\ndaemon off;\nmaster_process off;")
        self.balancer = subprocess.Popen(["nginx", "-e", "stderr", "-c", path])

    def stop(self):
        self.balancer.terminate()
        self.balancer.wait()
        for replica in self.replicas:
            if replica.server.process.poll() is None:
                assert replica.server.stop() == 0
        self.store.kill()


class Conversations(unittest.TestCase):
    """Eight clients with ten turns each."""

    def fleet(self, *args):
        fleet = Fleet(*args)
        self.addCleanup(fleet.stop)
        return fleet

    @staticmethod
    def alone():
        """The same conversations at one server without a store."""
        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "keys"), "w", encoding="utf-8") as file:
            file.write(KEY)
        replica = Replica(folder, [], {})
        clients = [Client(number, replica.port) for number in range(CLIENTS)]
        for _ in range(TURNS):
            all_turn(clients)
        replica.server.stop()
        return [client.messages for client in clients]

    def assert_known(self, clients):
        """Whoever changed the replica found the state there that the other had left."""
        moved = [client for client in clients if client.replicas[-1] != client.replicas[-2]]
        for client in moved:
            self.assertGreater(client.cached[-1], 0, f"client {client.number}")
        return len(moved)

    @staticmethod
    def written(fleet):
        """Waits until the replicas have nothing left to write: the next turn may come at once."""
        def pending():
            keys = fleet.store.ask("DBSIZE")
            time.sleep(0.3)
            return fleet.store.ask("DBSIZE") == keys
        wait_for(pending)

    def test_failures(self):
        """Replicas and the store are killed, started again and drained, and the texts are those of one server."""
        want = self.alone()
        fleet = self.fleet("haproxy")
        one, two = fleet.replicas
        clients = [Client(number, fleet.port) for number in range(CLIENTS)]
        moved = 0
        for _ in range(3):
            all_turn(clients)
            self.written(fleet)
            moved += self.assert_known(clients) if len(clients[0].replicas) > 1 else 0
        self.assertGreater(moved, 0)

        def kill_two():
            wait_for(lambda: two.metrics()["rwkvk_requests_running"] > 0)
            two.server.kill()
        all_turn(clients, kill_two)
        for client in clients:
            self.assertGreater(client.cached[-1], 0)
            # A client that does not stream had no byte, so the balancer asked the other replica, unless the connection was reset.
            if client.number % 2 == 0:
                self.assertTrue(all(text.startswith("502") for text in client.failures), client.failures)
        two.start()
        self.written(fleet)
        all_turn(clients)

        fleet.store.kill()
        all_turn(clients)
        self.assertEqual(sum("goes on without it" in line for line in one.server.log), 1)
        fleet.store.start()
        wait_for(lambda: one.metrics()["rwkvk_store_connected"] and two.metrics()["rwkvk_store_connected"])
        all_turn(clients)
        self.written(fleet)

        failures = sum(len(client.failures) for client in clients)

        def drain_one():
            wait_for(lambda: one.metrics()["rwkvk_requests_running"] > 0)
            one.server.process.send_signal(signal.SIGTERM)
        all_turn(clients, drain_one)
        self.assertEqual(one.server.wait(), 0)
        all_turn(clients)
        self.assertEqual(sum(len(client.failures) for client in clients), failures, "a drained replica lost an answer")

        self.written(fleet)
        keys = fleet.store.ask("KEYS", "rwkvk:*")
        self.assertGreater(len(keys), 0)
        noise = random.Random(1)
        for key in keys:
            fleet.store.ask("SET", key, noise.randbytes(fleet.store.ask("STRLEN", key)))
        one.start()  # which knows nothing, and so asks
        wait_for(lambda: is_listening(one.port))
        time.sleep(3)  # until the balancer asks it again
        all_turn(clients)
        self.assertGreater(one.metrics()["rwkvk_store_damaged_total"], 0)
        self.assertEqual(one.metrics()["rwkvk_store_hits_total"], 0)

        for client, messages in zip(clients, want):
            self.assertEqual(len(client.messages), 2 * TURNS)
            self.assertEqual(client.messages, messages, f"client {client.number}")
        for replica in fleet.replicas:
            self.assertFalse(any(PASSWORD in line for line in replica.server.log))
            with open(f"/proc/{replica.server.process.pid}/cmdline", "rb") as file:
                self.assertNotIn(PASSWORD.encode(), file.read())

    def go_on_at_another(self, environment, tokens):
        """Replicas on different devices go on with each other's states, also when one of them is killed."""
        fleet = self.fleet("haproxy", ({}, environment))
        two = fleet.replicas[1]
        devices = [re.search(r"^http://\S+ on (.+): model", "".join(replica.server.log), re.M)[1] for replica in fleet.replicas]
        self.assertNotEqual(*devices)
        clients = [Client(number, fleet.port, tokens) for number in range(CLIENTS)]

        def kill_two():
            wait_for(lambda: two.metrics()["rwkvk_requests_running"] > 0)
            two.server.kill()
        moved = 0
        for turn in range(TURNS):
            all_turn(clients, kill_two if turn == TURNS // 2 else lambda: None)
            if turn == TURNS // 2:
                two.start()
            self.written(fleet)
            moved += self.assert_known(clients) if turn > 0 else 0
        print(f"{moved} times a conversation went on at the other device, {' and '.join(devices)}", file=sys.stderr)
        self.assertGreater(moved, CLIENTS)
        for replica in fleet.replicas:
            self.assertGreater(replica.metrics()["rwkvk_store_hits_total"], 0)
            self.assertEqual(replica.metrics()["rwkvk_store_damaged_total"], 0)

    def test_two_widths(self):
        self.go_on_at_another({"LP_NATIVE_VECTOR_WIDTH": "128", "GALLIUM_OVERRIDE_CPU_CAPS": "avx"}, 24)

    @unittest.skipUnless(OTHER_DRIVER, "no other driver")
    def test_two_drivers(self):
        """SwiftShader writes 15 tokens a second where lavapipe writes hundreds, so answers are short."""
        self.go_on_at_another({"VK_DRIVER_FILES": OTHER_DRIVER, "VK_ICD_FILENAMES": OTHER_DRIVER}, 8)

    def assert_streams(self, fleet):
        """The events of a stream come as they are written."""
        body = json.dumps({"messages": [{"role": "user", "content": "Once"}], "stream": True, "max_tokens": 3000}).encode()
        with socket.create_connection(("127.0.0.1", fleet.port)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body))
            received = b""
            while received.count(b"data: ") < 3:
                received += client.recv(65536)
            self.assertEqual(sum(replica.metrics()["rwkvk_requests_running"] for replica in fleet.replicas), 1)
        wait_for(lambda: sum(replica.metrics()["rwkvk_requests_running"] for replica in fleet.replicas) == 0)

    def test_names(self):
        """A conversation that names itself stays where it is, those without a name go anywhere; streams are not held back."""
        for balancer in ("haproxy", "nginx"):
            with self.subTest(balancer):
                fleet = self.fleet(balancer)
                clients = [Client(number, fleet.port, named=number < CLIENTS // 2) for number in range(CLIENTS)]
                for _ in range(4):
                    all_turn(clients)
                for client in clients[:CLIENTS // 2]:
                    self.assertEqual(len(set(client.replicas)), 1, client.replicas)
                self.assertEqual(len({replica for client in clients[CLIENTS // 2:] for replica in client.replicas}), 2)
                self.assert_streams(fleet)

    def test_nginx(self):
        """Draining loses nothing."""
        fleet = self.fleet("nginx")
        clients = [Client(number, fleet.port) for number in range(CLIENTS)]
        for _ in range(2):
            all_turn(clients)

        def drain():
            wait_for(lambda: fleet.replicas[0].metrics()["rwkvk_requests_running"] > 0)
            fleet.replicas[0].server.process.send_signal(signal.SIGTERM)
        all_turn(clients, drain)
        self.assertEqual(fleet.replicas[0].server.wait(), 0)
        all_turn(clients)
        self.assertEqual([client.failures for client in clients], [[]] * CLIENTS)
        for client in clients:
            self.assertGreater(client.cached[-1], 0)


class Encryption(unittest.TestCase):
    """Stores with TLS, whose certificates are as they should be, another host's, or of an unknown authority."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        with open(os.path.join(self.folder, "keys"), "w", encoding="utf-8") as file:
            file.write(KEY)

    def certificate(self, name, host, *authority):
        """Signed by that authority, or by itself."""
        path = os.path.join(self.folder, name)
        signed = ["-CA", authority[0] + ".pem", "-CAkey", authority[0] + ".key"] if authority else []
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
                        f"subjectAltName={host}", "-keyout", path + ".key", "-out", path + ".pem", *signed],
                       check=True, capture_output=True)
        return path

    def replica(self, store, trusted):
        options = ["--state-store", f"rediss://:{PASSWORD}@127.0.0.1:{store.port}", "--state-store-tokens", "16",
                   "--state-store-wait", "60000"]
        try:
            replica = Replica(self.folder, options, {"SSL_CERT_FILE": trusted + ".pem"})
        except RuntimeError as error:
            self.assertIn("rediss://, which needs TLS: this build of rwkvk has a hiredis without it", str(error))
            if os.environ.get("NEEDS_TLS"):
                raise
            self.skipTest("*** NOT TESTED: TLS, which this hiredis lacks; it is refused by name")
        self.addCleanup(replica.server.stop)
        return replica

    def store(self, certificate):
        store = Store(certificate)
        self.addCleanup(store.kill)
        return store

    def test_tls(self):
        authority = self.certificate("authority", "DNS:authority.example")
        store = self.store(self.certificate("good", "IP:127.0.0.1", authority))
        one = self.replica(store, authority)
        client = Client(1, one.port)
        client.turn()
        wait_for(lambda: one.metrics()["rwkvk_store_written_total"] > 0)
        two = self.replica(store, authority)
        client.port = two.port
        client.turn()
        self.assertGreater(client.cached[-1], 0)
        self.assertEqual(two.metrics()["rwkvk_store_hits_total"], 1)

    def refuse(self, certificate, trusted, reason):
        """The store is not used, the reason is given once, and answers come all the same."""
        replica = self.replica(self.store(certificate), trusted)
        client = Client(1, replica.port)
        for _ in range(3):
            client.turn()
        said = [line for line in replica.server.log if "goes on without it" in line]
        self.assertEqual(len(said), 1, replica.server.log)
        self.assertIn(f"its certificate: {reason}", said[0])
        self.assertEqual(replica.metrics()["rwkvk_store_connected"], 0)
        self.assertEqual(replica.metrics()["rwkvk_store_written_total"], 0)

    def test_strangers(self):
        good, elsewhere = self.certificate("good", "IP:127.0.0.1"), self.certificate("elsewhere", "DNS:elsewhere.example")
        self.refuse(elsewhere, elsewhere, "IP address mismatch")
        self.refuse(good, elsewhere, "self-signed certificate")


if __name__ == "__main__":
    unittest.main(verbosity=2)
