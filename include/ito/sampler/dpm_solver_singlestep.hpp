// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ito/sampler/ancestral.hpp"
#include "ito/sampler/step_control.hpp"

namespace ito {

namespace detail {

/// Epsilon of sample k of x at levels[k], from x0 where that was clamped.
template <class T, DenoiserOf<T> D>
Tensor<T> eps_each(D& denoise, const Tensor<T>& x, std::span<const NoiseLevel> levels) {
    const Estimate<T> estimate = denoise_each(denoise, x, levels);
    if (estimate.limits.empty() && estimate.limit == std::numeric_limits<double>::infinity()) return estimated_eps(x, estimate);
    Tensor<T> eps = estimated_x0(x, estimate);
    const Index size = x.size() / std::max<Index>(1, x.dim(0));
    for (std::size_t k = 0; k < levels.size(); ++k) {
        const Index row = static_cast<Index>(k) * size;
        eps.array().segment(row, size) = (x.array().segment(row, size) - static_cast<T>(levels[k].alpha) * eps.array().segment(row, size)) /
                                         static_cast<T>(levels[k].sigma);
    }
    return eps;
}

/// x times the first weight plus the eps times the others, with the weights of each sample.
template <class T>
Tensor<T> combine_each(const Tensor<T>& x, std::initializer_list<const Tensor<T>*> eps, std::span<const std::array<double, 4>> weights) {
    Tensor<T> result(x.shape());
    const Index size = x.size() / std::max<Index>(1, x.dim(0));
    const T *e0 = eps.begin()[0]->data(), *e1 = eps.size() > 1 ? eps.begin()[1]->data() : nullptr;
    const T *e2 = eps.size() > 2 ? eps.begin()[2]->data() : nullptr, *xs = x.data();
    T* out = result.data();
    parallel_for(x.dim(0), std::max<Index>(1, (1 << 14) / std::max<Index>(1, size)), [&](Index begin, Index end) {
        for (Index k = begin; k < end; ++k) {
            const auto& weight = weights[static_cast<std::size_t>(k)];
            const T a = static_cast<T>(weight[0]), b = static_cast<T>(weight[1]), c = static_cast<T>(weight[2]), d = static_cast<T>(weight[3]);
            for (Index i = k * size; i < (k + 1) * size; ++i) {
                T next = a * xs[i] + b * e0[i];
                if (e1) next += c * e1[i];
                if (e2) next += d * e2[i];
                out[i] = next;
            }
        }
    });
    return result;
}

/// DPM-Solver of Lu et al. (2022), algorithms 1 (order 2) and 2 (order 3) for any r1, r2, of every sample over an
/// interval of its own; order 1 is equation 3.7.
/// x, eps: of the sample and what the network says of it at `from`, then at the stages.
struct SinglestepStages {
    std::vector<NoiseLevel> from, to;  // [N]

    NoiseLevel stage(std::size_t k, double r) const {
        const double s = from[k].sigma / from[k].alpha, s_to = to[k].sigma / to[k].alpha;
        return level_between(from[k], to[k], s * std::pow(s_to / s, r));
    }
    std::vector<NoiseLevel> stages(double r) const {
        std::vector<NoiseLevel> levels;
        for (std::size_t k = 0; k < from.size(); ++k) levels.push_back(stage(k, r));
        return levels;
    }

    /// To the level at share r of the step. `second`: the share of the stage that gave the latest eps (0 without one), whose
    /// difference from the first eps is weighed by half (order 2's end) or by the integral of the linear term.
    template <class T>
    Tensor<T> advance(const Tensor<T>& x, std::initializer_list<const Tensor<T>*> eps, std::span<const NoiseLevel> ends, double second,
                      bool half) const {
        std::vector<std::array<double, 4>> weights;
        for (std::size_t k = 0; k < from.size(); ++k) {
            const NoiseLevel& end = ends[k];
            const double h = half_log_snr(end) - half_log_snr(from[k]), whole = half_log_snr(to[k]) - half_log_snr(from[k]);
            const double phi = end.sigma * std::expm1(h);
            std::array<double, 4> w{end.alpha / from[k].alpha, -phi, 0, 0};
            if (second > 0) {
                // (eps_r - eps) / (r whole) is the slope in lambda.
                const double slope = half ? phi / (2 * second) : h == 0 ? 0 : (phi / h - end.sigma) * h / (second * whole);
                w[eps.size()] = -slope;
                w[1] += slope;
            }
            weights.push_back(w);
        }
        return combine_each(x, eps, std::span<const std::array<double, 4>>(weights));
    }
};

/// Below the end of the step, where its deterministic part ends, but not below the ratio `floor`; and the deviation of the
/// noise that leads back to the end.
inline std::pair<NoiseLevel, double> ancestral_end(const NoiseLevel& from, const NoiseLevel& to, double eta, double floor) {
    if (eta == 0) return {to, 0};
    const double ratio = to.sigma / to.alpha, down = std::min(ratio, std::max(floor, AncestralStep(from, to, eta).down));
    return {{to.time, to.alpha, to.alpha * down}, to.alpha * std::sqrt(std::max(0.0, ratio * ratio - down * down))};
}

}  // namespace detail

/// DPM-Solver-fast: Lu et al. (2022), section 3.4: a given number of evaluations in steps of order 3, the last one or two
/// of lower order. It makes step_count() steps, which should be equally spaced in log(sigma / alpha) and
/// end above sigma = 0; a step to sigma = 0 is of first order. The network is asked between the steps' levels: see TimedBy.
struct DpmSolverFast {
    Index evaluations = 20;
    double eta = 0;  // of an ancestral step, see AncestralStep
    double noise = 1;
    double floor = 0;  // with eta: the ratio sigma / alpha below which the deterministic part of a step does not go

