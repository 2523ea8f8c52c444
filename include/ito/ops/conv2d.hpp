// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/grad/tape.hpp"
#include "ito/ops/matmul.hpp"

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

/// How the pixel (h, w) of one image collects pixels of another: for each tap (i, j) the source pixel
/// (h * step + i * dir - top) / dilation and likewise for w, or zeros where that is no pixel. With dilation 1 this is a
/// convolution; with step 1 and dilation = stride its transpose.
struct Patches {
    Index height, width;                // of the image that is read
    Index channels;                     // of the image that is read
    Index out_height, out_width;        // of the image that is made
    Index kernel_h, kernel_w;
    Index top, left;
    Index step = 1, dilation = 1;

    Index depth() const { return kernel_h * kernel_w * channels; }

    /// Rows [begin, end) of the patch matrix [N * out_height * out_width, kernel_h * kernel_w * channels].
    template <class T>
    void gather(const T* source, Index begin, Index end, T* patches) const {
        const Index channels = this->channels;
        for (Index row = begin; row < end; ++row) {
            const Index w = row % out_width, h = row / out_width % out_height, n = row / (out_width * out_height);
            const T* image = source + n * height * width * channels;
            for (Index i = 0; i < kernel_h; ++i) {
                const Index y = h * step + i - top;
                const bool inside = y >= 0 && y % dilation == 0 && y / dilation < height;
                const Index x = w * step - left;
                if (inside && dilation == 1 && x >= 0 && x + kernel_w <= width) {
                    patches = std::copy_n(image + (y * width + x) * channels, kernel_w * channels, patches);
                    continue;
                }
                for (Index j = 0; j < kernel_w; ++j) {
                    const Index xj = x + j;
                    if (inside && xj >= 0 && xj % dilation == 0 && xj / dilation < width)
                        patches = std::copy_n(image + (y / dilation * width + xj / dilation) * channels, channels, patches);
                    else
                        patches = std::fill_n(patches, channels, T(0));
                }
            }
        }
    }

    bool pointwise() const {
        return kernel_h == 1 && kernel_w == 1 && step == 1 && dilation == 1 && top == 0 && left == 0 &&
               height == out_height && width == out_width;
    }

    /// Rows of patches that stay in the second-level cache.
    Index block() const { return std::clamp<Index>(Index{49152} / std::max<Index>(1, depth()), 32, 512); }
};

/// result [rows, O] += patches of source times weight [kernel_h * kernel_w * channels, O].
template <class T>
void add_patch_product(const Patches& p, const T* source, const MatrixMap<const T>& weight, MatrixMap<T> result) {
    parallel_for(result.rows(), p.block(), [&](Index begin, Index end) {
        if (p.pointwise()) {
            result.middleRows(begin, end - begin).noalias() +=
                MatrixMap<const T>(source + begin * p.channels, end - begin, p.channels) * weight;
            return;
        }
        Tensor<T> patches({end - begin, p.depth()});
        p.gather(source, begin, end, patches.data());
        result.middleRows(begin, end - begin).noalias() += patches.matrix() * weight;
    });
}

/// Gradient of the weight: patches of x transposed times dy [rows, O].
template <class T>
Tensor<T> patch_weight_gradient(const Patches& p, const T* x, const MatrixMap<const T>& dy, const Shape& shape) {
    return sum_over_rows<T>(dy.rows(), shape, [&](Index begin, Index end, Tensor<T>& sum) {
        MatrixMap<T> total(sum.data(), p.depth(), dy.cols());
        Tensor<T> patches({p.block(), p.depth()});
        for (Index at = begin; at < end; at += p.block()) {
            const Index rows = std::min(p.block(), end - at);
            p.gather(x, at, at + rows, patches.data());
            total.noalias() += patches.matrix().topRows(rows).transpose() * dy.middleRows(at, rows);
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
    const Index n = x->dim(0), height = x->dim(1), width = x->dim(2), in = kernel[2], out = kernel[3];
    const Padding& pad = how.padding;
    const Index span_h = height + pad.top + pad.bottom - kernel[0], span_w = width + pad.left + pad.right - kernel[1];
    if (span_h < 0 || span_w < 0)
        throw ShapeError("conv2d: input " + x.shape().str() + " is smaller than the kernel " + kernel.str());
    const Index out_h = span_h / how.stride + 1, out_w = span_w / how.stride + 1;

    Tape<T>* tape = common_tape(x, per_sample, residual);
    const Var<T> w = use(tape, weight), b = bias ? use(tape, *bias) : Var<T>();
    const detail::Patches patches{height, width, in, out_h, out_w, kernel[0], kernel[1], pad.top, pad.left, how.stride};

    Tensor<T> y({n, out_h, out_w, out});
    if (per_sample) require_shape("conv2d: addend per sample", {n, out}, per_sample.shape());
    if (residual) require_shape("conv2d: residual", y.shape(), residual.shape());
    parallel_for(n * out_h, std::max<Index>(1, 8192 / (out_w * out)), [&](Index begin, Index end) {
        for (Index line = begin; line < end; ++line) {
            auto rows = y.matrix().middleRows(line * out_w, out_w);
            if (residual) rows = residual->matrix().middleRows(line * out_w, out_w);
            else rows.setZero();
            if (b) rows.rowwise() += b->array().matrix().transpose();
            if (per_sample) rows.rowwise() += per_sample->matrix().row(line / out_h);
        }
    });
    detail::add_patch_product<T>(patches, x->data(), {w->data(), patches.depth(), out}, y.matrix());

    auto pullback = [=](Tensor<T>& dy) {
        const Tensor<T>& g = dy;
        if (x.tracked()) {
            const detail::Patches back{out_h,           out_w,           out,
                                       height,          width,           kernel[0],
                                       kernel[1],       kernel[0] - 1 - pad.top, kernel[1] - 1 - pad.left,
                                       1,               how.stride};
            const Tensor<T> turned = detail::flipped(*w);
            Tensor<T> dx = Tensor<T>::zeros(x.shape());
            detail::add_patch_product<T>(back, g.data(), {turned.data(), back.depth(), in}, dx.matrix());
            tape->add(x, std::move(dx));
        }
        if (w.tracked()) tape->add(w, detail::patch_weight_gradient<T>(patches, x->data(), g.matrix(), kernel));
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
