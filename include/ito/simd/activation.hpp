// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/simd/activation_kind.hpp"
#include "ito/simd/math.hpp"

namespace ito::simd {

/// 1 / (1 + e^-x)
template <class V>
ITO_SIMD_INLINE V sigmoid(V x) {
    const V one = constant(x, 1);
    return divide(one, add(one, exponential(subtract(constant(x, 0), x))));
}

/// x / (1 + e^-x)
ITO_SIMD_INLINE Floats silu(Floats x) { return multiply(x, logistic_of_two(multiply(x, broadcast(-1.44269504f)))); }
template <class V>
ITO_SIMD_INLINE V silu(V x) {
    return divide(x, add(constant(x, 1), exponential(subtract(constant(x, 0), x))));
}

/// The slope of silu at x.
template <class V>
ITO_SIMD_INLINE V silu_slope(V x) {
    const V one = constant(x, 1), s = sigmoid(x);
    return multiply(s, multiply_add(x, subtract(one, s), one));
}

/// Phi(x), the normal distribution, and its density.
template <class V>
struct Normal {
    V distribution, density;
};
template <class V>
ITO_SIMD_INLINE Normal<V> normal_at(V x) {
    const V e = exponential(multiply(multiply(x, x), constant(x, -0.5))), tail = normal_tail(x, e);
    return {where_less(x, constant(x, 0), tail, subtract(constant(x, 1), tail)), multiply(e, constant(x, 0.398942280401432678))};
}

/// Calls f with the function of a register that the activation is, x -> y.
template <class T, class F>
void with_activation(Activation kind, F&& f) {
    using V = Vector<T>;
    switch (kind) {
        case Activation::none: f([](V x) { return x; }); break;
        case Activation::silu: f([](V x) { return silu(x); }); break;
        case Activation::relu: f([](V x) { return maximum(constant(x, 0), x); }); break;
        case Activation::gelu: f([](V x) { return multiply(x, normal_at(x).distribution); }); break;
        case Activation::mish:  // tanh(ln(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2), which is 1 from 20 on
            f([](V x) {
                const V two = constant(x, 2), e = exponential(minimum(constant(x, 20), x)), n = multiply(e, add(e, two));
                return multiply(x, divide(n, add(n, two)));
            });
            break;
        case Activation::tanh: f([](V x) { return each(x, [](auto v) { return std::tanh(v); }); }); break;
        case Activation::sine: f([](V x) { return each(x, [](auto v) { return std::sin(v); }); }); break;
    }
}

/// Calls f with the function (x, g) -> g times the slope of the activation at x.
template <class T, class F>
void with_activation_gradient(Activation kind, F&& f) {
    using V = Vector<T>;
    switch (kind) {
        case Activation::none: f([](V, V g) { return g; }); break;
        case Activation::silu: f([](V x, V g) { return multiply(g, silu_slope(x)); }); break;
        case Activation::relu:
            f([](V x, V g) { return where_less(constant(x, 0), x, g, constant(x, 0)); });
            break;
        case Activation::gelu:
            f([](V x, V g) {
                const auto [distribution, density] = normal_at(x);
                return multiply(g, multiply_add(x, density, distribution));
            });
            break;
        case Activation::mish:
            f([](V x, V g) {
                const V one = constant(x, 1), two = constant(x, 2), least = minimum(constant(x, 20), x);
                const V e = exponential(least), n = multiply(e, add(e, two)), below = add(n, two);
                const V slope = divide(multiply(constant(x, 4), add(n, one)), multiply(below, below));  // of tanh: 1 - tanh^2
                return multiply(g, multiply_add(multiply(least, slope), divide(e, add(e, one)), divide(n, below)));
            });
            break;
        case Activation::tanh:
            f([](V x, V g) {
                const V t = each(x, [](auto v) { return std::tanh(v); });
                return multiply(g, negative_multiply_add(t, t, constant(x, 1)));
            });
            break;
        case Activation::sine: f([](V x, V g) { return multiply(g, each(x, [](auto v) { return std::cos(v); })); }); break;
    }
}

/// y[i] = activation of x[i]; y may be x.
template <class T>
void activate(Activation kind, const T* x, Index count, T* y) {
    with_activation<T>(kind, [&](auto f) { map(count, y, f, x); });
}

/// g[i] *= slope of the activation at x[i].
template <class T>
void multiply_by_slope(Activation kind, const T* x, Index count, T* g) {
    with_activation_gradient<T>(kind, [&](auto f) { map(count, g, f, x, static_cast<const T*>(g)); });
}

/// y = u times the activation of g, where a row of x is u and g one after the other: x [rows, 2 C], y [rows, C].
template <class T>
void gate_rows(Activation kind, const T* x, Index rows, Index channels, T* y) {
    with_activation<T>(kind, [&](auto f) {
        for (Index r = 0; r < rows; ++r, x += 2 * channels, y += channels)
            map(channels, y, [=](auto u, auto g) { return multiply(u, f(g)); }, x, x + channels);
    });
}

/// The gradient of gate_rows: x and dx [rows, 2 C], dy [rows, C].
template <class T>
void gate_gradient_rows(Activation kind, const T* x, const T* dy, Index rows, Index channels, T* dx) {
    const auto at = [=](Index r) { return 2 * r * channels; };
    with_activation<T>(kind, [&](auto f) {
        for (Index r = 0; r < rows; ++r)
            map(channels, dx + at(r), [=](auto d, auto g) { return multiply(d, f(g)); }, dy + r * channels, x + at(r) + channels);
    });
    with_activation_gradient<T>(kind, [&](auto f) {
        for (Index r = 0; r < rows; ++r)
            map(channels, dx + at(r) + channels, [=](auto d, auto u, auto g) { return f(g, multiply(d, u)); }, dy + r * channels,
                x + at(r), x + at(r) + channels);
    });
}

}  // namespace ito::simd
