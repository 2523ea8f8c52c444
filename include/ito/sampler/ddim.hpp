// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

/// Song, Meng and Ermon, "Denoising diffusion implicit models" (2021), equation 12. eta = 0 is deterministic, of first
/// order in the number of steps; eta = 1 has the noise of DDPM. On steps that rise it is DDIM inversion (Song et al., section
/// 4.3 and appendix D.2), which may start at a picture without noise.
struct Ddim {
    double eta = 0;
    /// Derive eps from the clamped x0, as GLIDE does, in place of taking the network's.
    bool use_clipped_model_output = false;
    /// Round the noise's share to single precision where diffusers does. With eta = 1 a step from alpha = 0 leaves nothing for
    /// the direction but the rounding error, and that is its square root, 2e-4.
    bool reference_rounding = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const NoiseLevel &from = interval.from, &to = interval.to;
        // Equation 16: sigma_t(eta)^2 = eta^2 (sigma_to^2 / sigma_from^2) beta.
        const double spread = eta == 0 || from.sigma == 0 ? 0 : eta * to.sigma / from.sigma * std::sqrt(transition(interval).variance);
        const double direction = reference_rounding ? direction_in_single(interval) : std::sqrt(std::max(0.0, to.sigma * to.sigma - spread * spread));

        double k_x = 0, k_x0 = to.alpha, k_eps = direction;
        if (use_clipped_model_output) {
            require_noise(interval);  // eps = (x - alpha x0) / sigma
            k_x = direction / from.sigma;
            k_x0 -= k_x * from.alpha;
            k_eps = 0;
        }
        const T of_x = static_cast<T>(k_x), of_x0 = static_cast<T>(k_x0), of_eps = static_cast<T>(k_eps);
        const T of_z = static_cast<T>(spread);
        T* out = x.data();
        for_each_element(x, estimate, spread != 0, noise, interval, [=](Index i, T x0, T eps, T z) {
            out[i] = of_x * out[i] + of_x0 * x0 + of_eps * eps + of_z * z;
        });
    }

  private:
    double direction_in_single(const Interval& interval) const {
        const auto share = [](const NoiseLevel& level) { return static_cast<float>(level.alpha * level.alpha); };
        const float from = share(interval.from), to = share(interval.to);
        const float spread = static_cast<float>(eta) * std::sqrt((1 - to) / (1 - from) * (1 - from / to));
        return static_cast<double>(std::sqrt(std::max(0.0f, 1 - to - spread * spread)));
    }
};

}  // namespace ito
