#!/bin/sh
# the page of `rwkvk serve` in headless Chromium: answers, branches, what is kept, a server that goes and comes, telephones, themes
#
# Arguments are the tests to run: sh tools/more/browser.sh Page.test_stop
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test
PATH=${CHROMEWEBDRIVER:+$CHROMEWEBDRIVER:}$PATH # where GitHub's machines have it
command -v chromedriver >/dev/null 2>&1 || want_packages chromium chromium-driver

begin
build dev rwkvk_cli
say "built in $(took)"
begin
RWKVK=$root/build/dev/tools/rwkvk/rwkvk python3 "$root/tests/serve/browser.py" "$@" || die "the page does not do what it should"
say "the page works, tested in $(took)"
