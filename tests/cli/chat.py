#!/usr/bin/env python3
"""rwkvk chat from outside, through a pipe and on a terminal: chat.py PROGRAM CASE runs one case, chat.py PROGRAM all of them.

Exit codes: 0 passed, 1 failed, 77 skipped (no Vulkan device)."""
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

root = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
program, case = sys.argv[1], sys.argv[2]
windows = os.environ.get("WINDOWS", "0") != "0"
folder = tempfile.TemporaryDirectory(prefix="rwkvk-chat.")
os.environ["XDG_STATE_HOME"] = folder.name
os.environ["TERM"] = "xterm"
os.environ.pop("NO_COLOR", None)

# Under these the built-in model never ends its text.
ENDLESS = ["--temp", "0", "--presence", "-100", "-n", "1000000"]
SHORT = ["--seed", "3", "-n", "12", "--temp", "1", "--top-p", "1"]


def path(name):
    return os.path.join(folder.name, name)


def check(condition, *what):
    if not condition:
        raise AssertionError("; ".join(map(str, what)))


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        check(b"VALIDATION:" not in err, "a message of the validation layer", err)

    def answers(self):
        return self.out.decode().rstrip("\n").split("\n\n")


def chat(lines, *options, code=0):
    """Lines through a pipe."""
    done = subprocess.run([program, "chat", *options], input=lines.encode() if isinstance(lines, str) else lines,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=240)
    result = Result(done.returncode, done.stdout, done.stderr)
    check(result.code == code, f"expected exit code {code}, got {result.code}", done.stdout, done.stderr)
    return result


class Terminal:
    """The program with a terminal of its own."""

    def __init__(self, *options, **environment):
        if windows:
            print("SKIPPED: a terminal; consoles are another test's")
            sys.exit(77)
        self.seen, self.mark = b"", 0
        self.child, self.file = pty.fork()
        if self.child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells start what is in the background with it ignored
            os.environ.update(environment)
            os.execv(program, [program, "chat", *options])

    def send(self, text):
        os.write(self.file, text.encode())

    def read(self, seconds):
        """Output within so many seconds; False if the program has ended."""
        if not select.select([self.file], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self.file, 65536)
        except OSError:
            more = b""
        self.seen += more
        return bool(more)

    def expect(self, text, seconds=240):
        """Waits for a text after what was expected before; returns what came before it."""
        wanted, end = text.encode(), time.monotonic() + seconds
        while wanted not in self.seen[self.mark:]:
            check(time.monotonic() < end, f"expected {wanted}, got {self.seen[self.mark:]}")
            check(self.read(0.1) or wanted in self.seen[self.mark:], f"ended before {wanted}", self.seen[self.mark:])
        at = self.seen.index(wanted, self.mark)
        before, self.mark = self.seen[self.mark:at], at + len(wanted)
        return before.decode("utf-8", "replace")

    def expect_more(self, count):
        """Waits for so many bytes after what was expected before."""
        end = time.monotonic() + 240
        while len(self.seen) < self.mark + count:
            check(self.read(0.1) and time.monotonic() < end, "nothing comes", self.seen[self.mark:])
        self.mark = len(self.seen)

    def end(self, seconds=240):
        """Waits for the end; returns the exit code, or minus the signal."""
        end = time.monotonic() + seconds
        while self.read(1):
            check(time.monotonic() < end, "the program does not end", self.seen[-3000:])
        os.close(self.file)
        check(b"VALIDATION:" not in self.seen, "a message of the validation layer", self.seen)
        status = os.waitpid(self.child, 0)[1]
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def chain():
    """The options for a model that reasons and answers."""
    if not os.path.exists(path("chain.st")):
        subprocess.run([sys.executable, os.path.join(root, "tests/data/make_chain.py"), path("chain.st"), path("chain.vocab")],
                       check=True)
    return ["-m", path("chain.st"), "--vocab", path("chain.vocab"), "--template", "g1", "--temp", "0"]


