#!/bin/sh
# Compiles every pipeline with the compilers of real GPU drivers, on any machine: the drivers are Mesa's own, set to compile for
# hardware that is absent.  Writes a table for each target to tests/data/compiled, so that a change shows as a diff, and the
# one in docs/drivers.md that has llama.cpp's kernels beside ours.
#
#     tools/compilers.sh radv             this machine's own RADV, for the families that the tests compare (seconds)
#     tools/compilers.sh [all]            that, and every target below in a chroot with a newer Mesa (a minute)
#     tools/compilers.sh TARGET...        only these
#     tools/compilers.sh run TARGET COMMAND...    a program of the chroot as if on that device; $cache is /cache there
#     tools/compilers.sh targets          their names
#
# The chroot is made once, as root, in RWKVK_COMPILERS (default ~/.cache/rwkvk/compilers; 3 GB, 5 minutes): Debian 13 with Mesa of
# its backports and Mesa's drm-shim, libraries that stand in for each vendor's kernel driver.  Intel's, which Debian does not
# package, is built there from Debian's source of Mesa; the Mali driver exists for arm64 only and runs under qemu.
set -eu
. "$(dirname -- "$0")/setup.sh"
. "$root/tools/chroot.sh"

cache=${RWKVK_COMPILERS:-$HOME/.cache/rwkvk/compilers}
chroot=$cache/trixie
tables=$root/tests/data/compiled

# RADV families of this machine's Mesa.
families='gfx1100 navi21 vega10'

# name, architecture, driver, shim, variables for the shim
targets() {
    cat <<'END'
amd-polaris10  amd64 radeon       amdgpu    AMDGPU_GPU_ID=polaris10
amd-navi21     amd64 radeon       amdgpu    AMDGPU_GPU_ID=navi21
amd-navi31     amd64 radeon       amdgpu    AMDGPU_GPU_ID=navi31
intel-skl      amd64 intel        intel     INTEL_STUB_GPU_PLATFORM=skl
intel-dg2      amd64 intel        intel     INTEL_STUB_GPU_PLATFORM=dg2
intel-bmg      amd64 intel        intel     INTEL_STUB_GPU_PLATFORM=bmg
nvidia-pascal  amd64 nouveau      nouveau   NOUVEAU_CHIPSET=0x134
nvidia-ampere  amd64 nouveau      nouveau   NOUVEAU_CHIPSET=0x174
adreno-618     amd64 freedreno    freedreno FD_GPU_ID=618
adreno-740     amd64 freedreno    freedreno FD_GPU_ID=740
mali-g610      arm64 panfrost     panfrost  PAN_GPU_ID=a867
apple-m1       amd64 asahi        asahi     RWKVK_NONE=
END
}

make_trixie() {
    make_base trixie 'trixie trixie-backports' && inside dpkg --add-architecture arm64
}

install_inside() {
    apt_inside update && apt_inside -t trixie-backports install mesa-vulkan-drivers mesa-drm-shim libvulkan1 \
        qemu-user mesa-vulkan-drivers:arm64 mesa-drm-shim:arm64 libvulkan1:arm64 libgcc-s1:arm64 \
        gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross libvulkan-dev libvulkan-volk-dev libcmocka-dev
}

# A single library of Mesa, not all of it.
make_intel_shim() {
    sources source deb-src trixie && apt_inside update &&
        apt_inside -t trixie-backports install meson ninja-build g++ pkg-config libdrm-dev python3-mako python3-yaml \
            python3-packaging bison flex libexpat1-dev zlib1g-dev libelf-dev glslang-tools dpkg-dev xz-utils &&
        inside sh -ec '
            rm -rf /build && mkdir /build && cd /build
            apt-get source --download-only mesa/trixie
            tar xf mesa_*.orig.tar.xz --strip-components=1
            meson setup b -Dgallium-drivers= -Dvulkan-drivers= -Dtools=drm-shim,intel -Dplatforms= -Dglx=disabled \
                -Degl=disabled -Dgbm=disabled -Dopengl=false -Dgles1=disabled -Dgles2=disabled -Dllvm=disabled \
                -Dvalgrind=disabled -Dlibunwind=disabled -Dbuildtype=release
            nice ninja -C b src/intel/tools/libintel_noop_drm_shim.so
            cp b/src/intel/tools/libintel_noop_drm_shim.so /usr/lib/x86_64-linux-gnu/
            cd / && rm -rf /build'
}

need_chroot() {
    [ -e "$chroot/complete" ] || [ "$(id -u)" -eq 0 ] ||
        die "only root can make a chroot: sudo env RWKVK_COMPILERS=$cache $0 (without it there is: $0 radv)"
    [ -e "$chroot/complete" ] || command -v debootstrap >/dev/null 2>&1 ||
        die "debootstrap is needed for the chroot, on Debian: apt-get install debootstrap (without it there is: $0 radv)"
    make_chroot "Mesa's drivers" make_trixie install_inside make_intel_shim || die "the chroot could not be made"
}

