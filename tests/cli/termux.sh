#!/bin/sh
# termux.sh SETUP: tools/setup.sh in a folder that looks like Termux on a phone: it installs what is missing with pkg, by Termux's
# names, and asks neither apt-get nor sudo, which are there, too.
set -eu
setup=$1
PREFIX=$(mktemp -d)
trap 'rm -r "$PREFIX"' EXIT
mkdir "$PREFIX/bin" "$PREFIX/lib" "$PREFIX/tmp"
TMPDIR=$PREFIX/tmp
export PREFIX TMPDIR

for tool in sh cat date dirname grep head mktemp printf rm sed sort tail touch tr; do
    ln -s "$(command -v $tool)" "$PREFIX/bin/$tool"
done
for never in apt-get sudo; do
    printf '#!/bin/sh\necho "%s $*" >>"$PREFIX/calls"\nexit 1\n' $never >"$PREFIX/bin/$never"
done
# It brings the commands and the loader; cc finds every header.
cat >"$PREFIX/bin/pkg" <<'END'
#!/bin/sh
echo "pkg $*" >>"$PREFIX/calls"
for command in cc ninja make glslangValidator; do
    printf '#!/bin/sh\n' >"$PREFIX/bin/$command"
done
printf '#!/bin/sh\necho cmake version 4.1.2\n' >"$PREFIX/bin/cmake"
touch "$PREFIX/lib/libvulkan.so"
chmod +x "$PREFIX"/bin/cc "$PREFIX"/bin/ninja "$PREFIX"/bin/make "$PREFIX"/bin/glslangValidator "$PREFIX"/bin/cmake
END
ln -s "$(command -v chmod)" "$PREFIX/bin/chmod"
chmod +x "$PREFIX"/bin/apt-get "$PREFIX"/bin/sudo "$PREFIX"/bin/pkg

run() {
    PATH=$PREFIX/bin "$PREFIX/bin/sh" -c 'set -eu; . "$0"; install_needs run' "$setup" || {
        echo "the script fails"
        exit 1
    }
}

run
expected='pkg install -y clang cmake glslang libedit libhiredis libjansson libmicrohttpd libzip make ndk-sysroot ninja pcre2 utf8proc vulkan-headers vulkan-loader-android vulkan-volk'
[ "$(cat "$PREFIX/calls")" = "$expected" ] || {
    echo "expected: $expected"
    echo "found:    $(cat "$PREFIX/calls")"
    exit 1
}
run # all is there now
[ "$(cat "$PREFIX/calls")" = "$expected" ] || {
    echo "what is there is installed again: $(cat "$PREFIX/calls")"
    exit 1
}
