// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <utility>

#include "ito/sampler/ancestral.hpp"
#include "ito/sampler/churn.hpp"

namespace ito {

/// The midpoint method in s = sigma / alpha on y = x / alpha (Karras et al. 2022, equation 4), its middle at the
/// geometric mean of the ends as in DPM-Solver-2 (Lu et al. 2022, algorithm 1): second order, two evaluations a step.
/// With eta it ends below the level and adds noise (ancestral). A step to sigma = 0 is Euler's.
/// The network is asked at a level between those of the steps: see TimedBy.
struct Dpm2 {
    Churn churn{};
    double eta = 0;
    double noise = 1;  // s_noise of the ancestral part
    bool reference_rounding = false;  // of an ancestral part with eta = 1: see AncestralStep::in_single

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise_of) const {
        if (interval.from.alpha == 0) throw ArgumentError("DPM2 cannot start without signal (alpha = 0)");
        const double gamma = churn.gamma(interval);
        if (gamma == 0) {
            advance(x, x, interval.from, interval, denoise, noise_of);
        } else {
            if (eta != 0) throw ArgumentError("DPM2 takes churn or eta, not both");
            const auto [raised, level] = churn.raise(x, interval, gamma, noise_of);
            advance(x, raised, level, interval, denoise, noise_of);
        }
    }

  private:
    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void advance(Tensor<T>& x, const Tensor<T>& start, const NoiseLevel& from, const Interval& interval, D& denoise, Z& noise_of) const {
        const NoiseLevel& to = interval.to;
        const AncestralStep part = reference_rounding ? AncestralStep::in_single(from, to) : AncestralStep(from, to, eta);
        const double s = from.sigma / from.alpha, fresh = to.alpha * part.up * noise;
        if (part.down == 0) return detail::one_stage(x, start, from, interval, 0, to.alpha, fresh, denoise, noise_of);
        const NoiseLevel middle = level_between(from, to, std::sqrt(s * part.down));
        // y_m = x0 + (s_m / s) (y - x0), y' = y + (down - s) (y_m - x0_m) / s_m
        const double s_m = middle.sigma / middle.alpha, left = s_m / s, stretch = (part.down - s) / s_m;
        TwoStage{.middle = middle,
                 .middle_x = middle.alpha * left / from.alpha,
                 .middle_x0 = middle.alpha * (1 - left),
                 .of_x = to.alpha / from.alpha * (1 + stretch * left),
                 .of_x0 = to.alpha * stretch * (1 - left),
                 .of_middle_x0 = -to.alpha * stretch,
                 .of_z = fresh}
            .step(x, start, from, interval, denoise, noise_of);
    }
};

}  // namespace ito
