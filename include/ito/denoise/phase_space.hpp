// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/denoise/denoiser.hpp"
#include "ito/schedule/critically_damped.hpp"

// Position and velocity of critically-damped diffusion as one tensor z [N, ..., 2 C]: the first C channels are positions, the
// others velocities. A network is shown z and says C channels.
namespace ito {

/// z of positions and velocities of one shape. Throws ShapeError if they differ.
template <class T>
Tensor<T> join_phase(const Tensor<T>& x, const Tensor<T>& v) {
    require_shape("velocities", x.shape(), v.shape());
    const Index channels = x.dim(-1);
    Tensor<T> z(x.shape().with(-1, 2 * channels));
    z.matrix().leftCols(channels) = x.matrix();
    z.matrix().rightCols(channels) = v.matrix();
    return z;
}

/// (positions, velocities) of z. Throws ShapeError for an odd number of channels.
template <class T>
std::pair<Tensor<T>, Tensor<T>> split_phase(const Tensor<T>& z) {
    if (z.rank() == 0 || z.dim(-1) % 2 != 0) throw ShapeError("positions and velocities of shape " + z.shape().str());
    return detail::split_channels(z, z.shape().with(-1, z.dim(-1) / 2));
}

/// What a network that says eps_v has to learn.
template <class T>
struct PhaseExample {
    Tensor<T> z;       // what it is shown
    Tensor<T> target;  // what it should say, half the channels; every level counts alike (their "reweighted" loss)
};

/// How the score of v is made of a network's word: -ell net, and where `mixed` the score that normal data would have,
/// -v / var(v), besides (Dockhorn et al. 2022, equation 10), so that the network has the rest to say.
struct PhaseReading {
    CriticallyDamped sde{};
    bool mixed = true;
};

namespace detail {
/// z = mean + L eps of the kernel that starts at x0 and v0 (or at velocities averaged over), and its target.
template <class T>
PhaseExample<T> phase_example(const PhaseReading& reading, const Tensor<T>& x0, const Tensor<T>* v0, const Tensor<T>& eps,
                              std::span<const double> times) {
    require_shape("noise", x0.shape().with(-1, 2 * x0.dim(-1)), eps.shape());
    if (v0) require_shape("velocities", x0.shape(), v0->shape());
    if (static_cast<Index>(times.size()) != x0.dim(0))
        throw ShapeError(std::to_string(times.size()) + " times for a batch of shape " + x0.shape().str());
    const CriticallyDamped& sde = reading.sde;
    const auto [eps_x, eps_v] = split_phase(eps);
    Tensor<T> x(x0.shape()), v(x0.shape()), target(x0.shape());
    const Index size = x0.size() / x0.dim(0);
    for (std::size_t k = 0; k < times.size(); ++k) {
        const PhaseMap a = sde.mean(sde.total_beta(0, times[k]));
        const PhaseCovariance hybrid = sde.hybrid_covariance(times[k]), s = v0 ? sde.covariance(times[k], 0, 0) : hybrid;
        const double lxx = std::sqrt(s.xx), lvx = s.xv / lxx, lvv = 1 / score_factor(s), ell = score_factor(hybrid);
        const double normal = reading.mixed ? 1 / (hybrid.vv * ell) : 0;
        for (Index i = static_cast<Index>(k) * size; i < (static_cast<Index>(k) + 1) * size; ++i) {
            const double start = v0 ? (*v0)[i] : T(0);
            x[i] = static_cast<T>(a.xx * x0[i] + a.xv * start + lxx * eps_x[i]);
            v[i] = static_cast<T>(a.vx * x0[i] + a.vv * start + lvx * eps_x[i] + lvv * eps_v[i]);
            target[i] = static_cast<T>(eps_v[i] / (lvv * ell) - normal * v[i]);
        }
    }
    return {join_phase(x, v), std::move(target)};
}
}  // namespace detail

/// Hybrid score matching (Dockhorn et al. 2022, section 3.2): data x0 [N, ..., C] at times[k] in (0, 1], all initial
/// velocities averaged over. eps [N, ..., 2 C] is N(0, 1). Throws ShapeError if they do not fit.
template <class T>
PhaseExample<T> hybrid_example(const PhaseReading& reading, const Tensor<T>& x0, const Tensor<T>& eps, std::span<const double> times) {
    return detail::phase_example<T>(reading, x0, nullptr, eps, times);
}

/// The same with initial velocities v0 as x0 that were drawn, from N(0, gamma M): denoising score matching (Dockhorn et al.
/// 2022, equation 7), whose target has the same mean for a given z, and a larger variance.
template <class T>
PhaseExample<T> denoising_example(const PhaseReading& reading, const Tensor<T>& x0, const Tensor<T>& v0, const Tensor<T>& eps,
                                  std::span<const double> times) {
    return detail::phase_example<T>(reading, x0, &v0, eps, times);
}

/// The score of v, an estimate whose output is the gradient of log p(z) with respect to v [N, ..., C], from a network that
/// was trained on hybrid_example. What the samplers of critically-damped diffusion take for a denoiser.
template <class NetworkType>
struct VelocityScore {
    NetworkType network;  // (z, level) -> [N, ..., C]
    PhaseReading reading{};

    template <class T>
    Estimate<T> operator()(const Tensor<T>& z, const NoiseLevel& level) {
        const PhaseCovariance s = reading.sde.hybrid_covariance(level.time);
        Estimate<T> estimate;
        estimate.output = network(z, level);
        const auto v = split_phase(z).second;
        require_shape("network output", v.shape(), estimate.output.shape());
        estimate.output.array() *= static_cast<T>(-score_factor(s));
        if (reading.mixed) estimate.output.array() -= static_cast<T>(1 / s.vv) * v.array();
        return estimate;
    }
};

template <class NetworkType>
VelocityScore(NetworkType&&, PhaseReading) -> VelocityScore<NetworkType>;

/// z ~ N(0, 1) x N(0, M) of the given shape [N, ..., 2 C], where critically-damped diffusion ends and sampling starts.
template <class T>
Tensor<T> initial_phase(const CriticallyDamped& sde, const Shape& shape, std::uint64_t seed, std::uint64_t first_sample = 0) {
    if (shape.rank() == 0 || shape[0] < 1 || shape[-1] % 2 != 0) throw ArgumentError("sampling positions and velocities of shape " + shape.str());
    Tensor<T> z(shape);
    fill_normal(z, seed, first_sample, 0, Stream::initial);
    z.matrix().rightCols(shape[-1] / 2) *= static_cast<T>(std::sqrt(sde.mass));
    return z;
}

}  // namespace ito
