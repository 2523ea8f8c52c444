// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include "ito/core/random.hpp"

// Points [count, 2] of shapes that are hard to learn for their size. Point k depends on the seed and first_sample + k alone.
namespace ito {

namespace detail {
template <class T, class F>
Tensor<T> toy_points(Index count, std::uint64_t seed, std::uint64_t first_sample, F&& draw) {
    Tensor<T> points({count, 2});
    for (Index k = 0; k < count; ++k) {
        Random random{{seed, first_sample + static_cast<std::uint64_t>(k), 0, Stream::data}};
        const auto [x, y] = draw(random);
        points(k, 0) = static_cast<T>(x);
        points(k, 1) = static_cast<T>(y);
    }
    return points;
}

struct ToyPoint {
    double x, y;
};

/// A roll of one and a half turns with a little noise, 14 across.
inline ToyPoint swiss_roll(Random& random, double noise) {
    const double t = 1.5 * std::numbers::pi * (1 + 2 * random.uniform());
    const double x = t * std::cos(t) + noise * random.normal();
    return {x, t * std::sin(t) + noise * random.normal()};
}
}  // namespace detail

/// Nine round modes of deviation 0.04 on a 3 x 3 grid that stands on its corner, 0.7 from the middle to the corners: the
/// diamond of Dockhorn et al. (2022).
template <class T>
Tensor<T> diamond(Index count, std::uint64_t seed, std::uint64_t first_sample = 0) {
    return detail::toy_points<T>(count, seed, first_sample, [](Random& random) {
        const Index mode = random.below(9);
        const double a = 0.5 * static_cast<double>(mode / 3 - 1), b = 0.5 * static_cast<double>(mode % 3 - 1);
        const double x = (a + b) / std::numbers::sqrt2 + 0.04 * random.normal();
        return detail::ToyPoint{x, (b - a) / std::numbers::sqrt2 + 0.04 * random.normal()};
    });
}

/// One swiss roll of about unit size.
template <class T>
Tensor<T> swiss_roll(Index count, std::uint64_t seed, std::uint64_t first_sample = 0) {
    return detail::toy_points<T>(count, seed, first_sample, [](Random& random) {
        const detail::ToyPoint p = detail::swiss_roll(random, 0.3);
        return detail::ToyPoint{0.1 * p.x, 0.1 * p.y};
    });
}

/// Five small swiss rolls, in the middle and at (+-0.8, +-0.8): the multimodal swiss roll of Dockhorn et al. (2022).
template <class T>
Tensor<T> swiss_rolls(Index count, std::uint64_t seed, std::uint64_t first_sample = 0) {
    return detail::toy_points<T>(count, seed, first_sample, [](Random& random) {
        const Index roll = random.below(5);
        const detail::ToyPoint p = detail::swiss_roll(random, 0.2);
        const double dx = roll == 4 ? 0 : roll % 2 ? 0.8 : -0.8, dy = roll == 4 ? 0 : roll / 2 ? 0.8 : -0.8;
        return detail::ToyPoint{0.01 * p.x + dx, 0.01 * p.y + dy};
    });
}

}  // namespace ito
