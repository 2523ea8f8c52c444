// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include "ito/sampler/dpm_solver.hpp"

namespace ito {

/// Xue et al., "SA-Solver: stochastic Adams solver for fast sampling of diffusion models" (2023), algorithm 1: an Adams-
/// Bashforth predictor (equation 14) and an Adams-Moulton corrector (equation 17) for the reverse SDE with the noise of
/// tau(t): 0 is the ODE, 1 the reverse SDE. One evaluation a step, as in UniPC.
struct SaSolver {
    int predictor_order = 2;  // 1 to 3
    int corrector_order = 2;  // 0 (none) to 4
    double tau = 1;           // of levels with first_time <= time <= last_time; outside of them 0
    double first_time = -std::numeric_limits<double>::infinity();
    double last_time = std::numeric_limits<double>::infinity();
    bool data_prediction = true;    // x0; else epsilon, which cannot end at sigma = 0
    bool lower_order_final = true;  // the last steps are of order ..., 2, 1
    /// Reproduce released codes, which at order 2 of x0 put h / 2 in the place of an exact integral (of the same order).
    bool reference_second_order = false;

    /// The latest outputs, newest first, with the lambdas where they were asked; where the last step began, its noise.
    template <class T>
    struct State {
        std::array<Tensor<T>, 3> outputs;
        std::array<double, 3> lambdas{};
        int count = 0;
        Tensor<T> start, noise;
        NoiseLevel level{};
        int corrector = 0;  // order that the last step leaves to its corrector
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z& noise) const {
        if (predictor_order < 1 || predictor_order > 3 || corrector_order < 0 || corrector_order > 4)
            throw ArgumentError("SA-Solver has no orders " + std::to_string(predictor_order) + " and " + std::to_string(corrector_order));
        require_noise(interval);
        if (!data_prediction) require_signal(interval);
        const NoiseLevel& from = interval.from;
        const Estimate<T> estimate = denoise(std::as_const(x), from);
        const double lambda = half_log_snr(from);

        const bool correct = state.count > 0 && state.corrector > 0;
        const Weights c = correct ? weights(state.level, from, {lambda, state.lambdas[0], state.lambdas[1], state.lambdas[2]}, state.corrector, true)
                                  : Weights{};
        const auto left = static_cast<int>(std::min<Index>(interval.count - interval.index, 8));
        const int use = interval.to.sigma == 0 ? 1 : std::min({predictor_order, lower_order_final ? left : 8, state.count + 1});
        const std::array<double, 4> lambdas{lambda, state.lambdas[0], state.lambdas[1], state.lambdas[2]};
        const Weights p = weights(from, interval.to, lambdas, use, false);

        Tensor<T> z;
        if (p.z != 0) {
            z = Tensor<T>(x.shape());
            noise(z, interval);
        }
        const bool data = data_prediction, from_x0 = !data_prediction && detail::clamps(estimate);
        Tensor<T> newest(x.shape()), corrected(x.shape());
        const T alpha = static_cast<T>(from.alpha), per_sigma = static_cast<T>(1 / from.sigma);
        const auto cast = [](double v) { return static_cast<T>(v); };
        const T cx = cast(c.x), cz = cast(c.z), c0 = cast(c.m[0]), c1 = cast(c.m[1]), c2 = cast(c.m[2]), c3 = cast(c.m[3]);
        const T px = cast(p.x), pz = cast(p.z), p0 = cast(p.m[0]), p1 = cast(p.m[1]), p2 = cast(p.m[2]);
        const int known = state.count;
        const T *m0s = known > 0 ? state.outputs[0].data() : nullptr, *m1s = known > 1 ? state.outputs[1].data() : nullptr;
        const T *m2s = known > 2 ? state.outputs[2].data() : nullptr, *starts = correct ? state.start.data() : nullptr;
        const T *zs = z.data(), *olds = c.z != 0 && !state.noise.empty() ? state.noise.data() : nullptr;
        T *xs = x.data(), *news = newest.data(), *bases = corrected.data();
        for_each_element(x, estimate, [=](Index i, T x0, T eps) {
            const T m = data ? x0 : from_x0 ? (xs[i] - alpha * x0) * per_sigma : eps;
            T base = xs[i];
            if (starts) {
                base = cx * starts[i] + c0 * m + c1 * m0s[i];
                if (m1s) base += c2 * m1s[i];
                if (m2s) base += c3 * m2s[i];
                if (olds) base += cz * olds[i];
            }
            T next = px * base + p0 * m;
            if (m0s) next += p1 * m0s[i];
            if (m1s) next += p2 * m1s[i];
            if (zs) next += pz * zs[i];
            news[i] = m;
            bases[i] = base;
            xs[i] = next;
        });
        state.outputs[2] = std::move(state.outputs[1]);
        state.outputs[1] = std::move(state.outputs[0]);
        state.outputs[0] = std::move(newest);
        state.lambdas = {lambda, state.lambdas[0], state.lambdas[1]};
        state.count = std::min(state.count + 1, 3);
        state.start = std::move(corrected);
        state.noise = std::move(z);
        state.level = from;
        state.corrector = std::min({corrector_order, lower_order_final ? left + 1 : 8, known + 2});
    }

