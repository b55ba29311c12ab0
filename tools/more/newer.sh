#!/bin/sh
# warnings of gcc 14 and clang 22, with musl and for 32-bit x86 with SSE; and that x87 and big-endian are refused
#
# As root or with sudo, in the chroot of debian13 (tools/debian13.sh).  All of src, tools and tests is built with gcc 14; the
# other compilers only check it.
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/debian13.sh"

enter_debian13
want_inside clang-22 musl-tools gcc-multilib

# read_all WHAT COMPILER...: runs the commands of the build with another compiler, which writes nothing.
read_all() {
    what=$1
    shift
    inside ninja -C /cache/build -t commands all | grep -- ' -c [^ ]*\.c$' |
        sed "s|^[^ ]* |$* |; s| -MD -MT [^ ]* -MF [^ ]*||; s| -o [^ ]*||; s| -c \([^ ]*\)$| -fsyntax-only \1|" >"$cache/commands"
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
say "gcc 14, clang 22, musl and 32-bit x86 have nothing to complain of"
