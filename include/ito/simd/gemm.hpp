// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/simd/dense.hpp"
#include "ito/simd/operands.hpp"

// Products of gathered rows with a packed matrix:
//
//     y(m)[0..N) = addends + sum over t of a(t, m)[0..C) * W_t [C, N]
//
// where a(t, m) is any address that holds C floats. A linear layer has one t and a(m) is a row of the input; a
// convolution has one t for each pixel of the kernel and a(t, m) is a pixel of the image, or zeros outside it: no copy
// of the patches is made.
//
// Every element of y starts from its addends and is accumulated in the order of t, then of the channel, by one
// multiply-add each. So a row has the same bits whatever the other rows are, how many there are, and which thread
// computes it.
namespace ito::simd {

/// The weights [taps, in, out] as one matrix [taps * in, out] in panels.
class PackedMatrix {
  public:
    PackedMatrix() = default;

    explicit PackedMatrix(const WeightView& w) : panels_(w.out, w.taps * w.in, 1) {
        const Index together = 1 + (1 << 13) / (1 + w.in * dense_vectors * lanes);
        parallel_for(panels_.panels() * w.taps, together, [&](Index begin, Index end) {
            for (Index piece = begin; piece < end; ++piece) {
                const Index panel = piece / w.taps, tap = piece % w.taps;
                const Index column = panels_.first_column(panel), width = panels_.width(panel), count = std::min(width, w.out - column);
                const float* const from = w.first + tap * w.tap_stride + column * w.out_stride;
                float* const to = panels_.row(panel, 0, tap * w.in);
                if (w.out_stride == 1)
                    for (Index c = 0; c < w.in; ++c) std::copy_n(from + c * w.in_stride, count, to + c * width);
                else
                    for (Index first = 0; first < w.in; first += 16)  // as few rows as the first-level cache holds
                        for (Index n = 0; n < count; ++n)
                            for (Index c = first; c < std::min(first + 16, w.in); ++c)
                                to[c * width + n] = from[c * w.in_stride + n * w.out_stride];
                if (count < width)
                    for (Index c = 0; c < w.in; ++c) std::fill(to + c * width + count, to + (c + 1) * width, 0.0f);
            }
        });
    }

    Index depth() const { return panels_.depth(); }
    Index columns() const { return panels_.columns(); }
    const PanelStack& panels() const { return panels_; }

  private:
    PanelStack panels_;
};

/// The addresses a(t, m) and y(m) of a block of rows. See gathered_product.
struct RowBlock {
    Index rows, taps, channels;
    const float* const* a;                    // [taps, rows]
    const Index* weight_rows;                 // [taps], where W_t begins in the packed matrix
    float* const* y;                          // [rows]
    const float* const* start;                // [rows], N floats each that y starts from; may be y itself
    const float* const* residual = nullptr;   // [rows], N floats each to be added to that, or null
};

namespace detail {

/// Channels [first, first + count) of taps [begin, end): a piece of the sum that makes an element of y.
struct SumPiece {
    Index begin, end, first, count;
    bool begins() const { return begin == 0 && first == 0; }
    Index rows() const { return (end - begin) * count; }
};

/// Asks for `count` floats that are about to be read or written.
ITO_SIMD_INLINE void prefetch(const float* p, Index count, bool writes) {
    for (Index i = 0; i < count; i += 16) {
        if (writes) __builtin_prefetch(p + i, 1);
        else __builtin_prefetch(p + i, 0);
    }
}

/// Where a tile finds its rows: at [r] + column.
struct TileRows {
    const float* const* start;
    const float* const* residual;  // or null
    float* const* y;
    Index column;
};

/// A piece of the sum for Rows rows from `row` on, times the panel whose row 0 is `panel`.
template <int Rows, int Vectors>
ITO_SIMD_INLINE void gathered_tile(const RowBlock& block, Index row, const SumPiece& piece, const float* panel, const TileRows& rows,
                                   Ahead ahead) {
    Floats sum[Rows][Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const float* const from = rows.start[r] + rows.column;
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = load(from + v * lanes); });
    });
    if (rows.residual)
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
            const float* const from = rows.residual[r] + rows.column;
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = add(sum[r][v], load(from + v * lanes)); });
        });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) { prefetch(rows.y[r] + rows.column, Vectors * lanes, true); });
    const Index step = row + 2 * Rows <= block.rows ? Rows : 0;  // to the rows after these, which are asked for
    for (Index tap = piece.begin; tap < piece.end; ++tap) {
        const float* b = panel + (block.weight_rows[tap] + piece.first) * Vectors * lanes;
        const float* const* at = block.a + tap * block.rows + row;
        const float* a[Rows];
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) { a[r] = at[r] + piece.first; });
        const auto multiply_row = [&](Index c, const float* row) __attribute__((always_inline)) {
            Floats right[Vectors];
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { right[v] = load(row + v * lanes); });
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                const Floats value = broadcast(a[r][c]);
                unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = multiply_add(value, right[v], sum[r][v]); });
            });
        };
        Index c = 0;
        for (; c + Ahead::rows <= piece.count; c += Ahead::rows, b += Ahead::rows * Vectors * lanes) {
            ahead.ask();
            if (c % 16 == 0)
                unrolled<Rows>([&](auto r) __attribute__((always_inline)) { __builtin_prefetch(at[step + r] + piece.first + c); });
            unrolled<Ahead::rows>([&](auto i) __attribute__((always_inline)) { multiply_row(c + i, b + i * Vectors * lanes); });
        }
        for (; c < piece.count; ++c, b += Vectors * lanes) multiply_row(c, b);
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        float* const to = rows.y[r] + rows.column;
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { store(sum[r][v], to + v * lanes); });
    });
}

