// SPDX-License-Identifier: MIT
// Data whose every marginal is known: x0 ~ N(m, s^2), so x_t ~ N(alpha m, alpha^2 s^2 + sigma^2).
#pragma once

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/sample.hpp"

namespace ito::test {

inline constexpr double m = 0.7, s = 0.4;

/// E[x0 | x], the exact denoiser.
struct Gaussian {
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& l) const {
        const double k = l.alpha * s * s / (l.alpha * l.alpha * s * s + l.sigma * l.sigma);
        Tensor<T> x0(x.shape());
        x0.array() = static_cast<T>(m) + static_cast<T>(k) * (x.array() - static_cast<T>(l.alpha * m));
        return x0;
    }
};

inline double deviation(const NoiseLevel& l) { return std::sqrt(l.alpha * l.alpha * s * s + l.sigma * l.sigma); }

inline const Reading says_x0{.prediction = Prediction::sample};

/// Error at the end of the probability-flow ODE, whose solutions keep (x - alpha m) / deviation.
template <class S>
double ode_error(const S& sampler, const std::vector<NoiseLevel>& levels) {
    Gaussian exact;
    Denoiser denoise{exact, says_x0};
    WhiteNoise noise;
    const NoiseLevel &first = levels.front(), &last = levels.back();
    Tensor<double> x = Tensor<double>::full({1, 1}, first.alpha * m + 1.5 * deviation(first));
    Sampling<double, S> sampling(sampler, steps_between(levels), x);
    sampling.run(denoise, noise);
    return std::abs(sampling.x()[0] - (last.alpha * m + 1.5 * deviation(last)));
}

/// Levels equally spaced in log-SNR.
inline std::vector<NoiseLevel> levels_of(int count) {
    std::vector<NoiseLevel> levels;
    for (int i = 0; i <= count; ++i) {
        const double lambda = -3 + 5.0 * i / count;
        levels.push_back(level_of_ratio(10 - lambda, std::exp(-lambda)));
    }
    return levels;
}

struct Moments {
    double mean, variance;
};

inline Moments moments(const Tensor<float>& x) {
    double mean = 0, square = 0;
    for (const double v : x) mean += v;
    mean /= static_cast<double>(x.size());
    for (const double v : x) square += (v - mean) * (v - mean);
    return {mean, square / static_cast<double>(x.size() - 1)};
}

/// Within five standard errors of N(mean, variance).
inline void check_normal(const Tensor<float>& x, const Moments& expected) {
    const Moments got = moments(x);
    const double n = static_cast<double>(x.size());
    CAPTURE(got.mean, got.variance, expected.mean, expected.variance);
    CHECK(std::abs(got.mean - expected.mean) < 5 * std::sqrt(expected.variance / n));
    CHECK(std::abs(got.variance - expected.variance) < 5 * expected.variance * std::sqrt(2 / n));
}

}  // namespace ito::test
