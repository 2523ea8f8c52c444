// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/core/parallel.hpp"
#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"

namespace ito::ops {

enum class Activation { none, silu, relu, gelu, mish, tanh, sine };

namespace detail {

/// Values [begin, begin + count) of the activation, in place.
template <class T>
void activate(Activation kind, ArrayMap<T> x) {
    switch (kind) {
        case Activation::none: break;
        case Activation::silu: x = x / (T(1) + (-x).exp()); break;
        case Activation::relu: x = x.max(T(0)); break;
        case Activation::gelu: x = x.unaryExpr([](T v) { return T(0.5) * v * std::erfc(-v / std::sqrt(T(2))); }); break;
        case Activation::mish: x = x * ((x > T(20)).select(x, x.exp().log1p())).tanh(); break;
        case Activation::tanh: x = x.tanh(); break;
        case Activation::sine: x = x.sin(); break;
    }
}

/// g *= derivative of the activation at x, the argument it was given.
template <class T>
void multiply_by_derivative(Activation kind, ArrayMap<const T> x, ArrayMap<T> g) {
    switch (kind) {
        case Activation::none: break;
        case Activation::silu:
            for (Index i = 0; i < g.size(); i += 256) {  // the sigmoid of a piece stays in the first-level cache
                const Index size = std::min<Index>(256, g.size() - i);
                Eigen::Array<T, Eigen::Dynamic, 1, 0, 256, 1> s = (T(1) + (-x.segment(i, size)).exp()).inverse();
                g.segment(i, size) *= s * (T(1) + x.segment(i, size) * (T(1) - s));
            }
            break;
        case Activation::relu: g = (x > T(0)).select(g, T(0)); break;
        case Activation::gelu:
            g *= x.unaryExpr([](T v) {
                const T density = std::exp(T(-0.5) * v * v) * T(0.3989422804014327);
                return T(0.5) * std::erfc(-v / std::sqrt(T(2))) + v * density;
            });
            break;
        case Activation::mish:
            g *= x.unaryExpr([](T v) {
                const T t = std::tanh(v > T(20) ? v : std::log1p(std::exp(v)));
                return t + v * (T(1) - t * t) / (T(1) + std::exp(-v));
            });
            break;
        case Activation::tanh: g *= T(1) - x.tanh().square(); break;
        case Activation::sine: g *= x.cos(); break;
    }
}

inline constexpr Index elementwise_grain = 1 << 14;

}  // namespace detail

/// The activation of every element: SiLU x / (1 + e^-x) (Elfwing et al. 2017), ReLU, GELU x Phi(x) in its exact form
/// (Hendrycks and Gimpel 2016), Mish x tanh(ln(1 + e^x)) (Misra 2019), tanh, sine.
template <class T>
Var<T> activate(const Var<T>& x, Activation kind) {
    if (kind == Activation::none) return x;
    const Profile::Timer timer("activation", x.shape());
    Tensor<T> y(x.shape());
    parallel_for(y.size(), detail::elementwise_grain, [&](Index begin, Index end) {
        std::copy(x->begin() + begin, x->begin() + end, y.begin() + begin);
        detail::activate<T>(kind, ArrayMap<T>(y.data() + begin, end - begin));
    });
    Tape<T>* tape = x.tape();
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("activation backward", x.shape());
        parallel_for(dy.size(), detail::elementwise_grain, [&](Index begin, Index end) {
            detail::multiply_by_derivative<T>(kind, {x->data() + begin, end - begin}, {dy.data() + begin, end - begin});
        });
        tape->add(x, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

template <class T>
Var<T> silu(const Var<T>& x) {
    return activate(x, Activation::silu);
}

}  // namespace ito::ops
