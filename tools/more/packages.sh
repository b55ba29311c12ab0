#!/bin/sh
# the .deb packages of Debian 12 and 13: built there, installed in fresh chroots, run, linked, removed without a trace
#
# As root or with sudo, in chroots (tools/deb.sh).
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/chroot.sh"

cache=${RWKVK_PACKAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/rwkvk/packages}
work=$root/build/packages
become_root RWKVK_PACKAGES "$@"
rm -rf "$work"
mkdir -p "$work"

# step WHAT COMMAND...: in the chroot, quiet unless it fails.
step() {
    what=$1
    shift
    quietly "$work/log" inside env DEBIAN_FRONTEND=noninteractive HOME=/tmp XDG_CACHE_HOME=/tmp "$@" || die "$release: $what"
}

# says WHAT TEXT COMMAND...: the command's output has that text.
says() {
    what=$1 text=$2
    shift 2
    step "$what" "$@"
    grep -qF -- "$text" "$work/log" || die "$release: $what: expected \"$text\", found: $(cat "$work/log")"
}

# lintian's opinion, of errors only, in the chroot in which they were built.
check_policy() {
    chroot=$cache/$release
    step "lintian cannot be had" apt-get -y --no-install-recommends install lintian
    rm -rf "$chroot/tmp/packages"
    cp -r "$root/build/deb/$release" "$chroot/tmp/packages"
    step "lintian finds errors" sh -c "lintian --allow-root --fail-on error /tmp/packages/*.changes"
    say "$release: lintian finds no errors after $(took)"
}

# What the user types, and what comes with it by itself: the libraries, and a driver.
install_program() {
    cp "$root/build/deb/$release"/*.deb "$chroot/tmp/"
    step "the packages cannot be installed" sh -c 'apt-get -y install /tmp/rwkvk_*.deb /tmp/librwkvk0*.deb'
    says "generate" "Once upon a time, " rwkvk generate -q --temp 0 -n 64 "Once upon a time"
    cp "$work/log" "$work/$release.text"
    says "devices" llvmpipe rwkvk devices
    says "verify" "right" rwkvk verify
    step "a state store is refused" rwkvk chat -q --state-store redis://127.0.0.1
    [ "$release" = bookworm ] || # whose hiredis lacks TLS
        step "a state store with TLS is refused" rwkvk chat -q --state-store rediss://127.0.0.1
    step "man cannot be had" apt-get -y --no-install-recommends install man-db
    says "the man page" "rwkvk generate" man -P cat rwkvk
    for file in bash-completion/completions/rwkvk zsh/vendor-completions/_rwkvk fish/vendor_completions.d/rwkvk.fish \
        doc/rwkvk/copyright doc/librwkvk0.1/copyright; do
        [ -s "$chroot/usr/share/$file" ] || die "$release: $file is not installed"
    done
    grep -q "Arseny Kapoulkine" "$chroot/usr/share/doc/librwkvk0.1/copyright" || die "$release: volk's licence is missing"
    say "$release: the program runs after $(took)"
}

# A program that is not ours, found by pkg-config and by CMake.
link_library() {
    step "the packages cannot be installed" sh -c \
        'apt-get -y --no-install-recommends install /tmp/librwkvk-dev_*.deb gcc libc6-dev pkg-config cmake make'
    cp "$root/tests/outside/embed.c" "$root/src/demo/story.gguf" "$chroot/tmp/"
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(outside LANGUAGES C)\nfind_package(rwkvk 0.1 REQUIRED)\n%s\n%s\n' \
        'add_executable(embed embed.c)' 'target_link_libraries(embed PRIVATE rwkvk::rwkvk)' >"$chroot/tmp/CMakeLists.txt"
    # shellcheck disable=SC2016
    step "pkg-config" sh -c 'gcc -o /tmp/embed /tmp/embed.c $(pkg-config --cflags --libs rwkvk)'
    step "CMake" sh -c 'cmake -S /tmp -B /tmp/build && cmake --build /tmp/build'
    for program in /tmp/embed /tmp/build/embed; do
        step "a program that links the library" "$program" /tmp/story.gguf
        [ "$(wc -c <"$work/log")" -gt 50 ] || die "$release: a program that links the library writes nothing: $(cat "$work/log")"
    done
    say "$release: the library is found and works after $(took)"
}

remove() {
    step "what is installed" sh -c "dpkg -L rwkvk librwkvk0.1 librwkvk-dev | grep rwkvk"
    cp "$work/log" "$work/installed"
    step "removing" apt-get -y autoremove --purge rwkvk librwkvk0.1 librwkvk-dev
    while read -r file; do
        [ ! -e "$chroot$file" ] || die "$release: $file is left"
    done <"$work/installed"
    left=$(cd "$chroot" && find . -name '*rwkvk*' ! -path './tmp/*' ! -path './var/cache/*') # of man and apt
    [ -z "$left" ] || die "$release: these are left: $left"
    say "$release: removed without a trace after $(took)"
}

begin
sh "$root/tools/deb.sh" bookworm trixie
for release in bookworm trixie; do
    check_policy
    chroot=$cache/$release-test
    copy_minimal "$release"
    install_program
    link_library
    remove
    rm -rf "$chroot"
done
cmp -s "$work/bookworm.text" "$work/trixie.text" || die "the releases of Debian tell different stories"
say "the packages of Debian 12 and 13 can be installed, work, and leave nothing"