    Index step_count() const { return evaluations / 3 + 1; }

    template <class T>
    using State = NoState;

    /// Throws ArgumentError unless the run has step_count() steps.
    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise_of) const {
        if (evaluations < 1 || interval.count != step_count())
            throw ArgumentError("DPM-Solver-fast with " + std::to_string(evaluations) + " evaluations makes " + std::to_string(step_count()) +
                                " steps, not " + std::to_string(interval.count));
        if (interval.from.alpha == 0) throw ArgumentError("DPM-Solver in epsilon cannot start without signal (alpha = 0)");
        if (interval.to.sigma == 0) return detail::one_stage(x, x, interval.from, interval, 0, interval.to.alpha, 0, denoise, noise_of);
        const auto samples = static_cast<std::size_t>(x.dim(0));
        const auto [down, fresh] = detail::ancestral_end(interval.from, interval.to, eta, floor);
        const detail::SinglestepStages stages{std::vector<NoiseLevel>(samples, interval.from), std::vector<NoiseLevel>(samples, down)};
        const int order = order_of(interval);
        const Tensor<T> e0 = detail::eps_each(denoise, std::as_const(x), std::span<const NoiseLevel>(stages.from));
        Tensor<T> next;
        if (order == 1) {
            next = stages.advance(x, {&e0}, stages.to, 0, false);
        } else {
            const double r1 = order == 2 ? 0.5 : 1.0 / 3;
            const auto s1 = stages.stages(r1);
            const Tensor<T> u1 = stages.advance(x, {&e0}, s1, 0, false);
            const Tensor<T> e1 = detail::eps_each(denoise, u1, std::span<const NoiseLevel>(s1));
            if (order == 2) {
                next = stages.advance(x, {&e0, &e1}, stages.to, r1, true);
            } else {
                const auto s2 = stages.stages(2.0 / 3);
                const Tensor<T> u2 = stages.advance(x, {&e0, &e1}, s2, r1, false);
                const Tensor<T> e2 = detail::eps_each(denoise, u2, std::span<const NoiseLevel>(s2));
                next = stages.advance(x, {&e0, &e2}, stages.to, 2.0 / 3, false);
            }
        }
        if (fresh * noise != 0) {
            Tensor<T> z(x.shape());
            noise_of(z, interval);
            next.array() += static_cast<T>(fresh * noise) * z.array();
        }
        x = std::move(next);
    }

  private:
    int order_of(const Interval& interval) const {
        const Index left = interval.count - 1 - interval.index, rest = evaluations % 3;
        if (rest != 0) return left == 0 ? static_cast<int>(rest) : 3;
        return left == 0 ? 1 : left == 1 ? 2 : 3;
    }
};

/// DPM-Solver-12 and -23: Lu et al. (2022), appendix C.4: singlestep solvers of two orders, whose difference chooses the
/// steps, equal in log(sigma / alpha) where nothing else is known. An interval is a stretch in which steps are free; one to
/// sigma = 0 is a single step of first order. The network is asked between the steps' levels: see TimedBy.
/// Every sample makes its own steps unless control.whole_batch (as k-diffusion has it).
/// Throws ToleranceError if a sample needs more than control.max_tries in an interval.
struct DpmSolverAdaptive {
    int order = 3;  // 2 or 3
    StepControl control{};
    double eta = 0;    // of an ancestral step, see AncestralStep
    double noise = 1;  // s_noise

