#!/bin/sh
# Installs what is missing, builds the program and runs it: the text goes to standard output, everything else to standard error.
#
#     tools/run.sh                                  the built-in story model continues "Once upon a time"
#     tools/run.sh "The old dragon"                 the same from a beginning of your own
#     tools/run.sh -m model.gguf -n 200 "Hello"     whatever `rwkvk generate --help` lists
set -eu
. "$(dirname -- "$0")/setup.sh"

install_needs run
build release rwkvk_cli -DRWKVK_TESTS=OFF

if [ $# -eq 0 ]; then
    set -- "Once upon a time"
fi
exec "$root/build/release/tools/rwkvk/rwkvk" generate "$@"
