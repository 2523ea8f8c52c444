// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/ops/matmul.hpp"
#include "ito/simd/conv_shape.hpp"
#include "ito/simd/operands.hpp"

// Convolution as a product of copied patches, for any type: what the kernels of simd/ are tested against.
namespace ito::ops::detail {

using simd::Addends;
using simd::ConvShape;

/// Rows [begin, end) of the patch matrix [images * out_height * out_width, taps * channels].
template <class T>
void gather_patches(const ConvShape& s, const T* source, Index begin, Index end, T* patches) {
    for (Index row = begin; row < end; ++row) {
        const Index w = row % s.out_width, h = row / s.out_width % s.out_height, n = row / (s.out_width * s.out_height);
        const T* image = source + n * s.height * s.width * s.channels;
        for (Index i = 0; i < s.kernel_h; ++i)
            for (Index j = 0; j < s.kernel_w; ++j) {
                const Index y = h * s.step + i - s.top, x = w * s.step + j - s.left;
                const bool inside = y >= 0 && y % s.dilation == 0 && y / s.dilation < s.height && x >= 0 &&
                                    x % s.dilation == 0 && x / s.dilation < s.width;
                if (inside)
                    patches = std::copy_n(image + (y / s.dilation * s.width + x / s.dilation) * s.channels, s.channels, patches);
                else
                    patches = std::fill_n(patches, s.channels, T(0));
            }
    }
}

/// Rows of patches that stay in the second-level cache.
inline Index patch_rows(const ConvShape& s) { return std::clamp<Index>(Index{49152} / std::max<Index>(1, s.depth()), 32, 512); }

/// The addends of pixel `row` of the result, or zeros.
template <class T>
void start_pixel(const ConvShape& s, const Addends<T>& addends, Index row, Index out, T* to) {
    ArrayMap<T> y(to, out);
    if (addends.residual) y = ArrayMap<const T>(addends.residual + row * out, out);
    else y.setZero();
    if (addends.bias) y += ArrayMap<const T>(addends.bias, out);
    if (addends.per_sample) y += ArrayMap<const T>(addends.per_sample + row / (s.out_height * s.out_width) * out, out);
}

/// y [rows, out] = addends + patches of x times weight [taps * channels, out].
template <class T>
void convolve_plainly(const ConvShape& s, const T* x, const T* weight, Index out, const Addends<T>& addends, T* y) {
    const MatrixMap<const T> w(weight, s.depth(), out);
    parallel_for(s.out_pixels(), patch_rows(s), [&](Index begin, Index end) {
        for (Index row = begin; row < end; ++row) start_pixel(s, addends, row, out, y + row * out);
        Tensor<T> patches({end - begin, s.depth()});
        gather_patches(s, x, begin, end, patches.data());
        MatrixMap<T>(y + begin * out, end - begin, out).noalias() += patches.matrix() * w;
    });
}

/// sum [taps * channels, out] += patches of x transposed times dy, pixels [begin, end).
template <class T>
void add_plain_weight_gradient(const ConvShape& s, const T* x, const MatrixMap<const T>& dy, Index begin, Index end, T* sum) {
    MatrixMap<T> total(sum, s.depth(), dy.cols());
    Tensor<T> patches({patch_rows(s), s.depth()});
    for (Index at = begin; at < end; at += patch_rows(s)) {
        const Index rows = std::min(patch_rows(s), end - at);
        gather_patches(s, x, at, at + rows, patches.data());
        total.noalias() += patches.matrix().topRows(rows).transpose() * dy.middleRows(at, rows);
    }
}

/// [kh, kw, I, O] -> [kh, kw, O, I] with both kernel axes reversed: the weight of the transposed convolution.
template <class T>
Tensor<T> flipped(const Tensor<T>& weight) {
    const Index taps = weight.dim(0) * weight.dim(1), in = weight.dim(2), out = weight.dim(3);
    Tensor<T> result({weight.dim(0), weight.dim(1), out, in});
    for (Index tap = 0; tap < taps; ++tap)
        MatrixMap<T>(result.data() + (taps - 1 - tap) * in * out, out, in) =
            MatrixMap<const T>(weight.data() + tap * in * out, in, out).transpose();
    return result;
}

}  // namespace ito::ops::detail
