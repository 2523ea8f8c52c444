// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstdint>

#include "ito/simd/winograd.hpp"

// For few tiles, where reading a kernel takes longer than multiplying with it: half as much of it is read (three quarters for
// F(2 x 2)), and the rest computed beside the multiplications, a tenth more work.
namespace ito::simd {

namespace detail {

/// At most so many tiles have their products with a register of columns at two points summed in registers.
inline constexpr int line_rows = registers == 32 ? 8 : 4;
/// Channels of the pieces that the sums over them are cut into, the same as in panel_product; and floats from a tile of the
/// input to the next, a constant: a cache line more, or a channel would fall into few sets of the cache.
inline constexpr Index line_depth = dense_depth, line_step = line_depth + 16;

/// y(point) [Rows, lanes] = or += a(point) [Rows, depth] u(point) [depth, lanes] at Points points; kernel(g, u) makes a row
/// of each u out of three lines g of b [depth, 3, lanes]. Rows of a are line_step apart, points of a and y
/// a_stride and y_stride. A function of its own, which F(2 x 2) and F(4 x 4) share.
template <int Rows, int Points, class Kernel>
void line_tile(const float* a, Index a_stride, const float* b, Index depth, const Kernel& kernel, float* y, Index y_stride, bool adds,
               Ahead ahead) {
    Floats sum[Points][Rows];
    unrolled<Points>([&](auto p) __attribute__((always_inline)) {
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) { sum[p][r] = broadcast(0); });
    });
    const float* at[Points];
    unrolled<Points>([&](auto p) __attribute__((always_inline)) { at[p] = a + p * a_stride; });
    const auto step = [&](Index k, const float* lines) __attribute__((always_inline)) {
        Floats g[3], u[Points];
        unrolled<3>([&](auto i) __attribute__((always_inline)) { g[i] = load(lines + i * lanes); });
        kernel(g, u);
        unrolled<Points>([&](auto p) __attribute__((always_inline)) {
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                sum[p][r] = multiply_add(broadcast(at[p][r * line_step + k]), u[p], sum[p][r]);
            });
        });
    };
    Index k = 0;
    for (; k + Ahead::rows <= depth; k += Ahead::rows) {
        ahead.ask();
        unrolled<Ahead::rows>([&](auto i) __attribute__((always_inline)) { step(k + i, b + (k + i) * 3 * lanes); });
    }
    for (; k < depth; ++k) step(k, b + k * 3 * lanes);
    if (adds)
        unrolled<Points>([&](auto p) __attribute__((always_inline)) {
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                sum[p][r] = add(sum[p][r], load(y + p * y_stride + r * lanes));
            });
        });
    unrolled<Points>([&](auto p) __attribute__((always_inline)) {
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) { store(sum[p][r], y + p * y_stride + r * lanes); });
    });
}

/// f(n) with the largest power of two up to Most and `count` as a constant: few functions, of which tiles of images seldom
/// need more than one.
template <int Most, class F>
void with_power(Index count, F&& f) {
    if constexpr (Most > 1)
        if (count < Most) return with_power<Most / 2>(count, f);
    f(std::integral_constant<int, Most>());
}

/// How many times with_power is called for so many rows.
template <int Most>
Index powers(Index rows) {
    return rows / Most + std::popcount(static_cast<std::uint64_t>(rows % Most));
}

}  // namespace detail

/// The kernel, each of its three lines at the points along it: [register of columns][point][channels][line]. At the points
/// down the lines it is computed when it is multiplied.
template <int M>
class WinogradLines {
  public:
    static constexpr int side = M + 2;

    WinogradLines() = default;

