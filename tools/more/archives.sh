#!/bin/sh
# the archive of x86-64 Linux: the same bytes twice, of glibc 2.31 at most, used in Debian 11, 12, 13 and Ubuntu 20.04, 24.04
#
# As root or with sudo, in chroots, which are kept (RWKVK_ARCHIVES, by default ~/.cache/rwkvk/archives; 4 GB).  A release that
# cannot be had is left out, and said to be.
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/chroot.sh"

cache=${RWKVK_ARCHIVES:-${XDG_CACHE_HOME:-$HOME/.cache}/rwkvk/archives}
work=$root/build/archives
wanted='mesa-vulkan-drivers gcc libc6-dev pkg-config cmake make'

make_debian() {
    # shellcheck disable=SC2086
    make_base "$release" "$release" && apt_inside install $wanted
}

# Signed with a key that Debian 13 has in a package.
make_ubuntu() {
    chroot=$cache/trixie
    apt_inside install ubuntu-archive-keyring || return 1
    cp "$chroot/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$cache/"
    chroot=$cache/$release
    rm -rf "$chroot"
    debootstrap --variant=minbase --components=main,universe "--keyring=$cache/ubuntu-archive-keyring.gpg" "$release" "$chroot" '' \
        /usr/share/debootstrap/scripts/jammy || return 1
    sed "p; s/ $release / $release-updates /" "$chroot/etc/apt/sources.list" >"$cache/sources.list"
    mv "$cache/sources.list" "$chroot/etc/apt/sources.list"
    cp /etc/resolv.conf "$chroot/etc/resolv.conf" 2>/dev/null
    cp /etc/apt/apt.conf.d/*proxy* "$chroot/etc/apt/apt.conf.d/" 2>/dev/null
    # shellcheck disable=SC2086
    apt_inside update && apt_inside install $wanted
}

# Twice, in folders whose names differ in length.
make_twice() {
    sh "$root/tools/cross.sh" linux-x86_64
    archive=$root/build/linux-x86_64/rwkvk-$(version)-linux-x86_64.tar.gz
    rm -rf "$work"
    copy_sources "$work/another/folder"
    SOURCE_DATE_EPOCH=$(source_date) sh "$work/another/folder/tools/cross.sh" linux-x86_64
    cmp "$archive" "$work/another/folder/build/linux-x86_64/$(basename "$archive")" || die "two builds of the archive differ"
    rm -rf "$work/another"
    say "twice the same bytes after $(took)"
}

check_files() {
    tar xzf "$archive" -C "$work"
    package=$work/$(basename "$archive" .tar.gz)
    sh "$root/tests/outside/needs.sh" "$package/bin/rwkvk" "$package/lib/librwkvk.so" || die "it would not run in Debian 11"
    sh "$root/tests/outside/exports.sh" shared "$package/lib/librwkvk.so" "$package"/include/*.h || die "librwkvk.so has other names"
    sh "$root/tests/outside/exports.sh" static "$package/lib/librwkvk.a" "$package"/include/*.h || die "librwkvk.a has other names"
    ! grep -rlF "$root" "$package" || die "these files tell where they were built"
}

# in_release COMMAND...: in the chroot, where /tmp is new.
in_release() {
    inside env HOME=/tmp XDG_CACHE_HOME=/tmp PATH="/tmp/rwkvk/bin:$PATH" PKG_CONFIG_PATH=/tmp/rwkvk/lib/pkgconfig "$@"
}

# same WHAT ARGUMENT...: the program there writes the same bytes as the one that was built for this machine, and there are some.
same() {
    what=$1
    shift
    "$ours" "$@" <"$work/line" >"$work/ours" 2>"$work/log" || die "$what: $(cat "$work/log")"
    in_release rwkvk "$@" <"$work/line" >"$work/theirs" 2>"$work/log" || die "$release: $what: $(cat "$work/log")"
    [ -s "$work/ours" ] || die "$what: there is no output"
    cmp -s "$work/ours" "$work/theirs" || die "$release: $what: other bytes than here: $(cat "$work/theirs")"
}

serve() {
    rm -f "$work/url" # of the release before
    in_release sh -c 'echo $$ >/tmp/pid; exec rwkvk serve --port 0' >"$work/url" 2>"$work/serve-log" &
    i=0
    while [ ! -s "$work/url" ] && [ $i -lt 3000 ]; do
        i=$((i + 1))
        sleep 0.1
    done
    answered=0
    python3 "$root/tests/serve/once.py" "$(cat "$work/url")" || answered=$?
    kill "$(cat "$chroot/tmp/pid")"
    wait $! || die "$release: the server ends with $?: $(cat "$work/serve-log")"
    [ $answered -eq 0 ] || die "$release: the server does not answer: $(cat "$work/serve-log")"
}

# tells WHAT PROGRAM: a program that links the library says what the one here does.
tells() {
    in_release "$2" /tmp/story.gguf >"$work/text" 2>"$work/log" || die "$release: $1 does not run: $(cat "$work/log")"
    cmp -s "$work/text" "$work/story" || die "$release: $1 says something else: $(cat "$work/text")"
}

link_library() {
    cp -r "$root/tests/outside" "$root/src/demo/story.gguf" "$chroot/tmp/"
    # shellcheck disable=SC2016
    in_release sh -ec 'cd /tmp
        gcc -std=c11 -o shared outside/embed.c $(pkg-config --cflags --libs rwkvk) -Wl,-rpath,/tmp/rwkvk/lib
        gcc -std=c11 -o static outside/embed.c $(pkg-config --cflags rwkvk) rwkvk/lib/librwkvk.a -lpthread -ldl -lm
        cmake -S outside/embed -B build -DCMAKE_PREFIX_PATH=/tmp/rwkvk
        cmake --build build' >"$work/log" 2>&1 || die "$release: a program cannot link the library: $(cat "$work/log")"
}

use_device() {
    same "greedy text" generate -q --temp 0 -n 200 "Once upon a time"
    same "a chat on a pipe" chat -q --temp 0 -n 20
    serve
    tells "a program that pkg-config helped to link" /tmp/shared
    tells "a program that links librwkvk.a" /tmp/static
    tells "a program that CMake linked" /tmp/build/embed
}

# fails_alone PROGRAM ARGUMENT...: it starts and says why there is no device.
fails_alone() {
    ! in_release "$@" >"$work/text" 2>"$work/log" || die "$release: a device is said to be too old, and $1 uses it"
    grep -q 'its Vulkan version is 1.0, at least 1.1 is needed' "$work/log" || die "$release: $1 says: $(cat "$work/log")"
}

# The lavapipe of Debian 11 is too old.  What needs no device works.
use_without_device() {
    fails_alone rwkvk generate "Once upon a time"
    for program in /tmp/shared /tmp/static /tmp/build/embed; do
        fails_alone $program /tmp/story.gguf
    done
    same "tokens" tokenize "Es war einmal ein König"
    "$ours" quantize -q --type q4_k_m "$root/src/demo/story.gguf" "$work/ours.gguf"
    in_release rwkvk quantize -q --type q4_k_m /tmp/story.gguf /tmp/theirs.gguf || die "$release: quantising fails"
    cmp -s "$work/ours.gguf" "$chroot/tmp/theirs.gguf" || die "$release: quantising: other bytes than here"
}

use_archive() {
    rm -rf "$chroot/tmp"
    mkdir -m 1777 "$chroot/tmp"
    tar xzf "$archive" -C "$chroot/tmp"
    mv "$chroot/tmp/$(basename "$archive" .tar.gz)" "$chroot/tmp/rwkvk"
    link_library
    case $release in
    bullseye) use_without_device ;;
    *) use_device ;;
    esac
    say "$release: used after $(took)"
}

become_root RWKVK_ARCHIVES "$@"
begin
install_needs run
want_packages debootstrap debian-archive-keyring
make_twice
check_files
build release rwkvk_cli
ours=$root/build/release/tools/rwkvk/rwkvk
echo "Once upon a time" >"$work/line"
cc -std=c11 "-I$package/include" -o "$work/embed" "$root/tests/outside/embed.c" "$package/lib/librwkvk.a" -lpthread -ldl -lm
"$work/embed" "$root/src/demo/story.gguf" >"$work/story"
used='' left_out=''
for release in trixie bookworm bullseye focal noble; do
    chroot=$cache/$release
    case $release in
    focal | noble) make=make_ubuntu ;;
    *) make=make_debian ;;
    esac
    if make_chroot "$release" $make; then
        use_archive
        used="$used $release"
    else
        left_out="$left_out $release"
    fi
done
[ -n "$used" ] || skip "no chroot could be made"
[ -z "$left_out" ] || say "NOT TESTED, as they cannot be had:$left_out"
say "the archive works in:$used"
