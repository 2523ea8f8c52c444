// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

namespace detail {

/// Weights of one step of an exponential integrator in lambda: x' = x-weight x + c0 m + c1 h m' + c2 h^2 m'' / 2 + z-weight z,
/// where m, its derivatives and h belong to the start.
struct DpmIntegral {
    double x, c0, c1, c2, z = 0;
};

/// Exact integrals of the polynomial from one level to another; with `midpoint` c1 is half of c0, which is enough for
/// second order. Of x0 (++), or of epsilon, which needs from.alpha > 0; of the ODE (eta = 0) or the reverse SDE (eta = 1).
inline DpmIntegral dpm_integral(const NoiseLevel& from, const NoiseLevel& to, bool data, double eta, bool midpoint) {
    const double alpha = to.alpha, sigma = to.sigma, h = half_log_snr(to) - half_log_snr(from);
    if (eta != 0 && h < -1e-4) throw ArgumentError("the reverse SDE cannot go to more noise");
    DpmIntegral w{};
    if (data) {
        // ++, equations 8 and 12 and appendix B; the SDE integrates e^{(1 + eta) lambda} in place of e^{lambda}.
        const double k = (1 + eta) * h;
        const double phi = -std::expm1(-k);  // 1 - e^{-k}
        w.x = sigma == 0 ? 0 : sigma / from.sigma * (eta == 0 ? 1 : std::exp(-eta * h));
        w.c0 = alpha * phi;
        w.c1 = midpoint ? 0.5 * w.c0 : k == 0 ? 0 : alpha * (1 - phi / k);
        if (k != 0) w.c2 = alpha * (2 * (phi - k) / (k * k) + 1);
        if (eta != 0 && sigma > 0) w.z = sigma * std::sqrt(std::max(0.0, -std::expm1(-2 * eta * h)));
    } else {
        // DPM-Solver, definition 3.1 and algorithm 2 of its appendix; sigma (e^h - 1) is finite at sigma = 0, too.
        const double reached = alpha * from.sigma / from.alpha;  // sigma e^h
        const double psi = sigma == 0 ? reached : sigma * std::expm1(h);
        w.x = alpha / from.alpha;
        w.c0 = -(1 + eta) * psi;
        w.c1 = midpoint ? 0.5 * w.c0 : h == 0 ? 0 : -(1 + eta) * (psi / h - sigma);
        if (h != 0) w.c2 = -2 * ((psi - sigma * h) / (h * h) - 0.5 * sigma);
        w.z = std::sqrt(eta * std::max(0.0, reached * reached - sigma * sigma));
    }
    return w;
}

/// Whether x0 was clamped, so that epsilon must be derived from it.
template <class T>
bool clamps(const Estimate<T>& estimate) {
    return !estimate.limits.empty() || estimate.limit < std::numeric_limits<double>::infinity();
}

}  // namespace detail

/// DPM-Solver as a multistep method, one evaluation a step: exact for the linear part of the probability-flow ODE (or
/// of the reverse SDE), polynomial in lambda = log(alpha / sigma) for what the network says.
/// Lu et al., "DPM-Solver" (2022), section 3, and "DPM-Solver++" (2022), algorithm 2 and appendix B (third order and SDE).
/// The defaults are DPM-Solver++ 2M.
struct DpmSolverMultistep {
    int order = 2;                // 1 to 3; the SDE with epsilon has no third
    bool data_prediction = true;  // ++: integrate x0; else epsilon, which cannot end at sigma = 0
    bool stochastic = false;      // the reverse SDE in place of the ODE
    double eta = 1;               // of the SDE, how strong it is: its noise has eta times the variance at small steps
    double noise = 1;             // of the SDE, the deviation of what it is given as noise (s_noise)
    /// Weight of the first derivative at second order: half of the zeroth's (midpoint), or the exact integral (heun).
    enum class Type { midpoint, heun } type = Type::midpoint;
    bool lower_order_final = true;  // with fewer than 15 steps the last ones are of order 2 and 1
    bool euler_at_final = false;    // the last step is of order 1 at any number of steps
    /// Reproduce the third order of the released codes, which takes the second derivative half as large as it is (and
    /// for the SDE adds another error), so that it converges with order 2 only.
    bool reference_third_order = false;
    bool halved_third_order = false;  // only the first of these errors, as k-diffusion's 3M SDE

