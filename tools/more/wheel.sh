#!/bin/sh
# the Python wheels: those of all systems by their contents, the one for x86-64 Linux installed, with numpy and without, by pytest
set -eu
. "$(dirname -- "$0")/../setup.sh"

[ "$(uname -sm)" = "Linux x86_64" ] || skip "the wheel that this part installs is for x86-64 Linux"
install_needs run test
python3 -c 'import ensurepip' 2>/dev/null || want_packages python3-venv
work=$root/build/wheel
rm -rf "$work"
mkdir -p "$work"

# environment NAME PACKAGE...: a new virtual environment in $work/NAME with these packages.
environment() {
    name=$1
    shift
    python3 -m venv "$work/$name" || die "no virtual environment"
    quietly "$work/log" "$work/$name/bin/pip" --disable-pip-version-check install "$@" || skip "pip cannot have $*"
}

# Wheels made twice have the same bytes, however long the clock has gone on.
build_wheels() {
    sh "$root/tools/wheels.sh" "$work/dist"
    sh "$root/tools/wheels.sh" "$work/again" linux-x86_64
    cmp "$work"/dist/*manylinux*x86_64.whl "$work"/again/*.whl || die "the same wheel, made again, has other bytes"
    [ "$(find "$work/dist" -name '*.whl' | wc -l)" -eq 3 ] || die "not three wheels: $(ls "$work/dist")"
}

check_wheels() {
    environment tools twine auditwheel mypy numpy
    python3 "$root/tests/python/contents.py" "$work"/dist/*.whl || die "a wheel holds something else"
    quietly "$work/log" "$work/tools/bin/twine" check --strict "$work"/dist/*.whl || die "a wheel's metadata"
    for platform in manylinux_2_31_x86_64 manylinux_2_31_aarch64; do
        "$work/tools/bin/auditwheel" show "$work"/dist/*$platform.whl >"$work/audit" 2>&1 || die "$(cat "$work/audit")"
        # It names the oldest system on which the wheel can run, and would name a later one.
        tr '\n' ' ' <"$work/audit" | grep -qE 'tag: *"manylinux_2_([0-9]|[12][0-9]|3[01])_' || die "$platform: $(cat "$work/audit")"
    done
    quietly "$work/log" "$work/tools/bin/mypy" --strict "$root/packaging/python/rwkvk" || die "types"
}

# run_tests NAME PACKAGE...: pytest with the wheel, in an environment of its own.
run_tests() {
    environment "$@" "$work"/dist/*manylinux*x86_64.whl
    "$work/$name/bin/pip" --disable-pip-version-check check || die "pip check"
    RWKVK_PROGRAM=$(echo "$root"/build/linux-x86_64/rwkvk-*/bin/rwkvk) RWKVK_CACHE_DIR=$work/cache \
        "$work/$name/bin/python" -m pytest -q -p no:cacheprovider "$root/tests/python/test_wheel.py" || die "tests fail in $name"
    RWKVK_CACHE_DIR=$work/cache "$work/$name/bin/python" "$root/tools/example/hello.py" >"$work/hello" || die "the example fails"
    grep -q '^Once upon a time,' "$work/hello" || die "the example writes: $(cat "$work/hello")"
    say "tested in the environment $name after $(took)"
}

begin
build_wheels
say "built after $(took)"
check_wheels
run_tests with-numpy numpy pytest
run_tests without-numpy pytest
! "$work/without-numpy/bin/python" -c 'import numpy' 2>/dev/null || die "numpy is in the environment that should be without"
say "the wheels are right; the parts arm64 and windows run the others"
