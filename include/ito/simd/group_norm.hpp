// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/shape.hpp"
#include "ito/simd/activation.hpp"

// Pieces of a group norm over strips of rows [rows, channels]: short enough that what is gone through twice stays in
// the second-level cache, and that sums of a column are exact enough in single precision.
namespace ito::simd {

/// Rows of a strip.
inline Index strip_rows(Index channels) { return std::clamp<Index>(8192 / std::max<Index>(1, channels), 8, 128); }

/// Calls column(begin, count) for registers of columns: count < width at the end only.
template <class T, class F>
ITO_SIMD_INLINE void for_columns(Index channels, F&& column) {
    for (Index c = 0; c < channels; c += width<T>) column(c, channels - c);
}

namespace detail {

/// strip_moments for N registers of channels, so that N sums run side by side; count < N * width for N = 1 only.
template <int N, class T>
ITO_SIMD_INLINE void strip_moments(const T* x, Index rows, Index channels, Index count, T* mean, T* squares) {
    const auto at = [=](Index r, int i) __attribute__((always_inline)) {
        return load_part(x + r * channels + i * width<T>, N > 1 ? width<T> : count);
    };
    const Vector<T> per_row = broadcast(T(1) / static_cast<T>(rows));
    Vector<T> total[N], apart[N], rest[N];
    unrolled<N>([&](auto i) __attribute__((always_inline)) { total[i] = apart[i] = rest[i] = broadcast(T(0)); });
    for (Index r = 0; r < rows; ++r)
        unrolled<N>([&](auto i) __attribute__((always_inline)) { total[i] = add(total[i], at(r, i)); });
    unrolled<N>([&](auto i) __attribute__((always_inline)) { total[i] = multiply(total[i], per_row); });
    for (Index r = 0; r < rows; ++r)
        unrolled<N>([&](auto i) __attribute__((always_inline)) {
            const Vector<T> d = subtract(at(r, i), total[i]);
            apart[i] = multiply_add(d, d, apart[i]);
            rest[i] = add(rest[i], d);
        });
    unrolled<N>([&](auto i) __attribute__((always_inline)) {
        // What the rounding of the first sum left over, which counts where the mean is far larger than the deviation.
        const Vector<T> left = multiply(rest[i], per_row);
        apart[i] = negative_multiply_add(left, rest[i], apart[i]);
        total[i] = add(total[i], left);
        store_part(total[i], mean + i * width<T>, N > 1 ? width<T> : count);
        store_part(apart[i], squares + i * width<T>, N > 1 ? width<T> : count);
    });
}

}  // namespace detail

/// Means over the rows of each channel, and sums of the squared distances from them: [C], [C].
template <class T>
void strip_moments(const T* x, Index rows, Index channels, T* mean, T* squares) {
    constexpr Index together = 4 * width<T>;
    Index c = 0;
    for (; c + together <= channels; c += together) detail::strip_moments<4>(x + c, rows, channels, together, mean + c, squares + c);
    for (; c < channels; c += width<T>) detail::strip_moments<1>(x + c, rows, channels, channels - c, mean + c, squares + c);
}

/// y = activation of x * slope + shift; slope and shift [C].
template <class T>
void affine_rows(Activation activation, const T* x, Index rows, Index channels, const T* slope, const T* shift, T* y) {
    const auto all_rows = [&](auto f) __attribute__((always_inline)) {
        for (Index r = 0; r < rows; ++r)
            for_columns<T>(channels, [&](Index c, Index count) __attribute__((always_inline)) {
                const Index at = r * channels + c;
                const Vector<T> v = multiply_add(load_part(x + at, count), load_part(slope + c, count), load_part(shift + c, count));
                store_part(f(v), y + at, count);
            });
    };
    if (activation == Activation::silu) return all_rows([](Vector<T> v) { return silu(v); });
    all_rows([](Vector<T> v) { return v; });
    if (activation != Activation::none) activate(activation, y, rows * channels, y);
}

/// da = dy times the slope of the activation at x * slope + shift, written over dy; its sums over the rows, and those
/// of da * (x - mean): [C], [C].
template <class T>
void affine_gradient_sums(Activation activation, const T* x, Index rows, Index channels, const T* slope, const T* shift,
                          const T* mean, T* dy, T* plain, T* weighted) {
    const auto all_columns = [&](auto f) __attribute__((always_inline)) {
        for_columns<T>(channels, [&](Index c, Index count) __attribute__((always_inline)) {
            const Vector<T> factor = load_part(slope + c, count), offset = load_part(shift + c, count), m = load_part(mean + c, count);
            Vector<T> sum = broadcast(T(0)), product = sum;
            for (Index r = 0; r < rows; ++r) {
                const Index at = r * channels + c;
                const Vector<T> v = load_part(x + at, count), da = f(multiply_add(v, factor, offset), load_part(dy + at, count));
                store_part(da, dy + at, count);
                sum = add(sum, da);
                product = multiply_add(da, subtract(v, m), product);
            }
            store_part(sum, plain + c, count);
            store_part(product, weighted + c, count);
        });
    };
    if (activation == Activation::silu) return all_columns([](Vector<T> v, Vector<T> g) { return multiply(g, silu_slope(v)); });
    if (activation != Activation::none) {
        Tensor<T> argument({channels});
        for (Index r = 0; r < rows; ++r) {
            affine_rows(Activation::none, x + r * channels, 1, channels, slope, shift, argument.data());
            multiply_by_slope(activation, argument.data(), channels, dy + r * channels);
        }
    }
    all_columns([](Vector<T>, Vector<T> g) { return g; });
}

/// dx = da * slope - constant - x * by_x, written over da; slope, constant and by_x [C].
template <class T>
void affine_gradient_rows(const T* x, Index rows, Index channels, const T* slope, const T* constant, const T* by_x, T* da) {
    for (Index r = 0; r < rows; ++r)
        for_columns<T>(channels, [&](Index c, Index count) {
            const Index at = r * channels + c;
            const Vector<T> v = negative_multiply_add(load_part(x + at, count), load_part(by_x + c, count),
                                                      multiply(load_part(da + at, count), load_part(slope + c, count)));
            store_part(subtract(v, load_part(constant + c, count)), da + at, count);
        });
}

}  // namespace ito::simd