/// Where the rows of y end within a panel, a tile works in a room of its own instead: this fills it with what the tile starts
/// from.
inline TileRows edge_rows(const TileRows& from, Index rows, Index columns, Index width, float* room, float** rooms) {
    for (Index r = 0; r < rows; ++r) {
        rooms[r] = room + r * width;
        for (Index n = 0; n < columns; ++n)
            rooms[r][n] = from.start[r][from.column + n] + (from.residual ? from.residual[r][from.column + n] : 0.0f);
        std::fill(rooms[r] + columns, rooms[r] + width, 0.0f);
    }
    return {rooms, nullptr, rooms, 0};
}

template <int Vectors>
void gathered_panel(const RowBlock& block, const SumPiece& piece, const PanelStack& w, Index panel, const float* next) {
    constexpr Index width = Vectors * lanes;
    const Index column = w.first_column(panel), columns = w.columns() - column, tiles = (block.rows + dense_rows - 1) / dense_rows;
    const float* const* const start = piece.begins() ? block.start : block.y;
    const float* const* const residual = piece.begins() ? block.residual : nullptr;
    const float* const first = w.row(panel, 0, 0);
    const Index least = tiles ? block.rows / tiles : 0, higher = tiles ? block.rows % tiles : 0;
    const Ahead ahead = Ahead::share(next, piece.rows(), width, piece.rows(), tiles);
    Index row = 0;
    for (Index begin = 0, end; begin < tiles; begin = end) {  // those of one height in one loop
        end = begin < higher ? higher : tiles;
        with_constant<dense_rows>(least + (begin < higher), [&](auto rows) {
            for (Index tile = begin; tile < end; ++tile, row += rows) {
                TileRows at{start + row, residual ? residual + row : nullptr, block.y + row, column};
                alignas(64) float room[rows * width];
                float* rooms[rows];
                if (columns < width) at = edge_rows(at, rows, columns, width, room, rooms);
                gathered_tile<rows, Vectors>(block, row, piece, first, at, ahead.of_tile(tile));
                if (columns < width)
                    for (Index r = 0; r < rows; ++r) std::copy_n(rooms[r], columns, block.y[row + r] + column);
            }
        });
    }
}

/// Length of the pieces that a sum is cut into, so that a panel's piece stays in the first-level cache for all rows.
inline constexpr Index gathered_depth = dense_vectors * lanes > 16 ? 128 : 256;

}  // namespace detail

