// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/parallel.hpp"
#include "ito/grad/tape.hpp"

namespace ito::ops {

namespace detail {

/// Every second pixel of x [N, 2H, 2W, C] filtered by [1, 3, 3, 1] / 8 along both axes, times factor -> [N, H, W, C].
/// What lies outside counts as zero.
template <class T>
Tensor<T> fir_halve(const Tensor<T>& x, T factor) {
    const Index height = x.dim(1) / 2, width = x.dim(2) / 2, channels = x.dim(3), row = 2 * width * channels;
    Tensor<T> y({x.dim(0), height, width, channels});
    parallel_for(x.dim(0) * height, 8, [&](Index begin, Index end) {
        Tensor<T> filtered = Tensor<T>::zeros({row + 2 * channels});  // along the column, a zero pixel on both sides
        auto sum = filtered.array().segment(channels, row);
        for (Index line = begin; line < end; ++line) {
            const T* from = x.data() + 2 * line * row;
            const Index h = line % height;
            sum = (ArrayMap<const T>(from, row) + ArrayMap<const T>(from + row, row)) * (T(3) * factor / T(64));
            if (h > 0) sum += ArrayMap<const T>(from - row, row) * (factor / T(64));
            if (h + 1 < height) sum += ArrayMap<const T>(from + 2 * row, row) * (factor / T(64));
            for (Index w = 0; w < width; ++w) {
                const auto pixel = [&](Index i) { return filtered.array().segment((2 * w + i) * channels, channels); };
                ArrayMap<T>(y.data() + (line * width + w) * channels, channels) = (pixel(1) + pixel(2)) * T(3) + pixel(0) + pixel(3);
            }
        }
    });
    return y;
}

/// x [N, H, W, C] between zeros at every other place, filtered by [1, 3, 3, 1] / 4 along both axes, times factor ->
/// [N, 2H, 2W, C]: 4 factor times the transpose of fir_halve.
template <class T>
Tensor<T> fir_double(const Tensor<T>& x, T factor) {
    const Index height = x.dim(1), width = x.dim(2), channels = x.dim(3), row = width * channels;
    Tensor<T> y({x.dim(0), 2 * height, 2 * width, channels});
    parallel_for(2 * x.dim(0) * height, 8, [&](Index begin, Index end) {
        Tensor<T> filtered = Tensor<T>::zeros({row + 2 * channels});
        auto sum = filtered.array().segment(channels, row);
        for (Index line = begin; line < end; ++line) {
            const Index h = line / 2 % height, neighbour = line % 2 ? 1 : -1;
            const T* from = x.data() + line / 2 * row;
            sum = ArrayMap<const T>(from, row) * (T(3) * factor / T(16));
            if (h + neighbour >= 0 && h + neighbour < height) sum += ArrayMap<const T>(from + neighbour * row, row) * (factor / T(16));
            for (Index w = 0; w < width; ++w) {
                const auto pixel = [&](Index i) { return filtered.array().segment((w + i) * channels, channels); };
                T* to = y.data() + (line * width + w) * 2 * channels;
                ArrayMap<T>(to, channels) = pixel(1) * T(3) + pixel(0);
                ArrayMap<T>(to + channels, channels) = pixel(1) * T(3) + pixel(2);
            }
        }
    });
    return y;
}

}  // namespace detail

/// Halving with the filter [1, 3, 3, 1] / 8 along both axes, zeros outside: [N, H, W, C] -> [N, H / 2, W / 2, C].
/// Zhang, "Making convolutional networks shift-invariant again" (2019); in NCSN++, Song et al. (2021), appendix H.
/// Throws ShapeError for odd sizes.
template <class T>
Var<T> fir_downsample(const Var<T>& x) {
    if (x->rank() != 4 || x->dim(1) % 2 != 0 || x->dim(2) % 2 != 0)
        throw ShapeError("FIR downsampling: needs [N, H, W, C] with even H and W, got " + x.shape().str());
    Tape<T>* tape = x.tape();
    return result_of(
        detail::fir_halve(*x, T(1)), tape, [=](Tensor<T>& dy) { tape->add(x, detail::fir_double(dy, T(0.25))); }, x);
}

/// Doubling with the same filter, which keeps the mean but at the borders: [N, H, W, C] -> [N, 2H, 2W, C].
/// Throws ShapeError unless x has four axes.
template <class T>
Var<T> fir_upsample(const Var<T>& x) {
    if (x->rank() != 4) throw ShapeError("FIR upsampling: needs [N, H, W, C], got " + x.shape().str());
    Tape<T>* tape = x.tape();
    return result_of(
        detail::fir_double(*x, T(1)), tape, [=](Tensor<T>& dy) { tape->add(x, detail::fir_halve(dy, T(4))); }, x);
}

}  // namespace ito::ops
