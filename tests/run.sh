#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing (Debian, Ubuntu), then builds and runs every test: optimised, then with the address and
# undefined-behaviour sanitizers, which leave out what is tagged [slow], the projects in consume/ and the programs.
#   bash tests/run.sh [--preset release|asan|dev|tsan]... [arguments of ctest, for example -L golden]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/packages.sh"

presets=()
while [ "${1:-}" = --preset ]; do
    presets+=("${2:?--preset needs a name}")
    shift 2
done
[ ${#presets[@]} -gt 0 ] || presets=(release asan)

catch2=catch2/catch.hpp
[ -e /usr/include/$catch2 ] || catch2=catch2/catch_all.hpp
need_common_packages catch2=$catch2 libcli11-dev=CLI/CLI.hpp

# What costs g++ time and these programs nothing: looking for garbage long before memory is short (an eighth of the time),
# points-to analysis and the slower register allocator (as much again with sanitizers). At -O1 it suspects Eigen of what
# Eigen does not do.
quick=
! "${CXX:-c++}" --version | grep -q 'Free Software Foundation' ||
    quick="--param=ggc-min-heapsize=1000000 -fno-tree-pta -fira-algorithm=priority -Wno-maybe-uninitialized"

jobs=$(build_jobs)
build=$(build_root "$root")
summary=()
status=0
for preset in "${presets[@]}"; do
    echo "== $preset"
    SECONDS=0
    examples=OFF
    [ "$preset" != release ] || examples=ON
    # -O3 takes twice as long to compile as -O1.
    (cd "$root" && cmake --preset "$preset" -B "$build/$preset" -DITO_BUILD_EXAMPLES=$examples -DITO_BUILD_BENCHMARKS=OFF \
        -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG $quick" -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 $quick" \
        >"$build/$preset-configure.log") || { cat "$build/$preset-configure.log"; exit 1; }
    cmake --build "$build/$preset" -j "$jobs"
    built=$SECONDS
    for floor in $(cd "$root/tests" && ls -d */*_test.cpp | cut -d/ -f1 | sort -u); do
        if ctest --test-dir "$build/$preset" -N -L "^$floor\$" | grep -q '^Total Tests: 0'; then
            echo "no case of tests/$floor is known to ctest" >&2
            exit 1
        fi
    done
    passed=yes
    ctest --test-dir "$build/$preset" -j "$(nproc)" --output-on-failure --no-tests=error "$@" || passed=no
    log=$build/$preset/Testing/Temporary/LastTest.log
    ran=$(grep -c '^[0-9]*/[0-9]* Testing:' "$log" || true)
    # what the golden tests say about each case, without what Catch2 says around it
    awk '/^[0-9]+\/[0-9]+ Testing: /{golden = / Testing: golden\//; told = 0}
         /<end of output>/{told = 0}
         golden && told && !/^(Filters:|Randomness|All tests passed|=+$|-+$|$)/{print "  " $0}
         /^Output:/{told = 1; getline}' "$log"
    [ $passed = yes ] || status=1
    summary+=("$preset: $ran tests ran, all passed: $passed; built in $built s, tested in $((SECONDS - built)) s")
done
printf '%s\n' "${summary[@]}"
exit $status
