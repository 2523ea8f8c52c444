// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>

#include "ito/schedule/schedule.hpp"

// A schedule read as the linear SDE dx = f(t) x dt + g(t) dw whose solutions are x_t = alpha(t) x0 + sigma(t) eps: Song et
// al. (2021), equation 5. f and g follow from alpha and sigma, so any schedule will do; one that gives them is believed.
namespace ito {

template <class S>
concept GivesSde = Schedule<S> && requires(const S& schedule, double t) {
    { schedule.drift(t) } -> std::convertible_to<double>;
    { schedule.diffusion(t) } -> std::convertible_to<double>;
};

namespace detail {

/// The slope of a function at t in [first, last] through five nearby points (the derivative of the quartic through them).
template <class F>
double slope(F&& f, double t, double first, double last) {
    const double h = 1e-3 * std::min(last - first, std::max(t - first, 1e-3 * (last - first)));
    const double start = std::clamp(t - 2 * h, first, last - 4 * h), u = (t - start) / h;
    double result = 0;
    for (int i = 0; i < 5; ++i) {  // sum over i of f_i L_i'(u), L_i the Lagrange polynomials of 0, 1, 2, 3, 4
        double derivative = 0;
        for (int j = 0; j < 5; ++j) {
            if (j == i) continue;
            double term = 1.0 / (i - j);
            for (int k = 0; k < 5; ++k)
                if (k != i && k != j) term *= (u - k) / (i - k);
            derivative += term;
        }
        result += derivative * f(start + i * h);
    }
    return result / h;
}

}  // namespace detail

/// f(t) = d log alpha / dt. Throws ArgumentError where alpha = 0.
template <Schedule S>
double drift(const S& schedule, double t) {
    if constexpr (GivesSde<S>) return schedule.drift(t);
    const double alpha = schedule.alpha(t);
    if (alpha == 0) throw ArgumentError("the drift at time " + std::to_string(t) + ", where alpha = 0");
    return detail::slope([&](double s) { return static_cast<double>(schedule.alpha(s)); }, t, 0, schedule.last_time()) / alpha;
}

/// g(t) with g^2 = d sigma^2 / dt - 2 f sigma^2. Throws ArgumentError where alpha = 0.
template <Schedule S>
double diffusion(const S& schedule, double t) {
    if constexpr (GivesSde<S>) return schedule.diffusion(t);
    const auto variance = [&](double s) { return std::pow(static_cast<double>(schedule.sigma(s)), 2); };
    const double g2 = detail::slope(variance, t, 0, schedule.last_time()) - 2 * drift(schedule, t) * variance(t);
    return std::sqrt(std::max(0.0, g2));
}

/// The time of a level of the schedule, found by its ratio sigma / alpha.
template <Schedule S>
double time_of(const S& schedule, const NoiseLevel& level) {
    if (level.sigma == 0) return 0;
    return level.alpha == 0 ? schedule.last_time() : time_of_ratio(schedule, level.sigma / level.alpha);
}

/// The probability-flow ODE in terms of what a denoiser says, dx/dt = f x - g^2 score / 2 = alpha' x0 + sigma' eps: the
/// two slopes (Song et al. 2021, equation 13, with score = -eps / sigma). Finite where alpha = 0; not where sigma = 0.
struct FlowRates {
    double of_x0 = 0, of_eps = 0;
};

template <Schedule S>
FlowRates flow_rates(const S& schedule, double t) {
    const double alpha = schedule.alpha(t), sigma = schedule.sigma(t);
    if (sigma == 0) throw ArgumentError("the probability flow at time " + std::to_string(t) + ", where there is no noise");
    if constexpr (GivesSde<S>) {
        const double f = schedule.drift(t), g = schedule.diffusion(t);
        return {f * alpha, f * sigma + g * g / (2 * sigma)};
    } else {
        const double end = schedule.last_time();
        const auto variance = [&](double s) { return std::pow(static_cast<double>(schedule.sigma(s)), 2); };
        return {detail::slope([&](double s) { return static_cast<double>(schedule.alpha(s)); }, t, 0, end),
                detail::slope(variance, t, 0, end) / (2 * sigma)};
    }
}

}  // namespace ito
