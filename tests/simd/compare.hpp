// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include "ito/core/tensor.hpp"

namespace ito::test {

/// Reproducible numbers in [-1, 1).
inline Tensor<float> random_floats(const Shape& shape, unsigned seed) {
    std::mt19937 generator(seed);
    Tensor<float> x(shape);
    for (float& v : x) v = static_cast<float>(generator() >> 8) / 8388608.0f - 1;
    return x;
}

/// Largest deviation over the root mean square of what is expected.
inline double worst_error(const Tensor<float>& got, const Tensor<double>& expected) {
    require_shape("result", expected.shape(), got.shape());
    if (expected.empty()) return 0;
    const double rms = std::sqrt(expected.array().square().mean());
    const double worst = (got.array().cast<double>() - expected.array()).abs().maxCoeff();
    return rms > 0 ? worst / rms : worst;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace ito::test
