// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include "ito/nn/module.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/embedding.hpp"
#include "ito/ops/group_norm.hpp"
#include "ito/ops/linear.hpp"

namespace ito::nn {

/// y = x W^T + b + residual: [.., in] -> [.., out].
template <class T>
struct Linear {
    Parameter<T> weight, bias;  // [out, in], [out]

    Linear() = default;
    Linear(Index in, Index out) : weight{Tensor<T>::zeros({out, in})}, bias{Tensor<T>::zeros({out})} {}

    Var<T> operator()(const Var<T>& x, const Var<T>& residual = {}) const { return ops::linear(x, weight, &bias, residual); }

    static void fields(auto& self, auto&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }
};

/// Convolution: [N, H, W, in] -> [N, H', W', out].
template <class T>
struct Conv2d {
    Parameter<T> weight, bias;  // [kh, kw, in, out], [out]
    ops::Conv2d how;

    Conv2d() = default;
    Conv2d(Index in, Index out, Index kernel, ops::Conv2d how = {})
        : weight{Tensor<T>::zeros({kernel, kernel, in, out})}, bias{Tensor<T>::zeros({out})}, how(how) {}

    /// Adds per_sample [N, out] and residual [N, H', W', out] where given.
    Var<T> operator()(const Var<T>& x, const Var<T>& per_sample = {}, const Var<T>& residual = {}) const {
        return ops::conv2d(x, weight, &bias, how, per_sample, residual);
    }

    static void fields(auto& self, auto&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }
};

/// Kernel 3, stride 1, size kept.
template <class T>
Conv2d<T> conv3x3(Index in, Index out) {
    return {in, out, 3, {1, ops::Padding::same(1)}};
}

/// Group normalisation with its affine map, and an activation if asked: [N, .., C] -> [N, .., C]. An x that is moved here and
/// that nobody else has becomes the result.
template <class T>
struct GroupNorm {
    Parameter<T> weight, bias;  // [C]
    Index groups = 1;
    double epsilon = 1e-5;

    GroupNorm() = default;

    /// Throws ConfigError if the groups do not divide the channels.
    GroupNorm(Index channels, Index groups, double epsilon)
        : weight{Tensor<T>::full({channels}, T(1))}, bias{Tensor<T>::zeros({channels})}, groups(groups), epsilon(epsilon) {
        if (groups < 1 || channels % groups != 0)
            throw ConfigError(std::to_string(groups) + " normalisation groups do not divide " + std::to_string(channels) +
                              " channels");
    }

    Var<T> operator()(Var<T> x, ops::Activation activation = ops::Activation::none, const Var<T>& scale_shift = {}) const {
        return ops::group_norm(std::move(x), weight, bias, {groups, epsilon, activation}, scale_shift);
    }

    static void fields(auto& self, auto&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }
};

/// A learned vector for each class: indices [N] -> [N, width].
template <class T>
struct Embedding {
    Parameter<T> weight;  // [count, width]

    Embedding() = default;
    Embedding(Index count, Index width) : weight{Tensor<T>::zeros({count, width})} {}

    Var<T> operator()(std::span<const Index> indices, Tape<T>* tape) const { return ops::embedding(indices, weight, tape); }

    static void fields(auto& self, auto&& visit) { visit("weight", self.weight); }
};

}  // namespace ito::nn