    explicit WinogradLines(const WeightView& w) : channels_(w.in), columns_(w.out), values_({panels() * side * channels_ * 3 * lanes}) {
        parallel_for(panels() * channels_, std::max<Index>(8, 2048 / channels_), [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) {
                const Index panel = i / channels_, c = i % channels_, column = panel * lanes;
                const float* const from = w.first + c * w.in_stride + column * w.out_stride;
                unrolled<3>([&](auto line) __attribute__((always_inline)) {
                    Floats g[3], u[side];
                    unrolled<3>([&](auto tap) __attribute__((always_inline)) {
                        g[tap] = load_strided(from + (line * 3 + tap) * w.tap_stride, w.out_stride, columns_ - column);
                    });
                    KernelAtAll<M>()(g, u);
                    unrolled<side>([&](auto point) __attribute__((always_inline)) {
                        store(u[point], values_.data() + offset(panel, point, c) + line * lanes);
                    });
                });
            }
        });
    }

    Index columns() const { return columns_; }
    /// A panel is a register of columns.
    Index panels() const { return (columns_ + lanes - 1) / lanes; }
    Index first_column(Index panel) const { return panel * lanes; }
    Index width(Index) const { return lanes; }

    /// As multiply takes it.
    detail::WinogradInput<M> input(Index tiles) const { return {channels_, tiles, detail::line_depth, detail::line_step}; }

    /// result [point][tile, lanes] = input times a panel at every point.
    void multiply(Index panel, const detail::WinogradInput<M>& input, detail::PointRoom& result) const {
        for (int point = 0; point < side; ++point)
            for (Index c = 0; c < channels_; c += detail::line_depth) multiply_piece(panel, point, c, input, result);
    }

  private:
    Index offset(Index panel, Index point, Index c) const { return ((panel * side + point) * channels_ + c) * 3 * lanes; }

    /// A piece of the sum over the channels, from c on, at one point along the lines and all points down them: at two of them
    /// at a time, at all for very few tiles.
    void multiply_piece(Index panel, int point, Index c, const detail::WinogradInput<M>& input, detail::PointRoom& result) const {
        using namespace detail;
        const Index depth = std::min(line_depth, channels_ - c), next_depth = std::min(line_depth, channels_), tiles = input.tiles();
        const float* const a = input.at(c, point, 0);
        const float *const b = values_.data() + offset(panel, point, c), *const next = b + depth * 3 * lanes;
        float* const y = result.row(point, 0);
        const Index down = side * input.stride(), y_down = side * result.stride();
        const auto share = [&](Index parts) { return Ahead::share(next, next_depth, 3 * lanes, depth, parts); };
        Index part = 0;
        constexpr int few = line_rows / 2;
        if (tiles <= few) {
            const Ahead ahead = share(powers<few>(tiles));
            Index row = 0;
            while (row < tiles)
                with_power<few>(tiles - row, [&](auto rows) {
                    line_tile<rows, side>(a + row * line_step, down, b, depth, KernelAtAll<M>(), y + row * lanes, y_down, c > 0,
                                          ahead.of_tile(part++));
                    row += rows;
                });
            return;
        }
        const Ahead ahead = share(powers<line_rows>(tiles) * side / 2);
        for (int pair = 0; pair < side / 2; ++pair) {
            const Index first = pair == 0 ? 0 : 2 * pair - 1, apart = pair == 0 ? side - 1 : 1;
            Index row = 0;
            while (row < tiles)
                with_power<line_rows>(tiles - row, [&](auto rows) {
                    const float* const from = a + first * down + row * line_step;
                    float* const to = y + first * y_down + row * lanes;
                    if (pair == 0)
                        line_tile<rows, 2>(from, apart * down, b, depth, KernelAtEnds(), to, apart * y_down, c > 0, ahead.of_tile(part++));
                    else
                        line_tile<rows, 2>(from, down, b, depth, KernelAtPair(WinogradMap<M>::point(pair)), to, y_down, c > 0,
                                           ahead.of_tile(part++));
                    row += rows;
                });
        }
    }

    Index channels_ = 0, columns_ = 0;
    Tensor<float> values_;
};

}  // namespace ito::simd
