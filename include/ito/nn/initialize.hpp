// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>

#include "ito/core/random.hpp"
#include "ito/nn/layers.hpp"

namespace ito::nn {

namespace detail {

template <class>
inline constexpr bool is_conv = false;
template <class T>
inline constexpr bool is_conv<Conv2d<T>> = true;
template <class>
inline constexpr bool is_linear = false;
template <class T>
inline constexpr bool is_linear<Linear<T>> = true;
template <class>
inline constexpr bool is_embedding = false;
template <class T>
inline constexpr bool is_embedding<Embedding<T>> = true;

/// Hashes a name (FNV-1a), so that a parameter's numbers depend on its name and not on what else the network has.
inline std::uint64_t name_hash(std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash & 0xffffffffffff;
}

template <class T>
void fill_scaled(Tensor<T>& x, std::uint64_t seed, const std::string& name, double bound) {
    fill_uniform(x.span(), RandomKey{seed, name_hash(name), 0, Stream::parameter});
    x.array() = (x.array() * T(2) - T(1)) * static_cast<T>(bound);
}

}  // namespace detail

/// Fresh weights as PyTorch's layers draw them: linear maps and convolutions, with their biases, uniform in
/// +-1 / sqrt(inputs of one output) (He et al. 2015 with a = sqrt 5); embeddings standard normal; norms one and zero.
/// Layers whose name is given in `zero` (the last of a residual branch, the output) start at zero, so that the
/// network starts as the identity of its residual paths. Parameters outside these layers are left alone.
template <class M>
void initialize(M& module, std::uint64_t seed, std::span<const std::string_view> zero = {}) {
    auto enter = [&](const std::string& name, auto& part) {
        using Part = std::remove_cvref_t<decltype(part)>;
        if constexpr (detail::is_conv<Part> || detail::is_linear<Part>) {
            const std::string_view last = std::string_view(name).substr(name.rfind('.') + 1);
            const bool silent = std::find(zero.begin(), zero.end(), last) != zero.end();
            const auto inputs = static_cast<double>(part.weight.value.size() / std::max<Index>(1, part.bias.value.size()));
            const double bound = silent ? 0 : 1 / std::sqrt(inputs);
            detail::fill_scaled(part.weight.change(), seed, name + ".weight", bound);
            detail::fill_scaled(part.bias.change(), seed, name + ".bias", bound);
            return false;
        } else if constexpr (detail::is_embedding<Part>) {
            fill_normal(part.weight.change().span(), RandomKey{seed, detail::name_hash(name), 0, Stream::parameter});
            return false;
        } else {
            return !detail::is_parameter<Part>;
        }
    };
    detail::walk(std::string(), module, enter);
}

}  // namespace ito::nn
