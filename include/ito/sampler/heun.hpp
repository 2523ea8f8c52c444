// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include "ito/sampler/churn.hpp"

namespace ito {

/// Heun's method on the probability-flow ODE in y = x / alpha, s = sigma / alpha, two evaluations a step and of second
/// order: Karras et al. (2022), algorithm 1, with churn algorithm 2. A step to sigma = 0 is Euler's.
struct Heun {
    Churn churn{};
    /// In the coordinates of rectified flow instead, y = x / (alpha + sigma) over s = sigma / (alpha + sigma), where the slope
    /// is the velocity eps - x0 (Lipman et al. 2023) and which may start without signal.
    bool flow = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        require_noise(interval);
        const double gamma = churn.gamma(interval);
        if (gamma == 0) {
            advance(x, x, interval.from, interval.to, denoise);
        } else {
            const auto [raised, level] = churn.raise(x, interval, gamma, noise);
            advance(x, raised, level, interval.to, denoise);
        }
    }

  private:
    template <class T, DenoiserOf<T> D>
    void advance(Tensor<T>& x, const Tensor<T>& start, const NoiseLevel& from, const NoiseLevel& to, D& denoise) const {
        if (from.alpha == 0 && !flow) throw ArgumentError("Heun cannot start without signal (alpha = 0), unless with flow");
        const auto scale = [this](const NoiseLevel& level) { return flow ? level.alpha + level.sigma : level.alpha; };  // x / y
        const double stretch = scale(to) / scale(from), change = to.sigma - stretch * from.sigma;
        const T alpha = static_cast<T>(scale(from)), sigma = static_cast<T>(from.sigma);
        const T of_x = static_cast<T>(stretch), of_d = static_cast<T>(change);
        const T* xs = start.data();
        T* out = x.data();
        const Estimate<T> first = denoise(start, from);
        if (to.sigma == 0) {
            const T of_x0 = static_cast<T>(to.alpha);
            for_each_element(start, first, [=](Index i, T x0, T) { out[i] = of_x0 * x0; });
            return;
        }
        // d_i = (y - x0) / s here and d'_i at the Euler step's end; y' = y + (s' - s) (d_i + d'_i) / 2.
        // The second slope multiplies rounding errors of x_ahead by s / s'; in this form they are diffusers' errors, too.
        Tensor<T> ahead(x.shape()), slope(x.shape());
        T *aheads = ahead.data(), *slopes = slope.data();
        for_each_element(start, first, [=](Index i, T x0, T) {
            slopes[i] = (xs[i] - alpha * x0) / sigma;
            aheads[i] = of_x * xs[i] + slopes[i] * of_d;
        });
        const Estimate<T> second = denoise(std::as_const(ahead), to);
        const T alpha_to = static_cast<T>(scale(to)), sigma_to = static_cast<T>(to.sigma);
        for_each_element(ahead, second, [=](Index i, T x0, T) {
            const T d = (aheads[i] - alpha_to * x0) / sigma_to;
            out[i] = of_x * xs[i] + (slopes[i] + d) / 2 * of_d;
        });
    }
};

}  // namespace ito
