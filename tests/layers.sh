#!/bin/sh
# layers.sh SRC: files of each folder include their own headers and those of the folders named here, no others
# (docs/architecture.md, Layers).
set -eu
cd "$1"
bad=0

# may FOLDER HEADER...: what it may include besides its own, as patterns.
may() {
	folder=$1
	shift
	includes=$(grep -HoE '^#include "[^"]*/[^"]*"' "$folder"/*.[ch] | sed 's/#include //; s/"//g')
	[ -n "$includes" ] || { echo "$folder includes nothing: is this the right folder?"; bad=1; }
	for include in $includes; do
		fits=no
		for pattern in "$folder/*" "$@"; do
			case ${include#*:} in $pattern) fits=yes ;; esac
		done
		[ $fits = yes ] || { echo "$include: not for $folder/"; bad=1; }
	done
}

may base
may format 'base/*'
may text 'base/*' 'format/*'
may gpu 'base/*'
may network 'base/*' 'format/*' 'text/*' '*/shaders/common/layout.h'
may engine 'base/*' 'gpu/*' 'network/*'
may session 'base/*' 'text/*' 'network/*' engine/engine.h engine/check.h
exit $bad
