// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/tensor.hpp"
#include "ito/simd/lanes.hpp"

// Products of dense matrices in one thread, for what works at many small matrices of the same size at a time.
namespace ito::simd {

// A tile is as large as the registers allow: 6 x 16 with 16 of them (AVX2), 6 x 64 with 32 (AVX-512).
inline constexpr int dense_rows = 6;
inline constexpr int dense_vectors = registers == 32 ? 4 : 2;

/// `count` floats that are `stride` apart, the rest of the register zero.
ITO_SIMD_INLINE Floats load_strided(const float* p, Index stride, Index count) {
    if (stride == 1) return load_part(p, count);
    alignas(64) float room[lanes] = {};
    for (Index i = 0; i < std::min<Index>(lanes, count); ++i) room[i] = p[i * stride];
    return load(room);
}

/// Matrices [depth, columns], cut into panels of at most a tile's columns, whole registers and about the same number in
/// each: [panel][matrix][depth][width]. Matrices stand a cache line off a multiple of their size, see PointRoom.
class PanelStack {
  public:
    PanelStack() = default;

    /// Uninitialised.
    PanelStack(Index columns, Index depth, Index matrices)
        : columns_(columns), depth_(depth), matrices_(matrices), registers_((columns + lanes - 1) / lanes),
          panels_((registers_ + dense_vectors - 1) / dense_vectors), values_({offset(panels_)}) {}

    static PanelStack zeros(Index columns, Index depth, Index matrices) {
        PanelStack stack(columns, depth, matrices);
        std::fill_n(stack.values_.data(), stack.values_.size(), 0.0f);
        return stack;
    }

    Index columns() const { return columns_; }
    Index depth() const { return depth_; }
    Index panels() const { return panels_; }
    Index first_column(Index panel) const { return panel * registers_ / std::max<Index>(1, panels_) * lanes; }
    Index width(Index panel) const { return first_column(panel + 1) - first_column(panel); }
    int vectors(Index panel) const { return static_cast<int>(width(panel) / lanes); }
    /// Between a place in a matrix of a panel and the same place in the next matrix.
    Index stride(Index panel) const { return depth_ * width(panel) + 16; }

    /// Row k of a matrix of a panel: width(panel) floats; the rows below follow.
    float* row(Index panel, Index matrix, Index k) {
        return values_.data() + offset(panel) + matrix * stride(panel) + k * width(panel);
    }
    const float* row(Index panel, Index matrix, Index k) const { return const_cast<PanelStack*>(this)->row(panel, matrix, k); }

  private:
    Index offset(Index panel) const { return matrices_ * (depth_ * first_column(panel) + 16 * panel); }

    Index columns_ = 0, depth_ = 0, matrices_ = 0;
    Index registers_ = 0, panels_ = 0;  // that a row of a matrix fills, and panels that share them
    Tensor<float> values_;
};

/// What is read after a product: rows as long as those of its right matrix.
struct Then {
    const float* first = nullptr;
    Index rows = 0;
};

namespace detail {

/// What a product asks the memory for while it computes, so that matrices that are read once arrive without waiting.
/// A few cache lines at a time and into the second-level cache, as the first-level one can wait for a dozen lines only
/// and would let the product wait behind them; and in two streams side by side, for each of which processors fetch what
/// follows on their own, if they are given the time.
struct Ahead {
    const float* at;
    Index stride;  // between the streams
    Index left, lines;  // of a stream: in all, and for every `rows` rows of the right matrix

    static constexpr Index rows = 4, line = 64 / sizeof(float);

    /// The share of each of `tiles` tiles of `depth` rows in asking for `count` rows of `width` floats from `first` on,
    /// seen from the first tile; none if `first` is null.
    static Ahead share(const float* first, Index count, Index width, Index depth, Index tiles) {
        if (!first || count == 0) return {nullptr, 0, 0, 0};
        const Index stream = (count * width / line + 1) / 2, times = (depth + rows - 1) / rows;
        const Index part = (stream + tiles - 1) / std::max<Index>(1, tiles);
        return {first, stream * line, part, (part + times - 1) / times};
    }

    Ahead of_tile(Index tile) const { return {at + tile * left * line, stride, left, lines}; }

