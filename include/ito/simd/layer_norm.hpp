// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/simd/math.hpp"

// Layer norm of rows [rows, channels], each by itself while it is in the first-level cache.
namespace ito::simd {

namespace detail {

/// What is left to do with a centred row: what it makes of v has mean 0 and variance 1, up to epsilon.
template <class T>
struct CentredRow {
    T rest, inverse;

    ITO_SIMD_INLINE Vector<T> operator()(Vector<T> v) const { return multiply(subtract(v, broadcast(rest)), broadcast(inverse)); }
};

/// v = x less its mean, but for what the rounding of the mean leaves over: so nothing is lost where the mean is far larger
/// than the deviation.
template <class T>
CentredRow<T> centre_row(const T* x, Index channels, double epsilon, T* v) {
    const double count = static_cast<double>(channels);
    const auto itself = [](auto u) { return u; };
    const T mean = static_cast<T>(sum_of(channels, itself, x) / count);
    map(channels, v, [=](auto u) { return subtract(u, broadcast(mean)); }, x);
    const double rest = sum_of(channels, itself, static_cast<const T*>(v)) / count;
    const double variance = sum_of(channels, [](auto u) { return multiply(u, u); }, static_cast<const T*>(v)) / count - rest * rest;
    return {static_cast<T>(rest), static_cast<T>(1 / std::sqrt(variance + epsilon))};
}

}  // namespace detail

/// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta with the moments of each row; gamma and beta [C].
template <class T>
void layer_norm_rows(const T* x, Index rows, Index channels, double epsilon, const T* gamma, const T* beta, T* y) {
    for (Index r = 0; r < rows; ++r, x += channels, y += channels) {
        const auto normal = detail::centre_row(x, channels, epsilon, y);
        const auto scaled = [=](auto v, auto slope, auto shift) { return multiply_add(normal(v), slope, shift); };
        map(channels, y, scaled, static_cast<const T*>(y), gamma, beta);
    }
}

/// The gradient dx of layer_norm_rows, written over dy; adds the gradients of gamma and beta to dgamma and dbeta [C].
template <class T>
void layer_norm_gradient_rows(const T* x, Index rows, Index channels, double epsilon, const T* gamma, T* dy, T* dgamma, T* dbeta) {
    Tensor<T> room({channels});
    T* const normal = room.data();
    const T* const n = normal;
    for (Index r = 0; r < rows; ++r, x += channels, dy += channels) {
        const T* const d = dy;
        const auto row = detail::centre_row(x, channels, epsilon, normal);
        map(channels, normal, row, n);
        map(channels, dgamma, [](auto sum, auto g, auto v) { return multiply_add(g, v, sum); }, static_cast<const T*>(dgamma), d, n);
        map(channels, dbeta, [](auto sum, auto g) { return add(sum, g); }, static_cast<const T*>(dbeta), d);
        // dx = (dn - mean(dn) - normal * mean(dn * normal)) * inverse with dn = dy * gamma
        map(channels, dy, [](auto g, auto slope) { return multiply(g, slope); }, d, gamma);
        const double count = static_cast<double>(channels);
        const T plain = static_cast<T>(sum_of(channels, [](auto g) { return g; }, d) / count);
        const T along = static_cast<T>(sum_of(channels, [](auto g, auto v) { return multiply(g, v); }, d, n) / count);
        const auto projected = [=](auto g, auto v) {
            return multiply(negative_multiply_add(v, broadcast(along), subtract(g, broadcast(plain))), broadcast(row.inverse));
        };
        map(channels, dy, projected, d, n);
    }
}

}  // namespace ito::simd