# The program that prints the table, for both architectures.  Only what it uses is linked, so it needs no library but libc; the
# shaders are those of this machine's build.
build_inside() {
    rm -rf "$cache/source"
    mkdir -p "$cache/source/shaders/common"
    cp -r "$root/src" "$root/include" "$root/tests" "$cache/source/"
    cp "$root"/shaders/common/layout.h "$cache/source/shaders/common/"
    cp "$root"/build/dev/shaders/*.h "$root/build/dev/shaders/embedded_shaders.c" "$cache/source/shaders/"
    inside sh -ec '
        cd /cache/source
        for cc in gcc aarch64-linux-gnu-gcc; do
            $cc -std=c11 -O1 -D_GNU_SOURCE -DRWKVK_BUILDING -DSHADER_COMPILER="\"$1\"" -ffunction-sections -fdata-sections \
                -Wl,--gc-sections -Iinclude -Isrc -Ishaders -Itests/support -idirafter /usr/include -w \
                -o "/cache/compile_table-$cc" tests/gpu/compile_table.c tests/support/*model.c tests/support/compiler_statistics.c \
                $(grep -LE "<(jansson|zip)[.]h>" src/base/*.c src/gpu/*.c src/format/*.c src/network/*.c src/engine/*.c) shaders/embedded_shaders.c /usr/include/volk.c -lm
        done' sh "$(shader_compiler)"
}

shader_compiler() {
    sed -n 's/^SHADER_COMPILER:INTERNAL=//p' "$root/build/dev/CMakeCache.txt"
}

# run TARGET COMMAND...: the command may hold %A, the name of the target's compiler
run() {
    target=$1
    shift
    line=$(targets | grep "^$target ") || die "there is no target $target; see $0 targets"
    # shellcheck disable=SC2086
    set -- $line "$@"
    architecture=$2 driver=$3 shim=$4 variables=$5
    shift 5
    variables="$variables VK_DRIVER_FILES=/usr/share/vulkan/icd.d/${driver}_icd.json MESA_SHADER_CACHE_DISABLE=true RWKVK_CACHE_DIR="
    if [ "$architecture" = arm64 ]; then
        variables="$variables LD_PRELOAD=/usr/lib/aarch64-linux-gnu/lib${shim}_noop_drm_shim.so PAN_I_WANT_A_BROKEN_VULKAN_DRIVER=1"
        # shellcheck disable=SC2086
        inside qemu-aarch64 $(printf -- '-E %s ' $variables) "$@"
    else
        # shellcheck disable=SC2086
        inside env $variables LD_PRELOAD="/usr/lib/x86_64-linux-gnu/lib${shim}_noop_drm_shim.so" "$@"
    fi
}

# table NAME COMMAND...: what the command prints becomes the table, if all goes well.
table() {
    name=$1
    shift
    if "$@" >"$tables/$name.txt.new" 2>"$tables/$name.log"; then
        mv "$tables/$name.txt.new" "$tables/$name.txt"
        say "$name: $(sed -n 's/^# //p' "$tables/$name.txt" | head -n 1)"
        spills=$(awk '$1 != "#" && ($(NF - 1) > 0 || $NF > 0)' "$tables/$name.txt")
        if [ -n "$spills" ]; then
            printf '%s\n' "$spills" >&2
            say "$name: SPILLS"
            failed="${failed-} $name"
        fi
    else
        tail -n 5 "$tables/$name.log" >&2
        say "$name: FAILED"
        failed="${failed-} $name"
    fi
    rm -f "$tables/$name.txt.new" "$tables/$name.log"
}

own_radv() {
    icd=
    for file in /usr/share/vulkan/icd.d/radeon_icd*.json; do
        [ ! -e "$file" ] || icd=$file
    done
    [ -n "$icd" ] || die "RADV is not installed here (mesa-vulkan-drivers)"
    for family in $families; do
        table "radv-$family" env VK_ICD_FILENAMES="$icd" VK_DRIVER_FILES="$icd" RWKVK_CACHE_DIR= MESA_SHADER_CACHE_DISABLE=true \
            RADV_FORCE_FAMILY="$(echo "$family" | tr '[:lower:]' '[:upper:]')" "$root/build/dev/tests/gpu/compile_table"
    done
}

in_chroot() {
    need_chroot
    build_inside
    for target in "$@"; do
        architecture=$(targets | sed -n "s/^$target  *\([a-z0-9]*\) .*/\1/p")
        case $architecture in
        amd64) table "$target" run "$target" /cache/compile_table-gcc ;;
        arm64) table "$target" run "$target" /cache/compile_table-aarch64-linux-gnu-gcc ;;
        *) die "there is no target $target; see $0 targets" ;;
        esac
    done
}

command=${1:-all}
case $command in
targets)
    targets | cut -d ' ' -f 1
    exit ;;
run)
    shift
    need_chroot
    run "$@"
    exit ;;
esac

install_needs run test
build dev rwkvk_compile_table
mkdir -p "$tables"
case $command in
radv) own_radv ;;
all)
    own_radv
    # shellcheck disable=SC2046
    in_chroot $(targets | cut -d ' ' -f 1) ;;
*) in_chroot "$@" ;;
esac
[ -z "${failed-}" ] || die "no table, or spills, for:$failed"
[ ! -f "$tables/amd-navi31.txt" ] || python3 "$root/tools/compare_compiled.py"
