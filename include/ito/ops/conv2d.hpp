// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/conv_kernels.hpp"
#include "ito/ops/dispatch.hpp"
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
    const Arithmetic how_to = PrecisionScope::of_operation(tape);
    auto data = [](const Var<T>& v) { return v ? v->data() : nullptr; };
    detail::convolve<T>(conv, x->data(), weight, false, {data(b), data(per_sample), data(residual)}, y.data(), how_to);

    auto pullback = [=, &weight](Tensor<T>& dy) {
        const Profile::Timer timer("conv2d backward", x.shape(), w.shape(), multiply_adds * (x.tracked() + w.tracked()));
        const Tensor<T>& g = dy;
        if (x.tracked()) {
            const detail::ConvShape back{n,         out_h,     out_w,     out,
                                         height,    width,     kernel[0], kernel[1],
                                         kernel[0] - 1 - pad.top, kernel[1] - 1 - pad.left, 1, how.stride};
            Tensor<T> dx(x.shape());
            detail::convolve<T>(back, g.data(), weight, true, {}, dx.data(), how_to);
            tape->add(x, std::move(dx));
        }
        if (w.tracked()) tape->add(w, detail::weight_gradient<T>(conv, x->data(), g, kernel, how_to));
        if (b && b.tracked()) tape->add(b, detail::column_sums<T>(g.matrix()));
        if (per_sample && per_sample.tracked()) {
            Tensor<T> sums({n, out});
            parallel_for(n, 1, [&](Index begin, Index end) {
                for (Index i = begin; i < end; ++i)
                    detail::sum_rows_between<T>(g.matrix(), i * out_h * out_w, (i + 1) * out_h * out_w, sums.data() + i * out);
            });
            tape->add(per_sample, std::move(sums));
        }
        if (residual && residual.tracked()) tape->add(residual, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, w, per_sample, residual);
}

}  // namespace ito::ops
