# Packages of any Debian, fetched and unpacked in a folder without being installed: for cross.sh and parts of test.sh.  Sourced
# after setup.sh and chroot.sh.  `work` is a folder for what is fetched, `architecture` whose packages they are.

# from_debian RELEASE TYPE COMMAND...: apt-get in $work with the packages of a release, of type deb or deb-src.
from_debian() {
    release=$1 type=$2
    shift 2
    rm -rf "$work/apt"
    mkdir -p "$work/apt/parts" "$work/apt/lists/partial" "$work/apt/archives/partial"
    mirror=$(mirror)
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$type" "${mirror:-http://deb.debian.org/debian}" "$release" >"$work/apt/parts/debian.sources"
    printf '%s;\n' 'Dir::Etc::sourcelist "/dev/null"' "Dir::Etc::sourceparts \"$work/apt/parts\"" \
        "Dir::State::lists \"$work/apt/lists\"" \
        'Dir::State::status "/dev/null"' "Dir::Cache::archives \"$work/apt/archives\"" 'APT::Sandbox::User "root"' \
        "APT::Architecture \"$architecture\"" "APT::Architectures \"$architecture\"" >"$work/apt/conf"
    (cd "$work" && APT_CONFIG=$work/apt/conf && export APT_CONFIG && quietly "$work/log" apt-get update &&
        quietly "$work/log" apt-get "$@") ||
        die "Debian's packages cannot be had: apt-get $*"
}

# unpack FOLDER FILE...: packages as a system of their own: links lead to files in it, those to files of others are left out.
unpack() {
    folder=$1
    shift
    mkdir -p "$folder"
    for file in "$@"; do
        quietly "$work/log" dpkg -x "$file" "$folder" || die "unpacking $file"
    done
    find "$folder" -type l -lname '/*' | while read -r link; do
        ln -srfn "$folder$(readlink "$link")" "$link"
    done
    find "$folder" -xtype l -delete
}
