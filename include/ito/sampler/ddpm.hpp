// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

/// Ancestral sampling, one step of the learned Markov chain: Ho et al., "Denoising diffusion probabilistic models"
/// (2020), algorithm 2 with the posterior of equations 6 and 7. Steps may skip times.
struct Ddpm {
    /// Variance of the noise of a step:
    ///   fixed_small    beta~, that of the posterior (right for data that are a point)
    ///   fixed_large    beta (right for data that are N(0, 1))
    ///   learned        the network's word
    ///   learned_range  log variance between log beta~ (-1) and log beta (+1): Nichol and Dhariwal (2021), equation 15
    enum class Variance { fixed_small, fixed_large, learned, learned_range };

    Variance variance = Variance::fixed_small;
    /// Whether the last step, to sigma = 0, adds noise, too, unless it starts at time 0. The paper does not; diffusers does.
    bool noisy_end = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const auto [alpha, beta] = transition(interval);  // sqrt(alpha_t), beta_t of the paper
        const double sigma2 = interval.from.sigma * interval.from.sigma, sigma2_to = interval.to.sigma * interval.to.sigma;
        const double beta_small = std::max(beta * sigma2_to / sigma2, 1e-20);

        // Equation 7.
        const T of_x0 = static_cast<T>(interval.to.alpha * beta / sigma2), of_x = static_cast<T>(alpha * sigma2_to / sigma2);
        T* out = x.data();

        if (interval.from.time <= 0 || (interval.to.sigma == 0 && !noisy_end)) {
            for_each_element(x, estimate, [=](Index i, T x0, T) { out[i] = of_x0 * x0 + of_x * out[i]; });
            return;
        }
        Tensor<T> z(x.shape());
        noise(z, interval);
        const T* zs = z.data();
        if (variance == Variance::fixed_small || variance == Variance::fixed_large) {
            const T deviation = static_cast<T>(std::sqrt(variance == Variance::fixed_small ? beta_small : beta));
            for_each_element(x, estimate,
                             [=](Index i, T x0, T) { out[i] = of_x0 * x0 + of_x * out[i] + deviation * zs[i]; });
            return;
        }
        require_shape("learned variance", x.shape(), estimate.variance.shape());
        const T* said = estimate.variance.data();
        if (variance == Variance::learned) {
            for_each_element(x, estimate,
                             [=](Index i, T x0, T) { out[i] = of_x0 * x0 + of_x * out[i] + std::sqrt(said[i]) * zs[i]; });
        } else {
            const T low = static_cast<T>(std::log(beta_small)), high = static_cast<T>(std::log(beta));
            for_each_element(x, estimate, [=](Index i, T x0, T) {
                const T f = (said[i] + 1) / 2;
                out[i] = of_x0 * x0 + of_x * out[i] + std::exp((f * high + (1 - f) * low) / 2) * zs[i];
            });
        }
    }
};

}  // namespace ito
