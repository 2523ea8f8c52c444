// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "ito/denoise/thresholding.hpp"

namespace ito {

/// Anything that looks at noisy x [N, ..., C] at a level (level.time is what networks are usually told) and says
/// something about it: a tensor as x, or with 2 C channels where it also says a variance.
template <class N, class T>
concept Network = requires(N& network, const Tensor<T>& x, const NoiseLevel& level) {
    { network(x, level) } -> std::convertible_to<Tensor<T>>;
};

/// Anything that turns noisy x at a level into an estimate of x0 and eps. Samplers take these.
template <class D, class T>
concept DenoiserOf = requires(D& denoise, const Tensor<T>& x, const NoiseLevel& level) {
    { denoise(x, level) } -> std::same_as<Estimate<T>>;
};

/// How to read a network.
struct Reading {
    Prediction prediction = Prediction::epsilon;
    double clip = std::numeric_limits<double>::infinity();  // |x0| is at most this; pictures in [-1, 1] take 1
    std::optional<DynamicThreshold> threshold = std::nullopt;  // in place of clip
    bool scaled_input = false;      // the network is shown x / sqrt(alpha^2 + sigma^2)
    bool learned_variance = false;  // the second half of the output channels says the variance
};

namespace detail {
/// Splits [..., 2 C] into the first and the second C channels.
template <class T>
std::pair<Tensor<T>, Tensor<T>> split_channels(const Tensor<T>& both, const Shape& half) {
    std::pair<Tensor<T>, Tensor<T>> parts{Tensor<T>(half), Tensor<T>(half)};
    const Index channels = half[-1];
    parts.first.matrix() = both.matrix().leftCols(channels);
    parts.second.matrix() = both.matrix().rightCols(channels);
    return parts;
}
}  // namespace detail

/// What the output means for x at the level. Throws ShapeError for an output that does not fit x, ArgumentError where
/// the prediction says nothing at this level (see decoding).
template <class T>
Estimate<T> read(const Reading& reading, const Tensor<T>& x, const NoiseLevel& level, Tensor<T> output) {
    Estimate<T> estimate;
    if (reading.learned_variance) {
        require_shape("network output with a learned variance", x.shape().with(-1, 2 * x.dim(-1)), output.shape());
        std::tie(estimate.output, estimate.variance) = detail::split_channels(output, x.shape());
    } else {
        require_shape("network output", x.shape(), output.shape());
        estimate.output = std::move(output);
    }
    if (reading.scaled_input) {
        // The network saw x / s at the level (alpha / s, sigma / s); its score is that of x / s, too.
        const double s = std::hypot(level.alpha, level.sigma);
        estimate.decode = decoding(reading.prediction, variance_preserving(level));
        estimate.decode.x0_of_x /= s;
        estimate.decode.eps_of_x /= s;
    } else {
        estimate.decode = decoding(reading.prediction, level);
    }
    estimate.limit = reading.clip;
    if (reading.threshold) {
        estimate.limit = std::numeric_limits<double>::infinity();
        apply(*reading.threshold, x, estimate);
    }
    return estimate;
}

/// A network together with how to read it. `Denoiser denoise{network, Reading{...}}`; a network given as an lvalue is
/// referred to, not copied.
template <class NetworkType>
struct Denoiser {
    NetworkType network;
    Reading reading;

    template <class T>
    Estimate<T> operator()(const Tensor<T>& x, const NoiseLevel& level) {
        static_assert(Network<std::remove_reference_t<NetworkType>, T>);
        if (!reading.scaled_input) return read(reading, x, level, Tensor<T>(network(x, level)));
        Tensor<T> shown(x.shape());
        shown.array() = x.array() / static_cast<T>(std::hypot(level.alpha, level.sigma));
        return read(reading, x, level, Tensor<T>(network(std::as_const(shown), level)));
    }
};

template <class NetworkType>
Denoiser(NetworkType&&, Reading) -> Denoiser<NetworkType>;

}  // namespace ito
