#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds ito's benchmark, makes a Python environment with PyTorch, diffusers, ONNX Runtime and OpenVINO, and times them
# beside each other: same weights, same threads, taking turns. Writes peers.md and peers.json.
#   bash tests/bench/peers.sh [--env FOLDER] [options of peers.py, for example --threads 2 --only forward --isa avx2]
# The environment (about 7 GB, once) goes to --env, $ITO_PEERS_ENV or ${XDG_CACHE_HOME:-~/.cache}/ito-peers.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/packages.sh"

environment=${ITO_PEERS_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/ito-peers}
if [ "${1:-}" = --env ]; then
    environment=${2:?--env needs a folder}
    shift 2
fi
need_common_packages libcli11-dev=CLI/CLI.hpp python3-venv=python3
if ! "$environment/bin/python" -c 'import torch, diffusers, onnx, onnxscript, onnxruntime, openvino, PIL' 2>/dev/null; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install -q --only-binary=:all: torch diffusers safetensors pillow onnx onnxscript onnxruntime openvino
fi

march=native
case " $* " in *" --isa avx2 "*) march=haswell ;; esac
build=$(build_root "$root")/bench-$march
(cd "$root" && cmake --preset release -B "$build" -DITO_BUILD_TESTS=OFF -DITO_BUILD_EXAMPLES=OFF -DITO_BENCHMARK_MARCH=$march >/dev/null)
cmake --build "$build" -j "$(build_jobs)" --target bench
exec "$environment/bin/python" "$root/tests/bench/peers.py" --bench "$build/bench" --out "$build/peers" "$@"
