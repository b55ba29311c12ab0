#!/bin/sh
# the man page, by man's warnings, and completion in bash, zsh and fish
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run
for command in man groff python3 bash zsh fish; do
    command -v "$command" >/dev/null 2>&1 && continue
    case $command in
    man) want_packages man-db ;;
    *) want_packages "$command" ;;
    esac
done
[ -f /usr/share/bash-completion/bash_completion ] || want_packages bash-completion

work=$root/build/manual
rm -rf "$work/prefix"
mkdir -p "$work"
begin
quietly "$work/log" cmake -S "$root" -B "$work/build" -G Ninja -DRWKVK_TESTS=OFF || die "configuring"
quietly "$work/log" cmake --build "$work/build" -j "$(nproc)" || die "building"
quietly "$work/log" cmake --install "$work/build" --prefix "$work/prefix" || die "installing"
page=$work/prefix/share/man/man1/rwkvk.1
warnings=$(MANWIDTH=80 LC_ALL=C.UTF-8 man --warnings -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
[ -z "$warnings" ] || die "man warns of: $warnings"
MANWIDTH=1000 LC_ALL=C.UTF-8 man -l -P cat "$page" | col -b >"$work/page"
program=$work/prefix/bin/rwkvk

# The page names exactly what --help names.
"$program" help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' >"$work/commands"
[ "$(wc -l <"$work/commands")" -gt 10 ] || die "there are too few commands in: $("$program" help)"
while read -r command; do
    "$program" help "$command" | grep -oE '^  +(-[a-zA-Z0-9], )?--?[a-z0-9-]+' | grep -oE -- '-[-a-zA-Z0-9]+' | sort -u >"$work/options"
    sed -n "/^ *rwkvk $command\$/,/^ *rwkvk [a-z]*\$/p" "$work/page" | grep -oE -- '-[-a-zA-Z0-9]+' | sort -u >"$work/said"
    for option in $(cat "$work/options"); do
        case $option in -h | --help) continue ;; esac
        grep -qxF -- "$option" "$work/said" || die "the page does not have $command $option"
    done
done <"$work/commands"
say "the man page is without warnings and has all options, after $(took)"

python3 "$root/tests/cli/complete.py" "$work/prefix" || die "completion fails"
say "bash, zsh and fish complete after $(took)"
