// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"
#include "ito/schedule/level.hpp"

namespace ito {

/// What a network was trained to say about x = alpha x0 + sigma eps:
///   epsilon  the noise eps (Ho et al. 2020)
///   sample   the picture x0
///   v        (alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2) (Salimans and Ho 2022)
///   score    the gradient of log p(x), -eps / sigma (Song et al. 2021)
///   flow     the velocity eps - x0 (Lipman et al. 2023, Liu et al. 2023)
///   edm      F of Karras et al. (2022), table 1, which is -v; with a smallest ratio, that of consistency models (Song et
///            al. 2023, appendix C), which say x itself at that ratio
enum class Prediction { epsilon, sample, v, score, flow, edm };

/// x0 and eps as linear functions of what was shown to the network (x) and what it said (out).
struct Decoding {
    double x0_of_x, x0_of_out;
    double eps_of_x, eps_of_out;
};

/// Solves what the prediction means for x0 and eps; smallest_ratio (of sigma / alpha) matters to edm only. Throws
/// ArgumentError at a level where that divides by zero: epsilon and score at alpha = 0, sample and edm at sigma = 0.
inline Decoding decoding(Prediction prediction, const NoiseLevel& level, double smallest_ratio = 0) {
    const double alpha = level.alpha, sigma = level.sigma;
    const auto signal = [&](const char* what) {
        if (alpha == 0)
            throw ArgumentError(std::string("a network that predicts ") + what +
                                " says nothing about the picture at time " + std::to_string(level.time) +
                                ", where alpha = 0: use v or sample prediction, or start below");
    };
    const auto noise = [&] {
        if (sigma == 0) throw ArgumentError("a network was asked at time " + std::to_string(level.time) + " without noise");
    };
    switch (prediction) {
        case Prediction::epsilon: signal("epsilon"); return {1 / alpha, -sigma / alpha, 0, 1};
        case Prediction::score: signal("the score"); return {1 / alpha, sigma * sigma / alpha, 0, -sigma};
        case Prediction::sample: noise(); return {0, 1, 1 / sigma, -alpha / sigma};
        case Prediction::v: {
            const double square = alpha * alpha + sigma * sigma, root = std::sqrt(square);
            return {alpha / square, -sigma / root, sigma / square, alpha / root};
        }
        case Prediction::flow: {
            const double sum = alpha + sigma;
            return {1 / sum, -sigma / sum, 1 / sum, alpha / sum};
        }
        case Prediction::edm: {
            noise();
            const double above = sigma - smallest_ratio * alpha;
            const double of_x = alpha / (alpha * alpha + above * above), of_out = above / std::hypot(alpha, sigma);
            return {of_x, of_out, (1 - alpha * of_x) / sigma, -alpha * of_out / sigma};
        }
    }
    throw ArgumentError("an unknown kind of prediction");
}

/// The numbers (of x0, of eps) whose weighted sum the network should say: the target of its training.
/// Throws ArgumentError for the score at sigma = 0.
inline std::pair<double, double> encoding(Prediction prediction, const NoiseLevel& level) {
    switch (prediction) {
        case Prediction::epsilon: return {0, 1};
        case Prediction::sample: return {1, 0};
        case Prediction::v: {
            const double root = std::hypot(level.alpha, level.sigma);
            return {-level.sigma / root, level.alpha / root};
        }
        case Prediction::score:
            if (level.sigma == 0) throw ArgumentError("the score at time " + std::to_string(level.time) + " without noise");
            return {0, -1 / level.sigma};
        case Prediction::flow: return {-1, 1};
        case Prediction::edm: {
            const double root = std::hypot(level.alpha, level.sigma);
            return {level.sigma / root, -level.alpha / root};
        }
    }
    throw ArgumentError("an unknown kind of prediction");
}

namespace detail {
/// a[k] x + b[k] y for row k of x, y [N, ...].
template <class T, class Weights>
Tensor<T> mix(const Tensor<T>& x, const Tensor<T>& y, std::size_t levels, Weights weights) {
    require_shape("noise", x.shape(), y.shape());
    const Index rows = x.rank() ? x.dim(0) : 1, size = rows ? x.size() / rows : 0;
    if (static_cast<Index>(levels) != rows)
        throw ShapeError(std::to_string(levels) + " noise levels for a batch of shape " + x.shape().str());
    Tensor<T> result(x.shape());
    for (Index k = 0; k < rows; ++k) {
        const std::pair<double, double> w = weights(static_cast<std::size_t>(k));
        const T a = static_cast<T>(w.first), b = static_cast<T>(w.second);
        const T *xk = x.data() + k * size, *yk = y.data() + k * size;
        T* out = result.data() + k * size;
        for (Index i = 0; i < size; ++i) out[i] = a * xk[i] + b * yk[i];
    }
    return result;
}
}  // namespace detail

/// x_t = alpha x0 + sigma eps for x0, eps [N, ...], sample k at levels[k]: q(x_t | x0), Ho et al. (2020) equation 4.
/// Throws ShapeError unless there is one level a sample.
template <class T>
Tensor<T> add_noise(const Tensor<T>& x0, const Tensor<T>& eps, std::span<const NoiseLevel> levels) {
    return detail::mix(x0, eps, levels.size(),
                       [&](std::size_t k) { return std::pair(levels[k].alpha, levels[k].sigma); });
}

/// The same with all samples at one level.
template <class T>
Tensor<T> add_noise(const Tensor<T>& x0, const Tensor<T>& eps, const NoiseLevel& level) {
    const std::vector<NoiseLevel> levels(static_cast<std::size_t>(x0.rank() ? x0.dim(0) : 1), level);
    return add_noise(x0, eps, std::span<const NoiseLevel>(levels));
}

/// What the network should have said for add_noise(x0, eps, levels). Throws ShapeError unless one level a sample.
template <class T>
Tensor<T> prediction_target(Prediction prediction, const Tensor<T>& x0, const Tensor<T>& eps,
                            std::span<const NoiseLevel> levels) {
    return detail::mix(x0, eps, levels.size(), [&](std::size_t k) { return encoding(prediction, levels[k]); });
}

}  // namespace ito
