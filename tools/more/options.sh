#!/bin/sh
# the library with RWKVK_SAFETENSORS, RWKVK_PTH and RWKVK_BPE off, and with each of them alone; chat without RWKVK_CHAT_EDIT; no RWKVK_STORE
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test

work=$root/build/options
rm -rf "$work"
mkdir -p "$work"

# variant NAME SAFETENSORS PTH BPE LIBRARY...: built as $work/NAME; of the libraries that may be left out it links just these.
variant() {
    name=$1 set="-DRWKVK_SAFETENSORS=$2 -DRWKVK_PTH=$3 -DRWKVK_BPE=$4"
    shift 4
    # shellcheck disable=SC2086
    quietly "$work/log" cmake -S "$root" -B "$work/$name" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DRWKVK_WERROR=ON \
        "-DRWKVK_TESTS=$tests" -DRWKVK_CHAT_EDIT=OFF -DRWKVK_STORE=OFF $set || die "configuring $name"
    quietly "$work/log" cmake --build "$work/$name" -j "$(nproc)" || die "building $name"
    readelf -d "$work/$name/src/librwkvk.so" | sed -n 's/.*NEEDED.*\[lib\(zip\|pcre2-8\|utf8proc\|jansson\)[.].*/\1/p' | sort >"$work/linked"
    printf '%s\n' "$@" | sort | grep . >"$work/expected" || true
    cmp -s "$work/linked" "$work/expected" || die "$name links $(tr '\n' ' ' <"$work/linked"), expected $*"
    say "$name: built after $(took)"
}

# refuses WHAT SENTENCE COMMAND...: the program of the last variant ends with 1 and the sentence.
refuses() {
    what=$1 sentence=$2 code=0
    shift 2
    "$work/$name/tools/rwkvk/rwkvk" "$@" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq 1 ] || die "$name: $what ends with $code, not 1: $(cat "$work/err")"
    grep -qF -- "$sentence" "$work/err" || die "$name: $what: expected \"$sentence\", found: $(cat "$work/err")"
}

accepts() {
    what=$1
    shift
    "$work/$name/tools/rwkvk/rwkvk" "$@" >"$work/out" 2>"$work/err" || die "$name: $what fails: $(cat "$work/err")"
}

begin
data=$root/tests/data
safetensors=$data/v7-c192-bf16.safetensors bpe=$data/tiny_bpe.json pth=$work/model.pth folder=$work/folder
python3 "$data/safetensors_to_pth.py" "$safetensors" "$pth" 2>"$work/log" || die "no .pth file: $(cat "$work/log")"
mkdir "$folder"
cp "$safetensors" "$folder/model.safetensors"
printf '{"0": "a", "1": "b"}' >"$work/ids.json"
printf '{"weight_map": {}}' >"$work/index.json"

tests=ON
variant none OFF OFF OFF
refuses 'a .safetensors file' 'RWKVK_SAFETENSORS=ON' inspect "$safetensors"
refuses 'writing one' 'RWKVK_SAFETENSORS=ON' convert "$data/v7-c128-f16.gguf" "$work/out.safetensors"
refuses 'an index' 'RWKVK_SAFETENSORS=ON' inspect "$work/index.json"
refuses 'a folder' 'RWKVK_SAFETENSORS=ON' inspect "$folder"
refuses 'a .pth file' 'RWKVK_PTH=ON' inspect "$pth"
refuses 'a tokenizer.json' 'RWKVK_BPE=ON' tokenize --vocab "$bpe" a
refuses 'a vocabulary in JSON' 'RWKVK_BPE=ON' tokenize --vocab "$work/ids.json" a
refuses 'a state store' 'RWKVK_STORE=ON' serve --port 0 --state-store redis://127.0.0.1
accepts 'the built-in model' generate -q -n 8 --temp 0 "Once upon a time"
grep -q '^Once upon a time,' "$work/out" || die "none: the story is $(cat "$work/out")"
# The tests of the formats that remain, of texts and of the engine.  Others write their models as .safetensors.
quietly "$work/log" ctest --test-dir "$work/none" --no-tests=error -j "$(nproc)" \
    -R '^(fuzz_.*|test_(ggmf|stream|prefix|dtype|quants|state_file|abi|picks)|library_.*|cli_(generate.*|tokenize|chat_(pipe|terminal|interrupt|late_signal)))$' ||
    die "none: tests fail"
say "none: tested after $(took)"

tests=OFF
variant safetensors ON OFF OFF jansson
accepts 'a .safetensors file' inspect "$safetensors"
accepts 'writing one' convert -q "$data/v7-c128-f16.gguf" "$work/out.safetensors"
accepts 'a folder' inspect "$folder"
refuses 'a .pth file' 'RWKVK_PTH=ON' inspect "$pth"
variant pth OFF ON OFF jansson zip
accepts 'a .pth file' inspect "$pth"
refuses 'a .safetensors file' 'RWKVK_SAFETENSORS=ON' inspect "$safetensors"
refuses 'a tokenizer.json' 'RWKVK_BPE=ON' tokenize --vocab "$bpe" a
variant bpe OFF OFF ON jansson pcre2-8 utf8proc
accepts 'a tokenizer.json' tokenize --vocab "$bpe" a
refuses 'a .pth file' 'RWKVK_PTH=ON' inspect "$pth"
say "what an option leaves out is refused by name, and its libraries are not linked"
