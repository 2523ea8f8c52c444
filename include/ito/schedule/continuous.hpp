// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "ito/schedule/sigmas.hpp"

// Schedules of continuous time, t in [0, 1], beside ContinuousVp. Their formulas take any floating-point type.
namespace ito {

/// The sub-VP SDE: the mean of ContinuousVp with less variance, sigma = 1 - alpha^2. Song et al. (2021), equation 29 in
/// appendix B. Its networks are told 999 t.
template <class T>
struct BasicSubVp {
    T beta_min = T(0.1);
    T beta_max = T(20);
    T label_scale = T(999);

    constexpr T beta(T t) const { return beta_min + t * (beta_max - beta_min); }
    constexpr T log_alpha(T t) const { return -t * (t * (beta_max - beta_min) / 4 + beta_min / 2); }
    T alpha(T t) const { return std::exp(log_alpha(t)); }
    T sigma(T t) const { return -std::expm1(2 * log_alpha(t)); }
    constexpr T drift(T t) const { return -beta(t) / 2; }
    /// sqrt(beta (1 - exp(-2 int beta))): not the VP's sqrt(beta), although the drift is the same.
    T diffusion(T t) const { return std::sqrt(-beta(t) * std::expm1(4 * log_alpha(t))); }
    constexpr T last_time() const { return 1; }
    constexpr T label(T t) const { return label_scale * t; }
};
using ContinuousSubVp = BasicSubVp<double>;

/// The VE SDE with geometric noise, sigma(t) = sigma_min (sigma_max / sigma_min)^t, alpha = 1: Song et al. (2021),
/// equation 30 in appendix B. At t = 0 the data already have sigma_min. Its networks are told sigma.
template <class T>
struct BasicVe {
    T sigma_min = T(0.01);
    T sigma_max = T(50);

    constexpr T alpha(T) const { return 1; }
    T sigma(T t) const { return sigma_min * std::pow(sigma_max / sigma_min, t); }
    constexpr T drift(T) const { return 0; }
    T diffusion(T t) const { return sigma(t) * std::sqrt(2 * std::log(sigma_max / sigma_min)); }
    constexpr T last_time() const { return 1; }
    T label(T t) const { return sigma(t); }
};
using ContinuousVe = BasicVe<double>;

/// What moves a cosine schedule so that pictures of `image` pixels a side lose as much as pictures of `reference` pixels
/// a side did: the shift of log-SNR, Hoogeboom et al., "Simple diffusion" (2023), equation 3.
inline double cosine_shift(double reference, double image) { return 2 * std::log(reference / image); }

/// Variance preserving with the log-SNR of a cosine, -2 log tan(pi t / 2), cut off at +-last_log_snr, and then shifted:
/// Hoogeboom et al. (2023), equations 2 to 4. With two different shifts the log-SNR goes linearly in t from the curve
/// shifted by `first_shift` to the one shifted by `last_shift` (their interpolated schedule).
template <class T>
struct BasicCosine {
    T first_shift = T(0);
    T last_shift = first_shift;
    T last_log_snr = T(15);
    T label_scale = T(1000);

    T log_snr(T t) const { return (1 - t) * shifted(t, first_shift) + t * shifted(t, last_shift); }
    T alpha(T t) const { return 1 / std::sqrt(1 + std::exp(-log_snr(t))); }
    T sigma(T t) const { return 1 / std::sqrt(1 + std::exp(log_snr(t))); }
    constexpr T last_time() const { return 1; }
    constexpr T label(T t) const { return label_scale * t; }

