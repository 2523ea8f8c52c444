// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <stop_token>
#include <utility>
#include <vector>

#include "ito/core/progress.hpp"
#include "ito/denoise/normal_terms.hpp"
#include "ito/sampler/ddpm.hpp"

namespace ito {

/// The variational bound on -log2 p(x0), term by term, one value a sample, each in bits per number of the data: Ho et al.
/// (2020), equation 5.
struct VariationalBound {
    std::vector<double> prior;               // KL(q(x_T | x0) || p(x_T))
    std::vector<std::vector<double>> steps;  // KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)), highest noise first
    std::vector<double> decoder;             // -log p(x0 | x_1)

    /// The bound of each sample.
    std::vector<double> total() const {
        std::vector<double> sum = prior;
        for (std::size_t k = 0; k < sum.size(); ++k) {
            for (const auto& step : steps) sum[k] += step[k];
            sum[k] += decoder[k];
        }
        return sum;
    }
};

/// The bound of Ddpm on the given steps, with the given variance, for pictures x0 [N, ...] in [-1, 1] of 256 levels (which
/// the decoder counts: they are not dequantized). Each step's expectation is that of one draw of x_t, for sample k keyed by
/// (seed, first_sample + k, step). A step without noise has no variance of its own: the decoder has that of the step
/// before, as the released code of Nichol and Dhariwal (2021). One network evaluation a step; observer(Progress) after
/// each. Throws ArgumentError unless the steps meet and end without noise, Cancelled between steps.
template <class T, DenoiserOf<T> D, class Observer = Unobserved>
VariationalBound variational_bound(const Tensor<T>& x0, const Steps& steps, D&& denoise, Ddpm::Variance variance, std::uint64_t seed,
                                   std::uint64_t first_sample = 0, const std::stop_token& stop = {}, Observer&& observer = {}) {
    validate(steps);
    for (Index i = 0; i < steps.count(); ++i) {
        const NoiseLevel& to = steps.intervals[static_cast<std::size_t>(i)].to;
        const bool last = i + 1 == steps.count();
        const NoiseLevel next = last ? NoiseLevel{} : steps.intervals[static_cast<std::size_t>(i) + 1].from;
        if (to.alpha != next.alpha || to.sigma != next.sigma)
            throw ArgumentError(last ? "a variational bound needs steps that end without noise"
                                     : "step " + std::to_string(i) + " ends where the next one does not start: no bound");
    }
    const auto samples = static_cast<std::size_t>(x0.dim(0));
    const Index size = x0.size() / x0.dim(0);
    const double unit = 1 / (std::numbers::ln2 * static_cast<double>(size));
    VariationalBound bound;

    const NoiseLevel& first = steps.intervals.front().from;
    for (std::size_t k = 0; k < samples; ++k) {
        double sum = 0;
        for (Index i = static_cast<Index>(k) * size; i < static_cast<Index>(k + 1) * size; ++i)
            sum += detail::normal_kl(first.alpha * static_cast<double>(x0[i]), 2 * std::log(first.sigma), 0, 2 * std::log(steps.initial_scale)).value;
        bound.prior.push_back(sum * unit);
    }

    double before = 0;  // posterior variance of the step before
    Tensor<T> x(x0.shape()), eps(x0.shape());
    for (const Interval& interval : steps.intervals) {
        stop_if_requested(stop, "variational bound", {interval.index, steps.count()});
        const auto [alpha, beta] = transition(interval);
        const double from2 = interval.from.sigma * interval.from.sigma, to2 = interval.to.sigma * interval.to.sigma;
        const double small = std::max(to2 > 0 ? beta * to2 / from2 : before > 0 ? before : beta, 1e-20);
        before = small;
        const double of_x0 = interval.to.alpha * beta / from2, of_x = alpha * to2 / from2;  // equation 7
        const double low = std::log(small), high = std::log(beta);
        fill_normal(eps, seed, first_sample, static_cast<std::uint32_t>(interval.index), Stream::noise);
        x.array() = static_cast<T>(interval.from.alpha) * x0.array() + static_cast<T>(interval.from.sigma) * eps.array();
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const bool learned = variance == Ddpm::Variance::learned || variance == Ddpm::Variance::learned_range;
        if (learned) require_shape("learned variance", x.shape(), estimate.variance.shape());

        Tensor<T> said = estimated_x0(x, estimate);
        std::vector<double> terms(samples);
        parallel_for(static_cast<Index>(samples), 1, [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k) {
                double sum = 0;
                for (Index i = k * size; i < (k + 1) * size; ++i) {
                    const double mean = of_x0 * static_cast<double>(said[i]) + of_x * static_cast<double>(x[i]);
                    double log_variance = variance == Ddpm::Variance::fixed_large && to2 > 0 ? high : low;
                    if (variance == Ddpm::Variance::learned) log_variance = std::log(static_cast<double>(estimate.variance[i]));
                    if (variance == Ddpm::Variance::learned_range) {
                        const double part = (static_cast<double>(estimate.variance[i]) + 1) / 2;
                        log_variance = part * high + (1 - part) * low;
                    }
                    const double exact = static_cast<double>(x0[i]);
                    sum += to2 > 0 ? detail::normal_kl(of_x0 * exact + of_x * static_cast<double>(x[i]), low, mean, log_variance).value
                                   : detail::decoder_nll(exact, mean, log_variance).value;
                }
                terms[static_cast<std::size_t>(k)] = sum * unit;
            }
        });
        if (to2 > 0) bound.steps.push_back(std::move(terms));
        else bound.decoder = std::move(terms);
        observer(Progress{interval.index + 1, steps.count()});
    }
    return bound;
}

}  // namespace ito
