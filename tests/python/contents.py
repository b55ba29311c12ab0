"""Checks the wheels named: contents.py WHEEL...  Their files are those expected, and what they say of themselves is true."""

import base64
import csv
import hashlib
import io
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

# Of what is linked into the library, and of the compilers' runtimes.
LINKED = {"jansson.txt", "libzip.txt", "pcre2.txt", "utf8proc.txt", "zlib.txt"}
OURS = {"LICENSE", "NOTICES.md", "story-model.md"}
LINUX = {"libgcc.txt"}
WINDOWS = {"gcc-mingw-w64-x86-64-posix-runtime.txt", "mingw-w64-x86-64-dev.txt"}
MODULE = {"__init__.py", "_library.py", "py.typed", "story.gguf"}


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: expected {wanted}, found {found}")


def check(path):
    name, version, python, abi, platform = path.stem.split("-")
    info, windows = f"{name}-{version}.dist-info/", platform.startswith("win")
    with zipfile.ZipFile(path) as wheel:
        files = {entry.filename: wheel.read(entry) for entry in wheel.infolist()}
        expect("its dates", {entry.date_time for entry in wheel.infolist()}, {wheel.infolist()[0].date_time})
    licences = LINKED | OURS | (WINDOWS if windows else LINUX)
    wanted = {"rwkvk/" + file for file in MODULE | {"rwkvk.dll" if windows else "librwkvk.so"}}
    wanted |= {info + file for file in ("METADATA", "WHEEL", "RECORD")} | {f"{info}licenses/{file}" for file in licences}
    expect("its files", sorted(files), sorted(wanted))
    record = {row[0]: (row[1], row[2]) for row in csv.reader(io.StringIO(files[info + "RECORD"].decode()))}
    listed = {file: (digest(data), str(len(data))) for file, data in files.items()}
    expect("RECORD", record, {**listed, info + "RECORD": ("", "")})
    expect("its tags", Parser().parsestr(files[info + "WHEEL"].decode()).get_all("Tag"), [f"{python}-{abi}-{platform}"])
    metadata = Parser().parsestr(files[info + "METADATA"].decode())
    expect("name and version", (metadata["Name"], metadata["Version"]), (name, version))
    expect("its licences", set(metadata.get_all("License-File")), licences)


for argument in sys.argv[1:]:
    try:
        check(Path(argument))
    except SystemExit as failure:
        sys.exit(f"{argument}: {failure}")
