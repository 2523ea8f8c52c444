// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

#include "ito/core/random.hpp"
#include "ito/denoise/denoiser.hpp"

namespace ito {

/// Standard normal noise, independent from step to step: sample k's depends on the seed, first_sample + k and the
/// index of the step, not on the batch around it.
struct WhiteNoise {
    std::uint64_t seed = 0;
    std::uint64_t first_sample = 0;

    template <class T>
    void operator()(Tensor<T>& z, const Interval& interval) const {
        fill_normal(z, seed, first_sample, static_cast<std::uint32_t>(interval.index), Stream::step);
    }
};

/// Anything that fills z with the noise of an interval, N(0, 1) for white noise. Called at most once an interval.
template <class Z, class T>
concept NoiseOf = requires(Z& noise, Tensor<T>& z, const Interval& interval) { noise(z, interval); };

/// What a sampler that looks at one step at a time remembers.
struct NoState {};

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
