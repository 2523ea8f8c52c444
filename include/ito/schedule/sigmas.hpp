// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ito/schedule/steps.hpp"

// Sequences of noise-to-signal ratios sigma / alpha, from largest to smallest, both included.
namespace ito {

namespace detail {

inline void require_sigmas(double min, double max, Index count) {
    require_steps(count);
    if (!(min > 0 && min <= max && std::isfinite(max)))
        throw ArgumentError("sigmas need 0 < min <= max, got " + std::to_string(min) + " and " + std::to_string(max));
}

/// 0 for the first of count, 1 for the last.
inline double ramp(Index i, Index count) {
    return count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
}

/// The regularised incomplete beta function I_x(a, b), by the continued fraction that converges where x is below the
/// mean (Abramowitz and Stegun 26.5.8), evaluated with Lentz's method.
inline double incomplete_beta(double x, double a, double b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(1 - x, b, a);
    constexpr double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (std::abs(d) < tiny ? tiny : d);
    double fraction = d;
    for (int m = 1; m < 500; ++m) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double change = 1;
        for (const double term : {even, odd}) {
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (std::abs(d) < tiny ? tiny : d);
            if (std::abs(c) < tiny) c = tiny;
            change = c * d;
            fraction *= change;
        }
        if (std::abs(change - 1) < 1e-16) break;
    }
    const double beta = std::tgamma(a) * std::tgamma(b) / std::tgamma(a + b);
    return std::pow(x, a) * std::pow(1 - x, b) / (a * beta) * fraction;
}

}  // namespace detail

/// x with I_x(a, b) = p, by bisection on log(x / (1 - x)), where both tails are resolved.
inline double beta_quantile(double p, double a, double b) {
    if (p <= 0) return 0;
    if (p >= 1) return 1;
    if (p > 0.5) return 1 - beta_quantile(1 - p, b, a);
    double low = -700, high = 40;
    for (int i = 0; i < 80; ++i) {
        const double middle = (low + high) / 2;
        (detail::incomplete_beta(1 / (1 + std::exp(-middle)), a, b) < p ? low : high) = middle;
    }
    return 1 / (1 + std::exp(-(low + high) / 2));
}

/// Karras et al., "Elucidating the design space of diffusion-based generative models" (2022), equation 5. In precision
/// T; k-diffusion's tables are in float.
template <class T = double>
std::vector<double> karras_sigmas(double min, double max, Index count, double rho = 7) {
    detail::require_sigmas(min, max, count);
    std::vector<double> sigmas;
    const double a = std::pow(max, 1 / rho), b = std::pow(min, 1 / rho);
    for (const T place : detail::equally_spaced<T>(0, 1, count))
        sigmas.push_back(static_cast<double>(std::pow(static_cast<T>(a) + place * static_cast<T>(b - a), static_cast<T>(rho))));
    return sigmas;
}

/// Equally spaced in log sigma; also the uniform-lambda steps of Lu et al., "DPM-Solver" (2022), section 3.4.
inline std::vector<double> exponential_sigmas(double min, double max, Index count) {
    detail::require_sigmas(min, max, count);
    std::vector<double> sigmas;
    const double a = std::log(max), b = std::log(min);
    for (Index i = 0; i < count; ++i) sigmas.push_back(std::exp(a + detail::ramp(i, count) * (b - a)));
    return sigmas;
}

/// Log sigma falls as a power of the place: rho = 1 is exponential, more puts more of them near the smallest.
inline std::vector<double> polyexponential_sigmas(double min, double max, Index count, double rho = 1) {
    detail::require_sigmas(min, max, count);
    std::vector<double> sigmas;
    for (Index i = 0; i < count; ++i)
        sigmas.push_back(min * std::pow(max / min, std::pow(1 - detail::ramp(i, count), rho)));
    return sigmas;
}

