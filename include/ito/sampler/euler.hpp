// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <utility>

#include "ito/sampler/churn.hpp"

namespace ito {

/// Euler's method on the probability-flow ODE dy/ds = (y - x0) / s of y = x / alpha over s = sigma / alpha (Karras et
/// al. 2022, equation 4), of first order. Without churn that is DDIM with eta = 0.
struct Euler {
    Churn churn{};
    /// Ask the network before the noise is churned, at the unraised level, and use its answer at the raised one, as
    /// diffusers does; the paper asks afterwards.
    bool ask_before_churn = false;
    /// With it: how to read the answer at the raised level, as diffusers does for EDM, in place of its meaning at the unraised.
    std::optional<Reading> reread = std::nullopt;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        require_noise(interval);
        const NoiseLevel &from = interval.from, &to = interval.to;
        const double gamma = churn.gamma(interval);
        if (gamma == 0) {
            const Estimate<T> estimate = denoise(std::as_const(x), from);
            advance(x, x, estimate, from, to);
        } else if (!ask_before_churn) {
            const auto [raised, level] = churn.raise(x, interval, gamma, noise);
            const Estimate<T> estimate = denoise(raised, level);
            advance(x, raised, estimate, level, to);
        } else {
            Estimate<T> estimate = denoise(std::as_const(x), from);
            const auto [raised, level] = churn.raise(x, interval, gamma, noise);
            if (reread) estimate.decode = detail::decoding(*reread, level);
            if (estimate.decode.eps_of_x != 0) {
                advance(x, raised, estimate, level, to);
            } else {  // the network says eps, which holds at any level: y + (s' - s) eps
                const double stretch = to.alpha / level.alpha;
                const T of_x = static_cast<T>(stretch), of_eps = static_cast<T>(to.sigma - level.sigma * stretch);
                const T* xs = raised.data();
                T* out = x.data();
                for_each_element(raised, estimate, [=](Index i, T, T eps) { out[i] = of_x * xs[i] + of_eps * eps; });
            }
        }
    }

  private:
    /// x0 + s' d with d = (x - alpha x0) / sigma, times alpha'. Nothing is divided by alpha.
    template <class T>
    static void advance(Tensor<T>& x, const Tensor<T>& start, const Estimate<T>& estimate, const NoiseLevel& from,
                        const NoiseLevel& to) {
        const double left = to.sigma / from.sigma;
        const T of_x = static_cast<T>(left), of_x0 = static_cast<T>(to.alpha - left * from.alpha);
        const T* xs = start.data();
        T* out = x.data();
        for_each_element(start, estimate, [=](Index i, T x0, T) { out[i] = of_x * xs[i] + of_x0 * x0; });
    }
};

}  // namespace ito
