// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ito/sampler/sampler.hpp"

// Langevin dynamics at one level: x + e score + sqrt(2 e) z again and again leaves the marginal as it is and brings samples
// that are not there towards it. A corrector is a value with
//   correct(Tensor<T>& x, const Interval&, D& denoise, Z& noise) const, at interval.from;
// how large e is makes the difference between them.
namespace ito {

namespace detail {

/// Rows of squared length, for x [N, ...].
template <class T>
std::vector<double> squared_norms(const Tensor<T>& x) {
    const Index rows = x.rank() ? x.dim(0) : 1, size = rows ? x.size() / rows : 0;
    std::vector<double> norms(static_cast<std::size_t>(rows));
    for (Index k = 0; k < rows; ++k) {
        double sum = 0;
        for (Index i = k * size; i < (k + 1) * size; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        norms[static_cast<std::size_t>(k)] = sum;
    }
    return norms;
}

/// Step j, counted from 1, with sizes(score, z) -> one e a sample.
template <class T, class D, class Z, class Sizes>
void langevin_step(Tensor<T>& x, const Interval& interval, Index j, D& denoise, Z& noise, Sizes&& sizes) {
    if (interval.from.sigma == 0) throw ArgumentError("Langevin dynamics without noise (sigma = 0)");
    const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
    Tensor<T> score = estimated_eps(x, estimate), z(x.shape());
    score.array() *= static_cast<T>(-1 / interval.from.sigma);
    Interval beside = interval;
    beside.draw = j;
    noise(z, std::as_const(beside));
    const std::vector<double> e = sizes(std::as_const(score), std::as_const(z));
    const Index rows = x.rank() ? x.dim(0) : 1, size = rows ? x.size() / rows : 0;
    for (Index k = 0; k < rows; ++k) {
        const T of_score = static_cast<T>(e[static_cast<std::size_t>(k)]), of_z = std::sqrt(2 * of_score);
        for (Index i = k * size; i < (k + 1) * size; ++i) x[i] += of_score * score[i] + of_z * z[i];
    }
}

/// The same e for every sample.
template <class T, class D, class Z>
void langevin_step(Tensor<T>& x, const Interval& interval, Index j, D& denoise, Z& noise, double e) {
    langevin_step(x, interval, j, denoise, noise, [&](const Tensor<T>& score, const Tensor<T>&) {
        return std::vector<double>(static_cast<std::size_t>(score.rank() ? score.dim(0) : 1), e);
    });
}

}  // namespace detail

/// e = 2 alpha (snr ||z|| / ||score||)^2: the step length follows the signal-to-noise ratio of the step. Song et al. (2021),
/// algorithms 4 (VE) and 5 (VP); alpha is 1 - beta of the step, as in their code (for VE 1). Song et al. use snr 0.16.
struct Langevin {
    double snr = 0.16;
    Index steps = 1;
    /// Whether the norms are means over the batch, as in their code, where samples depend on their batch mates.
    bool batch_mean = false;

    /// Throws NumericError for a sample whose score is zero.
    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void correct(Tensor<T>& x, const Interval& interval, D& denoise, Z& noise) const {
        const double root = transition(interval).alpha;
        const auto sizes = [&](const Tensor<T>& score, const Tensor<T>& z) {
            std::vector<double> scores = detail::squared_norms(score), noises = detail::squared_norms(z);
            if (batch_mean) {
                for (auto* norms : {&scores, &noises}) {
                    double mean = 0;
                    for (const double norm : *norms) mean += std::sqrt(norm) / static_cast<double>(norms->size());
                    norms->assign(norms->size(), mean * mean);
                }
            }
            for (std::size_t k = 0; k < scores.size(); ++k) {
                if (scores[k] == 0) throw NumericError("the score of sample " + std::to_string(k) + " is zero: no length for a Langevin step");
                noises[k] *= 2 * root * root * snr * snr / scores[k];
            }
            return noises;
        };
        for (Index j = 1; j <= steps; ++j) detail::langevin_step(x, interval, j, denoise, noise, sizes);
    }
};

/// e = 2 alpha (snr sigma)^2, alpha as above: the annealed Langevin corrector of Song et al.'s code.
struct AnnealedLangevin {
    double snr = 0.16;
    Index steps = 1;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void correct(Tensor<T>& x, const Interval& interval, D& denoise, Z& noise) const {
        const double root = transition(interval).alpha, length = root * snr * interval.from.sigma;
        for (Index j = 1; j <= steps; ++j) detail::langevin_step(x, interval, j, denoise, noise, 2 * length * length);
    }
};

/// e = epsilon sigma^2 / (2 sigma_min^2): Song and Ermon (2019), algorithm 1, whose alpha_i is 2 e. Their defaults are those
/// of version 1; version 2 (2020) has epsilon 6.2e-6 and 5 steps on CIFAR-10.
struct NcsnLangevin {
    double epsilon = 2e-5;
    double sigma_min = 0.01;
    Index steps = 100;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void correct(Tensor<T>& x, const Interval& interval, D& denoise, Z& noise) const {
        const double ratio = interval.from.sigma / sigma_min;
        for (Index j = 1; j <= steps; ++j) detail::langevin_step(x, interval, j, denoise, noise, epsilon / 2 * ratio * ratio);
    }
};

/// Corrects nothing.
struct NoCorrector {
    template <class T, class D, class Z>
    void correct(Tensor<T>&, const Interval&, D&, Z&) const {}
};

}  // namespace ito