    ITO_SIMD_INLINE void ask() {
        for (Index i = std::min(lines, left); i > 0; --i, at += line) {
            __builtin_prefetch(at, 0, 2);
            __builtin_prefetch(at + stride, 0, 2);
        }
        left -= lines;
    }
};

/// y [Rows, Vectors * lanes] = or += a b. Element (r, k) of a is at a[r * a_step + k], transposed at
/// a[r + k * a_step]. Those of `next` with the same places are asked for: they are read after this.
template <int Rows, int Vectors, bool Transposed>
ITO_SIMD_INLINE void dense_tile(const float* a, Index a_step, const float* next, const float* b, Index depth, float* y, bool adds,
                                Ahead ahead) {
    constexpr Index width = Vectors * lanes;
    Floats sum[Rows][Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = broadcast(0); });
    });
    const float* at[Rows];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) { at[r] = a + r * a_step; });
    const auto step = [&](Index k, const float* row) __attribute__((always_inline)) {
        Floats right[Vectors];
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { right[v] = load(row + v * lanes); });
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
            const Floats left = broadcast(Transposed ? a[k * a_step + r] : at[r][k]);
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = multiply_add(left, right[v], sum[r][v]); });
        });
    };
    Index k = 0;
    for (; k + Ahead::rows <= depth; k += Ahead::rows) {
        ahead.ask();
        if (!Transposed && k % 16 == 0)
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) { __builtin_prefetch(next + r * a_step + k); });
        unrolled<Ahead::rows>([&](auto i) __attribute__((always_inline)) { step(k + i, b + (k + i) * width); });
    }
    for (; k < depth; ++k) step(k, b + k * width);
    if (adds)
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = add(sum[r][v], load(y + r * width + v * lanes)); });
        });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { store(sum[r][v], y + r * width + v * lanes); });
    });
}

template <int Vectors, bool Transposed>
void dense_panel(const float* a, Index a_step, Index rows, const float* b, Index depth, float* y, bool adds, Then then) {
    const Index tiles = (rows + dense_rows - 1) / dense_rows, least = tiles ? rows / tiles : 0, higher = tiles ? rows % tiles : 0;
    const Ahead ahead = Ahead::share(then.first, then.rows, Vectors * lanes, depth, tiles);
    const float* const first = a;
    for (Index begin = 0, end; begin < tiles; begin = end) {  // those of one height in one loop
        end = begin < higher ? higher : tiles;
        with_constant<dense_rows>(least + (begin < higher), [&](auto height) {
            for (Index tile = begin; tile < end; ++tile, a += height * (Transposed ? 1 : a_step), y += height * Vectors * lanes)
                dense_tile<height, Vectors, Transposed>(a, a_step, tile + 1 < tiles ? a + height * a_step : first + depth, b, depth, y,
                                                        adds, ahead.of_tile(tile));
        });
    }
}

/// Depth of the pieces that a sum is cut into, so that a panel's piece stays in the first-level cache for all rows.
inline constexpr Index dense_depth = 128;

template <bool Transposed>
void any_panel(const float* a, Index a_step, Index rows, const float* b, int vectors, Index depth, float* y, bool adds, Then then) {
    for (Index k = 0; k < depth; k += dense_depth) {
        const Index count = std::min(dense_depth, depth - k), left = std::min(dense_depth, depth - k - count);
        const float* const piece = b + k * vectors * lanes;
        with_constant<dense_vectors>(vectors, [&](auto constant) {
            dense_panel<constant, Transposed>(a + k * (Transposed ? a_step : 1), a_step, rows, piece, count, y, adds || k > 0,
                                              left > 0 ? Then{piece + count * vectors * lanes, left} : then);
        });
    }
}

}  // namespace detail

/// y [rows, width] = or += a [rows, depth] b [depth, width] in this thread, with width = vectors * lanes; rows of a are
/// a_step apart. Every element is summed in the order of depth, by one multiply-add each. `then` arrives meanwhile.
inline void panel_product(const float* a, Index a_step, Index rows, const float* b, int vectors, Index depth, float* y,
                          bool adds = false, Then then = {}) {
    detail::any_panel<false>(a, a_step, rows, b, vectors, depth, y, adds, then);
}

/// y [rows, width] += a [depth, rows] transposed times b [depth, width], likewise.
inline void add_transposed_panel_product(const float* a, Index a_step, Index rows, const float* b, int vectors, Index depth,
                                         float* y) {
    detail::any_panel<true>(a, a_step, rows, b, vectors, depth, y, true, {});
}

}  // namespace ito::simd
