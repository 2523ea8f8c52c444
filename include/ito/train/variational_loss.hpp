// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <vector>

#include "ito/denoise/normal_terms.hpp"
#include "ito/ops/elementwise.hpp"
#include "ito/train/denoising_loss.hpp"

namespace ito {

/// Whether gradients of the variational bound reach what a network says of the picture, or only of the variance.
enum class BoundGradient { all, variance };

/// Each sample's term of the variational bound in bits per element: KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)), and
/// -log p(x0 | x_0') of the discretised decoder at t = 0 (Ho et al. 2020, equation 5), for a network that says a picture
/// (by the reading, without its clipping) and a variance between those of `Ddpm::Variance::learned_range`: Nichol and
/// Dhariwal (2021), equation 15, with the posterior's variance of t = 1 also at 0, where it has none.
/// said [N, .., 2 C], x_t, x0 [N, .., C], times [N] of the schedule -> [N]; times the number of times, its mean over
/// uniform times is the bound but for the prior. Throws ShapeError if the shapes do not fit, ArgumentError for a schedule
/// of one time or a time outside of it.
template <class T>
Var<T> bound_terms(const Reading& reading, const DiscreteSchedule& schedule, const Var<T>& said, const Tensor<T>& x_t,
                   const Tensor<T>& x0, std::span<const Index> times, BoundGradient gradient = BoundGradient::all) {
    if (schedule.size() < 2) throw ArgumentError("a variational bound needs at least two times");
    const Index n = x0.dim(0), channels = x0.dim(-1), row = x0.size() / std::max<Index>(1, n);
    require_shape("noisy pictures", x0.shape(), x_t.shape());
    require_shape("network output with a learned variance", x0.shape().with(-1, 2 * channels), said.shape());
    require_shape("times", {n}, {static_cast<Index>(times.size())});
    Tensor<T> slopes(said.shape()), terms({n});
    for (Index k = 0; k < n; ++k) {
        const Index t = times[static_cast<std::size_t>(k)];
        const NoiseLevel from = schedule.level(t), to = t > 0 ? schedule.level(t - 1) : NoiseLevel{from.time, 1, 0};
        const auto posterior_variance = [&](const Interval& i) {
            return transition(i).variance * i.to.sigma * i.to.sigma / (i.from.sigma * i.from.sigma);
        };
        const auto [alpha, beta] = transition({from, to});
        const double small = posterior_variance(t > 0 ? Interval{from, to} : Interval{schedule.level(1), schedule.level(0)});
        const double of_x0 = to.alpha * beta / (from.sigma * from.sigma), of_x = alpha * to.sigma * to.sigma / (from.sigma * from.sigma);
        const double low = std::log(small), high = std::log(beta);
        const Decoding decode = detail::decoding(reading, from);
        const double unit = 1 / (std::numbers::ln2 * static_cast<double>(row));
        double sum = 0;
        for (Index i = k * row; i < (k + 1) * row; ++i) {
            const Index at = i / channels * 2 * channels + i % channels;
            const double x = x_t[i], x0_said = decode.x0_of_x * x + decode.x0_of_out * (*said)[at];
            const double mean = of_x0 * x0_said + of_x * x, part = ((*said)[at + channels] + 1) / 2;
            const double log_variance = part * high + (1 - part) * low;
            const detail::NormalTerm term = t > 0 ? detail::normal_kl(of_x0 * x0[i] + of_x * x, low, mean, log_variance)
                                                  : detail::decoder_nll(x0[i], mean, log_variance);
            sum += term.value;
            slopes[at] = gradient == BoundGradient::all ? static_cast<T>(term.by_mean * of_x0 * decode.x0_of_out * unit) : T(0);
            slopes[at + channels] = static_cast<T>(term.by_log_variance * (high - low) / 2 * unit);
        }
        terms[k] = static_cast<T>(sum * unit);
    }
    Tape<T>* tape = said.tape();
    auto pullback = [=, slopes = std::move(slopes)](Tensor<T>& dy) {
        Tensor<T> g = slopes;
        for (Index k = 0; k < n; ++k) g.array().segment(k * 2 * row, 2 * row) *= dy[k];
        tape->add(said, std::move(g));
    };
    return result_of(std::move(terms), tape, std::move(pullback), said);
}

/// The losses of networks that learn the variance, too: Nichol and Dhariwal, "Improved denoising diffusion probabilistic
/// models" (2021), section 3.1. L_hybrid = L_simple + weight L_vlb, where L_vlb does not move the mean (equation 16), or
/// L_vlb alone, for which times are best drawn by a TimeResampler.
struct VariationalLoss {
    enum class Kind { hybrid, vlb };

    Kind kind = Kind::hybrid;
    Reading reading{.learned_variance = true};
    double weight = 0.001;  ///< of the bound in bits per element, in the hybrid

    /// network(x_t, times) -> Var<T> with twice the channels; x0, eps [N, .., C], times [N] of the schedule -> the loss of
    /// each sample [N]. Throws as prediction_errors and bound_terms do.
    template <class T, class Network>
    Var<T> each(Network&& network, Tape<T>& tape, const DiscreteSchedule& schedule, const Tensor<T>& x0, const Tensor<T>& eps,
                std::span<const Index> times) const {
        std::vector<NoiseLevel> levels;
        for (const Index t : times) levels.push_back(schedule.level(t));
        Var<T> said;
        const auto listen = [&](const Var<T>& x, std::span<const T> at) { return said = network(x, at); };
        const Var<T> simple = prediction_errors<T>(reading, listen, tape, x0, eps, levels);
        const Tensor<T> x_t = add_noise<T>(x0, eps, levels);
        const double count = static_cast<double>(schedule.size());
        if (kind == Kind::vlb) return ops::scale(bound_terms(reading, schedule, said, x_t, x0, times), static_cast<T>(count));
        return ops::add(simple, ops::scale(bound_terms(reading, schedule, said, x_t, x0, times, BoundGradient::variance),
                                           static_cast<T>(weight * count)));
    }

    /// The mean of the losses, each with its importance weight where there are any -> [1].
    template <class T, class Network>
    Var<T> operator()(Network&& network, Tape<T>& tape, const DiscreteSchedule& schedule, const Tensor<T>& x0,
                      const Tensor<T>& eps, std::span<const Index> times, std::span<const T> importance = {}) const {
        return ops::weighted_mean(each(network, tape, schedule, x0, eps, times), importance);
    }
};

}  // namespace ito
