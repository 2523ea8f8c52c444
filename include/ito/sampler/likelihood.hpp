// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/sampler/probability_flow.hpp"

// log p(x) by the instantaneous change of variables along a flow: Song et al. (2021), equation 39, and Chen et al., "Neural
// ordinary differential equations" (2018). Likelihoods are in nats unless a name says bits.
namespace ito {

/// A velocity, as x, and its divergence sum_i d v_i / d x_i, one a sample.
template <class T>
struct Expansion {
    Tensor<T> velocity;
    std::vector<double> divergence;
};

/// Anything that gives both for x [N, ...] at times[k]: by automatic differentiation (task/tape_divergence.hpp), in closed
/// form, or by differences as below.
template <class F, class T>
concept ExpandingFlow = requires(F& flow, const Tensor<T>& x, std::span<const double> times) {
    { flow(x, times) } -> std::same_as<Expansion<T>>;
};

/// How a random direction is drawn for Hutchinson's estimate of a trace, E[e^T J e] = tr J. Rademacher's (all +-1) has the
/// least variance.
enum class Probe { rademacher, gaussian };

/// `count` directions for samples of the given shape [N, ...]: sample k's depend on the seed and first_sample + k alone.
template <class T>
std::vector<Tensor<T>> make_probes(const Shape& shape, Index count, Probe kind, std::uint64_t seed, std::uint64_t first_sample = 0) {
    if (count < 1) throw ArgumentError("an estimate from " + std::to_string(count) + " probes");
    std::vector<Tensor<T>> probes;
    for (Index i = 0; i < count; ++i) {
        probes.emplace_back(shape);
        Tensor<T>& probe = probes.back();
        fill_normal(probe, seed, first_sample, static_cast<std::uint32_t>(i), Stream::probe);
        if (kind == Probe::rademacher)
            for (T& e : probe) e = e < 0 ? T(-1) : T(1);
    }
    return probes;
}

/// One probe for each coordinate of samples of the given shape: with these the sum of the estimates is the exact trace.
template <class T>
std::vector<Tensor<T>> unit_probes(const Shape& shape) {
    const Index size = shape.size() / std::max<Index>(1, shape[0]);
    std::vector<Tensor<T>> probes(static_cast<std::size_t>(size), Tensor<T>::zeros(shape));
    for (Index i = 0; i < size; ++i)
        for (Index k = 0; k < shape[0]; ++k) probes[static_cast<std::size_t>(i)][k * size + i] = 1;
    return probes;
}

/// The divergence of any velocity(x, times) by differences along directions: exact to their rounding (use double) with
/// unit_probes, an unbiased estimate with random ones, which stay the same for a whole solve. Four evaluations a probe.
template <class T, class Velocity>
struct DifferenceDivergence {
    Velocity velocity;
    std::vector<Tensor<T>> probes;
    bool exact = false;  // the probes are unit_probes
    double step = 1e-3;

