// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
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
        const Index samples = z.rank() ? z.dim(0) : 1, size = z.size() / std::max<Index>(1, samples);
        parallel_for(samples, std::max<Index>(1, 4096 / std::max<Index>(1, size)), [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k) piece(std::span<T>(z.data() + k * size, static_cast<std::size_t>(size)), k, 0, interval);
        });
    }

    /// Elements first, first + 1, .. of sample k of the batch; `first` must be a multiple of 4.
    template <class T>
    void piece(std::span<T> z, Index k, std::size_t first, const Interval& interval) const {
        const auto index = static_cast<std::uint32_t>(interval.index + interval.draw * interval.count);
        RandomKey key{seed, first_sample + static_cast<std::uint64_t>(k), index, Stream::step};
        fill_normal(z, key, first);
        if (interval.share >= 1) return;
        const T along = static_cast<T>(std::sqrt(interval.share)), across = static_cast<T>(std::sqrt(1 - interval.share));
        key.step |= 0x80000000u;
        std::array<T, 256> bridge;
        for (std::size_t start = 0; start < z.size(); start += bridge.size()) {
            const std::size_t count = std::min(bridge.size(), z.size() - start);
            fill_normal(std::span<T>(bridge).first(count), key, first + start);
            for (std::size_t i = 0; i < count; ++i) z[start + i] = along * z[start + i] + across * bridge[i];
        }
    }
};

/// Anything that fills z with the noise of an interval, N(0, 1) for each element. A sampler asks at most once for a step
/// and once for its first part, and once for each further draw, independent of all others.
template <class Z, class T>
concept NoiseOf = requires(Z& noise, Tensor<T>& z, const Interval& interval) { noise(z, interval); };

/// Noise that gives any piece of a sample by itself, at once from several threads: as WhiteNoise::piece.
template <class Z, class T>
concept PiecewiseNoiseOf = requires(const Z& noise, std::span<T> z, const Interval& interval) { noise.piece(z, Index{}, std::size_t{}, interval); };

/// Calls f(i, x0, eps, z) once for every element i of x, z being the noise of the interval if `noisy` and else zero.
/// Piecewise noise is made in the same pass and never stored.
template <class T, NoiseOf<T> Z, class F>
void for_each_element(const Tensor<T>& x, const Estimate<T>& estimate, bool noisy, Z& noise, const Interval& interval, F&& f) {
    const T *xs = x.data(), *outs = estimate.output.data();
    if (!noisy) {
        for_each_element(x, estimate, [=](Index i, T x0, T eps) { f(i, x0, eps, T(0)); });
    } else if constexpr (PiecewiseNoiseOf<Z, T>) {
        const Index size = x.size() / std::max<Index>(1, x.rank() ? x.dim(0) : 1);
        for_each_run(x, estimate, [&](Index sample, Index first, Index last, const Decoded<T>& decoded) {
            alignas(64) std::array<T, 2048> z;
            // By parts, each with the memory that it will want on its way while its noise is made.
            constexpr Index part = 256, line = 64 / static_cast<Index>(sizeof(T));
            for (Index start = first; start < last; start += part) {
                const Index end = std::min(last, start + part);
                for (Index i = start; i < end; i += line) {
                    __builtin_prefetch(xs + i);
                    __builtin_prefetch(outs + i);
                }
                noise.piece(std::span<T>(z).subspan(static_cast<std::size_t>(start - first), static_cast<std::size_t>(end - start)), sample,
                            static_cast<std::size_t>(start - sample * size), interval);
            }
            auto each = f;
            const Decoded<T> own = decoded;
            const T* zs = z.data() - first;
            ITO_ELEMENTWISE
            for (Index i = first; i < last; ++i) each(i, own.x0(xs[i], outs[i]), own.eps(xs[i], outs[i]), zs[i]);
        });
    } else {
        Tensor<T> z(x.shape());
        noise(z, interval);
        const T* zs = z.data();
        for_each_element(x, estimate, [=](Index i, T x0, T eps) { f(i, x0, eps, zs[i]); });
    }
}

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
