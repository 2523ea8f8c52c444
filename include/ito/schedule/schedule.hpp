// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ito/schedule/betas.hpp"
#include "ito/schedule/level.hpp"

namespace ito {

/// A way to destroy a picture: x_t = alpha(t) x0 + sigma(t) eps, for t from 0 to last_time().
template <class S>
concept Schedule = requires(const S& schedule, double t) {
    { schedule.alpha(t) } -> std::convertible_to<double>;
    { schedule.sigma(t) } -> std::convertible_to<double>;
    { schedule.last_time() } -> std::convertible_to<double>;
};

/// The level at time t. A schedule whose networks are told another number than t says so by label(t).
template <Schedule S>
NoiseLevel level_at(const S& schedule, double t) {
    double label = t;
    if constexpr (requires { schedule.label(t); }) label = schedule.label(t);
    return {label, schedule.alpha(t), schedule.sigma(t)};
}

/// The time at which sigma / alpha has the given value, by bisection: works for any schedule whose noise grows.
template <Schedule S>
double time_of_ratio(const S& schedule, double ratio) {
    double low = 0, high = schedule.last_time();
    for (int i = 0; i < 60; ++i) {
        const double middle = (low + high) / 2;
        (schedule.sigma(middle) < ratio * schedule.alpha(middle) ? low : high) = middle;
    }
    return (low + high) / 2;
}

/// A schedule trained at the integer times 0 .. size()-1: alpha(t)^2 = alpha_bar[t], read by position. Between integers
/// log(sigma / alpha) is linear.
class DiscreteSchedule {
  public:
    /// From betas in [0, 1]; see betas.hpp. Throws ArgumentError for an empty table or a beta outside.
    template <class T>
    explicit DiscreteSchedule(const std::vector<T>& betas) : DiscreteSchedule(cumulative_alphas(betas), 0) {}

    /// From alpha_bar itself. Throws ArgumentError unless it lies in [0, 1]; that it falls is asked of the steps only.
    template <class T>
    static DiscreteSchedule of_alphas_cumprod(const std::vector<T>& alphas_cumprod) {
        return DiscreteSchedule(alphas_cumprod, 0);
    }

    Index size() const { return static_cast<Index>(alphas_cumprod_.size()); }
    double last_time() const { return static_cast<double>(size() - 1); }
    const std::vector<double>& alphas_cumprod() const { return alphas_cumprod_; }

    double alpha(double t) const { return at(t).first; }
    double sigma(double t) const { return at(t).second; }

    /// Level of an integer time. Throws ArgumentError outside [0, size).
    NoiseLevel level(Index t) const {
        if (t < 0 || t >= size())
            throw ArgumentError("time " + std::to_string(t) + " is outside a schedule of " + std::to_string(size()) + " steps");
        const double alpha_bar = alphas_cumprod_[static_cast<std::size_t>(t)];
        return {static_cast<double>(t), std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar)};
    }

  private:
    template <class T>
    DiscreteSchedule(const std::vector<T>& alphas_cumprod, int) : alphas_cumprod_(alphas_cumprod.begin(), alphas_cumprod.end()) {
        if (alphas_cumprod_.empty()) throw ArgumentError("a schedule without steps");
        for (const double a : alphas_cumprod_)
            if (!(a >= 0 && a <= 1)) throw ArgumentError("alphas_cumprod holds " + std::to_string(a) + ", outside [0, 1]");
    }

    std::pair<double, double> at(double t) const {
        const double inside = std::clamp(t, 0.0, last_time());
        const auto below = static_cast<Index>(inside);
        const NoiseLevel low = level(below);
        const double w = inside - static_cast<double>(below);
        if (w == 0) return {low.alpha, low.sigma};
        const NoiseLevel high = level(below + 1);
        if (high.alpha == 0 || low.sigma == 0)  // the ratio is not finite: interpolate the signal
            return {(1 - w) * low.alpha + w * high.alpha, std::sqrt(1 - std::pow((1 - w) * low.alpha + w * high.alpha, 2))};
        const NoiseLevel between = level_of_ratio(t, std::exp(-(1 - w) * half_log_snr(low) - w * half_log_snr(high)));
        return {between.alpha, between.sigma};
    }

    std::vector<double> alphas_cumprod_;
};

/// The variance-preserving SDE with linear beta(t), t in [0, 1]: Song et al., "Score-based generative modeling through
/// stochastic differential equations" (2021), appendix B, equation 33. Their networks are told 999 t.
template <class T>
struct BasicVp {
    T beta_min = T(0.1);
    T beta_max = T(20);
    T label_scale = T(999);

    constexpr T beta(T t) const { return beta_min + t * (beta_max - beta_min); }
    constexpr T log_alpha(T t) const { return -t * (t * (beta_max - beta_min) / 4 + beta_min / 2); }
    T alpha(T t) const { return std::exp(log_alpha(t)); }
    T sigma(T t) const { return std::sqrt(-std::expm1(2 * log_alpha(t))); }
    constexpr T drift(T t) const { return -beta(t) / 2; }
    T diffusion(T t) const { return std::sqrt(beta(t)); }
    constexpr T last_time() const { return 1; }
    constexpr T label(T t) const { return label_scale * t; }
};
using ContinuousVp = BasicVp<double>;

}  // namespace ito
