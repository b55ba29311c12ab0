#!/usr/bin/env python3
"""Types beginnings of commands into real shells and presses the tabulator: complete.py PREFIX, where rwkvk is installed."""
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

CASES = [  # what is typed, and what the line then begins with
    ("rwkvk gener", "rwkvk generate "),
    ("rwkvk help tok", "rwkvk help tokenize "),
    ("rwkvk generate --top-", "rwkvk generate --top-"),
    ("rwkvk generate --freq", "rwkvk generate --frequency "),
    ("rwkvk generate --quant q8", "rwkvk generate --quant q8 "),
    ("rwkvk state conv", "rwkvk state convert "),
    ("rwkvk state convert --fr", "rwkvk state convert --from "),
    ("rwkvk inspect only-fi", "rwkvk inspect only-file "),
]


class Shell:
    """A shell in a terminal of its own."""

    def __init__(self, words, folder, environment):
        child, self.terminal = pty.fork()
        if child == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, {**os.environ, **environment})
        self.rest = ""

    def read(self, until, seconds=20):
        """Everything up to and including `until`; the limit is for shells that hang."""
        text, end = self.rest, time.monotonic() + seconds
        while until not in text and time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.1)[0]:
                text += os.read(self.terminal, 4096).decode(errors="replace")
        at = text.find(until) + len(until) if until in text else len(text)
        self.rest = text[at:]
        return text[:at]

    def write(self, text):
        os.write(self.terminal, text.encode())


def erase(text):
    """A backspace takes the character before it."""
    kept = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


def completed(shell, typed):
    """What the line becomes: the shell echoes it, followed by END.  Ctrl-U empties it, so nothing is run."""
    shell.write(typed + "\t")
    time.sleep(0.5)
    shell.write("#END")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x07", "", shell.read("#END"))
    shell.write("\x15")
    return erase(text.replace("\r", ""))


def check(name, shell):
    shell.read("READY")
    for typed, expected in CASES:
        line = completed(shell, typed)
        if expected + "#END" not in line and not (expected == typed and expected in line):
            sys.exit(f"{name}: {typed!r} and the tabulator: expected {expected!r}, found {line!r}")
    print(f"{name}: {len(CASES)} lines completed", file=sys.stderr)


def check_fish(prefix, folder):
    script = f"{prefix}/share/fish/vendor_completions.d/rwkvk.fish"
    for typed, expected in CASES:
        got = subprocess.run(["fish", "-c", f"source {script}; complete -C '{typed}'"], cwd=folder, text=True, check=True,
                             capture_output=True).stdout
        words = [line.split("\t")[0] for line in got.splitlines()]
        if expected.split(" ")[-2 if expected.endswith(" ") else -1] not in words and expected != typed:
            sys.exit(f"fish: {typed!r}: expected {expected!r}, found {words}")
    print(f"fish: {len(CASES)} lines completed", file=sys.stderr)


def main():
    prefix = os.path.abspath(sys.argv[1])
    environment = {"PATH": f"{prefix}/bin:{os.environ['PATH']}", "TERM": "dumb", "PS1": "READY ", "PROMPT": "READY "}
    with tempfile.TemporaryDirectory() as folder:
        open(f"{folder}/only-file", "w").close()
        with open(f"{folder}/bashrc", "w") as rc:
            rc.write(f"PS1='READY '\n. /usr/share/bash-completion/bash_completion\n"
                     f". {prefix}/share/bash-completion/completions/rwkvk\n")
        check("bash", Shell(["bash", "--rcfile", f"{folder}/bashrc", "-i"], folder, environment))
        with open(f"{folder}/.zshrc", "w") as rc:
            rc.write(f"PROMPT='READY '\nunsetopt zle_bracketed_paste prompt_sp\nbindkey -e\nfpath=({prefix}/share/zsh/site-functions $fpath)\n"
                     "autoload -U compinit\ncompinit -u -D\n")
        check("zsh", Shell(["zsh", "-i"], folder, {**environment, "ZDOTDIR": folder}))
        check_fish(prefix, folder)


main()
