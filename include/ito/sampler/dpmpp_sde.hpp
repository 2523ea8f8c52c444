// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include "ito/sampler/ancestral.hpp"

namespace ito {

/// DPM-Solver++ with one evaluation in between (singlestep, 2S): Lu et al., "DPM-Solver++" (2022), algorithm 1, with the
/// ancestral step's noise at the end of each step; eta = 0 is the deterministic method of second order.
/// A step whose deterministic part ends at sigma = 0 is of first order. The network is asked at a level between those
/// of the steps: see TimedBy.
struct Dpmpp2SAncestral {
    double eta = 1;
    double noise = 1;  // s_noise

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise_of) const {
        const NoiseLevel &from = interval.from, &to = interval.to;
        if (from.alpha == 0) throw ArgumentError("DPM-Solver++ 2S cannot start without signal (alpha = 0)");
        const AncestralStep part(from, to, eta);
        const double s = from.sigma / from.alpha, fresh = to.alpha * part.up * noise;
        if (part.down == 0) return detail::one_stage(x, x, from, interval, 0, to.alpha, fresh, denoise, noise_of);
        const NoiseLevel middle = level_between(from, to, std::sqrt(s * part.down));
        // In y = x / alpha and lambda = -log s: y' = e^{-h} y + (1 - e^{-h}) x0, with the x0 of the middle.
        const double left_m = middle.sigma / middle.alpha / s, left = part.down / s;
        TwoStage{.middle = middle,
                 .middle_x = middle.alpha * left_m / from.alpha,
                 .middle_x0 = middle.alpha * (1 - left_m),
                 .of_x = to.alpha * left / from.alpha,
                 .of_x0 = 0,
                 .of_middle_x0 = to.alpha * (1 - left),
                 .of_z = fresh}
            .step(x, x, from, interval, denoise, noise_of);
    }
};

/// DPM-Solver++ on the reverse SDE with one evaluation in between, at the share r of the step in lambda: Crowson's
/// stochastic form of Lu et al. (2022), algorithm 1, where both stages are ancestral steps from the start that see one
/// Brownian path. eta = 0 is the deterministic method. A step to sigma = 0 is of first order.
/// The network is asked at a level between those of the steps: see TimedBy.
struct DpmppSde {
    double eta = 1;
    double noise = 1;  // s_noise
    double r = 0.5;    // in (0, 1]

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise_of) const {
        const NoiseLevel &from = interval.from, &to = interval.to;
        if (!(r > 0 && r <= 1)) throw ArgumentError("DPM-Solver++ SDE needs r in (0, 1], got " + std::to_string(r));
        if (from.alpha == 0) throw ArgumentError("DPM-Solver++ SDE cannot start without signal (alpha = 0)");
        if (to.sigma == 0) return detail::one_stage(x, x, from, interval, 0, to.alpha, 0, denoise, noise_of);
        const double s = from.sigma / from.alpha, s_to = to.sigma / to.alpha;
        const NoiseLevel middle = level_between(from, to, s * std::pow(s_to / s, r));
        const AncestralStep half(from, middle, eta), whole(from, to, eta);
        const double left_m = half.down / s, left = whole.down / s, of_middle = 1 / (2 * r);
        TwoStage{.middle = middle,
                 .middle_x = middle.alpha * left_m / from.alpha,
                 .middle_x0 = middle.alpha * (1 - left_m),
                 .middle_z = middle.alpha * half.up * noise,
                 .of_x = to.alpha * left / from.alpha,
                 .of_x0 = to.alpha * (1 - left) * (1 - of_middle),
                 .of_middle_x0 = to.alpha * (1 - left) * of_middle,
                 .of_z = to.alpha * whole.up * noise}
            .step(x, x, from, interval, denoise, noise_of);
    }
};

}  // namespace ito