def checksum(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return value


def read_file(name):
    """A conversation file as docs/formats.md describes it: its JSON, and the state."""
    with open(name, "rb") as file:
        data = file.read()
    magic, version, zero, text, state, total = struct.unpack_from("<8sIIQQQ", data)
    check((magic, version, zero) == (b"rwkvchat", 1, 0), magic, version)
    check(len(data) == 40 + text + state, "length", len(data), text, state)
    check(total == checksum(struct.pack("<QQ", checksum(data[:32]), checksum(data[40:]))), "checksum")
    return json.loads(data[40:40 + text]), data[40 + text:]


def branch(conversation, name=None):
    """The texts of a branch, from the first message on."""
    at = next(b["last"] for b in conversation["branches"] if b["name"] == (name or conversation["branch"]))
    texts = []
    while at is not None:
        texts.insert(0, conversation["messages"][at]["text"])
        at = conversation["messages"][at]["parent"]
    return texts


# ------------------------------------------------------------------------------------------------ through a pipe


def case_pipe():
    one = chat("Once upon a time\n\nThe\n", *SHORT)
    check(len(one.answers()) == 2 and all(one.answers()), one.out)
    check(b"no chat model" in one.err and one.err.count(b"no chat model") == 1, one.err)
    check(b"seed 3" in one.err, one.err)
    ready, part = re.search(rb"ready in ([0-9.]+) s, ([0-9.]+) s of them compiling and a first token", one.err).groups()
    check(float(part) <= float(ready), "a part takes longer than the whole", one.err)
    again = chat("Once upon a time\nThe", "-q", *SHORT)
    check(again.out == one.out and again.err == b"", "the same lines give another text", again.out, again.err)
    drawn = chat("Once upon a time\n", "-q", "-n", "5")
    check(re.fullmatch(rb"seed \d+\n", drawn.err), "the seed is not shown", drawn.err)


def case_usage():
    for options, text in ([["x"], b'unexpected argument "x"'], [["--think", "hard"], b"--think: expected off|fake|on|a-bit|a-lot"],
                          [["-n", "0"], b"-n: expected at least 1"], [["--cache-memory", "4X"], b"such as 500M or 4G, got \"4X\""],
                          [["--seed", "9223372036854775808"], b"--seed: expected at most"]):
        check(text in chat("", *options, code=2).err, options)
    for options, text in ([["--template", "g2"], b"g1, rwkv-world, world, raven or plain"],
                          [["--think", "on"], b"plain has no think mode"],
                          [["-m", os.path.join(root, "tests/data/v7-c192-bf16.safetensors")], b"give --vocab"],
                          [["--state", path("none.state")], b"none.state"]):
        got = chat("Hello\n", *options, code=1)
        check(text in got.err and got.out == b"", options, got.err)


def case_commands():
    got = chat("/help\n/help retry\n/system\n/system Be brief.\n/system\n/system -\n/system\n/think\n/stats\n/sampling temp=0.5 top-p=0.9\n"
               "/sampling\n/quit\nnever said\n", "-q", *SHORT)
    check(got.out == b"", got.out)
    for text in (b"/fork NAME", b"there is no system message", b"Be brief.", b"think mode off", b"cached", b"tok/s", b"first token",
                 b"states", b"temperature 0.5, top-p 0.9", b"seed 3"):
        check(text in got.err, text, got.err)
    check(got.err.count(b"/retry") == 2 and got.err.count(b"there is no system message") == 2, got.err)


def case_mistakes():
    for line, text in (["/retyr", b'unknown command "/retyr"; did you mean "/retry"?'], ["/zzzz", b"/help lists them"],
                       ["/think hard", b"expected off, fake, on, a bit or a lot"], ["/think on", b"plain has no think mode"],
                       ["/retry", b"nothing has been said yet"], ["/undo", b"nothing has been said yet"], ["/fork", b"expected a name"],
                       ["/fork a b", b"expected a name"], ["/fork main", b"there is a branch"], ["/switch nain", b'did you mean "main"?'],
                       ["/save", b"expected the name"], ["/load", b"expected the name"], ["/load " + path("none"), b"No such file"],
                       ["/load -", b"needs the name of a file"], ["/sampling heat=1", b"unknown setting"],
                       ["/sampling tmp=1", b'did you mean "temp"?'], ["/sampling temp=x", b"expected a number from 0 to 100"],
                       ["/stats now", b"takes no argument"]):
        got = chat(line + "\n", "-q", *SHORT, code=1)
        check(text in got.err and got.out == b"", line, got.err)


def case_lines():
    """Messages of several lines, and those that begin with /; plain text is read as it is."""
    name = path("lines.chat")
    chat('one \\\ntwo\n"""\n a\n\n/b\n"""\n//x\n\xe9\r\n'.encode("latin-1"), "--conversation", name, *SHORT)
    said = [m["text"] for m in read_file(name)[0]["messages"] if m["role"] == "user"]
    check(said == ["one \ntwo", " a\n\n/b", "/x", "\ufffd"], said)


def case_retry():
    """Another answer, from the same shown seed again; undo and branches."""
    name = path("retry.chat")
    got = chat("Once upon a time\n/retry\n/fork second\n/retry\n/switch main\n", "--conversation", name, *SHORT)
    first, second, third = got.answers()
    check(len({first, second, third}) == 3, got.out)
    kept = read_file(name)[0]
    check([b["name"] for b in kept["branches"]] == ["main", "second"] and kept["branch"] == "main", kept)
    check(branch(kept) == ["Once upon a time", second], kept)
    check(branch(kept, "second") == ["Once upon a time", third] and len(kept["messages"]) == 3, kept)
    check(second in chat("Once upon a time\n", *SHORT, "--seed", "4").out.decode(), "seed + number of the answer")
    chat("/undo\n", "--conversation", name, *SHORT)
    kept = read_file(name)[0]
    check(branch(kept) == [] and branch(kept, "second") == ["Once upon a time", third], kept)


def cached(result):
    return [tuple(map(int, pair)) for pair in re.findall(rb"last answer: prompt (\d+) tokens, (\d+) of them cached", result.err)]


def case_copies():
    """Text that was read is not read again, whatever the conversation does."""
    got = chat("Once upon a time there was a dog\n The dog saw\n/stats\n/retry\n/stats\n/undo\n The cat saw\n/stats\n/fork b\n"
               " It ran\n/stats\n/switch main\n It slept\n/stats\n", *SHORT)
    for tokens, known in cached(got):
        check(tokens - known < 8, "read again", cached(got))


def case_reasoning():
    """A pipe gets only the answer; later prompts contain no reasoning."""
    name = path("reasoning.chat")
    got = chat("Hello\n/think on\nHello\nHello\n/stats\n", "--conversation", name, *chain())
    check(got.answers() == ["Hello there."] * 3, got.out)
    kept = read_file(name)[0]
    check(branch(kept) == ["Hello", "Hello there."] * 3 and kept["think"] == "on" and kept["template"] == "g1", kept)
    state = kept["state"]
    check(state and state["text_bytes"] == len("User: Hello\n\nAssistant: Hello there.\n\n") * 3 - len("Assistant: Hello there.\n\n"), state)
    tokens, known = cached(got)[-1]
    check(tokens - known < 45 and known > 25, "the message before the reasoning is read again", tokens, known)


def case_state():
    """A start state gives another beginning, which differs from that of other start states."""
    name, state = path("start.chat"), path("start.state")
    subprocess.run([program, "generate", "-q", "-n", "0", "--save-state", state, "Tom had a red ball."], check=True,
                   stdout=subprocess.DEVNULL)
    plain = chat(" He\n", *SHORT)
    begun = chat(" He\n", "--state", state, "--conversation", name, *SHORT)
    check(plain.out != begun.out, "the state changes nothing", plain.out)
    again = chat("/stats\n", "--state", state, "--conversation", name, *SHORT)
    check(b"read again" not in again.err, again.err)
    check(b"read again" in chat("", "--conversation", name, *SHORT).err, "another beginning is not told")


# ------------------------------------------------------------------------------------------------ the conversation's file


def case_conversation():
    """A conversation continued in another run equals one that was never interrupted, with nothing read twice."""
    name, whole = path("a.chat"), path("whole.chat")
    lines = ["Once upon a time\n", " The dog\n", "/system There was a king.\n The cat\n"]
    chat("".join(lines), "--conversation", whole, *SHORT)
    for line in lines:
        last = chat(line + "/stats\n", "--conversation", name, *SHORT)
        check(last.out, line)
        if line == lines[1]:
            tokens, known = cached(last)[-1]
            check(tokens - known < 8, "read again", tokens, known)
    one, two = read_file(name)[0], read_file(whole)[0]
    check(branch(one) == branch(two) and len(branch(one)) == 6, one, two)
    check(one["system"] == "There was a king." and one["answers"] == 3 and one["seed"] == 3, one)
    check(windows or os.stat(name).st_mode & 0o777 == 0o600, "mode")
    check(not os.path.exists(name + ".lock"), "lock")
    greeting = chat("", "--conversation", name).err
    check(b"branch main has 6 messages" in greeting and b"seed 3" in greeting, greeting)


def case_save():
    name, other = path("kept.chat"), path("other.chat")
    chat(f"Once upon a time\n/save {name}\n", *SHORT)
    got = chat(f"/load {name}\n/retry\n/save {other}\n/save {other}\n", *SHORT)
    check(branch(read_file(other)[0])[1].strip() == got.out.decode().strip(), got.out)
    check(branch(read_file(name)[0])[0] == "Once upon a time", "the file that was loaded has changed")
    with open(path("foreign"), "w") as file:
        file.write("mine")
    check(b"give another name" in chat(f"/save {path('foreign')}\n", *SHORT, code=1).err, "overwritten")


def case_damage():
    """Files that are not conversations are refused by name, and stay unchanged."""
    name = path("damaged.chat")
    chat("Once upon a time\n", "--conversation", name, *SHORT)
    with open(name, "rb") as file:
        good = file.read()
    newer = good[:8] + struct.pack("<I", 2) + good[12:]
    flipped = good[:100] + bytes([good[100] ^ 1]) + good[101:]
    for data, text in ([b"", b"is no conversation"], [b"hello\n" * 20, b"is no conversation"], [good[:-1], b"is damaged"],
                       [flipped, b"is damaged"], [newer, b"version 2; this program reads version 1"]):
        with open(name, "wb") as file:
            file.write(data)
        got = chat("The\n", "--conversation", name, *SHORT, code=1)
        check(text in got.err and b"damaged.chat" in got.err and got.out == b"", text, got.err)
        with open(name, "rb") as file:
            check(file.read() == data, "the file has changed", text)
    for folder_name in (path("no/folder.chat"), folder.name):
        chat("", "--conversation", folder_name, *SHORT, code=1)


def case_lock():
    """The second program on a file is refused; one that was killed leaves no lock."""
    name = path("shared.chat")
    first = subprocess.Popen([program, "chat", "--conversation", name, *SHORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    first.stdin.write(b"Once upon a time\n")
    first.stdin.flush()
    check(first.stdout.readline(), "no answer")
    check(b"another rwkvk chat writes it" in chat("The\n", "--conversation", name, *SHORT, code=1).err, "two writers")
    check(b"another rwkvk chat writes it" in chat(f"/save {name}\n", *SHORT, code=1).err, "two writers")
    first.kill()
    first.communicate()
    chat("The\n", "--conversation", name, *SHORT)
    check(len(branch(read_file(name)[0])) == 4, "what was said before")


def case_disk():
    """With --cache-disk states outlive the program, for this user alone; without it nothing is written."""
    options = [*SHORT, "--cache-dir", path("cache")]
    line = "Once upon a time there was a king who had a dog\n/stats\n"
    chat(line, *options)
    check(not os.path.exists(path("cache/states")), "states without --cache-disk")
    first, second = (cached(chat(line, "--cache-disk", "50M", *options))[0] for _ in range(2))
    check(first[1] == 0 and second[1] > 0, "read again", first, second)
    for name in os.listdir(path("cache/states")):
        check(windows or os.stat(path("cache/states/" + name)).st_mode & 0o77 == 0, "not private", name)


def case_models():
    """With another model the text is read again, with that model's template; changed options are reported too."""
    name = path("models.chat")
    chat("Hello\n", "--conversation", name, *chain())
    check(b"read again" not in chat("/stats\n", "--conversation", name, *chain()).err, "the same")
    check(b"read again" in chat("/stats\n", "--conversation", name, "--quant", "q8", *chain()).err, "other options")
    got = chat("The\n/stats\n", "--conversation", name, *SHORT)
    check(b"chain.st has answered here until now" in got.err and b"template plain" in got.err, got.err)
    check(branch(read_file(name)[0])[:2] == ["Hello", "Hello there."], "what was said")


def case_killed():
    """kill -9 at 50 moments, fewer with sanitizers: the file still opens, and no message is lost."""
    name, moments = path("killed.chat"), random.Random(7)
    said, lines, rounds, unanswered = [], 0, 50 // int(os.environ.get("RWKVK_TEST_FEW", "1")), 0
    for i in range(rounds):
        running = subprocess.Popen([program, "chat", "-q", "--conversation", name, "--seed", "3", "-n", "20"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running.stdin.write("".join(f" Line {lines + k}.\n" for k in range(40)).encode())
        running.stdin.flush()
        lines += 40
        if i % 5:
            running.stdout.readline()
        time.sleep(moments.random() * (0.4 if i % 5 else 1))
        running.kill()
        error = running.communicate()[1]
        check(b"rwkvk:" not in error, "the file does not open", i, error)
        if os.path.exists(name):
            now = branch(read_file(name)[0])
            kept = said if len(said) % 2 == 0 else said[:-1]  # the one without an answer makes room
            check(now[:len(kept)] == kept, i, said, now)
            said = now
            unanswered += len(said) % 2
    check(unanswered > 0, "no message was kept before its answer")
    check(len(said) > 0.2 * rounds, "too little was said", len(said))
    print(f"{rounds} times killed, {len(said)} messages kept")


def case_world():
    """Random weights and World tokens: whatever bytes such a model writes, the conversation is valid and can be continued."""
    model, name = os.path.join(root, "../shared/models/synthetic/v7-c128-f16.gguf"), path("world.chat")
    if not os.path.exists(model):
        print("SKIPPED world: there is no " + model)
        sys.exit(77)
    options = ["-m", model, "--template", "g1", "--conversation", name, "--seed", "3", "-n", "40"]
    for line in ("Hello\n/retry\n", "Again\n/fork b\nOnce more\n", "/think fake\nHello\n"):
        chat(line, *options)
    kept = read_file(name)[0]
    check(len(branch(kept)) == 8 and all(branch(kept)) and kept["answers"] == 5 and kept["state"], kept)


# ------------------------------------------------------------------------------------------------ on a terminal


def case_terminal():
    screen = Terminal(*SHORT)
    screen.expect("no chat model")
    screen.expect("> ")
    screen.send("Once upon a time\n")
    screen.expect("Once upon a time\r\n")
    answer = screen.expect("\r\n")
    check(len(answer) > 10, answer)
    screen.expect("> ")
    for line in ('"""', "In the", "evening"):
        screen.send(line + "\n")
        screen.expect(line + "\r\n. ")
    screen.send('"""\n')
    screen.expect('"""\r\n')
    screen.expect("> ")
    screen.send("and \\\n")
    screen.expect("\\\r\n. ")
    screen.send("then\n")
    screen.expect("> ")
    screen.send("/stats\n")
    screen.expect("6 messages")
    screen.expect("> ")
    screen.send("\x04")
    check(screen.end() == 0, "exit code", screen.seen[-3000:])


def case_streaming():
    """An answer is shown as it comes: while it is written, and before it could have ended."""
    screen = Terminal(*ENDLESS)
    screen.expect("> ")
    screen.send("Once upon a time\n")
    screen.expect("Once upon a time\r\n")
    for _ in range(3):
        screen.expect_more(20)
    screen.send("\x03")
    screen.expect("interrupted")
    screen.expect("> ")
    screen.send("/quit\n")
    check(screen.end() == 0, "exit code", screen.seen[-3000:])


def case_interrupt():
    """Ctrl-C ends an answer, which stays; at the prompt it clears the line.  SIGTERM ends the chat, with the file in order."""
    name = path("interrupt.chat")
    screen = Terminal("--conversation", name, *ENDLESS)
    screen.expect("> ")
    screen.send("Once upon a time")
    screen.expect("time")
    screen.send("\x03")
    screen.expect("^C\r\n> ")
    os.kill(screen.child, signal.SIGINT)
    screen.expect("> ")
    check(not os.path.exists(name), "a line that was cleared is sent")
    for _ in range(2):
        screen.send("The dog\n")
        screen.expect("The dog\r\n")
        screen.expect_more(20)
        screen.send("\x03")
        screen.expect("interrupted")
        screen.expect("> ")
    kept = branch(read_file(name)[0])
    check(len(kept) == 4 and all(kept), kept)
    screen.send("The cat\n")
    screen.expect("The cat\r\n")
    screen.expect_more(20)
    os.kill(screen.child, signal.SIGTERM)
    check(screen.end() == -signal.SIGTERM, "exit code")
    kept = branch(read_file(name)[0])
    check(len(kept) == 6 and all(kept), kept)
    screen = Terminal("--conversation", name, *SHORT)
    screen.expect("branch main has 6 messages")
    screen.expect("> ")
    os.kill(screen.child, signal.SIGTERM)
    check(screen.end() == -signal.SIGTERM, "exit code at the prompt")


def case_late_signal():
    """A signal right before the program waits for a line ends it all the same, at a terminal and at a pipe."""
    library = os.environ.get("LATE_SIGNAL")
    if not library:
        print("SKIPPED: nothing can be preloaded")
        sys.exit(77)
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), library]))
    screen = Terminal(*SHORT, LD_PRELOAD=preload)
    check(screen.end(60) == -signal.SIGTERM, "exit code at a terminal", screen.seen[-3000:])
    with subprocess.Popen([program, "chat", *SHORT], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(os.environ, LD_PRELOAD=preload)) as child:
        check(child.wait(60) == -signal.SIGTERM, "exit code at a pipe", child.stderr.read())


def case_dimmed():
    for environment in ({}, {"NO_COLOR": "1"}):
        screen = Terminal("--think", "on", *chain(), **environment)
        screen.expect("> ")
        screen.send("Hello\n")
        before = screen.expect("Hello there.")
        check(("\x1b[2mI reason." in before) == (not environment), environment, before)
        check("I reason." in before and "More of it." in before and "think>" not in before, before)
        check(not environment or "\x1b[2m" not in before, before)
        screen.expect("> ")
        screen.send("\x04")
        check(screen.end() == 0, "exit code", screen.seen[-3000:])


def case_editing():
    """Completion of commands, branches and modes by Tab; the history by arrows, in another run, too."""
    screen = Terminal(*SHORT)
    screen.expect("> ")
    if not edits(screen):
        return
    screen.send("/fo\t")
    screen.expect("rk ")
    screen.send("evening\n")
    screen.expect("evening> ")
    screen.send("/s\t")
    screen.expect("/system  /switch  /save  /sampling  /stats")
    screen.send("\x03")
    screen.expect("^C\r\nevening> ")
    screen.send("/switch \t")
    screen.expect("main  evening")
    screen.send("ma\t\n")
    screen.expect("main> ")
    screen.send("/think a\t")
    screen.expect("-")
    screen.send("\t")
    screen.expect("a-bit  a-lot")
    screen.send("\x03")
    screen.expect("^C\r\nmain> ")
    screen.send("/sampling top\t\t")
    screen.expect("top-p  top-k")
    screen.send("\x03")
    screen.expect("^C\r\nmain> ")
    screen.send("h\xe9 \u4f60\u597d\n")
    screen.expect("h\xe9 \u4f60\u597d\r\n")
    screen.expect("main> ")
    screen.send("\x04")
    check(screen.end() == 0, "exit code", screen.seen[-3000:])
    check(os.stat(path("rwkvk/chat_history")).st_mode & 0o777 == 0o600, "the history is not private")
    screen = Terminal(*SHORT)
    screen.expect("> ")
    screen.send("\x1b[A")
    screen.expect("h\xe9 \u4f60\u597d")
    screen.send("\x1b[A\n")
    screen.expect("switch main")
    screen.expect("> ")  # what is typed while no line is edited is not for the editor
    screen.send("\x04")
    check(screen.end() == 0, "exit code", screen.seen[-3000:])
    screen = Terminal("--history", "", *SHORT)
    screen.expect("> ")
    screen.send("\x1b[A/quit\n")
    check(screen.end() == 0, "exit code", screen.seen[-3000:])


def edits(screen):
    """Whether the program is built with libedit, which turns the echo of the terminal off."""
    if not os.environ.get("RWKVK_CHAT_EDIT", "1") in ("0", "OFF"):
        return True
    print("*** NOT TESTED: lines are edited in builds with RWKVK_CHAT_EDIT alone ***")
    screen.send("\x04")
    screen.end()
    return False


# ------------------------------------------------------------------------------------------------


def run(name):
    globals()["case_" + name]()


def need_device():
    found = subprocess.run([program, "devices"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if found.returncode == 1 and found.stderr.startswith(b"rwkvk: "):
        print("SKIPPED:", found.stderr.decode())
        sys.exit(77)


need_device()
for one in [n[5:] for n in list(globals()) if n.startswith("case_")] if case == "all" else [case]:
    run(one)
