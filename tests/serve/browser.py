"""The page of `rwkvk serve` in Chromium: RWKVK=PROGRAM python3 browser.py [unittest's arguments]

The server is the real one with the built-in model, which tells stories.  For unusual answers, fetch() is replaced in the page
(FAKE)."""

import json
import os
import tempfile
import unittest

from server import Server
from webdriver import Browser, wait

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script><b>bold</b>&amp;</div>"

# Answers to the page's questions: MODEL instead of the model in /v1/models, CHUNKS instead of an answer, which does not end
# with OPEN.  What the page sent last is kept in `sent`.
FAKE = """
const [model, chunks, open] = arguments, real = window.fetch;
window.fetch = async (address, options) => {
    if (address.endsWith('/v1/models') && model) return new Response(JSON.stringify({data: [model]}));
    if (!options?.body || !chunks) return real(address, options);
    window.sent = JSON.parse(options.body);
    const text = chunks.map(chunk => 'data: ' + JSON.stringify(chunk) + '\\n\\n').join('') + (open ? '' : 'data: [DONE]\\n\\n');
    return new Response(new ReadableStream({start: stream => {
        stream.enqueue(new TextEncoder().encode(text));
        if (!open) stream.close();
        options.signal.onabort = () => stream.error(options.signal.reason);
    }}));
};
"""