/// Panels [first_panel, last_panel) of the rows of one block, in this thread.
inline void gathered_product(const RowBlock& block, const PackedMatrix& matrix, Index first_panel, Index last_panel) {
    const PanelStack& w = matrix.panels();
    const Index cuts = std::max<Index>(1, (block.channels + detail::gathered_depth - 1) / detail::gathered_depth);
    const Index together = std::max<Index>(1, detail::gathered_depth / std::max<Index>(1, block.channels));
    const auto channel = [&](Index cut) { return cut * block.channels / cuts; };
    for (Index tap = 0; tap == 0 || tap < block.taps; tap += together)  // without any taps the addends remain
        for (Index cut = 0; cut < cuts; ++cut) {
            const detail::SumPiece piece{tap, std::min(block.taps, tap + together), channel(cut), channel(cut + 1) - channel(cut)};
            const Index next_tap = cut + 1 < cuts ? tap : piece.end, next_channel = cut + 1 < cuts ? channel(cut + 1) : 0;
            for (Index panel = first_panel; panel < last_panel; ++panel) {
                const float* next = nullptr;  // what is read of the matrix after this
                if (panel + 1 < last_panel && piece.begin < piece.end) next = w.row(panel + 1, 0, block.weight_rows[piece.begin] + piece.first);
                else if (next_tap < block.taps) next = w.row(first_panel, 0, block.weight_rows[next_tap] + next_channel);
                with_constant<dense_vectors>(w.vectors(panel), [&](auto vectors) {
                    detail::gathered_panel<vectors>(block, piece, w, panel, next);
                });
            }
        }
}

inline void gathered_product(const RowBlock& block, const PackedMatrix& w) { gathered_product(block, w, 0, w.panels().panels()); }

/// The addends but the residual, as a row of them for each sample.
class StartRows {
  public:
    StartRows(const Addends<float>& addends, Index samples, Index columns) {
        if (addends.bias && !addends.per_sample) {
            first_ = addends.bias;
            return;
        }
        stride_ = addends.per_sample ? columns : 0;
        rows_ = Tensor<float>({addends.per_sample ? samples : 1, columns});
        for (Index i = 0; i < rows_.size(); ++i)
            rows_[i] = (addends.per_sample ? addends.per_sample[i] : 0.0f) + (addends.bias ? addends.bias[i % columns] : 0.0f);
        first_ = rows_.data();
    }

    const float* operator[](Index sample) const { return first_ + sample * stride_; }

  private:
    Index stride_ = 0;
    Tensor<float> rows_;
    const float* first_;
};

/// work(first_row, last_row, first_panel, last_panel) for all of a product, on all threads: rows are shared, or panels
/// where there are fewer rows than columns and so more to read of the matrix.
template <class Work>
void share_product(Index rows, const PackedMatrix& w, Work&& work) {
    const Index threads = ThreadPool::current().threads(), panels = w.panels().panels();
    // Few enough that their part of the input stays in the second-level cache, many enough that panels are read rarely.
    constexpr Index most = 32 * dense_rows;
    if (rows < w.columns() && (panels % threads == 0 || panels >= 8 * threads)) {
        parallel_for(panels, (panels + threads - 1) / threads, [&](Index first, Index last) {
            for (Index begin = 0; begin < rows; begin += most) work(begin, std::min(rows, begin + most), first, last);
        });
        return;
    }
    const Index blocks = std::max<Index>(1, (rows + most * threads - 1) / (most * threads)) * threads;
    parallel_for(rows, std::max<Index>(dense_rows, (rows + blocks - 1) / blocks),
                 [&](Index begin, Index end) { work(begin, end, Index{0}, panels); });
}

/// y [rows, N] = addends + x [rows, C] * w [C, N] on all threads; the rows belong to `samples` samples of the same size.
inline void matrix_product(const float* x, Index rows, const PackedMatrix& w, float* y, const Addends<float>& addends = {},
                           Index samples = 1) {
    const Index depth = w.depth(), columns = w.columns(), rows_a_sample = std::max<Index>(1, rows / std::max<Index>(1, samples));
    const StartRows starts(addends, samples, columns);
    share_product(rows, w, [&](Index begin, Index end, Index first_panel, Index last_panel) {
        const Index count = end - begin, weight_row = 0;
        Tensor<const float*> from({3, count});
        Tensor<float*> to({count});
        const float **const start = from.data() + count, **const residual = start + count;
        for (Index r = 0; r < count; ++r) {
            const Index row = begin + r;
            from[r] = x + row * depth;
            to[r] = y + row * columns;
            start[r] = starts[row / rows_a_sample];
            if (addends.residual) residual[r] = addends.residual + row * columns;
        }
        gathered_product({count, 1, depth, from.data(), &weight_row, to.data(), start, addends.residual ? residual : nullptr}, w,
                         first_panel, last_panel);
    });
}

}  // namespace ito::simd
