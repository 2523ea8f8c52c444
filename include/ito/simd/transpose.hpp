// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>

#include "ito/simd/lanes.hpp"

namespace ito::simd {

namespace detail {

/// transpose for four rows and four columns.
ITO_SIMD_INLINE void transpose_four(const float* from, Index from_step, float* to, Index to_step) {
    using Four = float __attribute__((vector_size(16)));
    Four row[4];
    unrolled<4>([&](auto i) __attribute__((always_inline)) { std::memcpy(&row[i], from + i * from_step, sizeof row[i]); });
    const Four low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    const Four low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5), high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    const Four column[] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                           __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
    unrolled<4>([&](auto i) __attribute__((always_inline)) { std::memcpy(to + i * to_step, &column[i], sizeof column[i]); });
}

}  // namespace detail

/// to[c * to_step + r] = from[r * from_step + c] for r in [0, rows), c in [0, columns).
inline void transpose(const float* from, Index from_step, Index rows, Index columns, float* to, Index to_step) {
    constexpr Index line = 16;  // floats of a cache line, which is written as a whole
    const auto four = [&](Index r, Index c) __attribute__((always_inline)) {
        detail::transpose_four(from + r * from_step + c, from_step, to + c * to_step + r, to_step);
    };
    for (Index begin = 0; begin < rows; begin += line) {
        const Index end = std::min(begin + line, rows);
        for (Index c = 0; c < columns; c += 4) {
            Index r = begin;
            if (c + 4 <= columns) {
                if (end - begin == line) {
                    unrolled<line / 4>([&](auto i) __attribute__((always_inline)) { four(begin + 4 * i, c); });
                    r = end;
                }
                for (; r + 4 <= end; r += 4) four(r, c);
            }
            for (; r < end; ++r)
                for (Index i = c; i < std::min(c + 4, columns); ++i) to[i * to_step + r] = from[r * from_step + i];
        }
    }
}

}  // namespace ito::simd
