#!/bin/sh
# exports.sh static|shared LIBRARY HEADER...: the library defines, for those who link it, the functions of the headers and nothing
# else (but for __x86.*, see src/one_object.cmake).  NM: the program nm.  exports.sh names FILE HEADER...: the same for the names in
# a file.
set -eu
kind=$1 library=$2
shift 2

symbols() {
    "${NM:-nm}" "$1" --defined-only "$library" | awk 'NF == 3 && $3 !~ /^__x86[.]/ { print ($2 == "T" ? "" : $2 " ") $3 }'
}

case $kind in
static) defined=$(symbols -g | LC_ALL=C sort) ;;
shared) defined=$(symbols -D | LC_ALL=C sort) ;;
names) defined=$(LC_ALL=C sort "$library") ;;
esac
declared=$(sed -n 's/^RWKVK_API .*[ *]\(rwkvk_[a-z0-9_]*\)(.*/\1/p' "$@" | LC_ALL=C sort)

[ "$(printf '%s\n' "$declared" | wc -l)" -eq "$(cat "$@" | grep -c '^RWKVK_API ')" ] || {
    echo "a declaration with RWKVK_API does not have its name on its first line"
    exit 1
}
[ "$declared" != "$defined" ] || exit 0
echo "declared (-), defined (+):"
directory=$(mktemp -d)
printf '%s\n' "$declared" >"$directory/declared"
printf '%s\n' "$defined" >"$directory/defined"
diff -U 0 "$directory/declared" "$directory/defined" | sed '/^@@/d; 1,2d'
rm -r "$directory"
exit 1
