// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/simd/math.hpp"

namespace ito::ops {

namespace detail {

/// Every pixel of x [N, H, W, C] four times, times factor -> [N, 2H, 2W, C].
template <class T>
Tensor<T> spread_twofold(const Tensor<T>& x, T factor) {
    const Index height = x.dim(1), width = x.dim(2), channels = x.dim(3);
    Tensor<T> y({x.dim(0), 2 * height, 2 * width, channels});
    parallel_for(x.dim(0) * height, 8, [&](Index begin, Index end) {
        for (Index line = begin; line < end; ++line) {
            T* to = y.data() + line * 4 * width * channels;
            for (Index w = 0; w < width; ++w) {
                const T* pixel = x.data() + (line * width + w) * channels;
                T* const left = to + 2 * w * channels;
                if (factor == T(1)) std::copy_n(pixel, channels, left);
                else simd::map(channels, left, [=](auto v) { return simd::multiply(v, simd::broadcast(factor)); }, pixel);
                std::copy_n(left, channels, left + channels);
            }
            std::copy_n(to, 2 * width * channels, to + 2 * width * channels);
        }
    });
    return y;
}

/// Sums of 2 x 2 pixels of x [N, 2H, 2W, C], times factor -> [N, H, W, C].
template <class T>
Tensor<T> gather_twofold(const Tensor<T>& x, T factor) {
    const Index height = x.dim(1) / 2, width = x.dim(2) / 2, channels = x.dim(3);
    Tensor<T> y({x.dim(0), height, width, channels});
    parallel_for(x.dim(0) * height, 8, [&](Index begin, Index end) {
        for (Index line = begin; line < end; ++line)
            for (Index w = 0; w < width; ++w) {
                const T* from = x.data() + (line * 4 * width + 2 * w) * channels;
                const T* below = from + 2 * width * channels;
                const auto gather = [=](auto a, auto b, auto c, auto d) {
                    return simd::multiply(simd::add(simd::add(a, b), simd::add(c, d)), simd::broadcast(factor));
                };
                simd::map(channels, y.data() + (line * width + w) * channels, gather, from, from + channels, below, below + channels);
            }
    });
    return y;
}

template <class T>
void require_image(const char* what, const Var<T>& x, Index multiple) {
    if (x->rank() != 4 || x->dim(1) % multiple != 0 || x->dim(2) % multiple != 0)
        throw ShapeError(std::string(what) + ": needs [N, H, W, C] with H and W multiples of " + std::to_string(multiple) +
                         ", got " + x.shape().str());
}

}  // namespace detail

/// Nearest-neighbour doubling: [N, H, W, C] -> [N, 2H, 2W, C].
template <class T>
Var<T> upsample_nearest(const Var<T>& x) {
    detail::require_image("nearest upsampling", x, 1);
    const Profile::Timer timer("nearest upsampling", x.shape());
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(detail::spread_twofold(*x, T(1)));
    return result_of(
        detail::spread_twofold(*x, T(1)), tape, [=](Tensor<T>& dy) { tape->add(x, detail::gather_twofold(dy, T(1))); }, x);
}

/// Means of 2 x 2 pixels: [N, H, W, C] -> [N, H / 2, W / 2, C]. Throws ShapeError for odd sizes.
template <class T>
Var<T> average_pool(const Var<T>& x) {
    detail::require_image("average pooling", x, 2);
    const Profile::Timer timer("average pooling", x.shape());
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(detail::gather_twofold(*x, T(0.25)));
    return result_of(
        detail::gather_twofold(*x, T(0.25)), tape,
        [=](Tensor<T>& dy) { tape->add(x, detail::spread_twofold(dy, T(0.25))); }, x);
}

}  // namespace ito::ops
