// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

/// A step that goes below its end without noise and comes back up with fresh noise; all in ratios sigma / alpha.
/// With eta = 1 and the exact x0 that is the posterior of Ho et al. (2020), equations 6 and 7.
struct AncestralStep {
    double down;  // where the deterministic part ends
    double up;    // deviation of the noise, down^2 + up^2 = to^2

    AncestralStep(const NoiseLevel& from, const NoiseLevel& to, double eta) {
        const double ratio = to.sigma / to.alpha, left = to.sigma * from.alpha / (to.alpha * from.sigma);
        up = std::min(ratio, eta * ratio * std::sqrt(std::max(0.0, 1 - left * left)));
        down = std::sqrt(std::max(0.0, ratio * ratio - up * up));
    }

    /// With eta = 1 in single precision, as diffusers tabulates it: down is the difference of nearly equal squares where the
    /// step is long.
    static AncestralStep in_single(const NoiseLevel& from, const NoiseLevel& to) {
        const auto s = static_cast<float>(from.sigma / from.alpha), next = static_cast<float>(to.sigma / to.alpha);
        const float up = std::sqrt(next * next * (s * s - next * next) / (s * s));
        AncestralStep step(from, to, 1);
        step.up = static_cast<double>(up);
        step.down = static_cast<double>(std::sqrt(std::max(0.0f, next * next - up * up)));
        return step;
    }
};

/// The weights of a method that asks twice in a step, linear in all that it sees:
///   middle = middle_x x + middle_x0 x0 + middle_z z_1                at a level of its own
///   x'     = of_x x + of_x0 x0 + of_middle_x0 x0(middle) + of_z z
struct TwoStage {
    NoiseLevel middle;
    double middle_x, middle_x0, middle_z = 0;
    double of_x, of_x0, of_middle_x0, of_z = 0;

    /// One such step from `start` at level `from`, as noise of `step`; the result is in x, which may be start.
    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, const Tensor<T>& start, const NoiseLevel& from, const Interval& step, D& denoise, Z& noise) const {
        const Estimate<T> first = denoise(start, from);
        Tensor<T> ahead(x.shape()), kept(x.shape());
        const T a = static_cast<T>(middle_x), b = static_cast<T>(middle_x0), c = static_cast<T>(middle_z);
        const T d = static_cast<T>(of_x), e = static_cast<T>(of_x0);
        const T* xs = start.data();
        T *aheads = ahead.data(), *kepts = kept.data();
        for_each_element(start, first, middle_z != 0, noise, first_part(step, middle), [=](Index i, T x0, T, T z) {
            aheads[i] = a * xs[i] + b * x0 + c * z;
            kepts[i] = d * xs[i] + e * x0;
        });
        const Estimate<T> second = denoise(std::as_const(ahead), middle);
        const T f = static_cast<T>(of_middle_x0), g = static_cast<T>(of_z);
        T* out = x.data();
        for_each_element(ahead, second, of_z != 0, noise, step, [=](Index i, T x0, T, T z) { out[i] = kepts[i] + f * x0 + g * z; });
    }
};

namespace detail {
/// x' = of_x x + of_x0 x0 + of_z z with one evaluation at `from`, as noise of `step`.
template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
void one_stage(Tensor<T>& x, const Tensor<T>& start, const NoiseLevel& from, const Interval& step, double of_x, double of_x0,
               double of_z, D& denoise, Z& noise) {
    const Estimate<T> estimate = denoise(start, from);
    const T a = static_cast<T>(of_x), b = static_cast<T>(of_x0), c = static_cast<T>(of_z);
    const T* xs = start.data();
    T* out = x.data();
    for_each_element(start, estimate, of_z != 0, noise, step, [=](Index i, T x0, T, T z) { out[i] = a * xs[i] + b * x0 + c * z; });
}
}  // namespace detail

}  // namespace ito
