#!/bin/sh
# the library static and shared, installed, used by a project that is not ours in three ways, and exported by it
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run
command -v c++ >/dev/null 2>&1 || want_packages g++
command -v pkg-config >/dev/null 2>&1 || want_packages pkg-config

work=$root/build/install
outside=$root/tests/outside
model=$root/src/demo/story.gguf
rm -rf "$work"
mkdir -p "$work"

# step WHAT COMMAND...: quiet unless it fails.
step() {
    what=$1
    shift
    quietly "$work/log" "$@" || die "failed: $what"
}

# All programs print the same story, and it is not empty.
tells() {
    "$2" "$model" >"$work/text" || die "$1 does not run"
    [ -f "$work/story" ] || cp "$work/text" "$work/story"
    cmp -s "$work/story" "$work/text" || die "$1 tells another story: $(cat "$work/text")"
    [ "$(wc -c <"$work/story")" -gt 50 ] || die "$1 tells nothing: $(cat "$work/text")"
}

# cmake_project WHAT SOURCE OPTION...: built in $work/WHAT.
cmake_project() {
    name=$1 source=$2
    shift 2
    step "configuring $name" cmake -S "$source" -B "$work/$name" -DCMAKE_BUILD_TYPE=Release "$@"
    step "building $name" cmake --build "$work/$name" -j "$(nproc)"
}

# A project that knows nothing about rwkvk finds what the outside project has installed.
used_by_third() {
    cmake_project "$1/user" "$outside/user" "-DCMAKE_PREFIX_PATH=$2"
    tells "$1/user" "$work/$1/user/user_tell"
}

# The plain form is used for the static library, as README has it, and without cmocka.
install_library() {
    case $kind in
    static) set -- -DCMAKE_DISABLE_FIND_PACKAGE_cmocka=ON ;;
    shared) set -- -G Ninja -DBUILD_SHARED_LIBS=ON -DRWKVK_TESTS=OFF ;;
    esac
    cmake_project "$kind/build" "$root" "$@"
    step "installing" cmake --install "$work/$kind/build" --prefix "$work/$kind/first"
    mv "$work/$kind/first" "$work/$kind/prefix" # an installed tree may be moved
    set -- "$work/$kind/prefix"/lib*/librwkvk.*
    case $kind in
    static) sh "$outside/exports.sh" static "$1" "$work/$kind"/prefix/include/*.h ;;
    shared) sh "$outside/exports.sh" shared "$1" "$work/$kind"/prefix/include/*.h ;;
    esac || die "$kind: the library's names are not those of its headers"
    for file in LICENSE NOTICES.md story-model.md; do
        [ -s "$work/$kind/prefix/share/licenses/rwkvk/$file" ] || die "$kind: $file is not installed"
    done
    "$work/$kind/prefix/bin/rwkvk" generate -q -n 8 "Once upon a time" >"$work/text" || die "$kind: the program does not run"
    say "$kind: installed after $(took)"
}

as_package() {
    cmake_project "$kind/package" "$outside" "-DCMAKE_PREFIX_PATH=$work/$kind/prefix"
    tells "$kind/package" "$work/$kind/package/outside_embed"
    tells "$kind/package" "$work/$kind/package/outside_tell"
    step "installing" cmake --install "$work/$kind/package" --prefix "$work/$kind/package-prefix"
    used_by_third "$kind/package" "$work/$kind/package-prefix;$work/$kind/prefix"
    say "$kind: found as a CMake package after $(took)"
}

by_pkg_config() {
    PKG_CONFIG_PATH=$(dirname "$(find "$work/$kind/prefix" -name rwkvk.pc)")
    export PKG_CONFIG_PATH
    mkdir -p "$work/$kind/pkg-config"
    case $kind in
    static) libraries=$(pkg-config --static --libs 'rwkvk >= 0.1') ;;
    shared) libraries="$(pkg-config --libs 'rwkvk >= 0.1') -Wl,-rpath,$(pkg-config --variable=libdir rwkvk)" ;;
    esac
    flags=$(pkg-config --cflags rwkvk)
    # shellcheck disable=SC2086
    step "pkg-config, C" cc -std=c11 $flags -o "$work/$kind/pkg-config/embed" "$outside/embed.c" $libraries
    # shellcheck disable=SC2086
    step "pkg-config, C++" c++ $flags -o "$work/$kind/pkg-config/tell" "$outside/tell.cpp" "$outside/story.cpp" $libraries
    tells "$kind/pkg-config" "$work/$kind/pkg-config/embed"
    tells "$kind/pkg-config" "$work/$kind/pkg-config/tell"
    say "$kind: found by pkg-config after $(took)"
}

# The static library in a project that uses link-time optimisation, which does not affect the library.
as_folder() {
    case $kind in
    static) set -- -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON ;;
    shared) set -- -G Ninja -DBUILD_SHARED_LIBS=ON ;;
    esac
    cmake_project "$kind/folder" "$outside" "-DOUTSIDE_FOLDER=$root" "$@"
    tells "$kind/folder" "$work/$kind/folder/outside_embed"
    tells "$kind/folder" "$work/$kind/folder/outside_tell"
    step "installing" cmake --install "$work/$kind/folder" --prefix "$work/$kind/folder-prefix"
    used_by_third "$kind/folder" "$work/$kind/folder-prefix"
    say "$kind: part of another project after $(took)"
}

begin
for kind in static shared; do
    install_library
    as_package
    by_pkg_config
    as_folder
done
say "static and shared, the library works for others"
