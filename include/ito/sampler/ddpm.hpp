// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

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
    /// Reproduce the rounding of released code for unCLIP, in single precision: alpha_t is 1 - beta_t, and a step from a time to
    /// the one before (or from 0 to the end) takes beta_t from this table, which differs from that of alpha_bar in its last digits.
    std::vector<float> reference_betas{};
    /// The last step adds no noise even if it ends above sigma = 0.
    bool quiet_end = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        require_noise(interval);
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        auto [alpha, beta] = transition(interval);  // sqrt(alpha_t), beta_t of the paper
        if (!reference_betas.empty()) {
            const auto t = static_cast<std::size_t>(interval.from.time);
            const bool by_one = interval.to.sigma == 0 ? t == 0 : interval.from.time - interval.to.time == 1;
            const float rounded = by_one && t < reference_betas.size() ? reference_betas[t] : 1 - static_cast<float>(alpha * alpha);
            beta = static_cast<double>(rounded);
            alpha = std::sqrt(static_cast<double>(1 - rounded));
        }
        const double sigma2 = interval.from.sigma * interval.from.sigma, sigma2_to = interval.to.sigma * interval.to.sigma;
        const double beta_small = std::max(beta * sigma2_to / sigma2, 1e-20);

        // Equation 7.
        const T of_x0 = static_cast<T>(interval.to.alpha * beta / sigma2), of_x = static_cast<T>(alpha * sigma2_to / sigma2);
        T* out = x.data();

        const bool quiet = (interval.to.sigma == 0 && !noisy_end) || (interval.index == interval.count - 1 && quiet_end);
        if (interval.from.time == 0 || quiet) {  // times below 0 are those of Edm where sigma < 1
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
