#!/bin/sh
# librwkvk.so for Android, its binding and its app: compiled and linked, or really built with the NDK of ANDROID_NDK
#
# Without the NDK the library is compiled against declarations of our own (tools/android/check) and linked with stubs that have no
# more than Android's C library has at API level 26.  Nothing of it runs; results are in build/android-*.
set -eu
. "$(dirname -- "$0")/../setup.sh"

here=$root/tools/android
level=26

# Libraries with the names of symbols.txt, as they were at that level.
make_stubs() {
    rm -rf "$2"
    mkdir -p "$2"
    for library in libc libm libdl liblog libcompiler; do
        awk -v library=$library -v level=$level '!/^#/ && $2 == library && $3 <= level { printf ".globl %s\n.type %s, %%function\n%s:\n", $1, $1, $1 }' \
            "$here/check/symbols.txt" >"$2/$library.s"
        clang "--target=$1-linux-android$level" -shared -nostdlib -fuse-ld=lld "-Wl,-soname,$library.so" -o "$2/$library.so" "$2/$library.s" ||
            die "no stub of $library for $1"
    done
}

# compile PROCESSOR: into build/android-check-PROCESSOR, with the options of the presets.
compile() {
    folder=$root/build/android-check-$1
    make_stubs "$1" "$folder/stubs"
    quietly "$folder/log" cmake -S "$root" -B "$folder" -G Ninja "-DCMAKE_TOOLCHAIN_FILE=$here/check/toolchain.cmake" "-DRWKVK_CHECK_PROCESSOR=$1" \
        "-DRWKVK_CHECK_LIBRARIES=$folder/stubs" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DRWKVK_TOOLS=OFF -DRWKVK_TESTS=OFF \
        -DRWKVK_SAFETENSORS=OFF -DRWKVK_PTH=OFF -DRWKVK_BPE=OFF -DRWKVK_WERROR=ON || die "configuring for $1"
    quietly "$folder/log" cmake --build "$folder" || die "compiling or linking for $1"
    library=$folder/src/librwkvk.so
    say "compiled and linked for $1, without the NDK, after $(took)"
}

# The library defines what the headers declare, needs only Android's own libraries, and can be loaded by systems with pages of
# 16 KiB.
check_library() {
    NM=llvm-nm sh "$root/tests/outside/exports.sh" shared "$library" "$root"/include/*.h || die "$library: exports other names than the headers"
    needed=$(llvm-readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vxE 'lib(c|m|dl|compiler)\.so' || true)
    [ -z "$needed" ] || die "$library: needs $needed"
    llvm-readelf -d "$library" | grep -q '(SONAME).*\[librwkvk\.so\]' || die "$library: has another name, under which no app can load it"
    llvm-readelf -lW "$library" | awk '$1 == "LOAD" { segments++; small += $NF != "0x4000" } END { exit !(segments && !small) }' ||
        die "$library: segments are not aligned to 16 KiB"
}

begin
cmake -S "$root" --list-presets >"$root/build/presets" 2>&1 || die "CMakePresets.json: $(cat "$root/build/presets")"
for preset in android-arm64 android-x86_64; do
    grep -q "\"$preset\"" "$root/build/presets" || die "CMakePresets.json has no preset $preset"
done
install_needs run
want_packages clang lld llvm
if [ -n "${ANDROID_NDK-}" ]; then
    for preset in android-arm64 android-x86_64; do
        build $preset rwkvk -DRWKVK_WERROR=ON
        library=$root/build/$preset/src/librwkvk.so
        check_library
        say "built with the NDK: $preset, after $(took)"
    done
else
    for processor in aarch64 x86_64; do
        compile $processor
        check_library
    done
fi
