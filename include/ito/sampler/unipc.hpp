// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ito/sampler/dpm_solver.hpp"

namespace ito {

/// Zhao et al., "UniPC: a unified predictor-corrector framework for fast sampling of diffusion models" (2023), algorithms 1
/// (UniC) and 2 (UniP), with B(h) = h (bh1) or e^h - 1 (bh2). One evaluation a step: where a predictor led is where the
/// network is asked, and what it says there first corrects x and then predicts on. With the corrector of one order more than
/// the predictor's `order`, by theory; the last correction, at the end, would cost an evaluation and is not made.
struct UniPc {
    int order = 2;                // of the predictor, 1 to 3
    bool data_prediction = true;  // x0; else epsilon, which cannot end at sigma = 0 with more than order 1
    enum class B { bh1, bh2 } b = B::bh2;
    bool lower_order_final = true;         // the last steps are of order ..., 2, 1
    std::vector<Index> uncorrected_steps{};  // the predictions that these steps make are not corrected

    /// The latest outputs, newest first, with the levels where they were asked; where the last step began and its order.
    template <class T>
    struct State {
        std::array<Tensor<T>, 3> outputs;
        std::array<NoiseLevel, 3> levels{};
        int count = 0;
        Tensor<T> start;
        int order = 0;
        Index index = -1;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z&) const {
        if (order < 1 || order > 3) throw ArgumentError("UniPC has no order " + std::to_string(order));
        require_noise(interval);
        if (!data_prediction) require_signal(interval);
        const NoiseLevel& from = interval.from;
        const Estimate<T> estimate = denoise(std::as_const(x), from);

        const bool skipped = std::find(uncorrected_steps.begin(), uncorrected_steps.end(), state.index) != uncorrected_steps.end();
        const bool correct = state.count > 0 && !skipped;
        // x_c = c.x start + c.now m + sum of c.m over the past; then x' = p.x x_c + p.now m + sum of p.m over the past.
        const Weights c = correct ? weights(state.levels[0], from, state.levels, state.order, true) : Weights{};
        const Index left = interval.count - interval.index;
        int use = lower_order_final ? static_cast<int>(std::min<Index>(order, left)) : order;
        use = interval.to.sigma == 0 ? 1 : std::min(use, state.count + 1);
        std::array<NoiseLevel, 3> levels{from, state.levels[0], state.levels[1]};
        const Weights p = weights(from, interval.to, levels, use, false);

        const bool data = data_prediction, from_x0 = !data_prediction && detail::clamps(estimate);
        Tensor<T> newest(x.shape()), corrected(x.shape());
        const T alpha = static_cast<T>(from.alpha), per_sigma = static_cast<T>(1 / from.sigma);
        const T cx = static_cast<T>(c.x), c_now = static_cast<T>(c.now);
        const T c0 = static_cast<T>(c.m[0]), c1 = static_cast<T>(c.m[1]), c2 = static_cast<T>(c.m[2]);
        const T px = static_cast<T>(p.x), p0 = static_cast<T>(p.m[0]), p1 = static_cast<T>(p.m[1]), p2 = static_cast<T>(p.m[2]);
        const int known = state.count;
        const T *m0s = known > 0 ? state.outputs[0].data() : nullptr, *m1s = known > 1 ? state.outputs[1].data() : nullptr;
        const T *m2s = known > 2 ? state.outputs[2].data() : nullptr, *starts = correct ? state.start.data() : nullptr;
        T *xs = x.data(), *news = newest.data(), *bases = corrected.data();
        for_each_element(x, estimate, [=](Index i, T x0, T eps) {
            const T m = data ? x0 : from_x0 ? (xs[i] - alpha * x0) * per_sigma : eps;
            T base = xs[i];
            if (starts) {
                base = cx * starts[i] + c_now * m + c0 * m0s[i];
                if (m1s) base += c1 * m1s[i];
                if (m2s) base += c2 * m2s[i];
            }
            T next = px * base + p0 * m;
            if (m0s) next += p1 * m0s[i];
            if (m1s) next += p2 * m1s[i];
            news[i] = m;
            bases[i] = base;
            xs[i] = next;
        });
        state.outputs[2] = std::move(state.outputs[1]);
        state.outputs[1] = std::move(state.outputs[0]);
        state.outputs[0] = std::move(newest);
        state.levels = levels;
        state.count = std::min(state.count + 1, 3);
        state.start = std::move(corrected);
        state.order = use;
        state.index = interval.index;
    }

