// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/matmul.hpp"
#include "ito/simd/conv.hpp"

namespace ito::ops {

/// Zeros around the image, in pixels.
struct Padding {
    Index top = 0, left = 0, bottom = 0, right = 0;
    static constexpr Padding same(Index p) { return {p, p, p, p}; }
};

struct Conv2d {
    Index stride = 1;
    Padding padding;
};

namespace detail {

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

/// result [rows, O] = start + patches of source times weight [taps * channels, O]; start(m, row) writes the start values
/// of row m.
template <class T, class Start>
void convolve(const ConvShape& s, const T* source, const T* weight, MatrixMap<T> result, Start&& start) {
    const Index out = result.cols();
    if constexpr (has_kernels<T>) {
        simd::convolve(s, source, {weight, s.depth(), out, out, 1}, result.data(), start);
    } else {
        parallel_for(result.rows(), patch_rows(s), [&](Index begin, Index end) {
            for (Index row = begin; row < end; ++row) start(row, result.data() + row * out);
            Tensor<T> patches({end - begin, s.depth()});
            gather_patches(s, source, begin, end, patches.data());
            result.middleRows(begin, end - begin).noalias() += patches.matrix() * MatrixMap<const T>(weight, s.depth(), out);
        });
    }
}

/// Gradient of the weight: patches of x transposed times dy [rows, O].
template <class T>
Tensor<T> patch_weight_gradient(const ConvShape& s, const T* x, const MatrixMap<const T>& dy, const Shape& shape) {
    return sum_over_rows<T>(dy.rows(), shape, [&](Index begin, Index end, Tensor<T>& sum) {
        if constexpr (has_kernels<T>) {
            simd::convolve_weight_gradient(s, x, dy.data(), dy.cols(), begin, end, sum.data());
        } else {
            MatrixMap<T> total(sum.data(), s.depth(), dy.cols());
            Tensor<T> patches({patch_rows(s), s.depth()});
            for (Index at = begin; at < end; at += patch_rows(s)) {
                const Index rows = std::min(patch_rows(s), end - at);
                gather_patches(s, x, at, at + rows, patches.data());
                total.noalias() += patches.matrix().topRows(rows).transpose() * dy.middleRows(at, rows);
            }
        }
    });
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

}  // namespace detail

/// Cross-correlation as networks use it, with what usually follows it done in the same pass:
/// y = x * weight + bias + per_sample + residual.
/// x [N, H, W, I], weight [kh, kw, I, O], bias [O] or null, per_sample [N, O] or empty (a time embedding),
/// residual [N, H', W', O] or empty -> [N, H', W', O] with H' = (H + top + bottom - kh) / stride + 1.
/// Throws ShapeError if x is not [N, H, W, I] or smaller than the kernel, or an addend does not fit.
template <class T>
Var<T> conv2d(const Var<T>& x, const Parameter<T>& weight, const Parameter<T>* bias, const Conv2d& how = {},
              const Var<T>& per_sample = {}, const Var<T>& residual = {}) {
    const Shape& kernel = weight.value.shape();
    if (x->rank() != 4 || kernel.rank() != 4 || x->dim(3) != kernel[2])
        throw ShapeError("conv2d: weight " + kernel.str() + " (kh, kw, in, out) on input " + x.shape().str());
    if (bias) require_shape("conv2d: bias", {kernel[3]}, bias->value.shape());
    if (how.stride < 1) throw ArgumentError("conv2d: stride " + std::to_string(how.stride));
    const Index n = x->dim(0), height = x->dim(1), width = x->dim(2), in = kernel[2], out = kernel[3];
    const Padding& pad = how.padding;
    const Index span_h = height + pad.top + pad.bottom - kernel[0], span_w = width + pad.left + pad.right - kernel[1];
    if (span_h < 0 || span_w < 0)
        throw ShapeError("conv2d: input " + x.shape().str() + " is smaller than the kernel " + kernel.str());
    const Index out_h = span_h / how.stride + 1, out_w = span_w / how.stride + 1;

    const Index multiply_adds = n * out_h * out_w * kernel.size();
    const Profile::Timer timer("conv2d", x.shape(), kernel, multiply_adds);
    Tape<T>* tape = common_tape(x, per_sample, residual);
    const Var<T> w = use(tape, weight), b = bias ? use(tape, *bias) : Var<T>();
    const detail::ConvShape conv{n, height, width, in, out_h, out_w, kernel[0], kernel[1], pad.top, pad.left, how.stride};

    Tensor<T> y({n, out_h, out_w, out});
    if (per_sample) require_shape("conv2d: addend per sample", {n, out}, per_sample.shape());
    if (residual) require_shape("conv2d: residual", y.shape(), residual.shape());
    detail::convolve<T>(conv, x->data(), w->data(), y.matrix(), [&](Index pixel, T* to) {
        ArrayMap<T> row(to, out);
        if (residual) row = ArrayMap<const T>(residual->data() + pixel * out, out);
        else row.setZero();
        if (b) row += b->array();
        if (per_sample) row += ArrayMap<const T>(per_sample->data() + pixel / (out_h * out_w) * out, out);
    });

    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("conv2d backward", x.shape(), w.shape(), multiply_adds * (x.tracked() + w.tracked()));
        const Tensor<T>& g = dy;
        if (x.tracked()) {
            const detail::ConvShape back{n,         out_h,     out_w,     out,
                                         height,    width,     kernel[0], kernel[1],
                                         kernel[0] - 1 - pad.top, kernel[1] - 1 - pad.left, 1, how.stride};
            const Tensor<T> turned = detail::flipped(*w);
            Tensor<T> dx(x.shape());
            detail::convolve<T>(back, g.data(), turned.data(), dx.matrix(), [in](Index, T* to) { std::fill_n(to, in, T(0)); });
            tape->add(x, std::move(dx));
        }
        if (w.tracked()) tape->add(w, detail::patch_weight_gradient<T>(conv, x->data(), g.matrix(), kernel));
        if (b && b.tracked()) tape->add(b, detail::column_sums<T>(g.matrix()));
        if (per_sample && per_sample.tracked()) {
            Tensor<T> sums({n, out});
            parallel_for(n, 1, [&](Index begin, Index end) {
                for (Index i = begin; i < end; ++i)
                    sums.matrix().row(i) = g.matrix().middleRows(i * out_h * out_w, out_h * out_w).colwise().sum();
            });
            tape->add(per_sample, std::move(sums));
        }
        if (residual && residual.tracked()) tape->add(residual, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, w, per_sample, residual);
}

}  // namespace ito::ops
