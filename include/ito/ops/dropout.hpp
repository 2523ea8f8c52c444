// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ito/grad/tape.hpp"

namespace ito::ops {

/// Zeroes elements with the given probability and scales the others so that the mean stays (Srivastava et al. 2014).
/// Does nothing unless the tape has dropout enabled: at inference the network is what it is.
template <class T>
Var<T> dropout(const Var<T>& x, double probability) {
    Tape<T>* tape = x.tape();
    const auto key = tape && probability > 0 ? tape->next_dropout_key() : std::nullopt;
    if (!key) return x;
    auto masked = [=](Tensor<T> t) {
        const T kept = static_cast<T>(1 / (1 - probability));
        for (Index i = 0; i < t.size(); ++i) {
            std::uint64_t z = key->first + 0x9e3779b97f4a7c15u * (key->second * 0x100000001u + static_cast<std::uint64_t>(i) + 1);
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            t[i] = static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53 < probability ? T(0) : t[i] * kept;
        }
        return t;
    };
    return result_of(masked(*x), tape, [=](Tensor<T>& dy) { tape->add(x, masked(std::move(dy))); }, x);
}

}  // namespace ito::ops
