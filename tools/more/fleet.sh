#!/bin/sh
# replicas of `rwkvk serve` behind HAProxy and nginx with states in Redis: killed, drained, on two devices; the manifests are valid
#
# Arguments are the tests to run: sh tools/more/fleet.sh Conversations.test_nginx.  STORE_PROGRAM=valkey-server takes that one.
# The second driver is SwiftShader, unpacked from Debian's Chromium in build/swiftshader, or that of OTHER_DRIVER, its JSON file.
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test
want_packages redis-server haproxy nginx-light openssl python3-venv

find_driver() {
    folder=$root/build/swiftshader
    OTHER_DRIVER=$folder/usr/lib/chromium/vk_swiftshader_icd.json
    [ ! -e "$OTHER_DRIVER" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    say "unpacking SwiftShader"
    (cd "$folder" && quietly "$folder/log" apt-get download chromium-common && dpkg -x chromium-common_*.deb . && rm ./*.deb) || {
        say "*** NOT TESTED: a second driver; Debian's chromium-common, which has SwiftShader, cannot be had"
        OTHER_DRIVER=
    }
}

begin
[ -n "${OTHER_DRIVER-}" ] || find_driver
build dev rwkvk_cli -DRWKVK_STORE=ON
say "built in $(took)"
validate=$root/build/kubernetes-validate
[ -x "$validate/bin/kubernetes-validate" ] || { python3 -m venv "$validate" && "$validate/bin/pip" install -q kubernetes-validate; } ||
    skip "PyPI's kubernetes-validate cannot be had"
"$validate/bin/kubernetes-validate" --strict "$root/docs/fleet/kubernetes.yaml" || die "docs/fleet/kubernetes.yaml is not valid"
begin
OTHER_DRIVER=$OTHER_DRIVER RWKVK=$root/build/dev/tools/rwkvk/rwkvk LP_NUM_THREADS=1 python3 "$root/tests/serve/fleet.py" "$@" || die "the fleet does not do what it should"
say "the fleet works, tested in $(took)"
