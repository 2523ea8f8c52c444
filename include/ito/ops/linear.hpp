// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/dispatch.hpp"
#include "ito/ops/matmul.hpp"

namespace ito::ops {

/// y = x W^T + b + residual on the last axis: x [.., I], weight [O, I], bias [O] or null, residual [.., O] or empty ->
/// [.., O]. Throws ShapeError if the last axis of x is not I or an addend does not fit.
template <class T>
Var<T> linear(const Var<T>& x, const Parameter<T>& weight, const Parameter<T>* bias = nullptr, const Var<T>& residual = {}) {
    if (weight.value.rank() != 2) throw ShapeError("linear: weight " + weight.value.shape().str() + " is not [out, in]");
    const Index in = weight.value.dim(1), out = weight.value.dim(0);
    if (x->rank() < 1 || x->dim(-1) != in)
        throw ShapeError("linear: weight " + weight.value.shape().str() + " on input " + x.shape().str());
    if (bias) require_shape("linear: bias", {out}, bias->value.shape());
    const Index multiply_adds = x->size() * out;
    const Profile::Timer timer("linear", x.shape(), weight.value.shape(), multiply_adds);
    Tape<T>* tape = common_tape(x, residual);
    const Var<T> w = use(tape, weight), b = bias ? use(tape, *bias) : Var<T>();

    const Precision precision = PrecisionScope::of_operation(tape).precision;
    Tensor<T> y(x.shape().with(-1, out));
    if (residual) require_shape("linear: residual", y.shape(), residual.shape());
    detail::product<T>(x->matrix(), weight, false, {b ? b->data() : nullptr, nullptr, residual ? residual->data() : nullptr}, y.matrix(),
                       precision);

    auto pullback = [tape, x, w, b, residual, multiply_adds, precision, &weight](Tensor<T>& dy) {
        const Profile::Timer timer("linear backward", x.shape(), w.shape(), multiply_adds * (x.tracked() + w.tracked()));
        const Tensor<T>& g = dy;
        if (x.tracked()) {
            Tensor<T> dx(x.shape());
            detail::product<T>(g.matrix(), weight, true, {}, dx.matrix(), precision);
            tape->add(x, std::move(dx));
        }
        if (w.tracked()) tape->add(w, detail::transposed_product<T>(g.matrix(), x->matrix(), w.shape()));
        if (b && b.tracked()) tape->add(b, detail::column_sums<T>(g.matrix()));
        if (residual && residual.tracked()) tape->add(residual, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, w, residual);
}

}  // namespace ito::ops