    template <class T>
    struct State {
        std::vector<NoiseLevel> at;  // [N], in the present interval
        std::vector<StepControl::State> control;
        std::vector<Index> tries;  // in the present interval
        Tensor<T> low;             // the latest solution of lower order
        Index interval = -1;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    bool step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z& noise_of) const {
        const NoiseLevel& end = interval.to;
        if (order != 2 && order != 3) throw ArgumentError("adaptive DPM-Solver has no order " + std::to_string(order));
        if (interval.from.alpha == 0) throw ArgumentError("DPM-Solver in epsilon cannot start without signal (alpha = 0)");
        if (end.sigma == 0) {
            detail::one_stage(x, x, interval.from, interval, 0, end.alpha, 0, denoise, noise_of);
            return true;
        }
        const auto samples = static_cast<std::size_t>(x.dim(0));
        if (state.interval != interval.index) start(x, state, interval);

        // Samples that have arrived go nowhere and are asked where they are.
        detail::SinglestepStages stages{state.at, state.at};
        std::vector<NoiseLevel> to = state.at;
        std::vector<double> fresh(samples);
        for (std::size_t k = 0; k < samples; ++k) {
            if (arrived(state.at[k], end)) continue;
            const double h = std::abs(state.control[k].size), lambda = half_log_snr(state.at[k]) + h;
            to[k] = lambda < half_log_snr(end) ? level_between(interval.from, end, std::exp(-lambda)) : end;
            std::tie(stages.to[k], fresh[k]) = detail::ancestral_end(state.at[k], to[k], eta, end.sigma / end.alpha);
        }
        const double r1 = order == 2 ? 0.5 : 1.0 / 3;
        const Tensor<T> e0 = detail::eps_each(denoise, std::as_const(x), std::span<const NoiseLevel>(stages.from));
        const auto s1 = stages.stages(r1);
        const Tensor<T> u1 = stages.advance(x, {&e0}, s1, 0, false);
        const Tensor<T> e1 = detail::eps_each(denoise, u1, std::span<const NoiseLevel>(s1));
        Tensor<T> low, high;
        if (order == 2) {
            low = stages.advance(x, {&e0}, stages.to, 0, false);
            high = stages.advance(x, {&e0, &e1}, stages.to, r1, true);
        } else {
            const auto s2 = stages.stages(2.0 / 3);
            low = stages.advance(x, {&e0, &e1}, stages.to, r1, true);
            const Tensor<T> u2 = stages.advance(x, {&e0, &e1}, s2, r1, false);
            const Tensor<T> e2 = detail::eps_each(denoise, u2, std::span<const NoiseLevel>(s2));
            high = stages.advance(x, {&e0, &e2}, stages.to, 2.0 / 3, false);
        }
        const std::vector<double> errors = control.errors(low, high, state.low);
        return accept(x, state, interval, low, high, to, fresh, errors, noise_of);
    }

  private:
    static bool arrived(const NoiseLevel& at, const NoiseLevel& end) { return half_log_snr(at) >= half_log_snr(end) - 1e-5; }

    template <class T>
    void start(const Tensor<T>& x, State<T>& state, const Interval& interval) const {
        validate(control);
        const auto samples = static_cast<std::size_t>(x.dim(0));
        state.at.assign(samples, interval.from);
        if (state.control.size() != samples) state.control.assign(samples, control.start());
        state.tries.assign(samples, 0);
        state.low = x;
        state.interval = interval.index;
    }

    template <class T, NoiseOf<T> Z>
    bool accept(Tensor<T>& x, State<T>& state, const Interval& interval, const Tensor<T>& low, const Tensor<T>& high,
                const std::vector<NoiseLevel>& to, const std::vector<double>& fresh, const std::vector<double>& errors, Z& noise_of) const {
        const Index size = x.size() / x.dim(0);
        bool all = true;
        Tensor<T> z;
        for (std::size_t k = 0; k < state.at.size(); ++k) {
            if (arrived(state.at[k], interval.to)) continue;
            const Index number = state.control[k].accepted;
            ++state.tries[k];
            if (control.accept(state.control[k], errors[k], eta != 0 ? 1.5 : order)) {
                const Index row = static_cast<Index>(k) * size;
                x.array().segment(row, size) = high.array().segment(row, size);
                state.low.array().segment(row, size) = low.array().segment(row, size);
                if (fresh[k] * noise != 0) {
                    if (z.empty()) z = Tensor<T>(x.shape());
                    noise_of(z, Interval{state.at[k], to[k], number, interval.count});
                    x.array().segment(row, size) += static_cast<T>(fresh[k] * noise) * z.array().segment(row, size);
                }
                state.at[k] = to[k];
            }
            if (arrived(state.at[k], interval.to)) continue;
            all = false;
            if (state.tries[k] >= control.max_tries)
                throw ToleranceError<T>("sample " + std::to_string(k) + " needs more than " + std::to_string(control.max_tries) +
                                            " tries to keep the tolerance of adaptive DPM-Solver",
                                        x, state.at);
        }
        return all;
    }
};

}  // namespace ito
