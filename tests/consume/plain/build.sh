#!/bin/sh
# SPDX-License-Identifier: MIT
# Without a build system, as README says: build.sh COMPILER OUTPUT
set -e
cd "$(dirname "$0")/../../.."
${1:-g++} -std=c++20 -O2 -march=native -I include -I /usr/include/eigen3 tests/consume/main.cpp -o "$2" -lz
"$2"
