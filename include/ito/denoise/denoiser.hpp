// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "ito/denoise/thresholding.hpp"

namespace ito {

/// Anything that looks at noisy x [N, ..., C] at a level (level.time is what networks are usually told) and says
/// something about it: a tensor as x, or with 2 C channels where it also says a variance.
template <class N, class T>
concept Network = requires(N& network, const Tensor<T>& x, const NoiseLevel& level) {
    { network(x, level) } -> std::convertible_to<Tensor<T>>;
};

/// Anything that turns noisy x at a level into an estimate of x0 and eps. Samplers take these. What takes any type for
/// the level is also asked about a span of levels, as PerSampleNetwork: a lambda should name NoiseLevel.
template <class D, class T>
concept DenoiserOf = requires(D& denoise, const Tensor<T>& x, const NoiseLevel& level) {
    { denoise(x, level) } -> std::same_as<Estimate<T>>;
};

/// How to read a network.
struct Reading {
    Prediction prediction = Prediction::epsilon;
    double clip = std::numeric_limits<double>::infinity();  // |x0| is at most this; pictures in [-1, 1] take 1
    std::optional<DynamicThreshold> threshold = std::nullopt;  // in place of clip
    bool scaled_input = false;      // the network is shown x / sqrt(alpha^2 sigma_data^2 + sigma^2)
    bool learned_variance = false;  // the second half of the output channels says the variance
    bool negated = false;           // the network says the negative of its prediction
    double sigma_data = 1;          // what the network says of x0, it says of x0 / sigma_data (Karras et al. 2022, table 1)
    double smallest_ratio = 0;      // of sigma / alpha, for consistency models: see Prediction::edm

    /// What x is divided by before the network sees it.
    double input_scale(const NoiseLevel& level) const {
        return scaled_input ? std::hypot(level.alpha * sigma_data, level.sigma) : 1;
    }
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

namespace detail {
inline Decoding decoding(const Reading& reading, const NoiseLevel& level) {
    // The network saw x / s at the level (alpha sigma_data / s, sigma / s) of x0 / sigma_data.
    const double s = reading.input_scale(level);
    const NoiseLevel shown{level.time, level.alpha * reading.sigma_data / s, level.sigma / s};
    Decoding decode = ito::decoding(reading.prediction, shown, reading.smallest_ratio / reading.sigma_data);
    decode.x0_of_x *= reading.sigma_data / s;
    decode.x0_of_out *= reading.sigma_data;
    decode.eps_of_x /= s;
    if (reading.negated) decode.x0_of_out *= -1, decode.eps_of_out *= -1;
    return decode;
}

/// An estimate with everything but its decoding.
template <class T>
Estimate<T> undecoded(const Reading& reading, const Tensor<T>& x, Tensor<T> output) {
    Estimate<T> estimate;
    if (reading.learned_variance) {
        require_shape("network output with a learned variance", x.shape().with(-1, 2 * x.dim(-1)), output.shape());
        std::tie(estimate.output, estimate.variance) = split_channels(output, x.shape());
    } else {
        require_shape("network output", x.shape(), output.shape());
        estimate.output = std::move(output);
    }
    estimate.limit = reading.threshold ? std::numeric_limits<double>::infinity() : reading.clip;
    return estimate;
}
}  // namespace detail

/// What the output means for x at the level. Throws ShapeError for an output that does not fit x, ArgumentError where
/// the prediction says nothing at this level (see decoding).
template <class T>
Estimate<T> read(const Reading& reading, const Tensor<T>& x, const NoiseLevel& level, Tensor<T> output) {
    Estimate<T> estimate = detail::undecoded(reading, x, std::move(output));
    estimate.decode = detail::decoding(reading, level);
    if (reading.threshold) apply(*reading.threshold, x, estimate);
    return estimate;
}

/// The same with sample k of x [N, ...] at levels[k].
template <class T>
Estimate<T> read(const Reading& reading, const Tensor<T>& x, std::span<const NoiseLevel> levels, Tensor<T> output) {
    Estimate<T> estimate = detail::undecoded(reading, x, std::move(output));
    for (const NoiseLevel& level : levels) estimate.decodes.push_back(detail::decoding(reading, level));
    if (reading.threshold) apply(*reading.threshold, x, estimate);
    return estimate;
}

/// A network that can be asked about every sample at a level of its own in one call.
template <class N, class T>
concept PerSampleNetwork = requires(N& network, const Tensor<T>& x, std::span<const NoiseLevel> levels) {
    { network(x, levels) } -> std::convertible_to<Tensor<T>>;
};

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
        shown.array() = x.array() / static_cast<T>(reading.input_scale(level));
        return read(reading, x, level, Tensor<T>(network(std::as_const(shown), level)));
    }

