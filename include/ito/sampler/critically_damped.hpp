// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include "ito/denoise/phase_space.hpp"
#include "ito/sampler/runge_kutta.hpp"
#include "ito/sampler/sampler.hpp"

// Samplers of critically-damped Langevin diffusion (Dockhorn et al. 2022) on z [N, ..., 2 C] (see phase_space.hpp). Their
// denoiser says the score of the velocities (VelocityScore); levels are phase_steps. All end with a step without noise.
//   Sampling<float, Sscs> sampling(Sscs{sde}, phase_steps(sde, 100, 2), initial_phase<float>(sde, {16, 4}, seed));
//   sampling.run(score, noise);
namespace ito {

namespace detail {

/// f(x, v, i) on each position and its velocity, where i is the velocity's place in a tensor of C channels.
template <class T, class F>
void for_each_phase(Tensor<T>& z, F&& f) {
    const Index channels = z.dim(-1) / 2, rows = channels ? z.size() / (2 * channels) : 0;
    parallel_for(rows, std::max<Index>(1, 4096 / std::max<Index>(1, channels)), [&](Index begin, Index end) {
        for (Index r = begin; r < end; ++r)
            for (Index c = 0; c < channels; ++c) f(z[2 * r * channels + c], z[(2 * r + 1) * channels + c], r * channels + c);
    });
}

/// Euler's step of the reverse SDE, of length dt.
template <class T>
void reverse_drift(const CriticallyDamped& sde, Tensor<T>& z, const Tensor<T>& score, double t, double dt) {
    const double b = sde.beta(t) * dt, f = sde.friction();
    const T bm = static_cast<T>(b / sde.mass), bx = static_cast<T>(b), fbm = static_cast<T>(f * b / sde.mass), bs = static_cast<T>(2 * f * b);
    for_each_phase(z, [&](T& x, T& v, Index i) {
        const T moved = x - bm * v;
        v += bx * x + fbm * v + bs * score[i];
        x = moved;
    });
}

}  // namespace detail

/// Euler and Maruyama's method on the reverse SDE: Dockhorn et al. (2022), equation 6.
struct PhaseEulerMaruyama {
    CriticallyDamped sde{};

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& z, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const double t = interval.from.time, dt = t - interval.to.time;
        const Estimate<T> estimate = denoise(std::as_const(z), interval.from);
        detail::reverse_drift(sde, z, estimate.output, t, dt);
        if (interval.to.sigma == 0) return;
        Tensor<T> w(z.shape());
        noise(w, interval);
        z.matrix().rightCols(z.dim(-1) / 2) += static_cast<T>(std::sqrt(2 * sde.friction() * sde.beta(t) * dt)) * w.matrix().rightCols(z.dim(-1) / 2);
    }
};

/// Symmetric splitting: half a step of what is linear, exactly; a whole one of the score; half a step of what is linear.
/// Dockhorn et al. (2022), algorithm 1. One evaluation a step. The score's part is Euler's, of first order as
/// Euler-Maruyama is: where the score stands still it leaves velocities too narrow by as much as Euler-Maruyama
/// leaves them too wide. It is ahead where steps are few and long, or the data about as wide as the prior.
/// `second_order` takes two evaluations a step, both at the middle time, and solves the share -v / var(v) of the
/// score exactly (that of the paper's mixed score; ETD2RK of Cox and Matthews 2002): of second order, and at equal
/// evaluations ahead of Euler-Maruyama at every number of steps, but for narrow data (deviations of 0.1 and less,
/// whose score is stiff in v), where it is from 100 to 500 evaluations on.
struct Sscs {
    CriticallyDamped sde{};
    bool second_order = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& z, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const double t = interval.from.time, dt = t - interval.to.time;
        if (interval.to.sigma == 0) {
            const Estimate<T> estimate = denoise(std::as_const(z), interval.from);
            detail::reverse_drift(sde, z, estimate.output, t, dt);
            return;
        }
        Interval other = interval;
        other.draw = 1;
        Tensor<T> moved = z;  // so that a network that throws leaves z as it was
        linear_half(moved, sde.total_beta(t - dt / 2, t), interval, noise);
        const double total = 2 * sde.friction() * sde.total_beta(interval.to.time, t);
        if (second_order) score_exponential(moved, total, level_at(sde, t - dt / 2), denoise);
        else score_euler(moved, total, denoise(std::as_const(moved), interval.from).output);
        linear_half(moved, sde.total_beta(interval.to.time, t - dt / 2), other, noise);
        z.swap(moved);
    }

  private:
    /// dv = (score + v / M) dtau, over `total` of tau.
    template <class T>
    void score_euler(Tensor<T>& z, double total, const Tensor<T>& score) const {
        const T scale = static_cast<T>(total), inverse_mass = static_cast<T>(1 / sde.mass);
        detail::for_each_phase(z, [&](T&, T& v, Index i) { v += scale * (score[i] + inverse_mass * v); });
    }

    /// The same with the score's time standing still, as it is in the splitting.
    template <class T, DenoiserOf<T> D>
    void score_exponential(Tensor<T>& z, double total, const NoiseLevel& level, D& denoise) const {
        const double share = 1 / sde.hybrid_covariance(level.time).vv, y = total * (1 / sde.mass - share);
        const double phi1 = y == 0 ? 1 : std::expm1(y) / y, phi2 = std::abs(y) < 1e-5 ? 0.5 + y / 6 : (phi1 - 1) / y;
        const T inverse_mass = static_cast<T>(1 / sde.mass), first = static_cast<T>(total * phi1);
        const Tensor<T> score = denoise(std::as_const(z), level).output;
        Tensor<T> change(score.shape());
        detail::for_each_phase(z, [&](T&, T& v, Index i) { v += change[i] = first * (score[i] + inverse_mass * v); });
        const Tensor<T> after = denoise(std::as_const(z), level).output;
        const T second = static_cast<T>(total * phi2), s = static_cast<T>(share);
        detail::for_each_phase(z, [&](T&, T& v, Index i) { v += second * (after[i] - score[i] + s * change[i]); });
    }

    /// dx = -beta v / M dt, dv = (beta x - Gamma beta v / M) dt + sqrt(2 Gamma beta) dw: the forward SDE of (x, -v).
    template <class T, NoiseOf<T> Z>
    void linear_half(Tensor<T>& z, double total, const Interval& interval, Z& noise) const {
        const PhaseMap a = sde.mean(total);
        const PhaseCovariance s = sde.noise(total);
        const double lxx = std::sqrt(s.xx), lvx = lxx > 0 ? -s.xv / lxx : 0, lvv = std::sqrt(std::max(0.0, s.vv - lvx * lvx));
        Tensor<T> w(z.shape());
        noise(w, interval);
        const Index channels = z.dim(-1) / 2;
        detail::for_each_phase(z, [&](T& x, T& v, Index i) {
            const Index at = i + i / channels * channels;  // of eps_x in w
            const T moved = static_cast<T>(a.xx) * x - static_cast<T>(a.xv) * v + static_cast<T>(lxx) * w[at];
            v = static_cast<T>(-a.vx) * x + static_cast<T>(a.vv) * v + static_cast<T>(lvx) * w[at] + static_cast<T>(lvv) * w[at + channels];
            x = moved;
        });
    }
};