  private:
    struct Weights {
        double x = 0;
        std::array<double, 4> m{};  // newest first
        double z = 0;
    };

    /// From one level to another, with the polynomial through the first `use` nodes lambdas, the newest first.
    Weights weights(const NoiseLevel& from, const NoiseLevel& to, const std::array<double, 4>& lambdas, int use, bool correct) const {
        const double lambda = half_log_snr(to), h = lambda - half_log_snr(from);
        const double t = from.time >= first_time && from.time <= last_time ? tau : 0, k = data_prediction ? 1 + t * t : -1;
        if (t != 0 && h < -1e-4) throw ArgumentError("SA-Solver with noise cannot go to more noise");
        Weights w;
        if (to.sigma == 0) {  // x0, whatever tau is; with epsilon the noise is what is left
            if (!data_prediction) throw ArgumentError("SA-Solver in epsilon cannot end at sigma = 0");
            w.m[0] = to.alpha;
            return w;
        }
        if (data_prediction) {
            w.x = to.sigma / from.sigma * std::exp(-t * t * h);
            w.z = to.sigma * std::sqrt(std::max(0.0, -std::expm1(-2 * t * t * h)));
        } else {
            w.x = to.alpha / from.alpha;
            w.z = t * to.sigma * std::sqrt(std::max(0.0, std::expm1(2 * h)));
        }
        if (h == 0) return w;
        // Integrals of e^{k u} u^n over u from -h to 0, u = lambda - lambda_to, by parts.
        std::array<double, 4> integrals{};
        integrals[0] = -std::expm1(-k * h) / k;
        for (int n = 1; n < 4; ++n)
            integrals[static_cast<std::size_t>(n)] = -(std::pow(-h, n) * std::exp(-k * h) + n * integrals[static_cast<std::size_t>(n) - 1]) / k;
        const double scale = data_prediction ? (1 + t * t) * to.alpha : -(1 + t * t) * to.sigma;
        for (int i = 0; i < use; ++i) {
            std::array<double, 4> polynomial{1, 0, 0, 0};  // Lagrange's, in powers of u
            const double node = lambdas[static_cast<std::size_t>(i)] - lambda;
            for (int j = 0; j < use; ++j) {
                if (j == i) continue;
                const double other = lambdas[static_cast<std::size_t>(j)] - lambda;
                for (std::size_t n = 3; n > 0; --n) polynomial[n] = (polynomial[n - 1] - other * polynomial[n]) / (node - other);
                polynomial[0] *= -other / (node - other);
            }
            double sum = 0;
            for (std::size_t n = 0; n < 4; ++n) sum += polynomial[n] * integrals[n];
            w.m[static_cast<std::size_t>(i)] = scale * sum;
        }
        if (reference_second_order && data_prediction && use == 2) {
            const double exact = (h * k - 1 + std::exp(-k * h)) / (k * k);
            const double change = scale * (h * h / 2 - exact) / (correct ? h : lambdas[0] - lambdas[1]);
            w.m[0] += change;
            w.m[1] -= change;
        }
        return w;
    }
};

}  // namespace ito
