// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/gemm.hpp"

// Sums of outer products, the gradient of what gemm.hpp computes with respect to the weight:
//
//     S_t [C, N] += sum over rows m of a(t, m)[0..C) times g(m)[0..N)
//
// Every element is accumulated in the order of the rows, by one multiply-add each.
namespace ito::simd {

namespace detail {

/// s[r][column..] += a(m)[channel + r] * g(m)[..] over the rows of one panel of g.
template <int Rows, int Vectors>
ITO_SIMD_INLINE void outer_tile(Index rows, const float* const* a, Index channel, const float* g, float* const* s, Index column) {
    Floats sum[Rows][Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = load(s[r] + column + v * lanes); });
    });
    for (Index row = 0; row < rows; ++row, g += Vectors * lanes) {
        const float* at = a[row] + channel;
        Floats right[Vectors];
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { right[v] = load(g + v * lanes); });
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
            const Floats left = broadcast(at[r]);
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = multiply_add(left, right[v], sum[r][v]); });
        });
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { store(sum[r][v], s[r] + column + v * lanes); });
    });
}

/// One tap's channels in tiles of at most dense_rows of about the same height, times one panel.
template <int Vectors>
void outer_panel(Index rows, const float* const* a, Index channels, const PanelStack& g, Index panel, float* s) {
    constexpr Index width = Vectors * lanes;
    const Index column = g.first_column(panel), columns = std::min(width, g.columns() - column);
    const Index tiles = (channels + dense_rows - 1) / dense_rows;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index channel = tile * channels / tiles, height = (tile + 1) * channels / tiles - channel;
        alignas(64) float room[dense_rows][width] = {};
        float* to[dense_rows] = {};
        for (Index r = 0; r < height; ++r) {
            to[r] = s + (channel + r) * g.columns() + column;
            if (columns == width) continue;
            std::copy_n(to[r], columns, room[r]);
            to[r] = room[r];
        }
        with_constant<dense_rows>(height, [&](auto constant) {
            outer_tile<constant, Vectors>(rows, a, channel, g.row(panel, 0, 0), to, 0);
        });
        if (columns == width) continue;
        for (Index r = 0; r < height; ++r) std::copy_n(room[r], columns, s + (channel + r) * g.columns() + column);
    }
}

}  // namespace detail

/// Rows that outer_products takes at a time: a panel of g stays in the first-level cache.
inline constexpr Index outer_rows = 256;

/// sums [taps, C, N] += outer products of the rows of one block, in this thread. a is [taps, rows], g [rows, N].
inline void outer_products(Index rows, Index taps, Index channels, const float* const* a, const PackedMatrix& g, float* sums) {
    for (Index tap = 0; tap < taps; ++tap)
        for (Index panel = 0; panel < g.panels().panels(); ++panel)
            with_constant<dense_vectors>(g.panels().vectors(panel), [&](auto vectors) {
                detail::outer_panel<vectors>(rows, a + tap * rows, channels, g.panels(), panel, sums + tap * channels * g.columns());
            });
}

/// sums [C, N] += x [rows, C] transposed times g [rows, N], in this thread.
inline void transposed_product(const float* x, Index rows, Index channels, const float* g, Index columns, float* sums) {
    Tensor<const float*> a({outer_rows});
    for (Index begin = 0; begin < rows; begin += outer_rows) {
        const Index count = std::min(outer_rows, rows - begin);
        for (Index r = 0; r < count; ++r) a[r] = x + (begin + r) * channels;
        outer_products(count, 1, channels, a.data(), PackedMatrix(WeightView::matrix(g + begin * columns, count, columns, columns, 1)), sums);
    }
}

/// sums [columns] = sums of the columns of x [rows, columns], in this thread: the gradient of a bias.
inline void column_sums(const float* x, Index rows, Index columns, float* sums) {
    constexpr int together = 4;
    Index column = 0;
    for (; column + together * lanes <= columns; column += together * lanes) {
        Floats sum[together];
        unrolled<together>([&](auto v) __attribute__((always_inline)) { sum[v] = broadcast(0); });
        for (Index row = 0; row < rows; ++row)
            unrolled<together>([&](auto v) __attribute__((always_inline)) {
                sum[v] = add(sum[v], load(x + row * columns + column + v * lanes));
            });
        unrolled<together>([&](auto v) __attribute__((always_inline)) { store(sum[v], sums + column + v * lanes); });
    }
    for (; column < columns; column += lanes) {
        Floats sum = broadcast(0);
        for (Index row = 0; row < rows; ++row) sum = add(sum, load_part(x + row * columns + column, columns - column));
        store_part(sum, sums + column, columns - column);
    }
}

}  // namespace ito::simd