  private:
    /// The ends of the shifted curve are those of the unshifted one, whatever the shift.
    T shifted(T t, T shift) const {
        const T first = std::atan(std::exp(-(last_log_snr - shift) / 2)), last = std::atan(std::exp((last_log_snr + shift) / 2));
        return shift - 2 * std::log(std::tan(first + t * (last - first)));
    }
};
using ContinuousCosine = BasicCosine<double>;

/// A variance-preserving schedule with its time changed so that log-SNR falls linearly over [0, 1], from that of `first_time`
/// to that of its last time: smooth where a DiscreteSchedule has a corner at every integer, as solvers that choose their
/// steps want it. Networks are told the schedule's own times.
template <Schedule S>
class UniformLogSnr {
  public:
    /// Throws ArgumentError unless alpha^2 + sigma^2 = 1 and neither is zero at either end.
    explicit UniformLogSnr(S schedule, double first_time = 0) : schedule_(std::move(schedule)) {
        const NoiseLevel first = level_at(schedule_, first_time), last = level_at(schedule_, schedule_.last_time());
        for (const NoiseLevel& level : {first, last})
            if (!(level.alpha > 0 && level.sigma > 0) || std::abs(std::hypot(level.alpha, level.sigma) - 1) > 1e-6)
                throw ArgumentError("uniform log-SNR needs a variance-preserving schedule with signal and noise at both ends");
        start_ = half_log_snr(first);
        rate_ = half_log_snr(last) - start_;
    }

    double alpha(double t) const { return 1 / std::sqrt(1 + std::exp(-2 * (start_ + rate_ * t))); }
    double sigma(double t) const { return 1 / std::sqrt(1 + std::exp(2 * (start_ + rate_ * t))); }
    double drift(double t) const { return rate_ * sigma(t) * sigma(t); }
    double diffusion(double t) const { return sigma(t) * std::sqrt(-2 * rate_); }
    double last_time() const { return 1; }
    double label(double t) const { return level_at(schedule_, time_of_ratio(schedule_, std::exp(-start_ - rate_ * t))).time; }

  private:
    S schedule_;
    double start_ = 0, rate_ = 0;
};

/// The geometric noise levels of Song and Ermon, "Generative modeling by estimating gradients of the data distribution"
/// (2019, NCSN v1: 10 levels from 1 to 0.01) and "Improved techniques for training score-based generative models" (2020,
/// v2: 232 from 50 to 0.01), highest first and then none at all. Their networks are told the level's number, counted from
/// the highest. Throws ArgumentError unless 0 < min <= max and count > 0.
inline Steps ncsn_steps(Index count, double sigma_max = 1, double sigma_min = 0.01) {
    std::vector<NoiseLevel> levels;
    for (const double sigma : exponential_sigmas(sigma_min, sigma_max, count))
        levels.push_back({static_cast<double>(levels.size()), 1, sigma});
    levels.push_back({static_cast<double>(count - 1), 1, 0});
    return steps_between(levels);
}

/// The steps of the VE sampler of Song et al. (2021) as diffusers' ScoreSdeVeScheduler places them, in its single
/// precision: time is the sigma of `count` equal times from 1 to epsilon, which the network is told, sigma the nearby
/// member of a geometric sequence, by which the sample moves. The last step ends without noise; a single one moves by
/// sigma_min alone, as there. Throws ArgumentError unless 0 < sigma_min <= sigma_max and count > 0.
inline Steps score_sde_ve_steps(Index count, double sigma_min = 0.01, double sigma_max = 1348, double epsilon = 1e-5) {
    detail::require_sigmas(sigma_min, sigma_max, count);
    const auto times = detail::equally_spaced<float>(1, epsilon, count);
    const auto log_sigmas = detail::equally_spaced<float>(std::log(sigma_min), std::log(sigma_max), count);
    const float ratio = static_cast<float>(sigma_max / sigma_min);
    std::vector<Interval> intervals;
    for (Index i = 0; i < count; ++i) {
        const float t = times[static_cast<std::size_t>(i)];
        const float label = static_cast<float>(sigma_min) * std::pow(ratio, t);
        const auto place = static_cast<std::size_t>(t * static_cast<float>(count - 1));
        const double from = std::exp(log_sigmas[place]), to = place > 0 ? std::exp(log_sigmas[place - 1]) : 0.0;
        if (i > 0) intervals.back().to.time = label;
        intervals.push_back({{label, 1, from}, {label, 1, to}, i, count});
    }
    Steps steps{std::move(intervals), sigma_max};
    validate(steps);
    return steps;
}

}  // namespace ito
