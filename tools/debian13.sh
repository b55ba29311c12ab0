# Debian 13 in a chroot that is kept, with a copy of the sources and a build of them by its gcc, in which warnings are errors: for
# parts of test.sh.  Sourced after setup.sh.  RWKVK_DEBIAN13 says where (by default ~/.cache/rwkvk/debian13); 2 GB, 2 minutes.
. "$root/tools/chroot.sh"

cache=${RWKVK_DEBIAN13:-${XDG_CACHE_HOME:-$HOME/.cache}/rwkvk/debian13}
chroot=$cache/trixie

make_trixie() {
    make_base trixie trixie
}

needs_inside() {
    needs | awk '$1 == "run" || $1 == "test" { print $4 }' | sort -u
}

install_inside() {
    # shellcheck disable=SC2046
    apt_inside install $(needs_inside)
}

# want_inside PACKAGE...: a part's own packages in the chroot, without which it is skipped.
want_inside() {
    inside dpkg -s "$@" >/dev/null 2>&1 && return 0
    say "installing $* in the chroot"
    quietly "$cache/log" apt_inside install "$@" ||
        { quietly "$cache/log" apt_inside update && quietly "$cache/log" apt_inside install "$@"; } ||
        skip "Debian 13 does not have these packages: $*"
}

# enter_debian13 ARGUMENT...: the arguments of the script, which restarts as root if necessary.
enter_debian13() {
    become_root RWKVK_DEBIAN13 "$@"
    want_packages debootstrap debian-archive-keyring
    make_chroot "Debian 13" make_trixie install_inside || skip "the chroot could not be made"
    # shellcheck disable=SC2046
    want_inside $(needs_inside) # an older chroot lacks what later versions need
    copy_sources "$cache/source"
    say "building with $(inside gcc --version | head -n 1)"
    quietly "$cache/log" inside cmake -S /cache/source -B /cache/build --preset dev -DRWKVK_WERROR=ON || die "configuring failed"
    quietly "$cache/log" inside cmake --build /cache/build || die "building failed"
}
