// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/attention_kernels.hpp"
#include "ito/ops/dispatch.hpp"

namespace ito::ops {

/// Scaled dot-product attention (Vaswani et al. 2017, equation 1), the heads side by side on the last axis:
/// q [N, .., C], k [N, .., C], v [N, .., Cv] -> [N, .., Cv]; what the axes between number is a sequence: Lq tokens of q, Lk
/// of k and v. Head h owns columns [h C / heads, (h + 1) C / heads).
/// Scores are divided by sqrt(C / heads). Throws ShapeError if the shapes do not fit each other or the heads.
template <class T>
Var<T> attention(const Var<T>& q, const Var<T>& k, const Var<T>& v, Index heads) {
    if (q->rank() < 3 || k->rank() < 3 || v->rank() < 3 || heads < 1 || q->dim(-1) % heads != 0 || v->dim(-1) % heads != 0)
        throw ShapeError("attention: " + std::to_string(heads) + " heads on queries " + q.shape().str());
    const Index samples = q->dim(0), width = q->dim(-1), value_width = v->dim(-1);
    require_shape("attention: keys", k.shape().with(0, samples).with(-1, width), k.shape());
    require_shape("attention: values", k.shape().with(-1, value_width), v.shape());
    const auto tokens = [](const Var<T>& x) { return x->size() / std::max<Index>(1, x->dim(0) * x->dim(-1)); };
    const simd::AttentionShape shape{samples, heads, tokens(q), tokens(k), width / heads, value_width / heads};

    const Index multiply_adds = samples * shape.queries * shape.keys * (width + value_width);
    const Profile::Timer timer("attention", q.shape(), k.shape(), multiply_adds);
    Tape<T>* tape = common_tape(q, k, v);
    Tensor<T> y(q.shape().with(-1, value_width));
    detail::attend<T>(shape, q->data(), k->data(), v->data(), y.data(), PrecisionScope::of_operation(tape).precision);
    if (!tape) return Var<T>(std::move(y));

    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("attention backward", q.shape(), k.shape(), 2 * multiply_adds);
        Tensor<T> dq = Tensor<T>::zeros(q.shape()), dk = Tensor<T>::zeros(k.shape()), dv = Tensor<T>::zeros(v.shape());
        detail::attend_gradient<T>(shape, q->data(), k->data(), v->data(), dy.data(), dq.data(), dk.data(), dv.data());
        tape->add(q, std::move(dq));
        tape->add(k, std::move(dk));
        tape->add(v, std::move(dv));
    };
    return result_of(std::move(y), tape, std::move(pullback), q, k, v);
}

}  // namespace ito::ops
