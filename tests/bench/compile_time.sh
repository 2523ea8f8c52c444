#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How long programs take to compile at -O2: one that includes everything (at most 20 s wanted), one that only samples (4 s).
#   bash tests/bench/compile_time.sh [COMPILER]
# Prints the processor time of the best of three, so that other work on the machine counts little.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
compiler=${1:-${CXX:-g++}}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

cat >"$folder/samplers.cpp" <<'CPP'
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/betas.hpp"

int main() {
    const ito::DiscreteSchedule schedule(ito::linear_betas<double>(1000));
    const auto network = [](const ito::Tensor<float>& x, const ito::NoiseLevel&) { return x; };
    const auto x = ito::sample<float>(ito::Denoiser{network, ito::Reading{}}, ito::Ddim{}, ito::trailing(schedule, 20),
                                      {16, 32, 32, 3}, {.seed = 1});
    return x.size() == 0;
}
CPP

measure() {
    local best=999 seconds
    for _ in 1 2 3; do
        seconds=$( { TIMEFORMAT='%U'; time "$compiler" -std=c++20 -O2 -march=native -I "$root/include" -isystem /usr/include/eigen3 \
            -c "$2" -o "$folder/out.o"; } 2>&1 | tail -1)
        best=$(awk -v a="$best" -v b="$seconds" 'BEGIN {print (a < b ? a : b)}')
    done
    echo "$1: $best s, wanted at most $3 s"
}
measure "everything (examples/minimal.cpp)" "$root/examples/minimal.cpp" 20
measure "samplers only" "$folder/samplers.cpp" 4
