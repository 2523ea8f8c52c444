// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>

#include "ito/core/random.hpp"
#include "ito/denoise/denoiser.hpp"

namespace ito {

/// Standard normal noise, independent from step to step: sample k's depends on the seed, first_sample + k and the
/// index of the step, not on the batch around it. The noise of the first part of a step is that of the Brownian path
/// whose increment is the step's noise.
struct WhiteNoise {
    std::uint64_t seed = 0;
    std::uint64_t first_sample = 0;

    template <class T>
    void operator()(Tensor<T>& z, const Interval& interval) const {
        const auto index = static_cast<std::uint32_t>(interval.index);
        fill_normal(z, seed, first_sample, index, Stream::step);
        if (interval.share >= 1) return;
        Tensor<T> bridge(z.shape());
        fill_normal(bridge, seed, first_sample, index | 0x80000000u, Stream::step);
        z.array() = static_cast<T>(std::sqrt(interval.share)) * z.array() + static_cast<T>(std::sqrt(1 - interval.share)) * bridge.array();
    }
};

/// Anything that fills z with the noise of an interval, N(0, 1) for each element. A sampler asks at most once for a step
/// and once for its first part.
template <class Z, class T>
concept NoiseOf = requires(Z& noise, Tensor<T>& z, const Interval& interval) { noise(z, interval); };

/// What a sampler that looks at one step at a time remembers.
struct NoState {};

/// Throws ArgumentError for a step that starts without noise (steps that rise may), for samplers that divide by it.
inline void require_noise(const Interval& interval) {
    if (interval.from.sigma == 0)
        throw ArgumentError("step " + std::to_string(interval.index) + " starts without noise: DDIM alone can take it");
}

/// The same for a step that starts without signal.
inline void require_signal(const Interval& interval) {
    if (interval.from.alpha == 0)
        throw ArgumentError("step " + std::to_string(interval.index) + " starts without signal (alpha = 0), which its sampler divides by");
}

/// One paper's way from a level to the next: a value type with the paper's parameters and
///   template <class T> using State = ...;     what it remembers between steps, copyable
///   template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
///   void step(Tensor<T>& x, State<T>& state, const Interval&, D& denoise, Z& noise) const;
/// A sampler that chooses its own steps returns bool instead: whether it has reached the interval's end. Until then the
/// loop calls it again for the same interval, and its state says how far it is.
/// A step changes x and state only after the network has answered, so that a step that throws can be taken again.
template <class S>
concept Sampler = std::copyable<S> && requires { typename S::template State<float>; };

}  // namespace ito
