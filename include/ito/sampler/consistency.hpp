// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "ito/sampler/sampler.hpp"
#include "ito/schedule/schedule.hpp"

namespace ito {

/// Multistep consistency sampling: Song et al., "Consistency models" (2023), algorithm 1. The network says x0 at once, and
/// each further step adds noise to it and asks again. Also the stochastic sampler of rectified flow, and of latent
/// consistency models (Luo et al. 2023, algorithm 3) with their boundary.
struct Consistency {
    /// Smallest sigma / alpha, at which consistency models say x itself: noise is added from there (epsilon of algorithm 1).
    double smallest_ratio = 0;
    double noise_scale = 1;

    /// What is taken for x0 is c_skip x + c_out x0 of the level's time: Luo et al. (2023), appendix C, with
    /// c_skip = d^2 / (s^2 + d^2), c_out = s / sqrt(s^2 + d^2), s = scaling time, d = sigma_data.
    struct Boundary {
        double scaling = 10;
        double sigma_data = 0.5;
    };
    std::optional<Boundary> boundary = std::nullopt;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const NoiseLevel& to = interval.to;
        double skip = 0, out = 1;
        if (boundary) {
            const double s = boundary->scaling * interval.from.time, d = boundary->sigma_data;
            skip = d * d / (s * s + d * d);
            out = s / std::hypot(s, d);
        }
        const double below = smallest_ratio * to.alpha;
        const double spread = noise_scale * std::sqrt(std::max(0.0, to.sigma * to.sigma - below * below));
        const T of_x = static_cast<T>(to.alpha * skip), of_x0 = static_cast<T>(to.alpha * out);
        T* xs = x.data();
        if (spread == 0) {
            for_each_element(x, estimate, [=](Index i, T x0, T) { xs[i] = of_x * xs[i] + of_x0 * x0; });
            return;
        }
        Tensor<T> z(x.shape());
        noise(z, interval);
        const T* zs = z.data();
        const T of_z = static_cast<T>(spread);
        for_each_element(x, estimate, [=](Index i, T x0, T) { xs[i] = of_x * xs[i] + of_x0 * x0 + of_z * zs[i]; });
    }
};

/// Latent consistency models as they were released.
inline Consistency latent_consistency(double scaling = 10) {
    return {.boundary = Consistency::Boundary{scaling, 0.5}};
}

/// Zheng et al., "Trajectory consistency distillation" (2024), algorithm 4: each step follows the probability flow to the
/// time s = floor((1 - eta) t') first and from there adds noise up to t'. eta = 0 is DDIM, 1 is consistency sampling.
struct Tcd {
    DiscreteSchedule schedule;  // where s is looked up; the times of the levels are its times
    double eta = 0.3;           // gamma of the paper, 0 to 1

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        if (!(eta >= 0 && eta <= 1)) throw ArgumentError("TCD needs 0 <= eta <= 1, got " + std::to_string(eta));
        const bool last = interval.index == interval.count - 1 || interval.to.sigma == 0;
        NoiseLevel reached = interval.to;
        if (!last && eta > 0) reached = schedule.level(static_cast<Index>(std::floor((1 - eta) * interval.to.time)));
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const T of_x0 = static_cast<T>(reached.alpha), of_eps = static_cast<T>(reached.sigma);
        T* xs = x.data();
        if (last || eta == 0) {
            for_each_element(x, estimate, [=](Index i, T x0, T eps) { xs[i] = of_x0 * x0 + of_eps * eps; });
            return;
        }
        const Transition up = transition(Interval{interval.to, reached});
        Tensor<T> z(x.shape());
        noise(z, interval);
        const T* zs = z.data();
        const T keep = static_cast<T>(up.alpha), of_z = static_cast<T>(std::sqrt(up.variance));
        for_each_element(x, estimate, [=](Index i, T x0, T eps) { xs[i] = keep * (of_x0 * x0 + of_eps * eps) + of_z * zs[i]; });
    }
};

}  // namespace ito
