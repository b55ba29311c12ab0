#!/bin/sh
# the dev suite on Debian 13, built with its gcc 14 and warnings as errors; state stores with TLS, for which its hiredis is new enough
#
# As root or with sudo, in a chroot (tools/debian13.sh).  Arguments go to ctest: sh tools/more/debian13.sh -R gguf
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/debian13.sh"

enter_debian13 "$@"
want_inside redis-server openssl
inside env NEEDS_TLS=1 RWKVK=/cache/build/tools/rwkvk/rwkvk LP_NUM_THREADS=1 HOME=/tmp python3 /cache/source/tests/serve/fleet.py Encryption ||
    die "stores with TLS fail on Debian 13"
say "stores with TLS are used and refused as they should be"
inside ctest --test-dir /cache/build --output-on-failure --no-tests=error -j "$(nproc)" "$@" || die "tests failed on Debian 13"
