"""A running `rwkvk serve` and the requests of tests: sockets, JSON, events of a stream.  Standard library only."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from urllib.parse import urlsplit

PROGRAM = os.environ["RWKVK"]
# For a Windows program what runs it on a console and sends it Ctrl-C (tests/cli/console.c), and the .exe.
CONSOLE = os.environ.get("CONSOLE", "").split()


def wait_for(what, seconds=60):
    """Waits until what() is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Server:
    """The program on a free port, or on one used before; its log is kept."""

    def __init__(self, *options, port=0, environment=None):
        self.process = subprocess.Popen([*(CONSOLE or [PROGRAM]), "serve", "--port", str(port), *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                        env={**os.environ, **(environment or {})})
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()
        url = self.process.stdout.readline().strip()
        if not url:
            self.process.wait()
            self.reader.join()
            raise RuntimeError("no server: " + "".join(self.log))
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def interrupt(self):
        """Ends the program as an operator does."""
        if CONSOLE:
            self.process.stdin.write("\3\n")
            self.process.stdin.flush()
        else:
            self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """The same; returns the exit code."""
        self.interrupt()
        return self.wait()

    def wait(self):
        """Waits for the program to end; returns its exit code."""
        code = self.process.wait(60)
        self.reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        assert not any(word in line for line in self.log for word in ("VALIDATION:", "ERROR: ", "ThreadSanitizer")), "".join(self.log)
        return code

    def kill(self):
        """Ends the program as a crash would."""
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def connect(self, buffer=None):
        """A socket; with room for so many bytes that are not read yet."""
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(60)
        client.connect((self.host, self.port))
        return client

    def request(self, method, path, body=None, headers=None):
        """Status, headers and bytes."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent.update(headers or {})
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, {name: value for name, value in sent.items() if value is not None})
        reply = connection.getresponse()
        result = reply.status, dict(reply.getheaders()), reply.read()
        connection.close()
        return result

    def get(self, path, **headers):
        status, _, data = self.request("GET", path, headers=headers)
        return status, data

    def post(self, path, body, headers=None):
        """Status and JSON."""
        status, _, data = self.request("POST", path, body, headers)
        return status, json.loads(data)

    def stream(self, path, body):
        """The events of a stream that ends as it should, as JSON."""
        status, headers, data = self.request("POST", path, {**body, "stream": True})
        assert status == 200, data
        assert headers["Content-Type"] == "text/event-stream", headers
        lines = [line for line in data.decode().split("\n\n") if line and not line.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), lines
        assert lines[-1] == "data: [DONE]", lines[-1]
        return [json.loads(line[6:]) for line in lines[:-1]]

    def metrics(self):
        """Name, with labels, to number."""
        _, data = self.get("/metrics")
        lines = [line for line in data.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def head(self, method, path, length=0):
        """The bytes before a body of this length."""
        return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()

    def open_stream(self, path, body, buffer=None):
        """A socket with its request sent and its reply unread."""
        data = json.dumps({**body, "stream": True}).encode()
        client = self.connect(buffer)
        client.sendall(self.head("POST", path, len(data)) + data)
        return client
