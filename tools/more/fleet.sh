#!/bin/sh
# replicas of `rwkvk serve` behind HAProxy and nginx with states in Redis: killed, drained, on two devices; the manifests parse
#
# Arguments are the tests to run: sh tools/more/fleet.sh Conversations.test_nginx.  STORE_PROGRAM=valkey-server takes that one, and
# OTHER_DRIVER, a driver's JSON file, SwiftShader's for instance, lets the second device be that driver's.
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test
want_packages redis-server haproxy nginx-light python3-yaml

begin
build dev rwkvk_cli -DRWKVK_STORE=ON
say "built in $(took)"
/usr/bin/python3 -c 'import sys, yaml
for part in yaml.safe_load_all(open(sys.argv[1], encoding="utf-8")): part["apiVersion"], part["kind"], part["metadata"]["name"]' \
    "$root/docs/fleet/kubernetes.yaml" || die "docs/fleet/kubernetes.yaml is no manifest"
begin
RWKVK=$root/build/dev/tools/rwkvk/rwkvk LP_NUM_THREADS=1 python3 "$root/tests/serve/fleet.py" "$@" || die "the fleet does not do what it should"
say "the fleet works, tested in $(took)"