/// The ratios of the variance-preserving SDE with beta(t) = beta_min + beta_d t, at times equally spaced from 1 to
/// `first_time`: Karras et al. (2022), table 1. In precision T, which matters near time 0.
template <class T = double>
std::vector<double> vp_sigmas(Index count, double beta_d = 19.9, double beta_min = 0.1, double first_time = 1e-3) {
    detail::require_sigmas(first_time, 1, count);
    std::vector<double> sigmas;
    for (const T t : detail::equally_spaced<T>(1, first_time, count))
        sigmas.push_back(static_cast<double>(std::sqrt(std::exp(static_cast<T>(beta_d) * (t * t) / 2 + static_cast<T>(beta_min) * t) - 1)));
    return sigmas;
}

/// Quantiles of a Beta(a, b) distribution between the ends: Lee et al., "Beta sampling is all you need" (2024).
inline std::vector<double> beta_sigmas(double min, double max, Index count, double a = 0.6, double b = 0.6) {
    detail::require_sigmas(min, max, count);
    std::vector<double> sigmas;
    for (Index i = 0; i < count; ++i)
        sigmas.push_back(min + beta_quantile(1 - detail::ramp(i, count), a, b) * (max - min));
    return sigmas;
}

/// A share s of noise in rectified flow moved towards noise: s' = shift s / (1 + (shift - 1) s), Esser et al., "Scaling
/// rectified flow transformers" (2024), equation 23.
inline double shift_flow(double s, double shift) { return shift * s / (1 + (shift - 1) * s); }

/// The logarithm mu of the shift for a picture of so many tokens: linear between two lengths, as FLUX has it.
inline double resolution_shift(double tokens, double base = 0.5, double max = 1.15, double base_tokens = 256, double max_tokens = 4096) {
    if (!(max_tokens > base_tokens)) throw ArgumentError("a shift by resolution needs two different numbers of tokens");
    return base + (tokens - base_tokens) * (max - base) / (max_tokens - base_tokens);
}

/// Levels sigma = s, alpha = 1 - s of rectified flow, `count` of them from s near 1 down, shifted towards noise (shift_flow).
inline std::vector<double> flow_sigmas(Index train, Index count, double shift = 1) {
    detail::require_steps(count);
    if (!(shift > 0)) throw ArgumentError("the shift of flow sigmas must be positive, got " + std::to_string(shift));
    std::vector<double> sigmas;
    const double step = (1.0 / static_cast<double>(train) - 1) / static_cast<double>(count);
    for (Index i = count; i > 0; --i) {
        const double alpha = i == count ? 1.0 / static_cast<double>(train) : static_cast<double>(i) * step + 1, s = 1 - alpha;
        sigmas.push_back(shift_flow(s, shift));
    }
    return sigmas;
}

/// Steps through the given ratios sigma / alpha of a schedule, each at the time where the schedule has it, and then to
/// zero noise; End::first_level ends at the last ratio instead.
template <Schedule S>
Steps steps_of_ratios(const S& schedule, const std::vector<double>& ratios, End end = End::zero) {
    std::vector<NoiseLevel> levels;
    for (const double ratio : ratios)
        levels.push_back(level_of_ratio(level_at(schedule, time_of_ratio(schedule, ratio)).time, ratio));
    if (end == End::zero) levels.push_back({level_at(schedule, 0).time, 1, 0});
    return steps_between(levels);
}

/// Steps equally spaced in log(alpha / sigma) over the schedule's whole range of noise (from `first_time` of a continuous
/// one): Lu et al., "DPM-Solver" (2022), section 3.4.
template <Schedule S>
Steps uniform_log_snr(const S& schedule, Index count, double first_time = 0, End end = End::zero) {
    const NoiseLevel low = level_at(schedule, first_time), high = level_at(schedule, schedule.last_time());
    return steps_of_ratios(schedule, exponential_sigmas(low.sigma / low.alpha, high.sigma / high.alpha, count), end);
}

/// Karras steps over the schedule's whole range of noise (from `first_time` of a continuous one).
template <Schedule S>
Steps karras(const S& schedule, Index count, double rho = 7, double first_time = 0) {
    const NoiseLevel low = level_at(schedule, first_time), high = level_at(schedule, schedule.last_time());
    return steps_of_ratios(schedule, karras_sigmas(low.sigma / low.alpha, high.sigma / high.alpha, count, rho));
}

}  // namespace ito
