#!/bin/sh
# needs.sh FILE...: these programs and shared libraries for Linux ask for no library but the C library, and for no newer one than glibc
# 2.31.
set -eu
for file in "$@"; do
    readelf -d "$file" >/dev/null
    others=$(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^lib\(c\|m\|pthread\|dl\)\.so\.[0-9]*$\|^ld-linux' || true)
    [ -z "$others" ] || {
        echo "$file asks for" $others
        exit 1
    }
    newest=$(readelf -V "$file" | sed -n 's/.*Name: GLIBC_\([^ ]*\) .*/\1/p' | sort -V | tail -n 1)
    [ -n "$newest" ] || {
        echo "$file names no version of glibc"
        exit 1
    }
    [ "$(printf '%s\n2.31\n' "$newest" | sort -V | tail -n 1)" = 2.31 ] || {
        echo "$file asks for glibc $newest"
        exit 1
    }
done