    Expansion<T> operator()(const Tensor<T>& x, std::span<const double> times) {
        Expansion<T> result{velocity(x, times), std::vector<double>(times.size())};
        const Index size = x.size() / x.dim(0);
        for (const Tensor<T>& probe : probes) {
            require_shape("probe", x.shape(), probe.shape());
            for (const auto& [place, weight] : {std::pair{-2, 1.0 / 12}, {-1, -8.0 / 12}, {1, 8.0 / 12}, {2, -1.0 / 12}}) {
                Tensor<T> near = x;
                near.array() += static_cast<T>(place * step) * probe.array();
                const Tensor<T> v = velocity(std::as_const(near), times);
                const double scale = weight / step / (exact ? 1.0 : static_cast<double>(probes.size()));
                for (std::size_t k = 0; k < times.size(); ++k) {
                    const Index row = static_cast<Index>(k) * size;
                    result.divergence[k] += scale * static_cast<double>((v.array().segment(row, size) * probe.array().segment(row, size)).sum());
                }
            }
        }
        return result;
    }
};

/// The exact divergence of a velocity for samples of the given shape [N, ...]: 4 evaluations a dimension, so for few.
template <class T, class Velocity>
DifferenceDivergence<T, Velocity> exact_divergence(Velocity velocity, const Shape& shape) {
    return {std::move(velocity), unit_probes<T>(shape), true};
}

/// log N(x; 0, deviation^2), one a sample of x [N, ...].
template <class T>
std::vector<double> normal_log_density(const Tensor<T>& x, double deviation = 1) {
    const Index size = x.size() / x.dim(0);
    std::vector<double> result;
    for (Index k = 0; k < x.dim(0); ++k) {
        const double square = x.array().segment(k * size, size).template cast<double>().square().sum();
        result.push_back(-square / (2 * deviation * deviation) -
                         static_cast<double>(size) * (std::log(deviation) + std::log(2 * std::numbers::pi) / 2));
    }
    return result;
}

template <class T>
struct LogLikelihood {
    std::vector<double> nats;  // log p(x), one a sample
    Tensor<T> code;            // where the flow took x
    Index evaluations = 0;     // of the flow
};

/// log p(x) of x [N, ...] at time `from` (a little above 0: Song et al. take 1e-5) for a flow that takes it to time `to`
/// with density prior(code) -> one log density a sample: log p(x) = log prior(code) + integral of the divergence. The error
/// control sees the integral, too. With float the integral is rounded to float: prefer double. Throws as
/// integrate_adaptively does.
///   FlowVelocity velocity(schedule, denoise);
///   log_likelihood<double>(exact_divergence<double>(velocity, x.shape()), x, 1e-5, 1, [](const auto& z) { return normal_log_density(z); });
template <class T, ExpandingFlow<T> Flow, class Prior>
LogLikelihood<T> log_likelihood(Flow&& flow, const Tensor<T>& x, double from, double to, Prior&& prior,
                                const StepControl& control = fine_steps(), const std::stop_token& stop = {}) {
    const Index samples = x.dim(0), size = x.size() / samples;
    // A row of the state is the sample and, last, its integral of the divergence.
    const auto velocity = [&](const Tensor<T>& state, std::span<const double> times) {
        Tensor<T> at(x.shape());
        at.array().reshaped(size, samples) = state.array().reshaped(size + 1, samples).topRows(size);
        const Expansion<T> said = flow(std::as_const(at), times);
        Tensor<T> result(state.shape());
        auto columns = result.array().reshaped(size + 1, samples);
        columns.topRows(size) = said.velocity.array().reshaped(size, samples);
        for (Index k = 0; k < samples; ++k) columns(size, k) = static_cast<T>(said.divergence[static_cast<std::size_t>(k)]);
        return result;
    };
    Tensor<T> start = Tensor<T>::zeros({samples, size + 1});
    start.array().reshaped(size + 1, samples).topRows(size) = x.array().reshaped(size, samples);
    const Integrated<T> end = integrate_adaptively<T>(velocity, std::move(start), from, to, control, tableaux::dormand_prince, stop);
    LogLikelihood<T> result{{}, Tensor<T>(x.shape()), end.evaluations};
    result.code.array().reshaped(size, samples) = end.x.array().reshaped(size + 1, samples).topRows(size);
    result.nats = prior(std::as_const(result.code));
    for (Index k = 0; k < samples; ++k) result.nats[static_cast<std::size_t>(k)] += static_cast<double>(end.x(k, size));
    return result;
}

/// Whole numbers x in [0, levels) as a density sees them: (x + u) / levels with u uniform in [0, 1), then onto [low, high].
/// x [N, ...] holds levels as low + k (high - low) / (levels - 1), as pictures do. Sample k's u depends on the seed and
/// first_sample + k alone. Without this a density can be as high as one likes (Theis et al. 2016).
template <class T>
Tensor<T> dequantize(const Tensor<T>& x, std::uint64_t seed, std::uint64_t first_sample = 0, double low = -1, double high = 1, int levels = 256) {
    Tensor<T> result(x.shape());
    fill_uniform(result, seed, first_sample, 0, Stream::noise);
    for (Index i = 0; i < x.size(); ++i) {
        const double whole = std::round((static_cast<double>(x[i]) - low) / (high - low) * (levels - 1));
        result[i] = static_cast<T>(low + (high - low) * (whole + static_cast<double>(result[i])) / levels);
    }
    return result;
}

/// Bits for each number of the whole-number data behind a log density in nats of dequantized data of `dimensions` numbers
/// in [low, high]: -nats / (dimensions log 2) + log2(levels / (high - low)), so +7 for [-1, 1], +8 for [0, 1].
inline double bits_per_dimension(double nats, Index dimensions, double low = -1, double high = 1, int levels = 256) {
    return -nats / (static_cast<double>(dimensions) * std::numbers::ln2) + std::log2(levels / (high - low));
}

/// A mean and its standard error.
struct MeanError {
    double mean = 0, error = 0;
};

/// The mean of independent values with its standard error (0 for a single one). Throws ArgumentError without values.
inline MeanError mean_error(std::span<const double> values) {
    if (values.empty()) throw ArgumentError("the mean of no values");
    const auto n = static_cast<double>(values.size());
    double mean = 0, square = 0;
    for (const double v : values) mean += v / n;
    for (const double v : values) square += (v - mean) * (v - mean);
    return {mean, n > 1 ? std::sqrt(square / (n - 1) / n) : 0};
}

}  // namespace ito
