// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include "ito/sampler/ancestral.hpp"

namespace ito {

/// Euler's method to a level below the step's end, then noise up to it: Crowson's ancestral form of Karras et al.
/// (2022), of which eta = 1 is Ho et al. (2020), algorithm 2, and eta = 0 is Euler. It works in sigma / alpha, so levels
/// may be variance exploding, variance preserving or those of a flow, and may start without signal.
struct EulerAncestral {
    double eta = 1;
    double noise = 1;  // s_noise, the deviation of the fresh noise

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise_of) const {
        const NoiseLevel &from = interval.from, &to = interval.to;
        const AncestralStep part(from, to, eta);
        const double left = to.alpha * part.down / from.sigma;
        detail::one_stage(x, x, from, interval, left, to.alpha - left * from.alpha, to.alpha * part.up * noise, denoise, noise_of);
    }
};

}  // namespace ito
