#!/bin/sh
# librwkvk.so for Android, its binding and the app: compiled and linked, with ANDROID_NDK really built; the binding runs on this machine
#
# Without the NDK the C files are compiled against declarations of our own (tools/android/check) and linked with stubs that have no
# more than Android's C library has at API level 26.  Results are in build/android-*.
set -eu
. "$(dirname -- "$0")/../setup.sh"

here=$root/tools/android
work=$root/build/android-app
level=26

check_presets() {
    mkdir -p "$root/build"
    cmake -S "$root" --list-presets >"$root/build/presets" 2>&1 || die "CMakePresets.json: $(cat "$root/build/presets")"
    for preset in android-arm64 android-x86_64; do
        grep -q "\"$preset\"" "$root/build/presets" || die "CMakePresets.json has no preset $preset"
    done
}

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

# compile FOLDER OPTION...: the library and its binding, as Gradle has them compiled.
compile() {
    folder=$1
    shift
    quietly "$work/log" cmake -S "$here/binding/src/main/c" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DRWKVK_WERROR=ON "$@" || die "configuring $folder"
    quietly "$work/log" cmake --build "$folder" || die "compiling or linking $folder"
}

# Each defines what others call and nothing else, needs only Android's own libraries, and can be loaded by systems with pages
# of 16 KiB.
check_libraries() {
    folder=$1
    NM=llvm-nm sh "$root/tests/outside/exports.sh" shared "$folder/rwkvk/src/librwkvk.so" "$root"/include/*.h ||
        die "librwkvk.so exports other names than the headers"
    llvm-nm -D --defined-only "$folder/librwkvk_jni.so" | awk '{ print $3 }' | sort >"$work/defined"
    sed -n 's/^JNIEXPORT .* JNICALL \(Java_[A-Za-z_]*\)$/\1/p' "$work"/natives/*.h | sort >"$work/declared"
    diff "$work/declared" "$work/defined" >&2 || die "librwkvk_jni.so does not define the native methods of the classes"
    for library in "$folder/rwkvk/src/librwkvk.so" "$folder/librwkvk_jni.so"; do
        llvm-readelf -d "$library" >"$work/dynamic"
        needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | grep -vxE 'lib(c|m|dl|log|compiler|rwkvk)\.so' || true)
        [ -z "$needed" ] || die "$library: needs $needed"
        grep -q "(SONAME).*\[$(basename "$library")\]" "$work/dynamic" || die "$library: has another name, under which no app can load it"
        llvm-readelf -lW "$library" | awk '$1 == "LOAD" { segments++; small += $NF != "0x4000" } END { exit !(segments && !small) }' ||
            die "$library: segments are not aligned to 16 KiB"
    done
}

# From Maven Central, with Maven: the jar's folder is $work/jars.
fetch_jar() {
    quietly "$work/log" mvn -B -q dependency:copy "-Dartifact=$1" "-DoutputDirectory=$work/jars" || skip "Maven does not get $1"
}

# All Java files against the classes of Android 14, and the files that only Gradle and Android's tools would read, as far as they
# can be read without these.
check_app() {
    fetch_jar org.robolectric:android-all:14-robolectric-10818077
    fetch_jar org.apache.groovy:groovy:4.0.24
    quietly "$work/log" javac -Xlint:all,-classfile -Xmaxerrs 20 --release 11 -d "$work/app" -cp "$work/jars/*" "$here"/binding/src/main/java/rwkvk/*.java \
        "$here"/app/src/main/java/rwkvk/app/*.java || die "the app's classes"
    ! grep -q "/tools/android/.*warning" "$work/log" || die "warnings of javac: $(grep "/tools/android/.*warning" "$work/log")"
    for script in settings build binding/build app/build; do
        cp "$here/$script.gradle" "$work/script.groovy"
        quietly "$work/log" java -cp "$work/jars/*" org.codehaus.groovy.tools.FileSystemCompiler -d "$work/gradle" "$work/script.groovy" || die "$script.gradle"
    done
    python3 - "$here"/app/src/main/AndroidManifest.xml "$here"/app/src/main/res/*/*.xml <<'END' || die "XML of the app"
import sys, xml.dom.minidom
for path in sys.argv[1:]:
    xml.dom.minidom.parse(path)
END
}

# The binding on this machine's Java: the text is the program's, to the byte.
run_binding() {
    build release rwkvk_cli
    cc -shared -fPIC "-I$here/check/ndk" -o "$work/liblog.so" "$here/check/ndk/log.c" || die "the log of this machine"
    compile "$root/build/android-here" "-DCMAKE_C_FLAGS=-isystem $here/check/ndk -isystem $java/include -isystem $java/include/linux" \
        "-DCMAKE_SHARED_LINKER_FLAGS=-L$work"
    VK_ICD_FILENAMES=$(echo /usr/share/vulkan/icd.d/lvp_icd.*.json)
    export VK_ICD_FILENAMES
    quietly "$work/log" javac -Xlint:all -d "$work/check" "$here"/binding/src/main/java/rwkvk/*.java "$here/check/Check.java" || die "the check"
    LD_LIBRARY_PATH=$work java -Xcheck:jni --add-opens java.base/java.io=ALL-UNNAMED "-Djava.library.path=$root/build/android-here" \
        -cp "$work/check" Check "$root/src/demo/story.gguf" "$work" >"$work/text" 2>"$work/log" || die "the binding: $(cat "$work/log")"
    ! grep -E "^(WARNING|FATAL)" "$work/log" >&2 || die "the binding uses JNI wrongly"
    "$root/build/release/tools/rwkvk/rwkvk" generate -q --temp 0 -n 40 "Once upon a time" >"$work/expected" || die "the program fails"
    [ "Once upon a time$(cat "$work/text")" = "$(cat "$work/expected")" ] || die "other text than the program's: $(cat "$work/text")"
}

begin
check_presets
install_needs run
want_packages clang lld llvm openjdk-17-jdk-headless maven
java=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
rm -rf "$work"
mkdir -p "$work"
quietly "$work/log" javac -Xlint:all -h "$work/natives" -d "$work/binding" "$here"/binding/src/main/java/rwkvk/*.java || die "the binding's classes"
if [ -n "${ANDROID_NDK-}" ]; then
    for abi in arm64-v8a:arm64 x86_64:x86_64; do
        build "android-${abi#*:}" rwkvk -DRWKVK_WERROR=ON
        compile "$root/build/android-binding-${abi#*:}" "-DCMAKE_TOOLCHAIN_FILE=$root/packaging/android.cmake" "-DANDROID_ABI=${abi%:*}"
        check_libraries "$root/build/android-binding-${abi#*:}"
        say "built with the NDK for $abi, after $(took)"
    done
else
    for processor in aarch64 x86_64; do
        make_stubs $processor "$work/$processor"
        compile "$root/build/android-check-$processor" "-DCMAKE_TOOLCHAIN_FILE=$here/check/toolchain.cmake" "-DRWKVK_CHECK_PROCESSOR=$processor" \
            "-DRWKVK_CHECK_LIBRARIES=$work/$processor" "-DRWKVK_CHECK_JAVA=$java"
        check_libraries "$root/build/android-check-$processor"
        say "compiled and linked for $processor, without the NDK, after $(took)"
    done
fi
run_binding
say "the binding writes the program's text on this machine, after $(took)"
check_app
say "the app's classes compile, after $(took); its Gradle project was parsed, not run"
