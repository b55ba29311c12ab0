"""Chromium through chromedriver.  WebDriver is JSON over HTTP (https://www.w3.org/TR/webdriver2/), so the standard library drives it."""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the standard gives references to elements
KEYS = {
    "enter": "\ue007",
    "escape": "\ue00c",
    "up": "\ue013",
    "left": "\ue012",
    "right": "\ue014",
    "shift": "\ue008",
    "alt": "\ue00a",
    "control": "\ue009",
    "tab": "\ue004",
}


class Browser:
    """A separate browser that shares no stored data with others.  with Browser() as browser: ..."""

    def __init__(self, width=1280, height=800):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.root = f"http://127.0.0.1:{port}"
        self.session = None
        try:
            wait(lambda: self.ask("GET", "/status")["ready"], "chromedriver to start")
            # Root may not use the sandbox; /dev/shm is small in containers.
            switches = [
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--force-color-profile=srgb",
            ]
            switches += [
                "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"
            ]  # an address that is not loopback's to the browser
            made = self.ask(
                "POST",
                "/session",
                {
                    "capabilities": {
                        "alwaysMatch": {
                            "browserName": "chrome",
                            "goog:chromeOptions": {"args": switches},
                            "goog:loggingPrefs": {"browser": "ALL"},
                        }
                    }
                },
            )
            self.session = made["sessionId"]
            self.size(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            if self.session:
                self.ask("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait(20)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(
            self.root + path,
            method=method,
            headers={"Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"WebDriver: {value['error']}: {value['message'].splitlines()[0]}") from None
        except urllib.error.URLError:
            if path == "/status":
                return {"ready": False}
            raise

    def command(self, method, path, body=None):
        return self.ask(method, f"/session/{self.session}{path}", {} if body is None and method == "POST" else body)

    def devtools(self, command, **parameters):
        return self.command("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, phone=False):
        """The size of the page, which a window of a headless browser cannot have below 500."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone
        )

    def scheme(self, name):
        """The system's preference: light or dark."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def reload(self):
        self.command("POST", "/refresh")

    def run(self, script, *arguments):
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.command("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.command("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        self.command("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *names):
        """Keys by name, all but the last held: press("alt", "left")."""
        keys = [KEYS.get(name, name) for name in names]
        self.command(
            "POST",
            "/actions",
            {
                "actions": [
                    {
                        "type": "key",
                        "id": "keyboard",
                        "actions": (
                            [{"type": "keyDown", "value": key} for key in keys]
                            + [{"type": "keyUp", "value": key} for key in reversed(keys)]
                        ),
                    }
                ]
            },
        )

    def texts(self, selector):
        """The text of each element that is there, seen or not."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def visible(self, selector):
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].some(e => e.checkVisibility({visibilityProperty: true}))",
            selector,
        )

    def errors(self):
        """The console's errors since the last call, except refused requests."""
        return [
            entry["message"]
            for entry in self.command("POST", "/se/log", {"type": "browser"})
            if entry["level"] == "SEVERE" and entry["source"] != "network"
        ]

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.command("GET", "/screenshot")))


def wait(condition, what, seconds=30):
    """Until the condition gives something, which is returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")
