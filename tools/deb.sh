#!/bin/sh
# Builds the Debian packages rwkvk, librwkvk0.1 and librwkvk-dev, from packaging/debian, in build/deb/RELEASE.
#
#     tools/deb.sh                    for the Debian or Ubuntu that runs here
#     tools/deb.sh bookworm trixie    for these releases of Debian, each in a chroot, as root or with sudo
#
# The chroots are made once, in RWKVK_PACKAGES (default ~/.cache/rwkvk/packages; 2 GB, 5 minutes): RELEASE-minimal, in which
# nothing is installed, and a copy of it with what the build needs.
set -eu
. "$(dirname -- "$0")/setup.sh"
. "$root/tools/chroot.sh"

cache=${RWKVK_PACKAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/rwkvk/packages}
date=$(source_date)

# The changelog of a package says for which release it is; what has changed is in our own.  The revision 0debian12 is older than
# any of Debian's own, and has no tilde, which not every place for downloads keeps.
write_changelog() {
    cat >"$tree/debian/changelog" <<END
rwkvk ($(version)-0$ID${VERSION_ID-}) ${VERSION_CODENAME:-unstable}; urgency=medium

  * Version $(version); CHANGELOG.md says what it brings.

 -- $(sed -n 's/^Maintainer: //p' "$tree/debian/control")  $(LC_ALL=C date -u -R -d "@$date")
END
}

install_build_needs() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -y --no-install-recommends build-dep "$tree"
}

build_here() {
    command -v apt-get >/dev/null 2>&1 || die "Debian's packages are built on Debian or Ubuntu, where there is apt-get"
    # shellcheck source=/dev/null
    . /etc/os-release
    work=$root/build/deb/${VERSION_CODENAME:-$ID}
    tree=$work/rwkvk-$(version)
    rm -rf "$work"
    copy_sources "$tree"
    mv "$tree/packaging/debian" "$tree/debian"
    write_changelog
    find "$tree" -exec touch -h -d "@$date" {} + # packages tell when their files were changed
    quietly "$work/log" install_build_needs || {
        quietly "$work/log" as_root apt-get -o DPkg::Lock::Timeout=600 update && quietly "$work/log" install_build_needs
    } || die "what the build needs cannot be installed"
    say "building packages in $work"
    (cd "$tree" && DEB_BUILD_OPTIONS=noautodbgsym quietly "$work/log" dpkg-buildpackage -b -us -uc "-j$(nproc)") ||
        die "building failed"
    rm -r "$tree"
}

copy_release() {
    copy_minimal "$release"
}

build_in_chroot() {
    make_minimal "$1" || die "the chroot could not be made"
    chroot=$cache/$1
    make_chroot "Debian $1 for builds" copy_release || die "the chroot could not be made"
    copy_sources "$cache/source"
    say "$1: building packages"
    quietly "$cache/log" inside env "SOURCE_DATE_EPOCH=$date" sh /cache/source/tools/deb.sh || die "building failed on $1"
    rm -rf "$root/build/deb/$1"
    mkdir -p "$root/build/deb"
    cp -r "$cache/source/build/deb/$1" "$root/build/deb/"
}

if [ $# -eq 0 ]; then
    build_here
else
    become_root RWKVK_PACKAGES "$@"
    want_packages debootstrap debian-archive-keyring
    for wanted in "$@"; do
        build_in_chroot "$wanted"
    done
fi
say "built $(cd "$root" && echo build/deb/*/*.deb)"
