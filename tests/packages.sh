# SPDX-License-Identifier: MIT
# Sourced by tests/run.sh and examples/run.sh: what they need from Debian or Ubuntu, and where they build.

# need_packages PACKAGE=PROBE...: installs the packages whose probe, a program or a header, is not there.
need_packages() {
    local missing=() pair probe as_root=()
    for pair in "$@"; do
        probe=${pair#*=}
        case $probe in
            *.h | *.hpp | */*) [ -e "/usr/include/$probe" ] || [ -e "/usr/local/include/$probe" ] || missing+=("${pair%%=*}") ;;
            *) command -v "$probe" >/dev/null || missing+=("${pair%%=*}") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "missing, and there is no apt to install them with: ${missing[*]} (Debian's names)" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing: ${missing[*]}. Run once as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
}

need_common_packages() {
    need_packages g++="${CXX:-g++}" cmake=cmake ninja-build=ninja libeigen3-dev=eigen3/Eigen/Core \
        nlohmann-json3-dev=nlohmann/json.hpp zlib1g-dev=zlib.h libstb-dev=stb/stb_image.h \
        libhwy-dev=hwy/highway.h "$@"
}

# Where to build: beside the sources, elsewhere if they cannot be written.
build_root() {
    if mkdir -p "$1/build" 2>/dev/null && [ -w "$1/build" ]; then
        echo "$1/build"
    else
        echo "${TMPDIR:-/tmp}/ito-build-$(id -u)"
    fi
}

# One compiler for each core, and for each 2.5 GB of memory.
build_jobs() {
    local memory
    memory=$(awk '/^MemAvailable/ {print int($2 / 2500000)}' /proc/meminfo 2>/dev/null || true)
    local jobs
    jobs=$(nproc)
    if [ -n "$memory" ] && [ "$memory" -lt "$jobs" ]; then jobs=$memory; fi
    echo $((jobs > 1 ? jobs : 1))
}
