// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/winograd.hpp"

namespace ito::simd {

namespace detail {

/// A tile of dy, panel by panel, seen at the points -> row `to` of the panels' matrices. Pixels outside the image are zero.
template <int M>
void winograd_result_gradient(const ConvShape& shape, const float* dy, const typename Tiling<M>::Place& at, PanelStack& panels,
                              Index to) {
    constexpr int side = M + 2;
    const Index columns = panels.columns(), width = shape.out_width;
    const Index lines = std::min<Index>(M, shape.out_height - at.h), pixels = std::min<Index>(M, shape.out_width - at.w);
    const float* first = dy + ((at.image * shape.out_height + at.h) * shape.out_width + at.w) * columns;
    for (Index panel = 0; panel < panels.panels(); ++panel)
        for (int v = 0; v < panels.vectors(panel); ++v) {
            const Index k = panels.first_column(panel) + v * lanes, stride = panels.stride(panel);
            float* const seen = panels.row(panel, 0, to) + v * lanes;
            auto map = [&](auto get) __attribute__((always_inline)) {
                map_square<M, side>(
                    [](const auto& g, auto& u) __attribute__((always_inline)) { WinogradMap<M>::gradient(g, u); },
                    [&](auto i, auto j) __attribute__((always_inline)) {
                        return i < lines && j < pixels ? get(first + (i * width + j) * columns + k) : broadcast(0);
                    },
                    [&](auto i, auto j, Floats u) __attribute__((always_inline)) { store(u, seen + (i * side + j) * stride); });
            };
            if (k + lanes <= columns) map([](const float* p) __attribute__((always_inline)) { return load(p); });
            else map([&](const float* p) { return load_part(p, columns - k); });
        }
}

}  // namespace detail

/// gradient [3, 3, channels, columns] of the weight of winograd_convolve from x and dy [.., columns], on all threads. The
/// sum over the tiles is made at the points, in the order of the tiles whatever the number of threads.
template <int M>
void winograd_weight_gradient(const ConvShape& shape, const float* x, const float* dy, Index columns, float* gradient) {
    constexpr int side = M + 2, points = side * side;
    const detail::Tiling<M> tiling(shape);
    const Index channels = shape.channels, padded = (channels + lanes - 1) / lanes * lanes;
    const Tensor<float> zeros = Tensor<float>::zeros({channels});
    PanelStack sums = PanelStack::zeros(columns, channels, points);

    const Index together = std::clamp<Index>((Index{1} << 20) / (points * (padded + columns)), 32, 256);
    const Index block = std::min(together, tiling.count);
    detail::PointRoom input(points, block, padded);
    PanelStack result(columns, block, points);
    for (Index begin = 0; begin < tiling.count; begin += block) {
        const Index count = std::min(block, tiling.count - begin);
        parallel_for(count, std::max<Index>(1, 512 / (channels + columns)), [&](Index first, Index last) {
            for (Index t = first; t < last; ++t) {
                detail::winograd_input<M>(shape, x, tiling.place(begin + t), zeros.data(), 0, channels, input.row(0, t), input.stride());
                detail::winograd_result_gradient<M>(shape, dy, tiling.place(begin + t), result, t);
            }
        });
        parallel_for(points * sums.panels(), 1, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i) {
                const Index panel = i % sums.panels();
                const int point = static_cast<int>(i / sums.panels());
                add_transposed_panel_product(input.row(point, 0), padded, channels, result.row(panel, point, 0),
                                             sums.vectors(panel), count, sums.row(panel, point, 0));
            }
        });
    }

    parallel_for(sums.panels() * channels, std::max<Index>(8, 2048 / channels), [&](Index begin, Index end) {
        for (Index line = begin; line < end; ++line) {
            const Index panel = line / channels, c = line % channels;
            for (int v = 0; v < sums.vectors(panel); ++v) {
                const Index k = sums.first_column(panel) + v * lanes;
                const Index stride = sums.stride(panel), tap = channels * columns;
                const float* const seen = sums.row(panel, 0, c) + v * lanes;
                float* const to = gradient + c * columns + k;
                map_square<side, 3>(
                    [](const auto& m, auto& g) __attribute__((always_inline)) { WinogradMap<M>::kernel_sum(m, g); },
                    [&](auto i, auto j) __attribute__((always_inline)) { return load(seen + (i * side + j) * stride); },
                    [&](auto i, auto j, Floats g) __attribute__((always_inline)) {
                        store_part(g, to + (i * 3 + j) * tap, columns - k);
                    });
            }
        }
    });
}

}  // namespace ito::simd