    /// The latest outputs, newest first, with the lambda where they were asked.
    template <class T>
    struct State {
        std::array<Tensor<T>, 2> outputs;
        std::array<double, 2> lambdas{};
        int count = 0;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z& noise_of) const {
        if (order < 1 || order > 3 || (order == 3 && stochastic && !data_prediction))
            throw ArgumentError("DPM-Solver multistep has no order " + std::to_string(order) +
                                (stochastic && !data_prediction ? " for the SDE with epsilon" : ""));
        const NoiseLevel& from = interval.from;
        if (!data_prediction && from.alpha == 0)
            throw ArgumentError("DPM-Solver in epsilon cannot start without signal (alpha = 0); use data_prediction");
        require_noise(interval);
        const Estimate<T> estimate = denoise(std::as_const(x), from);

        const double lambda = half_log_snr(from);
        const int use = order_of(interval, state.count);
        const Weights w = weights(interval, lambda, state.lambdas, use);

        // m0 is what the network says now: x0, or epsilon, derived from x0 where that was clamped.
        const bool from_x0 = !data_prediction && detail::clamps(estimate);
        Tensor<T> newest(x.shape());
        const T alpha = static_cast<T>(from.alpha), per_sigma = static_cast<T>(1 / from.sigma);
        const T wx = static_cast<T>(w.x), w0 = static_cast<T>(w.m[0]), w1 = static_cast<T>(w.m[1]), w2 = static_cast<T>(w.m[2]);
        const T wz = static_cast<T>(w.z);
        const bool data = data_prediction;
        T *xs = x.data(), *m0s = newest.data();
        // Outputs that do not count have weight zero and x in their place: a loop without branches.
        const T *m1s = use > 1 ? state.outputs[0].data() : xs, *m2s = use > 2 ? state.outputs[1].data() : xs;
        for_each_element(x, estimate, w.z != 0, noise_of, interval, [=](Index i, T x0, T eps, T z) {
            const T m0 = data ? x0 : from_x0 ? (xs[i] - alpha * x0) * per_sigma : eps;
            const T next = wx * xs[i] + w0 * m0 + w1 * m1s[i] + w2 * m2s[i] + wz * z;
            m0s[i] = m0;
            xs[i] = next;
        });
        state.outputs[1] = std::move(state.outputs[0]);
        state.outputs[0] = std::move(newest);
        state.lambdas = {lambda, state.lambdas[0]};
        state.count = std::min(state.count + 1, 2);
    }

  private:
    struct Weights {
        double x;
        std::array<double, 3> m{};  // of the outputs, newest first
        double z = 0;
    };

    int order_of(const Interval& interval, int known) const {
        const Index left = interval.count - 1 - interval.index;
        const bool few = lower_order_final && interval.count < 15;
        int use = std::min(order, known + 1);
        if (left == 0 && (few || euler_at_final)) use = 1;
        if (interval.to.sigma == 0) use = 1;  // lambda is infinite there: x becomes x0
        if (left == 1 && few) use = std::min(use, 2);
        return use;
    }

    Weights weights(const Interval& interval, double lambda, const std::array<double, 2>& past, int use) const {
        const double h = half_log_snr(interval.to) - lambda;
        const detail::DpmIntegral integral =
            detail::dpm_integral(interval.from, interval.to, data_prediction, stochastic ? eta : 0, type == Type::midpoint && use < 3);
        const double c0 = integral.c0, c1 = integral.c1;
        double c2 = integral.c2;
        if (reference_third_order || halved_third_order) c2 /= 2;
        if (reference_third_order && data_prediction && stochastic) c2 -= interval.to.alpha;
        Weights w{integral.x, {}, noise * integral.z};
        // D1 = h m' and D2 = h^2 m'' / 2 by divided differences.
        w.m = {c0, 0, 0};
        if (use == 2) {
            const double h0 = lambda - past[0], first = c1 * h / h0;  // D1 = (h / h0) (m0 - m1)
            w.m = {c0 + first, -first, 0};
        } else if (use == 3) {
            const double h0 = lambda - past[0], h1 = past[0] - past[1], share = h0 / (h0 + h1);
            // D10 = (h / h0) (m0 - m1), D11 = (h / h1) (m1 - m2), D1 = D10 + share (D10 - D11), D2 = h / (h0 + h1) (D10 - D11)
            const double of_d10 = c1 * (1 + share) + c2 * h / (h0 + h1), of_d11 = -c1 * share - c2 * h / (h0 + h1);
            const double first = of_d10 * h / h0, second = of_d11 * h / h1;
            w.m = {c0 + first, second - first, -second};
        }
        return w;
    }
};

/// DEIS, Zhang and Chen, "Fast sampling of diffusion models with exponential integrator" (2023), section 3, as released: a
/// polynomial in log rho, rho = sigma / alpha, through the latest epsilons, integrated exactly. Since lambda = -log rho, that
/// is DPM-Solver in epsilon with exact integrals. Orders 1 to 3 (for the paper's tAB0 to tAB2).
constexpr DpmSolverMultistep deis(int order = 2) {
    return {.order = order, .data_prediction = false, .type = DpmSolverMultistep::Type::heun};
}

/// DPM-Solver++ 2M is the multistep solver as it stands.
using Dpmpp2M = DpmSolverMultistep;

}  // namespace ito