  private:
    struct Weights {
        double x = 0;
        double now = 0;             // of the output at the end, when correcting
        std::array<double, 3> m{};  // of the outputs until the start, newest first
    };

    /// From `start`, whose output is the first of the past, to `end`: equation 3 (UniC) or 9 (UniP) of order `use`, with the
    /// coefficients rho of equation 6.
    Weights weights(const NoiseLevel& start, const NoiseLevel& end, const std::array<NoiseLevel, 3>& past, int use,
                    bool correct) const {
        const double lambda = half_log_snr(start), h = half_log_snr(end) - lambda;
        const detail::DpmIntegral first = detail::dpm_integral(start, end, data_prediction, 0, false);
        Weights w{first.x, 0, {first.c0, 0, 0}};
        if (h == 0 || !std::isfinite(h)) return w;

        std::array<double, 3> r{};  // where the other outputs are, in units of h from the start
        int n = 0;
        for (int k = 1; k < use; ++k) r[static_cast<std::size_t>(n++)] = (half_log_snr(past[static_cast<std::size_t>(k)]) - lambda) / h;
        if (correct) r[static_cast<std::size_t>(n++)] = 1;
        if (n == 0) return w;
        // sum over j of rho_j r_j^(k - 1) = k! phi_{k+1}(hh) hh / B, hh = h for epsilon and -h for x0.
        const double hh = data_prediction ? -h : h, B = b == B::bh1 ? hh : std::expm1(hh);
        std::array<std::array<double, 4>, 3> system{};
        double phi = std::expm1(hh) / hh - 1, factorial = 1;
        for (int k = 0; k < n; ++k) {
            auto& row = system[static_cast<std::size_t>(k)];
            for (int j = 0; j < n; ++j) row[static_cast<std::size_t>(j)] = std::pow(r[static_cast<std::size_t>(j)], k);
            row[3] = phi * factorial / B;
            factorial *= k + 2;
            phi = phi / hh - 1 / factorial;
        }
        const std::array<double, 3> rho = n == 1 ? std::array<double, 3>{0.5, 0, 0} : solve(system, n);  // appendix E.1
        const double scale = data_prediction ? -end.alpha * B : -end.sigma * B;
        for (int j = 0; j < n; ++j) {
            const auto k = static_cast<std::size_t>(j);
            const double weight = scale * rho[k] / r[k];  // of (m_j - m_0)
            (correct && j == n - 1 ? w.now : w.m[k + 1]) += weight;
            w.m[0] -= weight;
        }
        return w;
    }

    /// Gaussian elimination with pivots for the first n of three equations.
    static std::array<double, 3> solve(std::array<std::array<double, 4>, 3> a, int n) {
        const auto at = [](int k) { return static_cast<std::size_t>(k); };
        for (int k = 0; k < n; ++k) {
            int pivot = k;
            for (int i = k + 1; i < n; ++i)
                if (std::abs(a[at(i)][at(k)]) > std::abs(a[at(pivot)][at(k)])) pivot = i;
            std::swap(a[at(k)], a[at(pivot)]);
            if (a[at(k)][at(k)] == 0) throw ArgumentError("UniPC: two outputs at one noise level");
            for (int i = k + 1; i < n; ++i) {
                const double factor = a[at(i)][at(k)] / a[at(k)][at(k)];
                for (std::size_t j = 0; j < 4; ++j) a[at(i)][j] -= factor * a[at(k)][j];
            }
        }
        std::array<double, 3> x{};
        for (int k = n - 1; k >= 0; --k) {
            double rest = a[at(k)][3];
            for (int j = k + 1; j < n; ++j) rest -= a[at(k)][at(j)] * x[at(j)];
            x[at(k)] = rest / a[at(k)][at(k)];
        }
        return x;
    }
};

}  // namespace ito
