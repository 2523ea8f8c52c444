// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

// Tables of beta_t = 1 - alpha_t^2 / alpha_{t-1}^2, t = 0 .. count-1. With T = float they are the single-precision
// tables that PyTorch computes, which published models were trained with; with T = double they are exact.
namespace ito {

namespace detail {

inline void require_count(Index count) {
    if (count < 1) throw ArgumentError("a table of " + std::to_string(count) + " betas");
}

/// `count` equally spaced numbers, counted from the nearer end so that both ends are exact, and rounded once.
template <class T>
std::vector<T> equally_spaced(double start, double end, Index count) {
    std::vector<T> values(static_cast<std::size_t>(count), static_cast<T>(start));
    const T first = static_cast<T>(start), last = static_cast<T>(end);
    const T step = count > 1 ? (last - first) / static_cast<T>(count - 1) : T(0);
    for (Index i = 0; i < count; ++i) {
        const bool near_start = i < count / 2 || count == 1;
        const auto steps = static_cast<double>(near_start ? i : count - 1 - i);
        const double from = near_start ? first : last, change = near_start ? step : -step;
        values[static_cast<std::size_t>(i)] = static_cast<T>(from + change * steps);
    }
    return values;
}

}  // namespace detail

/// Ho et al., "Denoising diffusion probabilistic models" (2020), section 4: 1e-4 to 0.02 for 1000 steps.
template <class T>
std::vector<T> linear_betas(Index count, double start = 1e-4, double end = 0.02) {
    detail::require_count(count);
    return detail::equally_spaced<T>(start, end, count);
}

/// Linear in sqrt(beta): Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022).
template <class T>
std::vector<T> scaled_linear_betas(Index count, double start = 0.00085, double end = 0.012) {
    detail::require_count(count);
    auto betas = detail::equally_spaced<T>(std::sqrt(start), std::sqrt(end), count);
    for (T& beta : betas) beta *= beta;
    return betas;
}

/// A logistic curve between the ends: Xu et al., "GeoDiff" (2022).
template <class T>
std::vector<T> sigmoid_betas(Index count, double start = 1e-4, double end = 0.02) {
    detail::require_count(count);
    auto betas = detail::equally_spaced<T>(-6, 6, count);
    for (T& beta : betas) beta = T(1) / (T(1) + std::exp(-beta)) * static_cast<T>(end - start) + static_cast<T>(start);
    return betas;
}

/// beta_t from a continuous alpha_bar on [0, 1], capped at max_beta: Nichol and Dhariwal, "Improved denoising diffusion
/// probabilistic models" (2021), section 3.2.
template <class T, class AlphaBar>
std::vector<T> betas_of(AlphaBar alpha_bar, Index count, double max_beta = 0.999) {
    detail::require_count(count);
    std::vector<T> betas;
    const auto n = static_cast<double>(count);
    for (Index i = 0; i < count; ++i) {
        const auto t = static_cast<double>(i);
        betas.push_back(static_cast<T>(std::min(1 - alpha_bar((t + 1) / n) / alpha_bar(t / n), max_beta)));
    }
    return betas;
}

/// Nichol and Dhariwal (2021), equation 17.
template <class T>
std::vector<T> cosine_betas(Index count, double s = 0.008, double max_beta = 0.999) {
    const auto alpha_bar = [s](double t) {
        const double f = std::cos((t + s) / (1 + s) * 1.57079632679489661923);
        return f * f;
    };
    return betas_of<T>(alpha_bar, count, max_beta);
}

/// alpha_bar(t) = exp(-12 t).
template <class T>
std::vector<T> exponential_betas(Index count, double max_beta = 0.999) {
    return betas_of<T>([](double t) { return std::exp(-12 * t); }, count, max_beta);
}

/// log-SNR distributed as Laplace's law: Hang and Gu, "Improved noise schedule for diffusion training" (2024).
template <class T>
std::vector<T> laplace_betas(Index count, double max_beta = 0.999) {
    const auto alpha_bar = [](double t) {
        const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
        const double snr = std::exp(lambda);
        return std::sqrt(snr / (1 + snr));
    };
    return betas_of<T>(alpha_bar, count, max_beta);
}

/// alpha_bar_t = product of (1 - beta_s), s <= t, accumulated in double. Throws ArgumentError for a beta outside [0, 1].
template <class T>
std::vector<T> cumulative_alphas(const std::vector<T>& betas) {
    std::vector<T> result;
    double product = 1;
    for (const T beta : betas) {
        if (!(beta >= 0 && beta <= 1))
            throw ArgumentError("beta[" + std::to_string(result.size()) + "] = " + std::to_string(beta) + " is outside [0, 1]");
        product *= static_cast<double>(T(1) - beta);
        result.push_back(static_cast<T>(product));
    }
    return result;
}

/// Lin et al., "Common diffusion noise schedules and sample steps are flawed" (2023), algorithm 1: shifts and scales
/// sqrt(alpha_bar) so that nothing is left of the picture at the last step.
template <class T>
std::vector<T> zero_terminal_snr(std::vector<T> betas) {
    detail::require_count(static_cast<Index>(betas.size()) - 1);
    std::vector<T> root = cumulative_alphas(betas);
    for (T& r : root) r = std::sqrt(r);
    const T first = root.front(), last = root.back(), scale = first / (first - last);
    for (T& r : root) r = (r - last) * scale;
    betas[0] = 1 - root[0] * root[0];
    for (std::size_t t = 1; t < betas.size(); ++t) betas[t] = 1 - (root[t] * root[t]) / (root[t - 1] * root[t - 1]);
    return betas;
}

}  // namespace ito
