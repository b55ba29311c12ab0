#!/bin/sh
# Builds rwkvk for other systems, with the libraries that it needs, from the source packages of Debian 12.
#
#     tools/cross.sh linux-x86_64       x86-64 Linux, in build/linux-x86_64: the program, the library and a tar.gz with both
#     tools/cross.sh linux-arm64        the same for arm64, in build/linux-arm64
#     tools/cross.sh windows            x86-64 Windows, in build/windows: rwkvk.exe, rwkvk.dll and a zip with both
#     tools/cross.sh SYSTEM libraries   only the libraries, in build/SYSTEM-libraries, after which the preset SYSTEM works
#
# For Linux the C library is that of Debian 11, glibc 2.31, so that what is built runs with it and with all newer ones.
set -eu
. "$(dirname -- "$0")/setup.sh"
. "$root/tools/chroot.sh"
. "$root/tools/debian.sh"

# with_cmake SOURCE OPTION...: a library that CMake builds, static, into $libraries.
with_cmake() {
    source=$1
    shift
    rm -rf "$work/build"
    say "building $source"
    quietly "$work/log" cmake -S "$work"/$source-[0-9]* -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_TOOLCHAIN_FILE=$toolchain" \
        "-DRWKVK_LIBRARIES=$libraries" "-DRWKVK_TRIPLE=$triple" "-DCMAKE_INSTALL_PREFIX=$libraries" -DBUILD_SHARED_LIBS=OFF \
        "-DCMAKE_C_FLAGS=$flags" "$@" || die "configuring $source"
    quietly "$work/log" cmake --build "$work/build" || die "building $source"
    quietly "$work/log" cmake --install "$work/build" || die "installing $source"
}

# Model files hold stored or deflated entries, so libzip is built without any other compression and without encryption.
build_libraries() {
    say "building zlib" # whose configure, by its right name, asks for files of Windows that Debian leaves out
    (cd "$work"/zlib-[0-9]* && CHOST=$triple quietly "$work/log" ./configure --static --uname=GNU "--prefix=$libraries" &&
        quietly "$work/log" make install) || die "building zlib"
    with_cmake jansson -DJANSSON_BUILD_DOCS=OFF -DJANSSON_EXAMPLES=OFF -DJANSSON_WITHOUT_TESTS=ON
    with_cmake pcre2 -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF
    with_cmake utf8proc
    with_cmake libzip -DENABLE_COMMONCRYPTO=OFF -DENABLE_GNUTLS=OFF -DENABLE_MBEDTLS=OFF -DENABLE_OPENSSL=OFF \
        -DENABLE_WINDOWS_CRYPTO=OFF -DENABLE_BZIP2=OFF -DENABLE_LZMA=OFF -DENABLE_ZSTD=OFF -DBUILD_TOOLS=OFF -DBUILD_REGRESS=OFF \
        -DBUILD_EXAMPLES=OFF -DBUILD_DOC=OFF
    with_cmake cmocka -DWITH_STATIC_LIB=ON -DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF
    rm "$libraries"/lib/libcmocka.*
    mv "$libraries/lib/libcmocka-static.a" "$libraries/lib/libcmocka.a"
    say "building libmicrohttpd"
    rm -rf "$work/build"
    mkdir "$work/build"
    (cd "$work/build" && quietly "$work/log" ../libmicrohttpd-[0-9]*/configure "--host=$triple" "--prefix=$libraries" \
        --disable-shared --disable-https --disable-doc --disable-examples --disable-curl --disable-tools &&
        quietly "$work/log" make -j "$(nproc)" install) || die "building libmicrohttpd"
    # Vulkan needs only its headers, and volk as source; both come from this machine.
    cp -r /usr/include/vulkan /usr/include/vk_video /usr/include/volk.h /usr/include/volk.c "$libraries/include/"
}

