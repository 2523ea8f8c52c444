// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <type_traits>
#include <utility>

#include "ito/denoise/denoiser.hpp"

namespace ito {

/// Classifier-free guidance: unconditional + weight (conditional - unconditional). Weight 1 is the conditional network
/// alone. Ho and Salimans, "Classifier-free diffusion guidance" (2022), equation 6 with w = weight - 1.
/// Throws ShapeError if the two differ.
template <class T>
Tensor<T> guide(Tensor<T> conditional, const Tensor<T>& unconditional, double weight) {
    require_shape("unconditional output", conditional.shape(), unconditional.shape());
    conditional.array() = unconditional.array() + static_cast<T>(weight) * (conditional.array() - unconditional.array());
    return conditional;
}

/// The same for both halves of one batch [2 N, ...], the unconditional first: gives [N, ...].
template <class T>
Tensor<T> guide_halves(const Tensor<T>& both, double weight) {
    if (both.rank() == 0 || both.dim(0) % 2 != 0)
        throw ShapeError("guidance needs a batch of unconditional and conditional halves, got shape " + both.shape().str());
    Tensor<T> result(both.shape().with(0, both.dim(0) / 2));
    const auto unconditional = both.array().head(result.size()), conditional = both.array().tail(result.size());
    result.array() = unconditional + static_cast<T>(weight) * (conditional - unconditional);
    return result;
}

/// x once more below itself: [N, ...] to [2 N, ...], to ask a network for both halves in one call.
template <class T>
Tensor<T> twice(const Tensor<T>& x) {
    Tensor<T> result(x.shape().with(0, 2 * x.dim(0)));
    result.array().head(x.size()) = x.array();
    result.array().tail(x.size()) = x.array();
    return result;
}

/// Two networks as one guided network. To ask one network once for both, call it with twice(x) and guide_halves.
template <class Conditional, class Unconditional>
struct Guided {
    Conditional conditional;
    Unconditional unconditional;
    double weight = 1;

    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& level) {
        Tensor<T> said = conditional(x, level);
        if (weight == 1) return said;
        return guide<T>(std::move(said), unconditional(x, level), weight);
    }

    template <class T>
        requires PerSampleNetwork<std::remove_reference_t<Conditional>, T> && PerSampleNetwork<std::remove_reference_t<Unconditional>, T>
    Tensor<T> operator()(const Tensor<T>& x, std::span<const NoiseLevel> levels) {
        Tensor<T> said = conditional(x, levels);
        if (weight == 1) return said;
        return guide<T>(std::move(said), unconditional(x, levels), weight);
    }
};

template <class Conditional, class Unconditional>
Guided(Conditional&&, Unconditional&&, double) -> Guided<Conditional, Unconditional>;

}  // namespace ito