/// The velocity of the probability flow on z, dx = beta v / M dt, dv = -beta (x + Gamma v / M + Gamma score) dt: Dockhorn et
/// al. (2022), appendix B.5. For integrate, integrate_adaptively and log_likelihood; all samples are at one time.
template <class D>
class PhaseVelocity {
  public:
    PhaseVelocity(CriticallyDamped sde, D& denoise) : sde_(sde), denoise_(denoise) {}

    template <class T>
    Tensor<T> operator()(const Tensor<T>& z, std::span<const double> times) {
        std::vector<NoiseLevel> levels;
        for (const double t : times) levels.push_back(level_at(sde_, t));
        const Tensor<T> score = scores(z, levels);
        Tensor<T> velocity = z;
        const Index size = score.size() / score.dim(0);
        const double f = sde_.friction();
        detail::for_each_phase(velocity, [&](T& x, T& v, Index i) {
            const double b = sde_.beta(times[static_cast<std::size_t>(i / size)]);
            const T along = static_cast<T>(b / sde_.mass) * v;
            v = -static_cast<T>(b) * (x + static_cast<T>(f / sde_.mass) * v + static_cast<T>(f) * score[i]);
            x = along;
        });
        return velocity;
    }

  private:
    /// Each sample's own score: in one call where all times agree, else in one call a sample.
    template <class T>
    Tensor<T> scores(const Tensor<T>& z, const std::vector<NoiseLevel>& levels) {
        bool same = true;
        for (const NoiseLevel& level : levels) same = same && level.time == levels.front().time;
        if (same) return denoise_(z, levels.front()).output;
        Tensor<T> one(z.shape().with(0, 1)), result(z.shape().with(-1, z.dim(-1) / 2));
        for (std::size_t k = 0; k < levels.size(); ++k) {
            const auto row = static_cast<Index>(k);
            one.array() = z.array().segment(row * one.size(), one.size());
            const Tensor<T> said = denoise_(std::as_const(one), levels[k]).output;
            result.array().segment(row * said.size(), said.size()) = said.array();
        }
        return result;
    }

    CriticallyDamped sde_;
    D& denoise_;
};

/// The flow by any Runge-Kutta method, one step an interval; the last one, to 0, is Euler's.
template <std::size_t Stages>
struct PhaseFlow {
    CriticallyDamped sde{};
    Tableau<Stages> tableau{};

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& z, NoState&, const Interval& interval, D& denoise, Z&) const {
        const std::vector<double> times{interval.from.time, interval.to.time};
        PhaseVelocity<D> velocity(sde, denoise);
        if (interval.to.sigma == 0) z = integrate(tableaux::euler, velocity, z, std::span<const double>(times));
        else z = integrate(tableau, velocity, z, std::span<const double>(times));
    }
};

template <std::size_t Stages>
PhaseFlow(CriticallyDamped, Tableau<Stages>) -> PhaseFlow<Stages>;

/// log N(z; 0, diag(1, M)), one a sample of z [N, ..., 2 C] in nats: the prior of log_likelihood on z. A bound on log p(x)
/// follows as the mean of log p(x, v) over v ~ N(0, gamma M), plus that normal's entropy (Dockhorn et al. 2022, appendix B.6).
template <class T>
std::vector<double> phase_log_density(const CriticallyDamped& sde, const Tensor<T>& z) {
    const auto [x, v] = split_phase(z);
    std::vector<double> result;
    const Index size = x.size() / x.dim(0);
    for (Index k = 0; k < x.dim(0); ++k) {
        const double xs = static_cast<double>(x.array().segment(k * size, size).square().sum());
        const double vs = static_cast<double>(v.array().segment(k * size, size).square().sum());
        result.push_back(-(xs + vs / sde.mass) / 2 - static_cast<double>(size) * (std::log(2 * std::numbers::pi) + std::log(sde.mass) / 2));
    }
    return result;
}

}  // namespace ito
