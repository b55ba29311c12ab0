#!/bin/sh
# warnings of gcc 14 and clang 22, with musl, for 32-bit x86 with SSE and for macOS; and that x87 and big-endian are refused
#
# As root or with sudo, in the chroot of debian13 (tools/debian13.sh).  All of src, tools and tests is built with gcc 14; the
# other compilers only check it.  For macOS zig, from PyPI, has the headers and links the library; nothing of it is run.
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/debian13.sh"

enter_debian13
want_inside clang-22 musl-tools gcc-multilib

# read_all WHAT COMPILER...: runs the commands of the build with another compiler, which writes nothing.  `read`: which files it reads,
# and how it is told to.
read='.' only=-fsyntax-only
read_all() {
    what=$1
    shift
    inside ninja -C /cache/build -t commands all | grep -- ' -c [^ ]*\.c$' | grep "$read" |
        sed "s|^[^ ]* |$* |; s| -MD -MT [^ ]* -MF [^ ]*||; s| -o [^ ]*||; s| -c \([^ ]*\)$| $only \1|" >"$cache/commands"
    [ "$(wc -l <"$cache/commands")" -gt 150 ] || die "$what: there are too few commands, see $cache/commands"
    quietly "$cache/log" inside sh -c 'cd /cache/build && xargs -P "$(nproc)" -d "\n" -I "{}" sh -c "{}" </cache/commands' ||
        die "$what: warnings, see above"
    say "$what: no warnings in $(wc -l <"$cache/commands") files"
}

# refused WHAT SENTENCE OPTION...: cmake must end with the sentence.
refused() {
    what=$1 sentence=$2
    shift 2
    rm -rf "$cache/refused"
    ! inside cmake -S /cache/source -B /cache/refused "$@" >"$cache/log" 2>&1 || die "$what is not refused"
    # CMake may break the lines of a message anywhere.
    said=$(sed -n '/^CMake Error/,$p' "$cache/log" | tr -s '\n ' '  ')
    case $said in
    *"$sentence"*) say "$what is refused: $sentence" ;;
    *) die "$what: expected \"$sentence\", found: $said" ;;
    esac
}

others='-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu'
read_all 'clang 22' clang-22
read_all 'musl' "musl-gcc $others"
read_all '32-bit x86' "gcc -m32 -msse2 -mfpmath=sse $others"
refused 'x87' 'computes floats in a wider type' -DCMAKE_C_FLAGS=-m32
refused 'big-endian' 'does not run on big-endian processors' -DCMAKE_C_COMPILER=clang-22 -DCMAKE_C_COMPILER_TARGET=s390x-linux-gnu \
    -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY

# zig 0.17.1, a program that needs nothing else, in $cache/zig.
fetch_zig() {
    [ ! -x "$cache/zig/ziglang/zig" ] || return 0
    rm -rf "$cache/zig"
    mkdir "$cache/zig"
    say "fetching zig"
    quietly "$cache/log" python3 -m pip download --no-deps --only-binary=:all: -d "$cache/zig" ziglang==0.17.1 || return 1
    (cd "$cache/zig" && python3 -m zipfile -e ziglang-*.whl . && rm ziglang-*.whl && chmod +x ziglang/zig)
}

# Formats whose libraries are not there for macOS are left out of the library that is linked.
link_for_macos() {
    rm -rf "$cache/macos"
    mkdir -p "$cache/macos/include"
    inside sh -c 'cp -r /usr/include/vulkan /usr/include/vk_video /usr/include/volk.? /cache/macos/include/'
    quietly "$cache/log" inside cmake -S /cache/source -B /cache/macos -G Ninja -DCMAKE_SYSTEM_NAME=Darwin -DCMAKE_SYSTEM_PROCESSOR=arm64 \
        '-DCMAKE_C_COMPILER=/cache/zig/ziglang/zig;cc' -DCMAKE_C_COMPILER_TARGET=aarch64-macos -DBUILD_SHARED_LIBS=ON \
        -DRWKVK_WERROR=ON -DRWKVK_TOOLS=OFF -DRWKVK_TESTS=OFF -DRWKVK_PTH=OFF -DRWKVK_BPE=OFF -DRWKVK_SAFETENSORS=OFF \
        -DVOLK_INCLUDE_DIR=/cache/macos/include -DVOLK_SOURCE=/cache/macos/include/volk.c -DVULKAN_HEADERS_DIR=/cache/macos/include ||
        die "configuring for macOS failed"
    quietly "$cache/log" inside cmake --build /cache/macos || die "building for macOS failed"
    say "macOS: the library is linked: $(ls "$cache"/macos/src/*.dylib | head -n 1)"
}

fetch_zig || skip "zig cannot be had; all but macOS has passed"
ZIG_GLOBAL_CACHE_DIR=/cache/zig/cache
export ZIG_GLOBAL_CACHE_DIR
read='/\(src\|tools\)/[^ ]*$' only='-c -o /dev/null'
read_all 'macOS' "/cache/zig/ziglang/zig cc -target aarch64-macos $others"
link_for_macos
say "gcc 14, clang 22, musl, 32-bit x86 and zig for macOS have nothing to complain of"
