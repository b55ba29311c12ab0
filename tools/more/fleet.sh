#!/bin/sh
# replicas of `rwkvk serve` behind HAProxy and nginx with states in Redis: killed, drained, on two devices; the manifests are valid
#
# Arguments are the tests to run: sh tools/more/fleet.sh Conversations.test_nginx.  STORE_PROGRAM=valkey-server takes that one, and
# OTHER_DRIVER, a driver's JSON file, SwiftShader's for instance, lets the second device be that driver's.
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test
want_packages redis-server haproxy nginx-light python3-venv

begin
build dev rwkvk_cli -DRWKVK_STORE=ON
say "built in $(took)"
validate=$root/build/kubernetes-validate
[ -x "$validate/bin/kubernetes-validate" ] || { python3 -m venv "$validate" && "$validate/bin/pip" install -q kubernetes-validate; } ||
    skip "PyPI's kubernetes-validate cannot be had"
"$validate/bin/kubernetes-validate" --strict "$root/docs/fleet/kubernetes.yaml" || die "docs/fleet/kubernetes.yaml is not valid"
begin
RWKVK=$root/build/dev/tools/rwkvk/rwkvk LP_NUM_THREADS=1 python3 "$root/tests/serve/fleet.py" "$@" || die "the fleet does not do what it should"
say "the fleet works, tested in $(took)"
