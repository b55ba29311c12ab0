#!/bin/sh
# Makes the files of a release from the last commit, in build/release-files, with their checksums and the release's notes.
#
#     tools/release.sh                  all of them: source, windows, linux-x86_64, linux-arm64, deb, wheels
#     tools/release.sh source deb       only these
#     tools/release.sh --check [...]    makes them twice, in two copies of the tree, and compares the bytes
#
# On Debian 12, as root: what is linked comes from its source packages, and the .deb packages are built in chroots.
set -eu
. "$(dirname -- "$0")/setup.sh"

version=$(version)
out=$root/build/release-files
SOURCE_DATE_EPOCH=$(source_date)
export SOURCE_DATE_EPOCH

# check_parts PART...: before hours of work, whether all of them can be made.
check_parts() {
    for part in "$@"; do
        case " $parts " in *" $part "*) ;; *) die "a release has no \"$part\", but: $parts" ;; esac
    done
    for tool in git gzip python3 sha256sum; do
        command -v $tool >/dev/null 2>&1 || die "$tool is needed to make a release, and is not installed"
    done
    [ "$*" = source ] || command -v apt-get >/dev/null 2>&1 ||
        die "all but the source is made of Debian's packages, and there is no apt-get; there can be: $0 source"
}

# Everything that is not in the commit would be in the release, or missing from it.
check_tree() {
    git -C "$root" rev-parse --verify -q HEAD >/dev/null || die "a release is made in a git repository of rwkvk, and $root is none"
    changed=$(git -C "$root" status --porcelain) # of new files, too: packages are made of folders
    [ -z "$changed" ] || die "a release is made from a commit; commit these, or take them away: $changed"
    grep -q "^## $version" "$root/CHANGELOG.md" ||
        die "CHANGELOG.md has no section \"## $version\", which CMakeLists.txt says is the version"
    tag=$(git -C "$root" tag --points-at HEAD | grep '^v' | head -n 1)
    [ -n "$tag" ] || return 0
    [ "$tag" = "v$version" ] || die "the commit has the tag $tag, but CMakeLists.txt has version $version"
    ! grep -q "^## $version, unreleased" "$root/CHANGELOG.md" ||
        die "CHANGELOG.md calls $version, which has a tag, unreleased: put the date there"
}

make_source() {
    git -C "$root" archive --format=tar "--prefix=rwkvk-$version/" HEAD | gzip -9n >"$out/rwkvk-$version.tar.gz"
}

make_archive() {
    sh "$root/tools/cross.sh" "$1" || die "no archive for $1"
    cp "$root/build/$1/rwkvk-$version"-*."$2" "$out/"
}

make_debs() {
    sh "$root/tools/deb.sh" bookworm trixie || die "no packages for Debian"
    cp "$root"/build/deb/bookworm/*.deb "$root"/build/deb/trixie/*.deb "$out/"
}

make_part() {
    case $1 in
    source) make_source ;;
    windows) make_archive windows zip ;;
    linux-x86_64 | linux-arm64) make_archive "$1" tar.gz ;;
    deb) make_debs ;;
    wheels) sh "$root/tools/wheels.sh" "$out" || die "no wheels" ;;
    esac
    say "made $1 after $(took)"
}

# Only the section of this version, up to the next.
write_notes() {
    awk -v version="$version" '/^## / { ours = $2 == version || $2 == version ","; next } ours' "$root/CHANGELOG.md" |
        sed '/./,$!d' >"$out/notes.md"
    [ -s "$out/notes.md" ] || die "CHANGELOG.md says nothing about $version"
}

make_release() {
    check_tree
    rm -rf "$out"
    mkdir -p "$out"
    write_notes
    for part in "$@"; do
        make_part "$part"
    done
    (cd "$out" && find . -name '*rwkvk*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS) || die "no checksums"
    say "the release is in $out:"
    cat "$out/SHA256SUMS" >&2
}

# In copies under paths of different lengths, and one after the other, so that no time of building can be the same.
check() {
    check_tree
    copies=$root/build/release-check
    rm -rf "$copies"
    for copy in first the-second; do
        mkdir -p "$copies"
        git clone -q "$root" "$copies/$copy"
        sh "$copies/$copy/tools/release.sh" "$@" || die "the $copy release fails"
    done
    diff -r "$copies/first/build/release-files" "$copies/the-second/build/release-files" || die "the same commit made different files"
    say "made twice, every file has the same bytes"
}

parts='source windows linux-x86_64 linux-arm64 deb wheels'
begin
run=make_release
if [ "${1-}" = --check ]; then
    run=check
    shift
fi
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $parts
check_parts "$@"
$run "$@"
