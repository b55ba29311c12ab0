#!/bin/sh
# Installs what is missing, builds and tests, and says how long each part took.
#
#     tools/test.sh                     builds twice and runs all tests: plainly, and with the address and undefined-behaviour
#                                       sanitizers
#     tools/test.sh -R gguf             the same with arguments for ctest
#     tools/test.sh --werror            warnings of the compiler are errors
#     tools/test.sh --more PART...      further parts, tools/more/PART.sh, of about 15 minutes each; without a name: lists them
#
# A part installs what it needs.  One that cannot have it is skipped, and the last lines say so.
set -eu
. "$(dirname -- "$0")/setup.sh"

parts() {
    for file in "$root"/tools/more/*.sh; do
        name=$(basename "$file" .sh)
        [ -n "${1-}" ] && [ "$name" != "$1" ] || sed -n "2s/^# */$name: /p" "$file"
    done
}

# A part's exit code: 0 passed, 77 skipped, anything else failed.  The end prints a table of them.
more() {
    if [ $# -eq 0 ]; then
        parts >&2
        die "name one or more of these parts: $0 --more PART..."
    fi
    for part in "$@"; do
        [ -f "$root/tools/more/$part.sh" ] || { parts >&2; die "there is no part $part; those above are there"; }
    done
    summary= failed= skipped=
    for part in "$@"; do
        say "part $(parts "$part")"
        begin
        code=0
        sh "$root/tools/more/$part.sh" || code=$?
        case $code in
        0) verdict=passed ;;
        77) verdict=SKIPPED skipped="$skipped $part" ;;
        *) verdict="FAILED with code $code" failed="$failed $part" ;;
        esac
        summary="$summary
rwkvk: $part $verdict after $(took)"
    done
    printf '%s\n' "${summary#?}" >&2
    [ -z "$skipped" ] || say "SKIPPED, so not tested:$skipped (above they say what they lack)"
    [ -z "$failed" ] || die "failed:$failed"
}

werror=OFF
case ${1-} in
--more)
    shift
    more "$@"
    exit ;;
--werror)
    werror=ON
    shift ;;
esac

begin
install_needs run test
say "what is needed is installed, after $(took)"
failed=
for preset in dev asan; do
    begin
    build "$preset" all "-DRWKVK_WERROR=$werror"
    say "built build/$preset in $(took)"
    begin
    ctest --test-dir "$root/build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" "$@" || failed="$failed $preset"
    say "tested build/$preset in $(took)"
done

[ -z "$failed" ] || die "tests failed in:$failed"
say "all tests passed in dev and asan"
