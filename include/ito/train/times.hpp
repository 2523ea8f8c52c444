// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ito/core/random.hpp"

// Which noise levels a training batch sees: numbers in [0, 1), independent or spread out, mapped by the quantiles of a law.
//   for (double u : stratified_numbers(batch, seed, part)) levels.push_back(level_at(Edm{}, lognormal_quantile(u)));
namespace ito {

/// Independent uniform numbers in [0, 1), one a sample; sample k is keyed by first_sample + k.
inline std::vector<double> uniform_numbers(Index count, std::uint64_t seed, std::uint64_t first_sample) {
    std::vector<double> numbers;
    for (Index k = 0; k < count; ++k)
        numbers.push_back(Random{{seed, first_sample + static_cast<std::uint64_t>(k), 0, Stream::timestep}}.uniform());
    return numbers;
}

/// Numbers in [0, 1), one in each of `count` equal parts and each uniform by itself: (u + k / count) mod 1 with one u for
/// batch number `batch`. Kingma et al., "Variational diffusion models" (2021), appendix I.1: the loss varies less.
inline std::vector<double> stratified_numbers(Index count, std::uint64_t seed, std::uint64_t batch) {
    const double u = Random{{seed, batch, 0, Stream::timestep}}.uniform();
    std::vector<double> numbers;
    for (Index k = 0; k < count; ++k) {
        const double v = u + static_cast<double>(k) / static_cast<double>(count);
        numbers.push_back(v < 1 ? v : v - 1);
    }
    return numbers;
}

/// z with P(N(0, 1) < z) = u, for u in (0, 1), by bisection of the tail that is not above 1/2. u at the ends gives
/// the quantile of the nearest number that a draw can give, so that no draw is infinite.
inline double normal_quantile(double u) {
    if (u > 0.5) return -normal_quantile(1 - u);
    u = std::max(u, 0x1p-54);
    double low = -9, high = 0;
    for (int i = 0; i < 60; ++i) {
        const double middle = (low + high) / 2;
        (std::erfc(-middle / std::sqrt(2.0)) / 2 < u ? low : high) = middle;
    }
    return (low + high) / 2;
}

/// Time in (0, 1) with log(t / (1 - t)) ~ N(mean, deviation^2): Esser et al., "Scaling rectified flow transformers for
/// high-resolution image synthesis" (2024), equation 19.
inline double logit_normal_quantile(double u, double mean = 0, double deviation = 1) {
    return 1 / (1 + std::exp(-mean - deviation * normal_quantile(u)));
}

/// Noise level with log sigma ~ N(mean, deviation^2): Karras et al. (2022), table 1.
inline double lognormal_quantile(double u, double mean = -1.2, double deviation = 1.2) {
    return std::exp(mean + deviation * normal_quantile(u));
}

}  // namespace ito
