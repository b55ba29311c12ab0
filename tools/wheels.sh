#!/bin/sh
# Makes the wheels of packaging/python with the libraries of the archives, which tools/cross.sh builds first.
#
#     tools/wheels.sh OUTDIR                 for x86-64 and arm64 Linux and x86-64 Windows
#     tools/wheels.sh OUTDIR linux-x86_64    for the systems named
set -eu
. "$(dirname -- "$0")/setup.sh"

[ $# -gt 0 ] || die "where to?  $0 OUTDIR [linux-x86_64] [linux-arm64] [windows]"
out=$1
shift
SOURCE_DATE_EPOCH=$(source_date)
export SOURCE_DATE_EPOCH
[ $# -gt 0 ] || set -- linux-x86_64 linux-arm64 windows
for system in "$@"; do
    case $system in
    linux-x86_64) platform=manylinux_2_31_x86_64 ;;
    linux-arm64) platform=manylinux_2_31_aarch64 ;;
    windows) platform=win_amd64 ;;
    *) die "there is no wheel for \"$system\", but for linux-x86_64, linux-arm64 and windows" ;;
    esac
    sh "$root/tools/cross.sh" "$system"
    for package in "$root/build/$system"/rwkvk-*/; do
        wheel=$(python3 "$root/packaging/python/build_wheel.py" "$package" $platform "$out") || die "no wheel for $system"
        say "built $wheel"
    done
done
