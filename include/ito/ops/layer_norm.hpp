// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/dispatch.hpp"
#include "ito/ops/matmul.hpp"
#include "ito/simd/layer_norm.hpp"

namespace ito::ops {

/// Layer normalisation (Ba et al. 2016) over the last axis: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
/// x [.., C], gamma and beta [C] -> [.., C]. Throws ShapeError if a parameter does not fit.
template <class T>
Var<T> layer_norm(const Var<T>& x, const Parameter<T>& gamma, const Parameter<T>& beta, double epsilon = 1e-5) {
    const Index channels = x->dim(-1), rows = x->size() / std::max<Index>(1, channels);
    require_shape("layer norm: weight", {channels}, gamma.value.shape());
    require_shape("layer norm: bias", {channels}, beta.value.shape());
    const Profile::Timer timer("layer norm", x.shape());
    Tensor<T> y(x.shape());
    parallel_for(rows, simd::map_grain / std::max<Index>(1, channels) + 1, [&](Index begin, Index end) {
        simd::layer_norm_rows(x->data() + begin * channels, end - begin, channels, epsilon, gamma.value.data(), beta.value.data(),
                              y.data() + begin * channels);
    });
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(std::move(y));
    const Var<T> g = use(tape, gamma), b = use(tape, beta);
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("layer norm backward", x.shape());
        const Tensor<T> sums = detail::sum_over_rows<T>(rows, {2, channels}, [&](Index begin, Index end, Tensor<T>& sum) {
            simd::layer_norm_gradient_rows(x->data() + begin * channels, end - begin, channels, epsilon, g->data(),
                                           dy.data() + begin * channels, sum.data(), sum.data() + channels);
        });
        Tensor<T> dgamma({channels}), dbeta({channels});
        std::copy_n(sums.data(), channels, dgamma.data());
        std::copy_n(sums.data() + channels, channels, dbeta.data());
        tape->add(x, std::move(dy));
        tape->add(g, std::move(dgamma));
        tape->add(b, std::move(dbeta));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, g);
}

}  // namespace ito::ops
