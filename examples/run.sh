#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing (Debian, Ubuntu), builds examples/sample.cpp for this machine, and draws pictures with the
# shipped model. Arguments go to the program:  bash examples/run.sh --sampler ddim --steps 50 --class 7
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/packages.sh"

model=$root/examples/models/fashion-mnist
for part in "$root/examples/sample.cpp" "$model/model_index.json"; do
    if [ ! -e "$part" ]; then
        echo "examples/run.sh: $part is not there" >&2
        exit 1
    fi
done

program=${ITO_SAMPLE:-}  # the tests bring their own
if [ -z "$program" ]; then
    need_common_packages libcli11-dev=CLI/CLI.hpp
    build=$(build_root "$root")/examples
    mkdir -p "$build"
    (cd "$root" && cmake --preset release -B "$build" -DITO_BUILD_TESTS=OFF -DITO_BUILD_BENCHMARKS=OFF \
        >"$build/configure.log") || { cat "$build/configure.log"; exit 1; }
    cmake --build "$build" -j "$(build_jobs)" --target sample
    program=$build/sample
fi

out=$root/samples.png
[ -w "$root" ] || out=$PWD/samples.png
given=" $* "
default() { [[ $given == *" $1"[\ =]* ]] || arguments+=("$1" "$2"); }
arguments=("$@")
[[ $given == *" --model"[\ =]* ]] || default --guidance 1.5
default --model "$model"
default --out "$out"
"$program" "${arguments[@]}"
[[ $given == *" --out"[\ =]* || $given == *" --help "* || $given == *" -h "* ]] || echo "The pictures are in $out"
