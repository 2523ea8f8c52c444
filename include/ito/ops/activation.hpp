// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/dispatch.hpp"
#include "ito/simd/activation.hpp"

namespace ito::ops {

using simd::Activation;

/// The activation of every element: SiLU x / (1 + e^-x) (Elfwing et al. 2017), ReLU, GELU x Phi(x) in its exact form
/// (Hendrycks and Gimpel 2016), Mish x tanh(ln(1 + e^x)) (Misra 2019), tanh, sine.
template <class T>
Var<T> activate(const Var<T>& x, Activation kind) {
    if (kind == Activation::none) return x;
    const Profile::Timer timer("activation", x.shape());
    Tensor<T> y(x.shape());
    parallel_for(y.size(), simd::map_grain,
                 [&](Index begin, Index end) { simd::activate(kind, x->data() + begin, end - begin, y.data() + begin); });
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("activation backward", x.shape());
        parallel_for(dy.size(), simd::map_grain, [&](Index begin, Index end) {
            simd::multiply_by_slope(kind, x->data() + begin, end - begin, dy.data() + begin);
        });
        tape->add(x, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

template <class T>
Var<T> silu(const Var<T>& x) {
    return activate(x, Activation::silu);
}

}  // namespace ito::ops
