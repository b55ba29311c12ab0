#!/bin/sh
# Installs what is missing, builds twice and runs all tests: once with warnings as errors, once with the address and
# undefined-behaviour sanitizers.  Arguments go to ctest: tools/test.sh -R gguf
set -eu
. "$(dirname -- "$0")/setup.sh"

install_needs run test

failed=
for preset in dev asan; do
    build "$preset" all
    say "testing build/$preset"
    ctest --test-dir "$root/build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" "$@" || failed="$failed $preset"
done

[ -z "$failed" ] || die "tests failed in:$failed"
say "all tests passed in dev and asan"
