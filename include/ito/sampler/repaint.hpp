// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "ito/sampler/sampler.hpp"

namespace ito {

/// Lugmayr et al., "RePaint: inpainting using denoising diffusion probabilistic models" (2022), algorithm 1. Where the mask is
/// 1 the picture is known: a step sets it to the picture with the noise of its level (sqrt(abar) x0 + sqrt(1 - abar) z; line 5
/// of the paper has another scale by mistake), elsewhere DDIM's step of the given eta is made. Steps that rise add noise again
/// (lines 9 and 10), so that what is new agrees with what is known: see repaint_times.
struct RePaint {
    Tensor<float> picture;  // x0, shape of x
    Tensor<float> mask;     // 1 where it is known and 0 elsewhere; shape of x, or with one channel, or one sample, or both
    double eta = 0;

    template <class T>
    using State = NoState;

    /// Throws ArgumentError without a picture, ShapeError where picture or mask do not fit x.
    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        if (picture.empty() || mask.empty()) throw ArgumentError("RePaint needs a picture and a mask");
        require_shape("picture to repaint", x.shape(), picture.shape());
        const Index samples = x.dim(0), channels = x.dim(-1), size = x.size() / std::max<Index>(samples, 1);
        const bool one_sample = mask.dim(0) == 1, one_channel = mask.dim(-1) == 1;
        require_shape("mask", x.shape().with(0, one_sample ? 1 : samples).with(-1, one_channel ? 1 : channels), mask.shape());
        const NoiseLevel &from = interval.from, &to = interval.to;
        T* xs = x.data();

        if (from.alpha * to.sigma > to.alpha * from.sigma) {  // more noise, from x_to to x_from of a transition
            const Transition up = transition(Interval{to, from});
            Tensor<T> z(x.shape());
            noise(z, interval);
            x.array() = static_cast<T>(up.alpha) * x.array() + static_cast<T>(std::sqrt(up.variance)) * z.array();
            return;
        }
        require_noise(interval);
        const Estimate<T> estimate = denoise(std::as_const(x), from);
        Tensor<T> z;
        if (to.sigma > 0) {
            z = Tensor<T>(x.shape());
            noise(z, interval);
        } else {
            z = Tensor<T>::zeros(x.shape());
        }
        const double spread = eta == 0 ? 0 : eta * to.sigma / from.sigma * std::sqrt(transition(interval).variance);
        const T of_x0 = static_cast<T>(to.alpha), of_known = static_cast<T>(to.sigma), of_z = static_cast<T>(spread);
        const T of_eps = static_cast<T>(std::sqrt(std::max(0.0, to.sigma * to.sigma - spread * spread)));
        const T* zs = z.data();
        const float *pictures = picture.data(), *masks = mask.data();
        for_each_element(x, estimate, [=](Index i, T x0, T eps) {
            const Index inside = one_sample ? i % size : i;
            const T known = static_cast<T>(masks[one_channel ? inside / channels : inside]);
            const T old = of_x0 * static_cast<T>(pictures[i]) + of_known * zs[i];
            const T made = of_x0 * x0 + of_eps * eps + of_z * zs[i];
            xs[i] = known * old + (1 - known) * made;
        });
    }
};

/// The numbers of noise that RePaint goes through, from `count` - 1 down to 0: every `jump_length` it goes up again by as much,
/// so that each stretch is made `jump_count` times. Appendix C of the paper, with jump_length 10 and jump_count 10 of 250:
/// 4570 entries. Throws ArgumentError for numbers below 1.
inline std::vector<Index> repaint_times(Index count, Index jump_length = 10, Index jump_count = 10) {
    if (count < 1 || jump_length < 1 || jump_count < 1)
        throw ArgumentError("RePaint needs at least one step, a jump length and a jump count of at least 1");
    std::vector<Index> left(static_cast<std::size_t>(count), 0), times;
    for (Index t = 0; t < count - jump_length; t += jump_length) left[static_cast<std::size_t>(t)] = jump_count - 1;
    Index t = count;
    while (t >= 1) {
        times.push_back(--t);
        if (left[static_cast<std::size_t>(t)] == 0) continue;
        --left[static_cast<std::size_t>(t)];
        for (Index k = 0; k < jump_length; ++k) times.push_back(++t);
    }
    return times;
}

}  // namespace ito
