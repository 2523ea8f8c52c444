// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "ito/schedule/steps.hpp"

namespace ito {

/// What a stretch of a critically-damped SDE does to position x and velocity v: x' = xx x + xv v, v' = vx x + vv v, and
/// noise of the given covariance.
struct PhaseMap {
    double xx = 1, xv = 0, vx = 0, vv = 1;
};
struct PhaseCovariance {
    double xx = 0, xv = 0, vv = 0;
};

/// Critically-damped Langevin diffusion: Dockhorn, Vahdat and Kreis, "Score-based generative modeling with
/// critically-damped Langevin diffusion" (2022). Position x (the data) and velocity v follow equation 5 with critical
/// damping, Gamma^2 = 4 M:
///   dx = beta v / M dt,   dv = -beta x dt - Gamma beta v / M dt + sqrt(2 Gamma beta) dw,
/// which takes anything to x ~ N(0, 1), v ~ N(0, M). The noise enters v alone, and x through v. beta(t) = beta_0 + beta_1 t.
/// The moments are appendix B.1's, collected so that nothing cancels where t is small.
struct CriticallyDamped {
    double beta_0 = 4, beta_1 = 0;
    double mass = 0.25;          // M
    double initial_share = 0.04; // gamma: data start with v ~ N(0, gamma M)

    double friction() const { return 2 * std::sqrt(mass); }  // Gamma
    double beta(double t) const { return beta_0 + beta_1 * t; }
    /// The integral of beta between two times.
    double total_beta(double from, double to) const { return (to - from) * (beta_0 + beta_1 * (from + to) / 2); }
    double initial_variance() const { return initial_share * mass; }

    /// The means of a stretch over which beta sums to `total`.
    PhaseMap mean(double total) const {
        const double g = 1 / friction(), b = total, c = std::exp(-2 * b * g);
        return {c * (1 + 2 * b * g), c * 4 * b * g * g, -c * b, c * (1 - 2 * b * g)};
    }

    /// Its noise.
    PhaseCovariance noise(double total) const {
        const double f = friction(), y = 4 * total / f, c = std::exp(-y), rest = exponential_rest(y);
        return {c * rest, c * 4 * total * total / f, c * (f * f / 4 * rest + 2 * f * total)};
    }

    /// Covariance at time t of what starts with independent x and v of these variances: 0 and initial_variance() for the
    /// kernel of hybrid score matching, 0 and 0 for that of denoising score matching.
    PhaseCovariance covariance(double t, double variance_x, double variance_v) const {
        const PhaseMap a = mean(total_beta(0, t));
        PhaseCovariance s = noise(total_beta(0, t));
        s.xx += a.xx * a.xx * variance_x + a.xv * a.xv * variance_v;
        s.xv += a.xx * a.vx * variance_x + a.xv * a.vv * variance_v;
        s.vv += a.vx * a.vx * variance_x + a.vv * a.vv * variance_v;
        return s;
    }
    PhaseCovariance hybrid_covariance(double t) const { return covariance(t, 0, initial_variance()); }

    // Position alone is a schedule of its own: x_t = alpha x_0 + sigma eps.
    double alpha(double t) const { return mean(total_beta(0, t)).xx; }
    double sigma(double t) const { return std::sqrt(hybrid_covariance(t).xx); }
    double last_time() const { return 1; }

  private:
    /// e^y - 1 - y - y^2 / 2
    static double exponential_rest(double y) {
        if (y > 1) return std::expm1(y) - y - y * y / 2;
        double term = y * y * y / 6, sum = term;
        for (int n = 4; n < 20; ++n) sum += term *= y / n;
        return sum;
    }
};

/// The factor ell of the score: the gradient of log p(z | z_0) with respect to v is -ell eps_v, where eps_v is the second
/// coordinate of z = mean + L eps, L Cholesky's (Dockhorn et al. 2022, equation 9). Infinite without noise.
inline double score_factor(const PhaseCovariance& s) { return std::sqrt(s.xx / (s.xx * s.vv - s.xv * s.xv)); }

/// `count` steps in time from last_time() to `epsilon`, equal (power 1) or quadratic (2: smaller towards the end), and a
/// last one to 0, which denoises: Dockhorn et al. (2022), appendix E.
inline Steps phase_steps(const CriticallyDamped& sde, Index count, double power = 1, double epsilon = 1e-3) {
    detail::require_steps(count);
    std::vector<double> times;
    for (Index i = 0; i <= count; ++i) {
        const double left = 1 - static_cast<double>(i) / static_cast<double>(count);
        times.push_back(epsilon + (sde.last_time() - epsilon) * std::pow(left, power));
    }
    return steps_at(sde, times);
}

}  // namespace ito