make_sysroot() {
    say "unpacking the C library and libedit of Debian 11"
    from_debian bullseye deb download libc6 libc6-dev linux-libc-dev libcrypt-dev libedit-dev libbsd-dev libmd-dev libncurses-dev \
        libtinfo6
    unpack "$libraries/sysroot" "$work"/*.deb
    for package in libedit-dev libbsd-dev libmd-dev libtinfo6; do
        cp "$libraries/sysroot/usr/share/doc/$package/copyright" "$libraries/licenses/$package.txt"
    done
}

# A compiler that uses the files of this system and no others.  Its results may be part of a shared library, and do not tell
# where they were built.
make_compiler() {
    sysroot=$libraries/sysroot
    mkdir "$libraries/bin"
    printf '#!/bin/sh\nexec %s %s %s %s "$@"\n' "$(command -v "$triple-gcc")" \
        "'--sysroot=$sysroot' '-B$sysroot/usr/lib/$triple/' '-L$sysroot/usr/lib/$triple' '-L$sysroot/lib/$triple'" \
        "-isystem '$libraries/include' '-L$libraries/lib'" "-static-libgcc -fPIC '-ffile-prefix-map=$root=.'" \
        >"$libraries/bin/$triple-gcc"
    chmod +x "$libraries/bin/$triple-gcc"
    PATH=$libraries/bin:$PATH
    runtime=$(dpkg -S "$("$triple-gcc" -print-libgcc-file-name)") || die "no package has the compiler's library"
    cp "/usr/share/doc/${runtime%%:*}/copyright" "$libraries/licenses/libgcc.txt"
}

libraries_of() {
    libraries=$root/build/$system-libraries
    work=$libraries.work
    [ ! -e "$libraries/complete" ] || return 0
    rm -rf "$libraries" "$work"
    mkdir -p "$work" "$libraries/licenses"
    from_debian bookworm deb-src source jansson pcre2 utf8proc zlib libzip libmicrohttpd cmocka
    for source in jansson pcre2 utf8proc zlib libzip libmicrohttpd; do
        cp "$work"/$source-[0-9]*/debian/copyright "$libraries/licenses/$source.txt"
    done
    if [ "$system" != windows ]; then
        make_sysroot
        make_compiler
    fi
    build_libraries
    : >"$libraries/complete"
    rm -rf "$work"
}

# The linked code comes from these, from the compiler's own libraries and from volk, whose licence is among the notices.
add_licences() {
    cp "$libraries"/licenses/*.txt "$1/"
    cp "$root/src/demo/LICENSE.md" "$1/story-model.md"
}

# as_package PRESET...: what is installed from these builds, in $package, with all licences.
as_package() {
    package=$root/build/$system/rwkvk-$(version)-$1
    shift
    rm -rf "$package"
    for preset in "$@"; do
        quietly "$root/build/$system/install.log" cmake --install "$root/build/$preset" --strip --prefix "$package" ||
            die "installing"
    done
    add_licences "$package/share/licenses/rwkvk"
}

# The bytes of an archive depend only on its files: they are sorted by name, have one date and belong to nobody.
pack_zip() {
    rm -f "$package.zip"
    find "$package" -type f -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$(dirname "$package")" && find "$(basename "$package")" -type f | LC_ALL=C sort | TZ=UTC zip -q -X -@ "$package.zip") ||
        die "packing"
    say "built $package.zip"
}

pack_tar() {
    (cd "$(dirname "$package")" && LC_ALL=C TZ=UTC tar cf "$package.tar" --format=gnu --sort=name "--mtime=@$SOURCE_DATE_EPOCH" --owner=0 \
        --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w "$(basename "$package")" && gzip -9nf "$package.tar") || die "packing"
    say "built $package.tar.gz"
}

build_windows() {
    build windows rwkvk_cli -DRWKVK_WERROR=ON
    build windows-dll all -DRWKVK_WERROR=ON
    as_package windows-x86_64 windows-dll
    x86_64-w64-mingw32-strip -o "$package/rwkvk.exe" "$root/build/windows/tools/rwkvk/rwkvk.exe"
    for runtime in gcc-mingw-w64-x86-64-posix-runtime mingw-w64-x86-64-dev; do
        cp "/usr/share/doc/$runtime/copyright" "$package/share/licenses/rwkvk/$runtime.txt"
    done
    pack_zip
}

# The program and the static library contain what they stand on.  The CMake package and the pkg-config file are for the shared
# library.
build_linux() {
    build "$system" rwkvk_manual -DRWKVK_WERROR=ON
    build "$system-shared" all -DRWKVK_WERROR=ON
    as_package "$system" "$system" "$system-shared"
    pack_tar
}

system=${1-} family=linux toolchain=$root/packaging/linux.cmake flags=
case $system in
linux-x86_64)
    triple=x86_64-linux-gnu architecture=amd64
    command -v $triple-gcc >/dev/null 2>&1 || want_packages gcc-x86-64-linux-gnu ;;
linux-arm64)
    triple=aarch64-linux-gnu architecture=arm64
    want_packages gcc-aarch64-linux-gnu qemu-user ;; # the program itself writes its man page
windows)
    triple=x86_64-w64-mingw32 architecture=amd64 family=windows toolchain=$root/packaging/windows-x86_64.cmake
    flags=-D__USE_MINGW_ANSI_STDIO=1
    want_packages gcc-mingw-w64-x86-64-posix zip ;;
*)
    die "which system?  $0 linux-x86_64, linux-arm64 or windows" ;;
esac
want_packages dpkg-dev debian-archive-keyring
install_needs run
begin
# The date of what is packed, and in what `strip` writes for Windows: the last commit's, so that the same sources make the same bytes.
SOURCE_DATE_EPOCH=$(source_date)
export SOURCE_DATE_EPOCH
libraries_of
[ "${2-}" = libraries ] || "build_$family"
say "done after $(took)"
