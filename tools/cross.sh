#!/bin/sh
# Builds rwkvk for another system, with the libraries that it needs, from the source packages of Debian 12.
#
#     tools/cross.sh windows            x86-64 Windows, in build/windows: rwkvk.exe, rwkvk.dll and a zip with both
#     tools/cross.sh windows libraries  only the libraries, in build/windows-libraries, after which the preset `windows` works
set -eu
. "$(dirname -- "$0")/setup.sh"
. "$root/tools/chroot.sh"

# The source packages, unpacked and patched as Debian builds them, in $work.
fetch_sources() {
    mkdir -p "$work/apt/parts" "$work/apt/lists/partial"
    mirror=$(mirror)
    printf 'Types: deb-src\nURIs: %s\nSuites: bookworm\nComponents: main\nSigned-By: %s\n' "${mirror:-http://deb.debian.org/debian}" \
        /usr/share/keyrings/debian-archive-keyring.gpg >"$work/apt/parts/debian.sources"
    set -- -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/parts" -o "Dir::State::lists=$work/apt/lists" \
        -o APT::Sandbox::User=root
    quietly "$work/log" apt-get "$@" update || die "the list of Debian's source packages cannot be had"
    (cd "$work" && quietly "$work/log" apt-get "$@" source jansson pcre2 utf8proc zlib libzip libmicrohttpd cmocka) ||
        die "Debian's source packages cannot be had"
}

# with_cmake SOURCE OPTION...: a library that CMake builds, static, into $libraries.
with_cmake() {
    source=$1
    shift
    rm -rf "$work/build"
    say "building $source"
    quietly "$work/log" cmake -S "$work"/$source-[0-9]* -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_TOOLCHAIN_FILE=$toolchain" \
        "-DRWKVK_LIBRARIES=$libraries" "-DCMAKE_INSTALL_PREFIX=$libraries" -DBUILD_SHARED_LIBS=OFF \
        "-DCMAKE_C_FLAGS=-D__USE_MINGW_ANSI_STDIO=1" "$@" || die "configuring $source"
    quietly "$work/log" cmake --build "$work/build" || die "building $source"
    quietly "$work/log" cmake --install "$work/build" || die "installing $source"
}

# Model files hold stored or deflated entries, so libzip is built without any other compression and without encryption.
build_windows_libraries() {
    say "building zlib" # whose configure, by its right name, asks for files of Windows that Debian leaves out
    (cd "$work"/zlib-[0-9]* && CHOST=x86_64-w64-mingw32 quietly "$work/log" ./configure --static --uname=GNU "--prefix=$libraries" &&
        quietly "$work/log" make install) || die "building zlib"
    with_cmake jansson -DJANSSON_BUILD_DOCS=OFF -DJANSSON_EXAMPLES=OFF -DJANSSON_WITHOUT_TESTS=ON
    with_cmake pcre2 -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF
    with_cmake utf8proc
    with_cmake libzip -DENABLE_COMMONCRYPTO=OFF -DENABLE_GNUTLS=OFF -DENABLE_MBEDTLS=OFF -DENABLE_OPENSSL=OFF \
        -DENABLE_WINDOWS_CRYPTO=OFF -DENABLE_BZIP2=OFF -DENABLE_LZMA=OFF -DENABLE_ZSTD=OFF -DBUILD_TOOLS=OFF -DBUILD_REGRESS=OFF \
        -DBUILD_EXAMPLES=OFF -DBUILD_DOC=OFF
    with_cmake cmocka -DWITH_STATIC_LIB=ON -DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF
    rm "$libraries/lib/libcmocka.dll.a"
    mv "$libraries/lib/libcmocka-static.a" "$libraries/lib/libcmocka.a"
    say "building libmicrohttpd"
    rm -rf "$work/build"
    mkdir "$work/build"
    (cd "$work/build" && quietly "$work/log" ../libmicrohttpd-[0-9]*/configure --host=x86_64-w64-mingw32 "--prefix=$libraries" \
        --disable-shared --disable-https --disable-doc --disable-examples --disable-curl --disable-tools &&
        quietly "$work/log" make -j "$(nproc)" install) || die "building libmicrohttpd"
    # Vulkan needs only its headers, and volk as source; both come from this machine.
    cp -r /usr/include/vulkan /usr/include/vk_video /usr/include/volk.h /usr/include/volk.c "$libraries/include/"
}

libraries_of() {
    libraries=$root/build/$1-libraries
    toolchain=$root/packaging/$1-x86_64.cmake
    work=$libraries.work
    [ ! -e "$libraries/complete" ] || return 0
    rm -rf "$libraries" "$work"
    mkdir -p "$work" "$libraries/licenses"
    fetch_sources
    for source in jansson pcre2 utf8proc zlib libzip libmicrohttpd; do
        cp "$work"/$source-[0-9]*/debian/copyright "$libraries/licenses/$source.txt"
    done
    "build_$1_libraries"
    : >"$libraries/complete"
    rm -rf "$work"
}

# The linked code comes from these, from the compiler's own libraries and from volk, whose licence is among the notices.
add_licences() {
    cp "$libraries"/licenses/*.txt "$1/"
    cp "$root/src/demo/LICENSE.md" "$1/story-model.md"
    for runtime in gcc-mingw-w64-x86-64-posix-runtime mingw-w64-x86-64-dev; do
        cp "/usr/share/doc/$runtime/copyright" "$1/$runtime.txt"
    done
}

# A zip whose bytes depend only on its files: sorted by name, with the date of the last commit.
pack() {
    date=$(TZ=UTC git -C "$root" log -1 --date=format-local:'%Y-%m-%d %H:%M:%S' --format=%cd 2>/dev/null) || date='2000-01-01 00:00:00'
    rm -f "$2"
    (cd "$(dirname "$1")" && find "$(basename "$1")" -type f | LC_ALL=C sort >"$1.files" &&
        TZ=UTC cmake -E tar cf "$2" --format=zip "--mtime=$date" "--files-from=$1.files") || die "packing $2"
}

build_windows() {
    build windows rwkvk_cli -DRWKVK_WERROR=ON
    build windows-dll all -DRWKVK_WERROR=ON
    version=$(sed -n 's/^project(rwkvk VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
    name=rwkvk-$version-windows-x86_64
    package=$root/build/windows/$name
    rm -rf "$package"
    quietly "$root/build/windows/install.log" cmake --install "$root/build/windows-dll" --strip --prefix "$package" || die "installing"
    x86_64-w64-mingw32-strip -o "$package/rwkvk.exe" "$root/build/windows/tools/rwkvk/rwkvk.exe"
    add_licences "$package/share/licenses/rwkvk"
    pack "$package" "$package.zip"
    say "built $package.zip"
}

case ${1-} in
windows)
    want_packages gcc-mingw-w64-x86-64-posix dpkg-dev debian-archive-keyring
    install_needs run
    begin
    libraries_of windows
    [ "${2-}" = libraries ] || build_windows
    say "done after $(took)" ;;
*)
    die "which system?  $0 windows" ;;
esac
