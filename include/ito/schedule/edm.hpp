// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

#include "ito/schedule/sigmas.hpp"

namespace ito {

/// Karras et al., "Elucidating the design space of diffusion-based generative models" (2022), table 1: x = x0 + t eps, the
/// time is sigma itself. Networks are told log(sigma) / 4.
template <class T>
struct BasicEdm {
    T sigma_max = T(80);

    constexpr T alpha(T) const { return 1; }
    constexpr T sigma(T t) const { return t; }
    constexpr T drift(T) const { return 0; }
    T diffusion(T t) const { return std::sqrt(2 * t); }
    constexpr T last_time() const { return sigma_max; }
    T label(T t) const { return std::log(t) / 4; }
};
using Edm = BasicEdm<double>;

/// `count` sigmas of equation 5 and then zero, or End::first_level to end at sigma_min with one step less.
inline Steps edm_steps(Index count, double sigma_min = 0.002, double sigma_max = 80, double rho = 7, End end = End::zero) {
    const Edm schedule{sigma_max};
    std::vector<NoiseLevel> levels;
    for (const double sigma : karras_sigmas(sigma_min, sigma_max, count, rho)) levels.push_back(level_at(schedule, sigma));
    if (end == End::zero) levels.push_back({levels.back().time, 1, 0});
    return steps_between(levels);
}

}  // namespace ito