def delta(**parts):
    return {"choices": [{"index": 0, "delta": parts}]}


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(lambda: cls.server.stop())
        cls.url = f"http://{cls.server.host}:{cls.server.port}"
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        browser = self.browser
        if self.server.process.poll() is not None:  # left behind by a test that failed
            self.restart()
        browser.open("about:blank")
        browser.devtools("Storage.clearDataForOrigin", origin=self.url, storageTypes="all")
        browser.size(1280, 800)
        browser.scheme("light")
        self.pace(None)
        self.browser.open(self.url)
        self.up()

    def tearDown(self):
        self.assertEqual(self.browser.errors(), [])

    def up(self):
        wait(lambda: self.state() == "up" and self.browser.texts("#conversations li"), "the page to find the server")

    def restart(self):
        type(self).server = Server(port=self.server.port)

    def state(self):
        return self.browser.run("return document.querySelector('#status').dataset.state")

    def pace(self, bytes_a_second):
        """Answers come no faster, so that there is time to act meanwhile."""
        self.browser.devtools(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=0,
            uploadThroughput=-1,
            downloadThroughput=bytes_a_second or -1,
        )

    def chat(self):
        self.browser.click("#new-chat")

    def done(self):
        wait(lambda: not self.browser.visible("#stop") and not self.browser.visible("#halt"), "the answer to end", 60)

    def set_number(self, name, value):
        self.browser.run(
            """const input = document.querySelector(`[name=${arguments[0]}]`); input.value = arguments[1];
            input.dispatchEvent(new Event('change', {bubbles: true}))""",
            name,
            value,
        )

    def say(self, text):
        self.browser.type("#message", text)
        self.browser.press("enter")
        self.done()

    def turns(self):
        return self.browser.texts(".turn .said")

    def button(self, turn, label):
        """A message's button, the messages numbered from 1."""
        return f".turn:nth-child({turn}) [aria-label^='{label}']"

    def press(self, turn, label):
        self.browser.click(self.button(turn, label))

    def open_conversation(self, name):
        self.browser.run(
            "[...document.querySelectorAll('#conversations .name')].find(e => e.textContent ==="
            " arguments[0]).parentNode.click()",
            name,
        )

    def numbers(self):
        return self.browser.texts(".variants .figure")

    # ---- answers

    def test_send_and_stream(self):
        self.chat()
        self.set_number("seed", 7)
        self.pace(3000)
        self.browser.type("#message", "Once upon a time")
        self.browser.press("enter")
        lengths = set()
        wait(lambda: lengths.add(len(self.turns()[-1])) or len(lengths) > 4, "the answer to grow piece by piece")
        self.assertTrue(self.browser.visible("#stop"))
        self.pace(None)
        self.done()
        question, answer = self.turns()
        self.assertEqual(question, "Once upon a time")
        self.assertGreater(len(answer), 50)
        self.assertRegex(
            self.browser.texts(".turn.assistant .foot > .figure")[0], r"^[\d,.]+ tok/s · [\d,]+ tokens · \d+ of \d+ cached$"
        )
        self.assertEqual(self.browser.texts("#conversations .name")[0], "Once upon a time")

    def test_stop(self):
        self.chat()
        self.set_number("seed", 7)
        self.pace(1500)
        for stop in (lambda: self.browser.click("#stop"), lambda: self.browser.press("escape")):
            self.browser.type("#message", "Once upon a time")
            self.browser.press("enter")
            wait(lambda: len(self.turns()[-1]) > 5, "the answer to begin")
            stop()
            self.done()
            self.assertGreater(len(self.turns()[-1]), 5)
            self.assertEqual(self.browser.texts(".turn:last-child .waiting"), ["Stopped."])
        self.pace(None)
        wait(lambda: self.server.metrics()["rwkvk_requests_running"] == 0, "the server to notice")
        before = self.turns()
        self.say("And then")
        self.assertEqual(self.turns()[:4], before)

    def test_retry_edit_and_branches(self):
        self.chat()
        self.say("Once upon a time")
        first = self.turns()
        self.press(2, "Another answer")
        self.done()
        self.assertEqual(self.numbers(), ["2/2"])
        self.assertEqual(len(self.turns()), 2)
        self.press(2, "The branch before")
        self.assertEqual((self.turns(), self.numbers()), (first, ["1/2"]))

        self.press(1, "Edit")
        self.browser.run("document.querySelector('.edit textarea').value = 'The old king'")
        self.browser.type(".edit textarea", " slept.")
        self.browser.press("enter")
        self.done()
        self.assertEqual((self.turns()[0], self.numbers()), ("The old king slept.", ["2/2"]))
        self.browser.press("alt", "left")
        self.assertEqual((self.turns(), self.numbers()), (first, ["1/2", "1/2"]))
        self.assertEqual(len(self.browser.texts("#branches li")), 4)
        self.browser.click("#branches li:last-child button")
        self.assertEqual(self.turns()[0], "The old king slept.")

    def test_edit_of_an_answer_is_a_branch(self):
        self.chat()
        self.say("Once upon a time")
        self.press(2, "Edit")
        self.browser.run("document.querySelector('.edit textarea').value = 'Mine.'")
        self.browser.click(".edit .main")
        self.assertEqual((self.turns(), self.numbers()), (["Once upon a time", "Mine."], ["2/2"]))
        self.press(2, "Edit")
        self.browser.press("escape")
        self.assertEqual(self.turns()[1], "Mine.")

    def test_fork(self):
        self.chat()
        self.say("Once upon a time")
        self.say("The next day")
        whole = self.turns()
        self.press(2, "Fork")
        self.assertEqual(self.turns(), whole[:2])
        self.browser.click(".offer button")
        self.assertEqual(self.turns(), whole)
        self.press(2, "Fork")
        self.say("A year later")
        self.assertEqual(self.turns()[:3], [*whole[:2], "A year later"])
        self.assertEqual(self.numbers(), ["2/2"])
        self.assertEqual(self.browser.texts("#branches button"), ["You: The next day", "You: A year later"])

    def test_reload(self):
        self.chat()
        self.say("Once upon a time")
        self.press(2, "Another answer")
        self.done()
        self.say("And then")
        self.browser.run("document.querySelector('#system').value = 'Be kind.'; document.querySelector('#system').onchange()")
        self.chat()
        self.say("A second one")
        self.open_conversation("Once upon a time")
        before = self.turns(), self.numbers(), self.browser.texts("#branches li")
        self.browser.reload()
        self.up()
        self.assertEqual((self.turns(), self.numbers(), self.browser.texts("#branches li")), before)
        self.assertEqual(self.browser.texts("#conversations .name"), ["A second one", "Once upon a time"])
        self.assertEqual(self.browser.run("return document.querySelector('#system').value"), "Be kind.")

    def test_reload_in_the_middle(self):
        self.browser.run(FAKE, None, [delta(content="There was")], True)
        self.chat()
        self.browser.type("#message", "Once upon a time")
        self.browser.press("enter")
        wait(
            lambda: self.turns()[-1] == "There was" and self.browser.run("return store.timers.size") == 0,
            "the answer to begin, and to be kept",
        )
        self.browser.reload()
        self.up()
        self.assertEqual(self.turns(), ["Once upon a time", "There was"])
        self.assertEqual(self.browser.texts(".turn:last-child .waiting"), ["Stopped."])

    def test_text_goes_on(self):
        browser = self.browser
        self.assertTrue(browser.visible("#text"), "a model that does not chat begins with a text")
        browser.type("#text", "Once upon a time")
        browser.press("control", "enter")
        self.done()
        text = "return document.querySelector('#text').value"
        told = browser.run(text)
        self.assertTrue(told.startswith("Once upon a time") and len(told) > 60, told)
        browser.click("#back")
        self.assertEqual(browser.run(text), "Once upon a time")
        browser.click("#go-on")
        self.done()
        browser.click("#again")
        self.done()
        self.assertTrue(browser.run(text).startswith("Once upon a time") and len(browser.run(text)) > 60)
        self.assertRegex(browser.texts("#text-figures")[0], r"tok/s · [\d,]+ tokens")

    # ---- text stays text

    def test_html_stays_text(self):
        chunks = [
            delta(reasoning_content=HOSTILE),
            delta(content=HOSTILE + "\n\n```html\n" + HOSTILE + "\n```\n\n* " + HOSTILE),
        ]
        self.browser.run(FAKE, None, chunks)
        self.chat()
        self.say(HOSTILE)
        question, answer = self.turns()
        self.assertEqual(question, HOSTILE)
        self.assertEqual(answer.count(HOSTILE), 3)
        self.assertEqual(self.browser.texts(".thought div"), [HOSTILE])
        self.assertEqual(
            self.browser.run("return document.querySelectorAll('main img, #app script, .turn b, #sidebar b').length"), 0
        )
        self.assertFalse(self.browser.run("return document.title").startswith("owned"))

    def test_markdown(self):
        answer = (
            "# Title\nOne **two** *three* `four`\nfive\n\n1. first\n   - inner\n2. second\n\n```c\nint *p,"
            " **q;\n\nreturn;\n```\n> said\n***\n  a * b * c, snake_case_name, **open"
        )
        self.browser.run(FAKE, None, [delta(content=piece) for piece in answer])
        self.chat()
        self.say("Go")
        shape = """return [...document.querySelector('.turn:last-child .said').children].map(e => e.localName + ':' + e.textContent)"""
        self.assertEqual(
            self.browser.run(shape),
            [
                "h3:Title",
                "p:One two three four\nfive",
                "ol:firstinnersecond",
                "div:cint *p, **q;\n\nreturn;",
                "blockquote:said",
                "hr:",
                "p:a * b * c, snake_case_name, **open",
            ],
        )
        for element, text in (("p strong", "two"), ("p em", "three"), ("p code", "four"), ("ol ul li", "inner")):
            self.assertEqual(self.browser.texts(".turn:last-child .said " + element), [text])

    def test_content_security_policy(self):
        policy = self.server.request("GET", "/")[1]["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        for script in (
            "document.body.innerHTML = '<b>x</b>'",
            "document.write('x')",
            "document.createElement('script').text = '1'",
        ):
            with self.assertRaisesRegex(RuntimeError, "javascript error", msg=script):
                self.browser.run(script)
        self.browser.errors()

    def test_reasoning_is_folded(self):
        self.browser.run(FAKE, None, [delta(reasoning_content="Let me see."), delta(content="Yes.")])
        self.chat()
        self.say("Is it?")
        self.assertEqual(self.turns()[1], "Yes.")
        self.assertFalse(self.browser.visible(".thought div"))
        self.browser.click(".thought summary")
        self.assertTrue(self.browser.visible(".thought div"))

    # ---- settings

    def test_settings_reach_the_request(self):
        own = {
            "temperature": 0.7,
            "top_p": 0.4,
            "top_k": 0,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "penalty_decay": 0.99,
        }
        self.browser.run(
            FAKE,
            {"id": "m", "template": "g1", "think": ["off", "on", "a lot"], "states": ["pirate"], "sampling": own},
            [delta(content="Yes.")],
        )
        self.browser.run("return greet()")
        self.chat()
        self.say("One")
        sent = self.browser.run("return sent")
        self.assertEqual(sent["messages"], [{"role": "user", "content": "One"}])
        self.assertEqual((sent["model"], sent["stream"], sent["enable_thinking"]), ("m", True, False))
        self.assertFalse({"temperature", "state", "max_tokens"} & set(sent), "the model's own numbers are not sent")
        self.browser.run(
            """for (const [id, value] of Object.entries({system: 'Be kind.', think: 'a lot', state: 'pirate', preset: 'creative'})) {
            document.getElementById(id).value = value; document.getElementById(id).onchange(); }"""
        )
        self.say("Two")
        sent = self.browser.run("return sent")
        self.assertEqual([message["role"] for message in sent["messages"]], ["system", "user", "assistant", "user"])
        self.assertEqual(
            (sent["reasoning_effort"], sent["state"], sent["temperature"], sent["presence_penalty"]), ("high", "pirate", 0.6, 2)
        )
        self.browser.click("#panel summary")
        for name, value in (("top_p", "0.25"), ("seed", "42"), ("max_tokens", "7")):
            self.browser.run("document.querySelector(`[name=${arguments[0]}]`).value = ''", name)
            self.browser.type(f"[name={name}]", value + "\t")
        self.say("Three")
        sent = self.browser.run("return sent")
        self.assertEqual((sent["top_p"], sent["seed"], sent["max_tokens"], sent["temperature"]), (0.25, 42, 7, 0.6))
        self.assertEqual(self.browser.run("return document.querySelector('#preset').value"), "own")

    def test_figures_of_the_server(self):
        def rows():
            return dict(zip(self.browser.texts("#figures dt"), self.browser.texts("#figures dd")))

        for name, value in wait(rows, "the figures").items():
            self.assertNotRegex(value, "false|NaN|undefined|null", name)
        wait(lambda: "Speed" in rows(), "a speed, which needs two looks")
        self.chat()
        self.say("Once upon a time")
        wait(lambda: rows().get("Written", "0 tokens") != "0 tokens" and "Cache used" in rows(), "the figures to follow")
        self.assertEqual(
            {"Model", "Device", "Template", "Requests", "Speed", "Written", "Cache", "Cache used"} - set(rows()), set()
        )
        for name, value in rows().items():
            self.assertNotRegex(value, "false|NaN|undefined|null", name)
        self.assertRegex(rows()["Cache"], r"^[\d,]+ MiB of [\d.]+ [MG]iB$")

    # ---- looks

    def overflow(self):
        return self.browser.run(
            """return [document.documentElement, ...document.querySelectorAll('main, #transcript, #panel, #sidebar, #continue')]
            .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.id || e.localName)"""
        )

    def test_phone_width(self):
        wide = "W" * 300 + "\n\n```\n" + "code " * 100 + "\n```\n\n| a | " + "b | " * 200
        self.browser.run(FAKE, None, [delta(content=wide)])
        self.browser.size(390, 844, phone=True)
        wait(lambda: self.browser.run("return innerWidth") == 390, "the width of a telephone")
        self.browser.click("#open-sidebar")
        self.chat()
        self.say("V" * 300)
        self.assertEqual(self.overflow(), [])
        for button, drawer in (("#toggle-panel", "#panel"), ("#open-sidebar", "#sidebar")):
            self.assertFalse(self.browser.visible(drawer))
            self.browser.click(button)
            self.assertTrue(self.browser.visible(drawer))
            self.assertEqual(self.overflow(), [])
            self.browser.press("escape")
            self.assertFalse(self.browser.visible(drawer))
        small = self.browser.run("""return [...document.querySelectorAll('main button')].filter(e => e.checkVisibility())
            .map(e => [e.id || e.ariaLabel, e.offsetWidth, e.offsetHeight]).filter(([, w, h]) => w < 32 || h < 32)""")
        self.assertEqual(small, [], "buttons too small for a finger")
        self.browser.click("#open-sidebar")
        self.browser.click("#new-text")
        self.assertEqual(self.overflow(), [])

    def test_themes(self):
        shades = """
            const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            const light = colour => {
                const [r, g, b] = colour.match(/[\\d.]+/g).map(v => linear(v / 255));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const paper = light(getComputedStyle(document.body).backgroundColor);
            return [paper, ...['.said', '.figure', '.hint', '#model', '.trouble'].map(selector => {
                const ink = light(getComputedStyle(document.querySelector('main ' + selector)).color);
                return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); })];"""
        self.browser.run(FAKE, None, [{"error": {"message": "Refused."}}])
        self.chat()
        self.say("One")
        self.browser.run(FAKE, None, [delta(content="Two")])
        self.say("Two")
        for scheme, chosen, dark in (
            ("light", "system", False),
            ("dark", "system", True),
            ("dark", "light", False),
            ("light", "dark", True),
        ):
            self.browser.scheme(scheme)
            wait(
                lambda: self.browser.click("#theme")
                or self.browser.run("return document.documentElement.dataset.theme") == chosen,
                chosen,
            )
            paper, *contrasts = self.browser.run(shades)
            self.assertEqual(paper < 0.1, dark, (scheme, chosen))
            self.assertGreater(min(contrasts), 4.5, (scheme, chosen))
        self.browser.reload()
        self.up()
        self.assertLess(self.browser.run(shades)[0], 0.1, "the theme is kept")

    def test_keys(self):
        self.chat()
        self.set_number("seed", 2)  # of other seeds the answer may be a long one
        self.browser.type("#message", "one")
        self.browser.press("shift", "enter")
        self.browser.type("#message", "two")
        self.assertEqual(self.browser.run("return document.querySelector('#message').value"), "one\ntwo")
        self.browser.press("enter")
        self.done()
        self.assertEqual(self.turns()[0], "one\ntwo")
        self.browser.click("#message")
        self.browser.press("up")
        self.assertEqual(self.browser.run("return document.activeElement.value"), "one\ntwo")
        self.browser.press("escape")
        self.browser.press("alt", "n")
        self.assertEqual(self.browser.run("return document.activeElement.id"), "message")
        self.assertEqual(self.turns(), [])
        unnamed = self.browser.run(
            """return [...document.querySelectorAll('button, input, select, textarea')].filter(e => e.type !== 'file'
            && !e.ariaLabel && !e.textContent.trim() && !e.labels?.length).map(e => e.outerHTML)"""
        )
        self.assertEqual(unnamed, [], "without a name for screen readers")
        seen = set()
        for _ in range(40):
            self.browser.press("tab")
            seen.add(self.browser.run("return document.activeElement.id || document.activeElement.className"))
            self.assertNotEqual(
                self.browser.run(
                    "const s = getComputedStyle(document.activeElement.closest('.write:has(textarea:focus)') ??"
                    " document.activeElement);return document.activeElement === document.body || s.outlineStyle + s.boxShadow"
                ),
                "nonenone",
                self.browser.run("return document.activeElement.outerHTML"),
            )
        self.assertLessEqual({"new-chat", "title", "message", "send", "preset"}, seen)

    # ---- what is kept

    def test_export_and_import(self):
        browser = self.browser
        self.chat()
        self.say("Once upon a time")
        self.press(2, "Another answer")
        self.done()
        self.press(2, "The branch before")
        before = self.turns(), self.numbers()
        with tempfile.TemporaryDirectory() as folder:
            browser.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder)
            browser.click("#export")
            name = wait(lambda: [name for name in os.listdir(folder) if name.endswith(".json")], "the download")[0]
            file = os.path.join(folder, name)
            with open(file) as opened:
                exported = json.load(opened)
            self.assertEqual((exported["format"], exported["version"]), ("rwkvk-conversations", 1))
            browser.click("#conversations li.current .icon")
            browser.run("document.querySelector('#toast').hidden = true")
            browser.type("#import-file", file)
            wait(lambda: "imported" in browser.texts("#toast span")[0], "the import")
            self.assertIn(
                f"{len(exported['conversations'])} conversations" if len(exported["conversations"]) > 1 else "One conversation",
                browser.texts("#toast span")[0],
            )
            wait(lambda: "Once upon a time" in browser.texts("#conversations .name"), "the conversation")
            self.open_conversation("Once upon a time")
            self.assertEqual((self.turns(), self.numbers()), before)
            self.hostile_imports(folder, exported)

    def hostile_imports(self, folder, exported):
        """Foreign files are refused with a sentence; nothing of an invalid file remains."""
        root = {"id": "root", "parent": None, "role": "root", "picked": "a"}
        loop = [
            root,
            {"id": "a", "parent": "b", "role": "user"},
            {"id": "b", "parent": "a", "role": "user"},
            {"id": "root", "parent": "root", "role": "user"},
            {"id": "c", "parent": "root", "role": "system"},
            {"id": "d", "parent": "root", "role": "user", "text": HOSTILE, "picked": "d"},
            None,
            7,
        ]
        odd = {
            "format": "rwkvk-conversations",
            "version": 1,
            "conversations": [
                {
                    "kind": [],
                    "title": HOSTILE,
                    "settings": {"sampling": {"top_p": "x", "__proto__": {}}, "think": "__proto__"},
                    "nodes": loop,
                },
                None,
            ],
        }
        for number, (content, says) in enumerate(
            [
                ("{", "was not imported"),
                ("[]", "no export of this page"),
                (json.dumps({**exported, "version": 2}), "version 1"),
                (json.dumps(odd), "One conversation imported"),
            ]
        ):
            file = os.path.join(folder, f"odd{number}.json")
            with open(file, "w") as out:
                out.write(content)
            self.browser.run("document.querySelector('#toast span').textContent = ''")
            self.browser.type("#import-file", file)
            wait(lambda: says in self.browser.texts("#toast span")[0], says)
        self.open_conversation(HOSTILE)
        self.assertEqual(self.turns(), [HOSTILE])
        self.assertEqual(self.browser.run("return document.querySelectorAll('main img').length"), 0)

    def test_deleting_can_be_undone(self):
        self.chat()
        self.say("Once upon a time")
        before = self.turns()
        self.browser.click("#conversations li.current .icon")
        self.assertNotIn("Once upon a time", self.browser.texts("#conversations .name"))
        self.browser.click("#toast button")
        self.assertEqual(self.turns(), before)
        self.browser.reload()
        self.up()
        self.assertEqual(self.turns(), before)

    def test_storage_is_full(self):
        self.browser.run(
            "IDBObjectStore.prototype.put = function () { this.transaction.abort();"
            "throw new DOMException('full', 'QuotaExceededError'); }"
        )
        self.chat()
        self.say("Once upon a time")
        self.assertEqual(len(self.turns()), 2)
        wait(lambda: "no room" in self.browser.texts("#banner p")[0], "the page to say so")

    def test_two_tabs(self):
        browser = self.browser
        self.chat()
        self.say("Once upon a time")
        before = self.turns()
        first = browser.command("GET", "/window")
        second = browser.command("POST", "/window/new", {"type": "tab"})["handle"]
        browser.command("POST", "/window", {"handle": second})
        browser.open(self.url)
        self.up()
        self.assertEqual(self.turns(), before)
        self.press(2, "Another answer")
        self.done()
        answers = self.turns()
        browser.command("DELETE", "/window")
        browser.command("POST", "/window", {"handle": first})
        wait(lambda: self.turns() == answers and self.numbers() == ["2/2"], "the first tab to see it")

    def test_by_plain_http_from_elsewhere(self):
        server = Server("--open")
        self.addCleanup(server.stop)
        self.browser.open(f"http://elsewhere.test:{server.port}")
        self.up()
        self.assertFalse(self.browser.run("return isSecureContext"))
        self.chat()
        self.say("Once upon a time")
        self.assertGreater(len(self.turns()[1]), 50)

    # ---- the server goes and comes

    def test_restart(self):
        self.chat()
        self.pace(1500)
        self.set_number("seed", 7)
        self.browser.type("#message", "Once upon a time")
        self.browser.press("enter")
        wait(lambda: len(self.turns()[-1]) > 10, "the answer to begin")
        begun = self.turns()[-1]
        self.server.kill()
        wait(lambda: self.state() == "away" and self.browser.visible("#banner"), "the page to notice")
        self.assertIn("Waiting for the server", self.browser.texts(".turn:last-child .waiting")[0])
        self.assertTrue(self.turns()[-1].startswith(begun), "what came of the answer stays")
        self.pace(None)
        self.restart()
        wait(lambda: self.state() == "up", "the page to find the server again")
        self.done()
        self.assertFalse(self.browser.visible("#banner"))
        answer = self.turns()[-1]
        self.assertTrue(answer.startswith(begun) and len(answer) > len(begun), (begun, answer))
        self.assertEqual(self.browser.texts(".turn:last-child .waiting"), [])
        self.press(2, "Another answer")
        self.done()
        self.assertEqual(self.turns()[-1], answer, "with one seed, an answer that went on is the one that comes at once")
        self.browser.errors()

    def test_asked_while_away(self):
        self.chat()
        self.server.kill()
        wait(lambda: self.state() == "away", "the page to notice")
        self.browser.type("#message", "Once upon a time")
        self.browser.press("enter")
        wait(lambda: self.browser.texts(".turn:last-child .waiting"), "the page to wait")
        self.restart()
        self.done()
        self.assertGreater(len(self.turns()[1]), 50)
        self.browser.errors()

    def test_key(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = os.path.join(folder, "keys")

            def serve(key, port=0):
                with open(keys, "w") as file:
                    file.write(key + "\n")
                return Server("--api-key", keys, port=port)

            server = serve("open-sesame")
            address = f"{server.host}:{server.port}"
            self.browser.open(f"http://any:wrong@{address}")
            self.assertFalse(self.browser.run("return document.querySelector('#app')"), "there is no page without a key")
            self.browser.open(f"http://any:open-sesame@{address}")
            self.up()
            self.chat()
            self.say("Once upon a time")
            self.assertGreater(len(self.turns()[1]), 50)
            self.browser.open(f"http://{address}")
            self.up()
            self.assertEqual(len(self.turns()), 2, "the browser remembers the password")
            server.stop()
            self.addCleanup(serve("another", server.port).stop)
            self.say("And then")
            wait(lambda: self.state() == "key", "the page to notice that the key is no longer one")
            self.assertIn("Reload this page", self.browser.texts("#banner p")[0])
            self.browser.errors()


if __name__ == "__main__":
    unittest.main(verbosity=2)