    /// Sample k at levels[k], where the network can do that. Throws ShapeError unless there is one level a sample.
    template <class T>
        requires PerSampleNetwork<std::remove_reference_t<NetworkType>, T>
    Estimate<T> operator()(const Tensor<T>& x, std::span<const NoiseLevel> levels) {
        const Index samples = x.rank() ? x.dim(0) : 1;
        if (static_cast<Index>(levels.size()) != samples)
            throw ShapeError(std::to_string(levels.size()) + " noise levels for a batch of shape " + x.shape().str());
        if (!reading.scaled_input) return read(reading, x, levels, Tensor<T>(network(x, levels)));
        Tensor<T> shown(x.shape());
        const Index size = x.size() / std::max<Index>(1, samples);
        for (Index k = 0; k < samples; ++k) {
            const NoiseLevel& level = levels[static_cast<std::size_t>(k)];
            shown.array().segment(k * size, size) = x.array().segment(k * size, size) / static_cast<T>(reading.input_scale(level));
        }
        return read(reading, x, levels, Tensor<T>(network(std::as_const(shown), levels)));
    }
};

template <class NetworkType>
Denoiser(NetworkType&&, Reading) -> Denoiser<NetworkType>;

/// The estimate for sample k of x [N, ...] at levels[k], from any denoiser: in one call if all levels are equal or the
/// network can be asked per sample, else in one call for each of the levels, of which each sample keeps its own.
/// For samplers that choose steps sample by sample. Throws ShapeError unless there is one level a sample.
template <class T, DenoiserOf<T> D>
Estimate<T> denoise_each(D& denoise, const Tensor<T>& x, std::span<const NoiseLevel> levels) {
    const Index samples = x.rank() ? x.dim(0) : 1, size = x.size() / std::max<Index>(1, samples);
    if (static_cast<Index>(levels.size()) != samples || samples == 0)
        throw ShapeError(std::to_string(levels.size()) + " noise levels for a batch of shape " + x.shape().str());
    const auto same = [](const NoiseLevel& a, const NoiseLevel& b) { return a.time == b.time && a.alpha == b.alpha && a.sigma == b.sigma; };
    if (std::all_of(levels.begin(), levels.end(), [&](const NoiseLevel& level) { return same(level, levels[0]); }))
        return denoise(x, levels[0]);
    if constexpr (requires { { denoise(x, levels) } -> std::same_as<Estimate<T>>; }) {
        return denoise(x, levels);
    } else {
        Estimate<T> result;
        std::vector<bool> known(levels.size());
        for (std::size_t first = 0; first < levels.size(); ++first) {
            if (known[first]) continue;
            const Estimate<T> said = denoise(x, levels[first]);
            require_shape("network output", x.shape(), said.output.shape());
            if (first == 0) {
                result = said;
                result.decodes.resize(levels.size());
            }
            for (std::size_t k = first; k < levels.size(); ++k) {
                if (known[k] || !same(levels[k], levels[first])) continue;
                known[k] = true;
                const auto row = static_cast<Index>(k);
                result.decodes[k] = said.decodes.empty() ? said.decode : said.decodes[k];
                result.output.array().segment(row * size, size) = said.output.array().segment(row * size, size);
                if (!said.variance.empty()) result.variance.array().segment(row * size, size) = said.variance.array().segment(row * size, size);
                if (!said.limits.empty()) result.limits[row] = said.limits[row];
            }
        }
        return result;
    }
}

/// Any denoiser by reference, under one type: samplers are compiled once for all of them.
template <class T>
class DenoiserRef {
  public:
    template <class D>
        requires(!std::same_as<std::remove_const_t<D>, DenoiserRef> && DenoiserOf<D, T>)
    explicit DenoiserRef(D& denoise)
        : denoiser_((void*)std::addressof(denoise)),  // constant or not, an object or a function
          at_one_([](void* d, const Tensor<T>& x, const NoiseLevel& level) { return (*(D*)d)(x, level); }),
          at_each_([](void* d, const Tensor<T>& x, std::span<const NoiseLevel> levels) { return denoise_each(*(D*)d, x, levels); }) {}

    Estimate<T> operator()(const Tensor<T>& x, const NoiseLevel& level) const { return at_one_(denoiser_, x, level); }
    /// Sample k at levels[k]: see denoise_each.
    Estimate<T> operator()(const Tensor<T>& x, std::span<const NoiseLevel> levels) const { return at_each_(denoiser_, x, levels); }

  private:
    void* denoiser_;
    Estimate<T> (*at_one_)(void*, const Tensor<T>&, const NoiseLevel&);
    Estimate<T> (*at_each_)(void*, const Tensor<T>&, std::span<const NoiseLevel>);
};

}  // namespace ito
