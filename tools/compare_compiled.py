#!/usr/bin/env python3
"""Puts our compiled shaders beside llama.cpp's: the tables of tests/data/compiled become one in docs/drivers.md.

    tools/compare_compiled.py            rewrites the part of docs/drivers.md between its two marks
    tools/compare_compiled.py --check    fails if that would change it
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = ROOT / "tests/data/compiled"
PAGE = ROOT / "docs/drivers.md"
BEGIN, END = "<!-- written by tools/compare_compiled.py -->", "<!-- end -->"

TARGETS = ["amd-polaris10", "amd-navi21", "amd-navi31", "intel-skl", "intel-dg2", "intel-bmg", "nvidia-pascal",
           "nvidia-ampere", "adreno-740", "mali-g610", "apple-m1"]
TYPES = ["F16", "Q8", "Q4K", "Q6K", "wkv"]
STAGES = ["att_in", "att_out", "ffn_in", "ffn_out", "head"]
MODEL = "RWKV-7 1.5B"


def most(target, subgroup):
    """What the driver counts as full occupancy, 0 where its number is no occupancy."""
    if target.startswith("amd-navi"):
        return 32 if subgroup == 64 else 16
    if target.startswith("amd-"):
        return 8
    return {"nvidia-pascal": 64, "nvidia-ampere": 48, "adreno-740": 2048, "mali-g610": 2, "apple-m1": 1024}.get(target, 0)


def ours(target):
    """{(type, stage): columns by name}"""
    lines = (TABLES / f"{target}.txt").read_text().splitlines()
    rows = {}
    for line in lines:
        if line.startswith("# model"):
            names = ["registers", "occupancy", "instructions", "time", "shared", "code", "spills", "scratch"]
        elif line.startswith("  " + MODEL):
            words = line[2 + len(MODEL):].split()
            row = dict(zip(names, words[4:]))
            row["threads"], row["subgroup"] = words[2], words[3]
            rows[words[0], words[1]] = row
    return rows


def theirs():
    """{(target, type): columns by name}"""
    names = ["kernel", "rows", "threads", "subgroup", "registers", "occupancy", "instructions", "bare", "spills"]
    rows = {}
    for line in (TABLES / "llama.cpp.txt").read_text().splitlines():
        if not line.startswith("#"):
            words = line.split()
            rows.setdefault((words[0], words[1]), dict(zip(names, words[2:])))
    return rows


def occupancy(rows, target):
    """The occupancy of some stages as text: one number or the least and the largest.  Of Adreno's subgroups the threads, as two
    sizes of subgroup are compared."""
    width = int(rows[0]["subgroup"]) if target.startswith("adreno") else 1
    values = sorted(int(row["occupancy"]) * width for row in rows)
    full = most(target, int(rows[0]["subgroup"]))
    text = str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"
    return f"{text} of {full}" if full else f"SIMD{text}"


def span(rows, name):
    values = sorted(int(row[name]) for row in rows)
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def line(target, kind, own, peer):
    stages = ["wkv"] if kind == "wkv" else STAGES
    rows = [own["F16" if kind == "wkv" else kind, stage] for stage in stages]
    plain = rows[0] if kind == "wkv" else own[kind, "att_out"]
    spills = max(int(row["spills"]) for row in rows)
    cells = [target, kind, plain["registers"] if kind == "wkv" else span(rows, "registers"), peer["registers"],
             occupancy(rows, target), occupancy([peer], target), plain["instructions"],
             peer["bare"] if peer["bare"] == peer["instructions"] else f"{peer['bare']} ({peer['instructions']})",
             str(spills), peer["spills"]]
    return "| " + " | ".join(cells) + " |"


def page():
    peers, out = theirs(), []
    out.append("| target | type | registers | llama.cpp | occupancy | llama.cpp | instructions | llama.cpp | spills | llama.cpp |")
    out.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for target in TARGETS:
        own = ours(target)
        for kind in TYPES:
            if (target, kind) in peers:
                out.append(line(target, kind, own, peers[target, kind]))
    return "\n".join(out)


def main():
    text = PAGE.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"{PAGE}: the marks {BEGIN} and {END} are missing")
    new = text[:text.index(BEGIN)] + BEGIN + "\n" + page() + "\n" + text[text.index(END):]
    if sys.argv[1:] == ["--check"]:
        if new != text:
            sys.exit(f"{PAGE} does not have what tests/data/compiled says: run tools/compare_compiled.py")
        return
    PAGE.write_text(new)


main()
