// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/simd/lanes.hpp"
#include "ito/simd/weight_view.hpp"

// Products of gathered rows with a packed matrix:
//
//     y(m)[0..N) += sum over t of a(t, m)[0..C) * W_t [C, N]
//
// where a(t, m) is any address that holds C floats. A linear layer has one t and a(m) is a row of the input; a
// convolution has one t for each pixel of the kernel and a(t, m) is a pixel of the image, or zeros outside it: no copy
// of the patches is made.
//
// Every element of y is accumulated in the order of t, then of the channel, by one multiply-add each, starting from the
// value that y holds. Rows and columns that fill no whole tile run through the same code beside rows and columns whose
// result is thrown away. So a row has the same bits whatever the other rows are, how many there are, and which thread
// computes it.
namespace ito::simd {

// A tile is as large as the registers allow: 6 x 16 with 16 of them (AVX2), 8 x 32 with 32 (AVX-512).
inline constexpr int tile_rows = lanes == 16 ? 8 : 6;
inline constexpr int tile_vectors = 2;

/// A matrix [depth, columns] cut into panels of one tile's columns, [panel][depth][width], the last one filled up with
/// zeros.
class PackedMatrix {
  public:
    PackedMatrix() = default;

    /// Row t * w.in + c holds the weights of tap t and channel c.
    explicit PackedMatrix(const WeightView& w)
        : depth_(w.taps * w.in), columns_(w.out), width_(columns_ <= lanes ? lanes : tile_vectors * lanes) {
        panels_ = Tensor<float>({panels(), depth_, width_});
        parallel_for(panels() * depth_, std::max<Index>(64, (1 << 15) / width_), [&](Index begin, Index end) {
            for (Index line = begin; line < end; ++line) {
                const Index k = line % depth_, first = line / depth_ * width_, count = std::min(width_, columns_ - first);
                const float* from = w.first + k / w.in * w.tap_stride + k % w.in * w.in_stride + first * w.out_stride;
                float* to = panels_.data() + line * width_;
                if (w.out_stride == 1) std::copy_n(from, count, to);
                else
                    for (Index n = 0; n < count; ++n) to[n] = from[n * w.out_stride];
                std::fill(to + count, to + width_, 0.0f);
            }
        });
    }

    Index depth() const { return depth_; }
    Index columns() const { return columns_; }
    Index width() const { return width_; }
    Index panels() const { return (columns_ + width_ - 1) / width_; }

    /// Row k of a panel: width() floats; the rows below follow.
    const float* row(Index panel, Index k) const { return panels_.data() + (panel * depth_ + k) * width_; }

  private:
    Index depth_ = 0, columns_ = 0, width_ = lanes;
    Tensor<float> panels_;
};

/// The addresses a(t, m) and y(m) of a block of rows, filled up to whole tiles. See gathered_product.
struct RowBlock {
    Index rows;                      // a multiple of tile_rows
    Index taps, channels;
    const float* const* a;           // [taps, rows]
    const Index* weight_rows;        // [taps], where W_t begins in the packed matrix
    float* const* y;                 // [rows]; for rows that fill up, any room for a row of the result
};

namespace detail {

/// Channels [first, first + count) of taps [begin, end) of a tile of rows times one panel, added to y[r][column..].
template <int Rows, int Vectors>
ITO_SIMD_INLINE void multiply_tile(const RowBlock& block, Index row, Index begin, Index end, Index first, Index count,
                                   const PackedMatrix& w, Index panel, float* const* y, Index column) {
    Floats sum[Rows][Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = load(y[r] + column + v * lanes); });
    });
    for (Index tap = begin; tap < end; ++tap) {
        const float* b = w.row(panel, block.weight_rows[tap] + first);
        const float* const* at = block.a + tap * block.rows + row;
        const float* a[Rows];
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) { a[r] = at[r] + first; });
        for (Index c = 0; c < count; ++c, b += Vectors * lanes) {
            Floats right[Vectors];
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { right[v] = load(b + v * lanes); });
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                const Floats left = broadcast(a[r][c]);
                unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = multiply_add(left, right[v], sum[r][v]); });
            });
        }
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { store(sum[r][v], y[r] + column + v * lanes); });
    });
}

template <int Vectors>
void multiply_panel(const RowBlock& block, Index begin, Index end, Index first, Index count, const PackedMatrix& w,
                    Index panel) {
    constexpr Index width = Vectors * lanes;
    const Index column = panel * width, columns = std::min(width, w.columns() - column);
    for (Index row = 0; row < block.rows; row += tile_rows) {
        if (columns == width) {
            multiply_tile<tile_rows, Vectors>(block, row, begin, end, first, count, w, panel, block.y + row, column);
            continue;
        }
        alignas(64) float room[tile_rows][width] = {};
        float* rooms[tile_rows];
        for (int r = 0; r < tile_rows; ++r) {
            rooms[r] = room[r];
            std::copy_n(block.y[row + r] + column, columns, room[r]);
        }
        multiply_tile<tile_rows, Vectors>(block, row, begin, end, first, count, w, panel, rooms, 0);
        for (int r = 0; r < tile_rows; ++r) std::copy_n(room[r], columns, block.y[row + r] + column);
    }
}

/// Depth of the pieces that the sum is cut into, so that a panel's piece stays in the first-level cache for all rows.
inline constexpr Index depth_piece = 256;

}  // namespace detail

/// y(m) += sum over t of a(t, m) * W_t for the rows of one block, in this thread.
inline void gathered_product(const RowBlock& block, const PackedMatrix& w) {
    const Index together = std::max<Index>(1, detail::depth_piece / std::max<Index>(1, block.channels));
    for (Index tap = 0; tap < block.taps; tap += together)
        for (Index first = 0; first < block.channels; first += detail::depth_piece) {
            const Index end = std::min(block.taps, tap + together), count = std::min(detail::depth_piece, block.channels - first);
            for (Index panel = 0; panel < w.panels(); ++panel) {
                if (w.width() == lanes) detail::multiply_panel<1>(block, tap, end, first, count, w, panel);
                else detail::multiply_panel<tile_vectors>(block, tap, end, first, count, w, panel);
            }
        }
}

/// Rows of a block: few enough that its part of the input stays in the second-level cache, many enough that the panels
/// are read rarely, and at least eight blocks where there are as many tiles.
inline Index block_rows(Index rows) {
    return std::clamp<Index>((rows / 8 + tile_rows - 1) / tile_rows, 1, 32) * tile_rows;
}

/// y [rows, N] = start + x [rows, C] * w [C, N] on all threads. start(m, y + m * N) writes the start values of row m.
template <class Start>
void matrix_product(const float* x, Index rows, const PackedMatrix& w, float* y, Start&& start) {
    const Index depth = w.depth(), columns = w.columns();
    parallel_for(rows, block_rows(rows), [&](Index begin, Index end) {
        const Index count = (end - begin + tile_rows - 1) / tile_rows * tile_rows, weight_row = 0;
        Tensor<const float*> a({count});
        Tensor<float*> to({count});
        Tensor<float> unused({count > end - begin ? columns : 0});
        for (Index r = 0; r < count; ++r) {
            const Index row = std::min(begin + r, end - 1);
            a[r] = x + row * depth;
            to[r] = begin + r < end ? y + row * columns : unused.data();
            if (begin + r < end) start(row, to[r]);
        }
        std::fill_n(unused.data(), unused.size(), 0.0f);
        gathered_product({count, 1, depth, a.data(), &weight_row, to.data()}, w);
    });
}

}  // namespace ito::simd
