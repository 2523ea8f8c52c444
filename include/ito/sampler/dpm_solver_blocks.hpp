// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "ito/sampler/dpm_solver.hpp"

namespace ito {

/// DPM-Solver as a singlestep method: Lu et al., "DPM-Solver" (2022), algorithms 1 and 2, and "DPM-Solver++" (2022),
/// algorithm 1. A step of the papers is a block of `order` intervals here, so that the steps say where its nodes lie: on steps
/// equally spaced in log-SNR they are the papers' r = 1/2, or 1/3 and 2/3. Every interval asks the network once, and every
/// block starts afresh from its own x. A block cut short by the end is of lower order.
struct DpmSolverSinglestep {
    int order = 2;                // 1 to 3; the SDE is for ++ only
    bool data_prediction = true;  // ++: x0; else epsilon, which cannot end at sigma = 0 with more than order 1
    bool stochastic = false;      // the reverse SDE in place of the ODE
    /// midpoint: as in the papers, a derivative from the first and last node; heun: the polynomial through all nodes.
    enum class Type { midpoint, heun } type = Type::midpoint;
    bool lower_order_final = true;  // the last interval is a block alone
    /// Reproduce released codes for the SDE: noise is drawn anew for all of a block at each of its nodes, though each contains
    /// the one before, which makes the variance too small; and the third order of type heun has a wrong sign.
    bool reference_sde = false;

    /// Where the block began: x, the noise of the SDE and the outputs since, oldest first, with the levels where they were asked.
    template <class T>
    struct State {
        Tensor<T> start, noise;
        std::array<Tensor<T>, 3> outputs;
        std::array<NoiseLevel, 3> levels{};
        int count = 0;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z& noise) const {
        if (order < 1 || order > 3 || (stochastic && !data_prediction))
            throw ArgumentError(stochastic && !data_prediction ? "DPM-Solver singlestep has no SDE with epsilon"
                                                               : "DPM-Solver singlestep has no order " + std::to_string(order));
        require_noise(interval);
        if (!data_prediction) require_signal(interval);
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const int stage = std::min(stage_of(interval), state.count);  // nodes of this block before this one
        std::array<NoiseLevel, 3> levels = state.levels;
        levels[static_cast<std::size_t>(stage)] = interval.from;

        const Weights w = weights(levels, interval.to, stage);
        Tensor<T> z;
        if (w.z != 0) {
            z = Tensor<T>(x.shape());
            noise(z, interval);
        }
        // The noise of the block: what there was, as it has decayed, and that of this interval.
        const bool gather = stochastic && !reference_sde;
        const detail::DpmIntegral last = detail::dpm_integral(interval.from, interval.to, data_prediction, stochastic ? 1 : 0, true);
        const T decay = static_cast<T>(last.x);
        Tensor<T> gathered;
        if (gather && w.z != 0) gathered = Tensor<T>(x.shape());
        const bool data = data_prediction, from_x0 = !data_prediction && detail::clamps(estimate);
        Tensor<T> newest(x.shape());
        if (stage == 0) state.start = x;
        const T alpha = static_cast<T>(interval.from.alpha), per_sigma = static_cast<T>(1 / interval.from.sigma);
        const T wx = static_cast<T>(w.x), wz = static_cast<T>(gather ? last.z : w.z), wn = static_cast<T>(w.m[static_cast<std::size_t>(stage)]);
        const T w0 = static_cast<T>(w.m[0]), w1 = static_cast<T>(w.m[1]);
        const T *starts = state.start.data(), *zs = z.data();
        const T *m0s = stage > 0 ? state.outputs[0].data() : nullptr, *m1s = stage > 1 ? state.outputs[1].data() : nullptr;
        const T* before = gather && stage > 0 && w.z != 0 ? state.noise.data() : nullptr;
        T *xs = x.data(), *news = newest.data(), *gathers = gathered.data();
        for_each_element(x, estimate, [=](Index i, T x0, T eps) {
            const T m = data ? x0 : from_x0 ? (xs[i] - alpha * x0) * per_sigma : eps;
            T next = wx * starts[i] + wn * m;
            if (m0s) next += w0 * m0s[i];
            if (m1s) next += w1 * m1s[i];
            if (zs) {
                T added = wz * zs[i];
                if (before) added += decay * before[i];
                if (gathers) gathers[i] = added;
                next += added;
            }
            news[i] = m;
            xs[i] = next;
        });
        state.outputs[static_cast<std::size_t>(stage)] = std::move(newest);
        state.noise = std::move(gathered);
        state.levels = levels;
        state.count = stage + 1;
    }

  private:
    struct Weights {
        double x;
        std::array<double, 3> m{};  // of the outputs, oldest first
        double z = 0;
    };

    int stage_of(const Interval& interval) const {
        const bool last = interval.index == interval.count - 1;
        const bool alone = (lower_order_final && interval.count % order == 0) || interval.to.sigma == 0;
        return last && alone ? 0 : static_cast<int>(interval.index % order);
    }

    Weights weights(const std::array<NoiseLevel, 3>& levels, const NoiseLevel& to, int stage) const {
        const detail::DpmIntegral integral =
            detail::dpm_integral(levels[0], to, data_prediction, stochastic ? 1 : 0, type == Type::midpoint && stage == 1);
        const double lambda = half_log_snr(levels[0]), h = half_log_snr(to) - lambda;
        Weights w{integral.x, {integral.c0, 0, 0}, integral.z};
        if (stage == 1) {
            const double slope = integral.c1 * h / (half_log_snr(levels[1]) - lambda);  // of (m1 - m0)
            w.m = {integral.c0 - slope, slope, 0};
        } else if (stage == 2) {
            const double r1 = (half_log_snr(levels[1]) - lambda) / h, r2 = (half_log_snr(levels[2]) - lambda) / h;
            // d1 = (m1 - m0) / r1, d2 = (m2 - m0) / r2; h m' = (r2 d1 - r1 d2) / (r2 - r1), h^2 m'' / 2 = (d2 - d1) / (r2 - r1)
            double of_d1 = 0, of_d2 = integral.c1;
            if (type == Type::heun) {
                const double c2 = integral.c2 - (reference_sde && stochastic ? 2 * to.alpha : 0);
                of_d1 = (integral.c1 * r2 - c2) / (r2 - r1);
                of_d2 = (c2 - integral.c1 * r1) / (r2 - r1);
            }
            w.m = {integral.c0 - of_d1 / r1 - of_d2 / r2, of_d1 / r1, of_d2 / r2};
        }
        return w;
    }
};

}  // namespace ito
