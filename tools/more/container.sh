#!/bin/sh
# packaging/Containerfile: built by buildah from a Debian 13 of debootstrap, and asked for an answer on lavapipe
#
# As root or with sudo.  Nothing is pulled: the base is the minimal chroot of tools/deb.sh.
set -eu
. "$(dirname -- "$0")/../setup.sh"
. "$root/tools/chroot.sh"

cache=${RWKVK_PACKAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/rwkvk/packages}
work=$root/build/container
become_root RWKVK_PACKAGES "$@"
want_packages buildah debootstrap debian-archive-keyring python3
make_minimal trixie || skip "the chroot could not be made"

# Where processes may not be put into containers, a chroot does.
rm -rf "$work"
mkdir -p "$work"
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage" "$work/run" >"$work/storage.conf"
CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot
export CONTAINERS_STORAGE_CONF BUILDAH_ISOLATION

import_base() {
    tar cf "$work/base.tar" -C "$chroot" --exclude=./dev --exclude=./complete --exclude=./mirror . &&
        buildah from --name base scratch && buildah add base "$work/base.tar" / && buildah commit --rm base rwkvk-base &&
        rm "$work/base.tar"
}

# What the container starts, as its user and with its variables: not without keys, and with them it answers.
serve() {
    quietly "$work/log" buildah from --name server rwkvk || die "a container cannot be made"
    command=$(buildah inspect --format '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}' server)
    # shellcheck disable=SC2086
    ! buildah run server -- $command >"$work/log" 2>&1 || die "the server starts without keys"
    grep -q "give --api-key FILE" "$work/log" || die "without keys the server says: $(cat "$work/log")"
    echo secret >"$work/keys"
    # shellcheck disable=SC2086
    buildah run -v "$work/keys:/keys:ro" server -- $command --api-key /keys --port 0 >"$work/url" 2>"$work/serve-log" &
    server=$!
    trap 'kill $server 2>/dev/null || true' EXIT
    i=0
    while [ ! -s "$work/url" ] && [ $i -lt 3000 ] && kill -0 $server 2>/dev/null; do
        i=$((i + 1))
        sleep 0.1
    done
    python3 "$root/tests/serve/once.py" "$(sed s/0.0.0.0/127.0.0.1/ "$work/url")" secret ||
        die "the server: $(cat "$work/serve-log")"
}

begin
quietly "$work/log" import_base || skip "buildah does not work here"
say "building the image"
quietly "$work/log" buildah build --format docker --build-arg BASE=localhost/rwkvk-base -t rwkvk \
    -f "$root/packaging/Containerfile" "$root" || die "packaging/Containerfile does not build"
say "built after $(took)"
serve
say "the container's server answers after $(took)"
