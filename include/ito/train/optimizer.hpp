// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ito/simd/math.hpp"

namespace ito {

/// Adam with decoupled weight decay: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
struct AdamW {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0.01;

    /// One update of a parameter with its gradient times gradient_scale; step counts from 1.
    /// mean and square are the running moments of the gradient, of the parameter's shape.
    template <class T>
    void update(Tensor<T>& parameter, const Tensor<T>& gradient, Tensor<T>& mean, Tensor<T>& square, Index step,
                double learning_rate, double gradient_scale = 1) const {
        require_shape("gradient", parameter.shape(), gradient.shape());
        const T b1 = static_cast<T>(beta1), b2 = static_cast<T>(beta2), eps = static_cast<T>(epsilon);
        const T c1 = static_cast<T>(1 - beta1), c2 = static_cast<T>(1 - beta2), scale = static_cast<T>(gradient_scale);
        const T kept = static_cast<T>(1 - learning_rate * weight_decay);
        const T rate = static_cast<T>(learning_rate / (1 - std::pow(beta1, static_cast<double>(step))));
        const T unbias = static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(step))));
        parallel_for(parameter.size(), simd::map_grain, [&](Index begin, Index end) {
            T *p = parameter.data(), *m = mean.data(), *v = square.data();
            for (Index i = begin; i < end; i += simd::width<T>) {
                const Index count = end - i;
                const auto g = simd::multiply(simd::load_part(gradient.data() + i, count), simd::broadcast(scale));
                const auto moved = simd::multiply_add(simd::broadcast(b1), simd::load_part(m + i, count), simd::multiply(simd::broadcast(c1), g));
                const auto spread = simd::multiply_add(simd::broadcast(b2), simd::load_part(v + i, count),
                                                       simd::multiply(simd::multiply(simd::broadcast(c2), g), g));
                simd::store_part(moved, m + i, count);
                simd::store_part(spread, v + i, count);
                const auto below = simd::multiply_add(simd::square_root(spread), simd::broadcast(unbias), simd::broadcast(eps));
                const auto change = simd::divide(simd::multiply(simd::broadcast(rate), moved), below);
                simd::store_part(simd::subtract(simd::multiply(simd::broadcast(kept), simd::load_part(p + i, count)), change), p + i, count);
            }
        });
    }
};

/// Linear rise over `warmup` steps, then half a cosine down to `final` times the peak at `total` (Loshchilov and Hutter
/// 2017, equation 5, without restarts). total = 0 stays at the peak.
struct LearningRate {
    double peak = 1e-4;
    Index warmup = 0;
    Index total = 0;
    double final = 0;

    /// Rate of an update counted from 0; the first one has a warmup-th of the peak.
    double at(Index step) const {
        if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
        if (total <= warmup) return peak;
        const double part = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
        return peak * (final + (1 - final) * 0.5 * (1 + std::cos(std::numbers::pi * part)));
    }
};

}  // namespace ito
