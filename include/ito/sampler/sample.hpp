// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "ito/core/progress.hpp"
#include "ito/sampler/sampler.hpp"

namespace ito {

/// What an observer of a run sees after each step.
template <class T>
struct Seen {
    Progress progress;
    const Interval& interval;  // of the step just made
    const Tensor<T>& x;
};

/// A run of a sampler that the caller drives, one step at a time. All of its state is in the value: a copy continues
/// from the same place with the same result, and a run that was stopped or whose network threw goes on where it was.
template <class T, Sampler S>
class Sampling {
  public:
    /// From x [N, ...] at the first level. Throws ArgumentError unless the steps lead from noise to less (see validate).
    Sampling(S sampler, Steps steps, Tensor<T> x) : sampler_(std::move(sampler)), steps_(std::move(steps)), x_(std::move(x)) {
        validate(steps_);
    }

    bool done() const { return next_ == steps_.count(); }
    /// In intervals; a sampler that chooses its own steps makes several in each.
    Progress progress() const { return {next_, steps_.count()}; }
    const Steps& steps() const { return steps_; }
    const Tensor<T>& x() const& { return x_; }
    Tensor<T> x() && { return std::move(x_); }

    /// Makes the next step, which may end before the interval does if the sampler chooses its own. Throws ArgumentError
    /// after the last one, and whatever the network and the sampler throw; x is then as before the step. Throws NumericError
    /// if the last step, which is made, leaves numbers that are not finite.
    template <DenoiserOf<T> D, NoiseOf<T> Z>
    void step(D& denoise, Z& noise) {
        if (done()) throw ArgumentError("a step after the last of " + std::to_string(steps_.count()));
        const Interval& interval = steps_.intervals[static_cast<std::size_t>(next_)];
        const DenoiserRef<T> asked(denoise);
        if constexpr (std::is_same_v<decltype(sampler_.step(x_, state_, interval, asked, noise)), bool>) {
            if (!sampler_.step(x_, state_, interval, asked, noise)) return;
        } else {
            sampler_.step(x_, state_, interval, asked, noise);
        }
        ++next_;
        if (done() && !x_.array().isFinite().all())
            throw NumericError("sampling ended with numbers that are not finite after " + std::to_string(next_) + " steps");
    }

    /// Makes the remaining steps, calling observer(Seen<T>) after each. Throws Cancelled before the next step once a
    /// stop is requested; calling run again continues.
    template <DenoiserOf<T> D, NoiseOf<T> Z, class Observer = Unobserved>
    void run(D& denoise, Z& noise, const std::stop_token& stop = {}, Observer&& observer = {}) {
        while (!done()) {
            stop_if_requested(stop, "sampling", progress());
            const Interval& interval = steps_.intervals[static_cast<std::size_t>(next_)];
            step(denoise, noise);
            observer(Seen<T>{progress(), interval, x_});
        }
    }

  private:
    S sampler_;
    Steps steps_;
    Tensor<T> x_;
    typename S::template State<T> state_{};
    Index next_ = 0;
};

struct SampleOptions {
    std::uint64_t seed = 0;
    std::uint64_t first_sample = 0;  // sample k of the batch is sample first_sample + k of the seed
    std::stop_token stop{};
};

/// N(0, initial_scale^2) of the given shape [N, ...], the start of a run. Throws ArgumentError unless N > 0.
template <class T>
Tensor<T> initial_noise(const Shape& shape, const Steps& steps, std::uint64_t seed, std::uint64_t first_sample = 0) {
    if (shape.rank() == 0 || shape[0] < 1) throw ArgumentError("sampling a batch of shape " + shape.str());
    Tensor<T> x(shape);
    fill_normal(x, seed, first_sample, 0, Stream::initial);
    if (steps.initial_scale != 1) x.array() *= static_cast<T>(steps.initial_scale);
    return x;
}

/// Draws samples of the given shape [N, ...]: initial noise, then all steps. Sample k depends on the seed and
/// first_sample + k alone, as far as the network treats each sample alone. Throws as Sampling does.
///   auto pictures = sample<float>(Denoiser{network, Reading{}}, Ddim{}, trailing(schedule, 20), {16, 32, 32, 1}, {.seed = 1});
template <class T, DenoiserOf<T> D, Sampler S, class Observer = Unobserved>
Tensor<T> sample(D&& denoise, S sampler, Steps steps, const Shape& shape, const SampleOptions& options = {},
                 Observer&& observer = {}) {
    validate(steps);
    Tensor<T> x = initial_noise<T>(shape, steps, options.seed, options.first_sample);
    WhiteNoise noise{options.seed, options.first_sample};
    Sampling<T, S> sampling(std::move(sampler), std::move(steps), std::move(x));
    sampling.run(denoise, noise, options.stop, observer);
    return std::move(sampling).x();
}

}  // namespace ito
