# Shared by run.sh, test.sh and its parts: find what is missing, install it with apt or Termux's pkg or say what to install,
# configure, build.
# Sourced, not run.  POSIX sh.  Everything printed goes to standard error; the long output of tools goes to a log file that
# is shown when something fails.

root=$(dirname -- "$0")
while [ ! -f "$root/tools/setup.sh" ]; do
    root=$root/..
done
root=$(CDPATH='' cd -- "$root" && pwd)

say() {
    printf 'rwkvk: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

version() {
    sed -n 's/^project(rwkvk VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt"
}

# When the sources were committed, in seconds since 1970, for archives whose bytes depend on nothing else.
source_date() {
    echo "${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 946684800)}"
}

# Ends a part of tools/test.sh --more that cannot run here.
skip() {
    say "SKIPPED: $*"
    exit 77
}

# begin: a part begins now.  took: how long ago that was, as 3:05.
begin() {
    began=$(date +%s)
}

took() {
    seconds=$(($(date +%s) - began))
    printf '%d:%02d' $((seconds / 60)) $((seconds % 60))
}

# One need per line: group, check, what it looks for, then the package on Debian/Ubuntu, Fedora, Arch, Homebrew and
# Termux, where the driver is the phone's own.
# "run" is needed to build and run the program, "test" also to run the tests.
needs() {
    cat <<'END'
run  command cc                 gcc                     gcc                      gcc                      -                        clang
run  header  stdio.h            libc6-dev               glibc-devel              glibc                    -                        ndk-sysroot
run  command cmake              cmake                   cmake                    cmake                    cmake                    cmake
run  command ninja              ninja-build             ninja-build              ninja                    ninja                    ninja
run  command make               make                    make                     make                     -                        make
run  command glslangValidator   glslang-tools           glslang                  glslang                  glslang                  glslang
run  header  volk.h             libvulkan-volk-dev      vulkan-volk-devel        volk                     vulkan-volk              vulkan-volk
run  header  vulkan/vulkan.h    libvulkan-dev           vulkan-headers           vulkan-headers           vulkan-headers           vulkan-headers
run  header  jansson.h          libjansson-dev          jansson-devel            jansson                  jansson                  libjansson
run  header  histedit.h         libedit-dev             libedit-devel            libedit                  -                        libedit
run  header  zip.h              libzip-dev              libzip-devel             libzip                   libzip                   libzip
run  header  pcre2.h            libpcre2-dev            pcre2-devel              pcre2                    pcre2                    pcre2
run  header  utf8proc.h         libutf8proc-dev         utf8proc-devel           libutf8proc              utf8proc                 utf8proc
run  header  microhttpd.h       libmicrohttpd-dev       libmicrohttpd-devel      libmicrohttpd            libmicrohttpd            libmicrohttpd
run  header  hiredis/hiredis.h  libhiredis-dev          hiredis-devel            hiredis                  hiredis                  libhiredis
run  loader  libvulkan          libvulkan1              vulkan-loader            vulkan-icd-loader        vulkan-loader            vulkan-loader-android
run  driver  any                mesa-vulkan-drivers     mesa-vulkan-drivers      vulkan-swrast            molten-vk                -
test driver  lvp                mesa-vulkan-drivers     mesa-vulkan-drivers      vulkan-swrast            -                        -
test header  cmocka.h           libcmocka-dev           libcmocka-devel          cmocka                   cmocka                   cmocka
test command spirv-val          spirv-tools             spirv-tools              spirv-tools              spirv-tools              spirv-tools
test command python3            python3                 python3                  python                   python                   python
test layer   khronos_validation vulkan-validationlayers vulkan-validation-layers vulkan-validation-layers vulkan-validationlayers  -
END
}

any_file() {
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

# A check and what it looks for, as in the table above.
present() {
    case $1 in
    command)
        command -v "$2" >/dev/null 2>&1 ;;
    header)
        printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <%s>\n' "$2" | cc -E ${brew:+"-I$brew/include"} -x c - >/dev/null 2>&1 ;;
    loader)
        [ -z "$termux" ] || { [ -e "$termux/lib/$2.so" ]; return; }
        any_file /usr/lib/"$2".so.1 /usr/lib64/"$2".so.1 /usr/lib/*/"$2".so.1 /usr/local/lib/"$2".so.1 \
            ${brew:+"$brew/lib/$2.dylib"} ;;
    driver)
        name=$2
        if [ "$name" = any ]; then
            [ -z "${VK_DRIVER_FILES-}${VK_ICD_FILENAMES-}" ] || return 0
            name=
        fi
        any_file /usr/share/vulkan/icd.d/"$name"*.json /usr/local/share/vulkan/icd.d/"$name"*.json \
            /etc/vulkan/icd.d/"$name"*.json ${brew:+"$brew"/share/vulkan/icd.d/*.json "$brew"/etc/vulkan/icd.d/*.json} ;;
    layer)
        any_file /usr/share/vulkan/explicit_layer.d/VkLayer_"$2".json \
            /usr/local/share/vulkan/explicit_layer.d/VkLayer_"$2".json \
            ${brew:+"$brew/share/vulkan/explicit_layer.d/VkLayer_$2.json"} ;;
    esac
}

# missing SYSTEM GROUP...: that system's packages for everything missing from these groups.
missing() {
    system=$1
    shift
    needs | while read -r group check what debian fedora arch homebrew pkg; do
        case " $* " in *" $group "*) ;; *) continue ;; esac
        present "$check" "$what" && continue
        case $system in
        debian) echo "$debian" ;;
        fedora) echo "$fedora" ;;
        arch) echo "$arch" ;;
        homebrew) echo "$homebrew" ;;
        termux) echo "$pkg" ;;
        esac
    done | sort -u | grep -vx -e - | tr '\n' ' '
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"
}

# quietly LOG COMMAND...: the command's output goes to the log, which is shown if the command fails.
quietly() {
    log=$1
    shift
    "$@" </dev/null >"$log" 2>&1 && return 0
    tail -n 60 "$log" >&2
    return 1
}

install_with_apt() {
    packages=$(missing debian "$@")
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
        die "packages are missing and there is no sudo; as root, run: apt-get install $packages"
    fi
    say "installing $packages"
    log=$(mktemp)
    # A fresh machine has no package lists, and an old one's lists name files that no longer exist: fetch them in that case.
    # shellcheck disable=SC2086
    if ! apt_install $packages >"$log" 2>&1 </dev/null; then
        quietly "$log" as_root apt-get -o DPkg::Lock::Timeout=600 update || die "apt-get update failed"
        quietly "$log" apt_install $packages || die "apt-get could not install $packages"
    fi
    rm -f "$log"
    packages=$(missing debian "$@")
    [ -z "$packages" ] || die "installed, but still not found: $packages"
}

# On a phone, where the user is root of nothing but $PREFIX.
install_with_pkg() {
    packages=$(missing termux "$@")
    [ -n "$packages" ] || return 0
    say "installing $packages"
    log=$(mktemp)
    # shellcheck disable=SC2086
    quietly "$log" pkg install -y $packages || die "pkg could not install $packages"
    rm -f "$log"
    packages=$(missing termux "$@")
    [ -z "$packages" ] || die "installed, but still not found: $packages"
}

# A part's own Debian packages, without which it is skipped.
want_packages() {
    command -v apt-get >/dev/null 2>&1 || skip "this part installs Debian packages, and there is no apt-get: $*"
    dpkg -s "$@" >/dev/null 2>&1 && return 0
    say "installing $*"
    log=$(mktemp)
    apt_install "$@" >"$log" 2>&1 </dev/null || {
        quietly "$log" as_root apt-get -o DPkg::Lock::Timeout=600 update && quietly "$log" apt_install "$@"
    } || skip "these packages cannot be had: $*"
    rm -f "$log"
}

explain_packages() {
    say "something is missing to build this, and only apt is driven from here.  Please install:"
    for system in debian fedora arch homebrew; do
        printf '  %-9s %s\n' "$system:" "$(missing "$system" "$@")" >&2
    done
    exit 1
}

check_cmake() {
    found=$(cmake --version | sed -n 's/^cmake version //p')
    case $found in
    [012].* | 3.[0-9] | 3.[0-9].* | 3.1[0-9]* | 3.2[0-4]*)
        die "CMake 3.25 or newer is needed, found $found; Debian 12 and Ubuntu 24.04 have it, elsewhere: pip install cmake" ;;
    esac
}

# install_needs GROUP...: installs everything in these groups, or ends the script.
install_needs() {
    brew=
    if command -v brew >/dev/null 2>&1; then
        brew=$(brew --prefix)
    fi
    termux=
    if [ -n "${PREFIX-}" ] && [ -x "$PREFIX/bin/pkg" ]; then
        termux=$PREFIX
        install_with_pkg "$@"
    elif command -v apt-get >/dev/null 2>&1; then
        install_with_apt "$@"
    elif [ -n "$(missing debian "$@")" ]; then
        explain_packages "$@"
    fi
    check_cmake
}

# build PRESET TARGET CMAKE-OPTION...: into build/PRESET.  Configures again if the options have changed.
build() {
    preset=$1
    target=$2
    shift 2
    mkdir -p "$root/build/$preset"
    if [ ! -f "$root/build/$preset/build.ninja" ] || [ "$(cat "$root/build/$preset/options" 2>/dev/null)" != "$*" ]; then
        say "configuring build/$preset"
        quietly "$root/build/$preset/configure.log" cmake -S "$root" --preset "$preset" "$@" || die "configuring failed"
        printf '%s\n' "$*" >"$root/build/$preset/options"
    fi
    say "building build/$preset"
    quietly "$root/build/$preset/build.log" cmake --build "$root/build/$preset" --target "$target" || die "building failed"
}
