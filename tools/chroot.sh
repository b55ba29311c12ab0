# Shared by compilers.sh and the parts of test.sh that need another Debian: a chroot, created as root and kept.  Sourced after
# setup.sh.  `cache` is its folder here, which is /cache inside, and `chroot` the one with its files.  MIRROR names a Debian mirror
# other than the one that apt uses here.

# become_root VARIABLE ARGUMENT...: the script restarts as root if necessary, with the cache in that variable.
become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    variable=$1
    shift
    sudo -n true 2>/dev/null || skip "only root can use a chroot: sudo env $variable=$cache sh $0"
    exec sudo env "$variable=$cache" "MIRROR=${MIRROR-}" sh "$0" "$@"
}

# copy_sources FOLDER: files keep their times, so that only what has changed is rebuilt.
copy_sources() {
    rm -rf "$1"
    mkdir -p "$1"
    (cd "$root" && tar cf - --exclude=./build --exclude=./.git .) | tar xf - -C "$1"
}

# Commands in the chroot; their mounts end with them.
inside() {
    mkdir -p "$chroot/cache"
    unshare -m --propagation private sh -c '
        mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --bind "$2" "$1/cache" && shift 2 && exec chroot "$@"' \
        sh "$chroot" "$cache" "$chroot" "$@"
}

apt_inside() {
    inside env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends "$@"
}

# The mirror that apt uses here if this is Debian; else debootstrap has a default.
mirror() {
    if [ -n "${MIRROR-}" ]; then
        echo "$MIRROR"
    elif grep -qs '^ID=debian' /etc/os-release; then
        sed -n 's/^URIs: *//p; s/^deb \(http[^ ]*\) .*/\1/p' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
            grep -v security | head -n 1
    fi
}

# sources NAME TYPES SUITES
sources() {
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$2" "$(cat "$chroot/mirror")" "$3" >"$chroot/etc/apt/sources.list.d/$1.sources"
}

# make_base RELEASE SUITES: a minimal Debian of that release, with these to install from.  The functions that make a chroot run
# where `set -e` has no effect: each step begins only if the one before succeeded.
make_base() {
    mirror=$(mirror)
    rm -rf "$chroot"
    # shellcheck disable=SC2086
    debootstrap --variant=minbase "$1" "$chroot" $mirror &&
        sed -n 's/^deb \(http[^ ]*\) .*/\1/p' "$chroot/etc/apt/sources.list" | head -n 1 >"$chroot/mirror" &&
        : >"$chroot/etc/apt/sources.list" &&
        sources debian deb "$2" || return 1
    cp /etc/resolv.conf "$chroot/etc/resolv.conf" 2>/dev/null
    cp /etc/apt/apt.conf.d/*proxy* "$chroot/etc/apt/apt.conf.d/" 2>/dev/null
    apt_inside update
}

# make_chroot WHAT FUNCTION...: with these functions in turn, unless it exists.  False: it could not be made.
make_chroot() {
    [ ! -e "$chroot/complete" ] || return 0
    mkdir -p "$cache"
    say "making a chroot with $1 in $cache; $cache/setup.log tells how far it is"
    shift
    for function in "$@"; do
        "$function" >>"$cache/setup.log" 2>&1 </dev/null || {
            tail -n 20 "$cache/setup.log" >&2
            return 1
        }
    done
    : >"$chroot/complete"
}

make_release() {
    make_base "$release" "$release"
}

# make_minimal RELEASE: a chroot with nothing but a minimal Debian of that release, from which others are copied.
make_minimal() {
    release=$1 chroot=$cache/$1-minimal
    make_chroot "a minimal Debian, $1," make_release
}

# copy_minimal RELEASE: makes the chroot a copy of it.
copy_minimal() {
    rm -rf "$chroot"
    cp -a "$cache/$1-minimal" "$chroot" && rm "$chroot/complete"
}
