// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <numbers>

// The two kinds of terms that a variational bound is made of, for one number, with the slopes that training needs.
namespace ito {

namespace detail {

/// A number and its slopes in the mean and the log variance of a normal distribution.
struct NormalTerm {
    double value, by_mean, by_log_variance;
};

/// KL(N(mean, exp(log_variance)) || N(model_mean, exp(model_log_variance))) in nats.
inline NormalTerm normal_kl(double mean, double log_variance, double model_mean, double model_log_variance) {
    const double ratio = std::exp(log_variance - model_log_variance), inverse = std::exp(-model_log_variance), away = model_mean - mean;
    return {0.5 * (model_log_variance - log_variance - 1 + ratio + away * away * inverse), away * inverse,
            0.5 * (1 - ratio - away * away * inverse)};
}

/// -log of the probability that N(mean, exp(log_variance)) gives the bin of width 2/255 around x in [-1, 1], the
/// outermost bins reaching to infinity: the discretised decoder of Ho et al. (2020), equation 13, in nats. At most 12 ln 10.
inline NormalTerm decoder_nll(double x, double mean, double log_variance) {
    const double inverse = std::exp(-log_variance / 2), half = 1.0 / 255;
    const bool first = x < -0.999, last = x > 0.999;
    double low = (x - half - mean) * inverse, high = (x + half - mean) * inverse;
    const auto density = [](double u) { return std::exp(-u * u / 2) / std::sqrt(2 * std::numbers::pi); };
    const auto below = [](double u) { return std::erfc(-u / std::numbers::sqrt2) / 2; };
    // In the upper tail the mirrored bin has the same probability without cancellation.
    double p = 0;
    if (first) p = below(high);
    else if (last) p = below(-low);
    else p = low > 0 ? below(-low) - below(-high) : below(high) - below(low);
    if (p < 1e-12) return {-std::log(1e-12), 0, 0};
    const double at_low = first ? 0 : density(low), at_high = last ? 0 : density(high);
    return {-std::log(p), (at_high - at_low) * inverse / p, 0.5 * (high * at_high - low * at_low) / p};
}

}  // namespace detail

}  // namespace ito
