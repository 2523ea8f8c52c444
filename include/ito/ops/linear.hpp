// SPDX-License-Identifier: MIT
#pragma once

#include "ito/grad/tape.hpp"
#include "ito/ops/matmul.hpp"

namespace ito::ops {

/// y = x W^T + b on the last axis: x [.., I], weight [O, I], bias [O] or null -> [.., O].
/// Throws ShapeError if the last axis of x is not I.
template <class T>
Var<T> linear(const Var<T>& x, const Parameter<T>& weight, const Parameter<T>* bias = nullptr) {
    const Index in = weight.value.dim(1), out = weight.value.dim(0);
    if (x->rank() < 1 || x->dim(-1) != in)
        throw ShapeError("linear: weight " + weight.value.shape().str() + " on input " + x.shape().str());
    Tape<T>* tape = x.tape();
    const Var<T> w = use(tape, weight), b = bias ? use(tape, *bias) : Var<T>();

    Tensor<T> y(x.shape().with(-1, out));
    parallel_for(y.matrix().rows(), detail::rows_per_piece(in, out), [&](Index begin, Index end) {
        auto rows = y.matrix().middleRows(begin, end - begin);
        rows.noalias() = x->matrix().middleRows(begin, end - begin) * w->matrix().transpose();
        if (b) rows.rowwise() += b->array().matrix().transpose();
    });

    auto pullback = [tape, x, w, b](Tensor<T>& dy) {
        const Tensor<T>& g = dy;
        if (x.tracked()) {
            Tensor<T> dx(x.shape());
            parallel_for(g.matrix().rows(), detail::rows_per_piece(w->dim(0), w->dim(1)), [&](Index begin, Index end) {
                dx.matrix().middleRows(begin, end - begin).noalias() =
                    g.matrix().middleRows(begin, end - begin) * w->matrix();
            });
            tape->add(x, std::move(dx));
        }
        if (w.tracked()) tape->add(w, detail::transposed_product<T>(g.matrix(), x->matrix(), w.shape()));
        if (b && b.tracked()) tape->add(b, detail::column_sums<T>(g.matrix()));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, w);
}

}  // namespace ito::ops
