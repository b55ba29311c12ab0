#!/bin/sh
# the dev suite on Debian 13, built with its gcc 14 and warnings as errors
#
# As root or with sudo, in a chroot (tools/debian13.sh).  Arguments go to ctest: sh tools/more/debian13.sh -R gguf
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/debian13.sh"

enter_debian13 "$@"
inside ctest --test-dir /cache/build --output-on-failure --no-tests=error -j "$(nproc)" "$@" || die "tests failed on Debian 13"
