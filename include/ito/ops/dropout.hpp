// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/random.hpp"
#include "ito/grad/tape.hpp"
#include "ito/simd/math.hpp"

namespace ito::ops {

/// Zeroes elements with the given probability and scales the others so that the mean stays (Srivastava et al. 2014).
/// Does nothing unless the tape has dropout enabled: at inference the network is what it is.
template <class T>
Var<T> dropout(const Var<T>& x, double probability) {
    Tape<T>* tape = x.tape();
    const auto key = tape && probability > 0 ? tape->next_dropout_key() : std::nullopt;
    if (!key) return x;
    Tensor<T> mask(x.shape());
    fill_uniform(mask.span(), RandomKey{key->first, key->second, 0, Stream::dropout});
    const T threshold = static_cast<T>(probability), kept = static_cast<T>(1 / (1 - probability));
    for (T& factor : mask) factor = factor < threshold ? T(0) : kept;
    const auto product = [](auto u, auto v) { return simd::multiply(u, v); };
    Tensor<T> y(x.shape());
    simd::map_all(y, product, x->data(), std::as_const(mask).data());
    auto pullback = [=, mask = std::move(mask)](Tensor<T>& dy) {
        simd::map_all(dy, product, std::as_const(dy).data(), mask.data());
        tape->add(x, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

}  // namespace ito::ops
