#!/bin/sh
# arm64 Linux: the archive, the wheel, unit tests and golden models under QEMU on lavapipe, and the same text as on x86-64
#
# QEMU runs single programs, for which the packages of Debian 13 that a driver needs are unpacked in build/arm64, and QEMU itself,
# as with that of Debian 12 the driver hangs; no chroot is made.
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/chroot.sh"
. "$root/tools/debian.sh"

work=$root/build/arm64
system=$work/system
qemu=$work/qemu/usr/bin/qemu-aarch64

unpack_driver() {
    [ ! -e "$system/complete" ] || return 0
    rm -rf "$work"
    mkdir -p "$work"
    say "unpacking QEMU, and a driver and Python for arm64"
    architecture=$(dpkg --print-architecture)
    from_debian trixie deb -y --no-install-recommends --download-only install qemu-user
    unpack "$work/qemu" "$work"/apt/archives/qemu-user_*.deb
    architecture=arm64
    from_debian trixie deb -y --no-install-recommends --download-only install base-files mesa-vulkan-drivers libvulkan1 python3
    unpack "$system" "$work"/apt/archives/*.deb
    : >"$system/complete"
}

# A program for arm64, to which the files of the unpacked system stand in the place of this machine's.
emulate() {
    LP_NUM_THREADS=1 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.json RWKVK_CACHE_DIR=$work/cache \
        "$qemu" -L "$system" "$@"
}

# same WHAT ARGUMENT...: both programs write the same bytes to standard output, and there are some.
same() {
    what=$1
    shift
    "$root/build/release/tools/rwkvk/rwkvk" "$@" >"$work/ours" 2>"$work/log" || die "$what: $(cat "$work/log")"
    emulate "$package/bin/rwkvk" "$@" >"$work/theirs" 2>"$work/log" || die "$what, arm64: $(cat "$work/log")"
    [ -s "$work/ours" ] || die "$what: there is no output"
    cmp -s "$work/ours" "$work/theirs" || die "$what: other bytes than on x86-64: $(cat "$work/theirs")"
}

check_archive() {
    package=$work/rwkvk-$(version)-linux-arm64
    rm -rf "$package"
    tar xzf "$root/build/linux-arm64/$(basename "$package").tar.gz" -C "$work"
    sh "$root/tests/outside/needs.sh" "$package/bin/rwkvk" "$package/lib/librwkvk.so" || die "it would not run in Debian 11"
    for kind in shared:so static:a; do
        NM=aarch64-linux-gnu-nm sh "$root/tests/outside/exports.sh" ${kind%:*} "$package/lib/librwkvk.${kind#*:}" "$package"/include/*.h ||
            die "librwkvk.${kind#*:} has other names than its headers"
    done
    same "greedy text" generate -q --temp 0 -n 100 "Once upon a time"
    same "drawn text" generate -q --seed 7 -n 60 "Once upon a time"
    same "tokens" tokenize "Es war einmal ein König"
}

# Unpacked, which is all that pip does with it.
check_wheel() {
    rm -rf "$work/dist" "$work/wheel"
    sh "$root/tools/wheels.sh" "$work/dist" linux-arm64
    python3 -m zipfile -e "$work"/dist/*.whl "$work/wheel" || die "the wheel cannot be unpacked"
    "$root/build/release/tools/rwkvk/rwkvk" generate -q --seed 1 -n 100 "Once upon a time" >"$work/ours"
    PYTHONPATH=$work/wheel emulate "$system/usr/bin/python3" "$root/tools/example/hello.py" >"$work/theirs" 2>"$work/log" ||
        die "the wheel does not work: $(cat "$work/log")"
    cmp -s "$work/ours" "$work/theirs" || die "the wheel writes $(cat "$work/theirs")"
}

# test_golden reads our own models, RWKV-7 in three types, in chunks, as one of many and token by token: QEMU is too slow for more.
run_tests() {
    for target in tests/unit/all tests/fuzz/all rwkvk_test_golden; do
        build linux-arm64 $target -DRWKVK_WERROR=ON "-DCMAKE_CROSSCOMPILING_EMULATOR=$qemu;-L;$system"
    done
    for folder in unit fuzz; do
        ctest --test-dir "$root/build/linux-arm64/tests/$folder" --output-on-failure --no-tests=error -j "$(nproc)" ||
            die "tests fail on arm64"
    done
    say "unit tests passed after $(took)"
    for test in own_models story_model; do
        emulate "$root/build/linux-arm64/tests/model/test_golden" $test >"$work/log" 2>&1 || die "models on arm64: $(cat "$work/log")"
        grep -q 'PASSED.* 1 test' "$work/log" || die "test_golden has no test $test"
    done
}

begin
install_needs run test
want_packages gcc-aarch64-linux-gnu dpkg-dev debian-archive-keyring
unpack_driver
sh "$root/tools/cross.sh" linux-arm64
build release rwkvk_cli
check_archive
say "the archive writes what x86-64 does after $(took)"
check_wheel
say "so does the wheel after $(took)"
run_tests
say "arm64 computes what x86-64 does"
