#!/usr/bin/env python3
"""Writes the wheel rwkvk-VERSION-py3-none-PLATFORM.whl from a library that is already installed, and prints its path.

    build_wheel.py build/linux-x86_64/rwkvk-0.1.0-linux-x86_64 manylinux_2_31_x86_64 OUTDIR
    build_wheel.py build/windows/rwkvk-0.1.0-windows-x86_64 win_amd64 OUTDIR

PREFIX is what `cmake --install` or tools/cross.sh has written, with the shared library.  The wheel holds that, its licences,
the module and the story model.  Its bytes depend only on these and on SOURCE_DATE_EPOCH."""

import argparse
import base64
import hashlib
import os
import re
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSION = re.search(r"^project\(rwkvk VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M).group(1)
STORY = ROOT / "src/demo/story.gguf"
# Licences of what the program links, but not the library.
PROGRAM_ONLY = {"libmicrohttpd", "libedit-dev", "libbsd-dev", "libmd-dev", "libtinfo6"}
# What a library begins with: ELF or PE, and where in it the machine is named.
MACHINES = {"x86_64": (b"\x7fELF", 62), "aarch64": (b"\x7fELF", 183), "amd64": (b"MZ", 0x8664), "arm64": (b"MZ", 0xAA64)}


def read_library(prefix, platform):
    """Its name and its bytes."""
    name = "rwkvk.dll" if platform.startswith("win") else "librwkvk.so"
    path = next(prefix.rglob(name), None)
    if not path:
        raise SystemExit(f"{prefix}: has no {name}; build it with -DBUILD_SHARED_LIBS=ON")
    data = path.read_bytes()
    start, machine = next((kind for end, kind in MACHINES.items() if platform.endswith("_" + end)), (b"", 0))
    offset = 18 if start == b"\x7fELF" else int.from_bytes(data[60:64], "little") + 4
    if not start or not data.startswith(start) or int.from_bytes(data[offset : offset + 2], "little") != machine:
        raise SystemExit(f"{path}: is not for {platform}, which should end with one of {', '.join(MACHINES)}")
    return name, data


def read_licences(prefix):
    """Of all that is in the wheel."""
    files = [path for path in (prefix / "share/licenses/rwkvk").iterdir() if path.stem not in PROGRAM_ONLY]
    return {**{path.name: path.read_bytes() for path in files}, "story-model.md": (STORY.parent / "LICENSE.md").read_bytes()}


def metadata(licences):
    return "\n".join([
        "Metadata-Version: 2.4", "Name: rwkvk", f"Version: {VERSION}", "Summary: RWKV language models on any Vulkan device",
        "License: MIT; that of each part is in the folder licenses", *(f"License-File: {name}" for name in sorted(licences)),
        "Requires-Python: >=3.9",
        "Provides-Extra: numpy", 'Requires-Dist: numpy; extra == "numpy"', "Classifier: Programming Language :: Python :: 3",
        "Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence", "Classifier: Typing :: Typed",
        "Description-Content-Type: text/markdown", "", (HERE / "README.md").read_text()])  # fmt: skip


def record(file):
    name, data = file
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(data)}\n"


def contents(prefix, platform):
    """The wheel's files in their order, from name to bytes; RECORD, which lists the others, is the last."""
    name, library = read_library(prefix, platform)
    licences, info = read_licences(prefix), f"rwkvk-{VERSION}.dist-info/"
    files = {"rwkvk/" + path.name: path.read_bytes() for path in [*HERE.glob("rwkvk/*.py"), HERE / "rwkvk/py.typed"]}
    files |= {f"rwkvk/{name}": library, "rwkvk/story.gguf": STORY.read_bytes()}
    files |= {f"{info}licenses/{licence}": data for licence, data in licences.items()}
    files[info + "METADATA"] = metadata(licences).encode()
    tags = f"Wheel-Version: 1.0\nGenerator: rwkvk\nRoot-Is-Purelib: false\nTag: py3-none-{platform}\n"
    files[info + "WHEEL"] = tags.encode()
    files = dict(sorted(files.items()))
    files[info + "RECORD"] = "".join([*map(record, files.items()), f"{info}RECORD,,\n"]).encode()
    return files


def write(path, files):
    stamp = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), 315532800))  # zip files begin in 1980
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, stamp[:6])
            entry.create_system, entry.external_attr = 3, (0o100755 if name.endswith((".so", ".dll")) else 0o100644) << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("platform", help="the tag after py3-none-")
    parser.add_argument("outdir", type=Path)
    args = parser.parse_args()
    files = contents(args.prefix, args.platform)
    args.outdir.mkdir(parents=True, exist_ok=True)
    path = args.outdir / f"rwkvk-{VERSION}-py3-none-{args.platform}.whl"
    write(path, files)
    print(path)


if __name__ == "__main__":
    main()
