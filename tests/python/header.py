"""Compares the Python module's tables with rwkvk.h: header.py COMPILER INCLUDE FOLDER, where FOLDER holds the module rwkvk.

The compiler tells sizes, offsets and constants; the declarations of functions are read from the header itself."""

import ctypes
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

compiler, include, folder = sys.argv[1:]
sys.path.insert(0, folder)
sys.dont_write_bytecode = True
with mock.patch("ctypes.CDLL"):  # the tables need no library
    import rwkvk
    from rwkvk import _library

header = re.sub(r"/\*.*?\*/", "", (Path(include) / "rwkvk.h").read_text(), flags=re.S)
LETTERS = {"void": "-", "size_t": "z", "uint32_t": "u", "uint64_t": "q", "bool": "b", "float": "f", "rwkvk_status": "e"}
ENUMS = {"RWKVK_": rwkvk.Status, "RWKVK_QUANT_": rwkvk.Quant, "RWKVK_END_": rwkvk.End}
# Kinds of members; an enum may be an unsigned int.
KINDS = {ctypes.c_float: 1, ctypes.c_bool: 2, ctypes.c_uint32: 3, ctypes.c_int: 3, ctypes.c_uint64: 4, ctypes.c_size_t: 4}
KIND = "_Generic({}, float: 1, bool: 2, uint32_t: 3, int: 3, uint64_t: 4, default: 0)"
failures = []


def expect(what, found, wanted):
    if found != wanted:
        failures.append(f"{what}: Python has {found}, the header {wanted}")


START = '#include <stddef.h>\n#include <stdio.h>\n#include "rwkvk.h"\nint main(void) {\n'


def compiled(lines):
    """What a program prints that consists of these statements."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "print.c", Path(folder) / "print"
        source.write_text(START + "\n".join(lines) + "\n}\n")
        subprocess.run([compiler, "-I", include, "-o", program, source], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        return dict(line.rsplit(" ", 1) for line in printed.splitlines())


def number(what, expression):
    return f'printf("{what} %zu\\n", (size_t)({expression}));'


def compare_numbers():
    wanted = {}
    for name, ours in _library.structs.items():
        wanted[f"sizeof rwkvk_{name}"] = ctypes.sizeof(ours), f"sizeof(rwkvk_{name})"
        for member, kind in [field[:2] for field in ours._fields_]:
            place = f"rwkvk_{name}, {member}"
            wanted[f"offset of {place}"] = getattr(ours, member).offset, f"offsetof({place})"
            value = f"((rwkvk_{name} *)0)->{member}"
            wanted[f"sizeof {place}"] = ctypes.sizeof(kind), f"sizeof({value})"
            wanted[f"kind of {place}"] = KINDS.get(kind, 0), KIND.format(value)
    for prefix, enum in ENUMS.items():
        wanted |= {prefix + member.name: (member.value, prefix + member.name) for member in enum}
    wanted["sizeof rwkvk_bias"] = struct.calcsize(rwkvk._BIAS), "sizeof(rwkvk_bias)"
    wanted["offset of rwkvk_bias, value"] = struct.calcsize(rwkvk._BIAS[:-1]), "offsetof(rwkvk_bias, value)"
    found = compiled([number(what, expression) for what, (_, expression) in wanted.items()])
    for what, (ours, _) in wanted.items():
        expect(what, ours, int(found[what]))


def compare_enums():
    """No enumerator is missing in Python."""
    for prefix, enum in ENUMS.items():
        kind = "rwkvk_" + enum.__name__.lower()
        body = re.search(r"typedef enum %s \{(.*?)\}" % kind, header, re.S).group(1)
        expect(kind, [prefix + member.name for member in enum], re.findall(r"\bRWKVK_\w+", body))


def letter(declaration):
    words = declaration.replace("const ", "").split()
    if "*" in declaration or "[" in declaration:
        return "p"
    return LETTERS.get(words[0], "i")


def compare_functions():
    pattern = r"^(?:RWKVK_API|typedef) ([^;{}()]*?)(rwkvk_\w+)\(([^)]*)\);"
    declared = {name: letter(result) + "".join(letter(p) for p in arguments.split(",") if p.strip() != "void")
                for result, name, arguments in re.findall(pattern, header, re.M)}
    ours = dict(entry.split(":") for entry in _library.FUNCTIONS.split())
    ours |= {kind + "_fn": types for kind, types in _library.CALLBACKS.items()}
    for name, types in ours.items():
        expect("rwkvk_" + name, types.replace("s", "p"), declared.get("rwkvk_" + name, "nothing"))


compare_numbers()
compare_enums()
compare_functions()
if failures:
    sys.exit("\n".join(failures))
