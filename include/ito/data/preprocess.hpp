// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/core/tensor.hpp"

// Steps between stored images and what a network sees: value types, each with its inverse, joined by a Pipeline.
//   const Pipeline prepare(Flip{seed}, Pad::to(28, 28, 32, 32), ScaleToSymmetric{});
//   Tensor<float> x = prepare.apply<float>(bytes, picks);
//   Tensor<std::uint8_t> pictures = prepare.inverse(samples);

namespace ito {

/// One image of one epoch: what a random step is keyed by, so that it depends on nothing else.
struct Pick {
    Index sample = 0, epoch = 0;
};

/// [0, 255] <-> [-1, 1]
struct ScaleToSymmetric {
    template <class T>
    Tensor<T> apply(Tensor<T> x, std::span<const Pick>) const {
        for (T& v : x) v = v / T(127.5) - T(1);
        return x;
    }
    template <class T>
    Tensor<T> inverse(Tensor<T> x, std::span<const Pick>) const {
        for (T& v : x) v = (v + T(1)) * T(127.5);
        return x;
    }
};

/// Zero mean and unit deviation in every channel.
struct Standardize {
    std::vector<double> mean, deviation;  // [C], in the units of what it is applied to

    /// The statistics of images [N, H, W, C]; a channel that never changes gets deviation 1.
    static Standardize of(const Tensor<std::uint8_t>& images) {
        if (images.rank() != 4 || images.empty())
            throw ShapeError("Standardize: expected images [N, H, W, C], got " + images.shape().str());
        const auto channels = static_cast<std::size_t>(images.dim(3));
        std::vector<std::uint64_t> sum(channels), squares(channels);
        for (Index i = 0; i < images.size(); ++i) {
            const auto c = static_cast<std::size_t>(i) % channels;
            sum[c] += images[i];
            squares[c] += std::uint64_t{images[i]} * images[i];
        }
        Standardize result;
        const double count = static_cast<double>(images.size()) / static_cast<double>(channels);
        for (std::size_t c = 0; c < channels; ++c) {
            const double mean = static_cast<double>(sum[c]) / count;
            const double variance = static_cast<double>(squares[c]) / count - mean * mean;
            result.mean.push_back(mean);
            result.deviation.push_back(variance > 1e-9 ? std::sqrt(variance) : 1.0);
        }
        return result;
    }

    template <class T>
    Tensor<T> apply(Tensor<T> x, std::span<const Pick>) const {
        return each(std::move(x),
                    [](T v, double m, double d) { return static_cast<T>((static_cast<double>(v) - m) / d); });
    }
    template <class T>
    Tensor<T> inverse(Tensor<T> x, std::span<const Pick>) const {
        return each(std::move(x),
                    [](T v, double m, double d) { return static_cast<T>(static_cast<double>(v) * d + m); });
    }

  private:
    template <class T, class F>
    Tensor<T> each(Tensor<T> x, F f) const {
        const std::size_t channels = mean.size();
        if (deviation.size() != channels || x.rank() == 0 || x.dim(-1) != static_cast<Index>(channels))
            throw ShapeError("Standardize: " + std::to_string(channels) + " channels, applied to " + x.shape().str());
        for (Index i = 0; i < x.size(); ++i) {
            const std::size_t c = static_cast<std::size_t>(i) % channels;
            x[i] = f(x[i], mean[c], deviation[c]);
        }
        return x;
    }
};

/// A frame of one value around each image; the inverse cuts it off.
struct Pad {
    Index top = 0, bottom = 0, left = 0, right = 0;
    double value = 0;  // in the units of what it is applied to

    /// Around the middle: from images of height x width to new_height x new_width. Throws ArgumentError if that is
    /// less.
    static Pad to(Index height, Index width, Index new_height, Index new_width, double value = 0) {
        if (new_height < height || new_width < width)
            throw ArgumentError("Pad: " + std::to_string(height) + " x " + std::to_string(width) + " to " +
                                std::to_string(new_height) + " x " + std::to_string(new_width));
        const Index top = (new_height - height) / 2, left = (new_width - width) / 2;
        return {top, new_height - height - top, left, new_width - width - left, value};
    }

    template <class T>
    Tensor<T> apply(Tensor<T> x, std::span<const Pick>) const {
        check(x.shape(), 0, 0);
        if (top + bottom + left + right == 0) return x;
        auto result = Tensor<T>::full({x.dim(0), x.dim(1) + top + bottom, x.dim(2) + left + right, x.dim(3)},
                                      static_cast<T>(value));
        for (Index n = 0; n < x.dim(0); ++n)
            for (Index y = 0; y < x.dim(1); ++y)
                std::copy_n(&x(n, y, 0, 0), x.dim(2) * x.dim(3), &result(n, y + top, left, 0));
        return result;
    }
    template <class T>
    Tensor<T> inverse(Tensor<T> x, std::span<const Pick>) const {
        check(x.shape(), top + bottom, left + right);
        if (top + bottom + left + right == 0) return x;
        Tensor<T> result({x.dim(0), x.dim(1) - top - bottom, x.dim(2) - left - right, x.dim(3)});
        for (Index n = 0; n < result.dim(0); ++n)
            for (Index y = 0; y < result.dim(1); ++y)
                std::copy_n(&x(n, y + top, left, 0), result.dim(2) * result.dim(3), &result(n, y, 0, 0));
        return result;
    }

  private:
    void check(const Shape& shape, Index height, Index width) const {
        if (shape.rank() != 4 || shape[1] < height || shape[2] < width)
            throw ShapeError("Pad: applied to " + shape.str());
        if (std::min({top, bottom, left, right}) < 0) throw ArgumentError("Pad: a negative margin");
    }
};

/// Left and right exchanged, at random: for each pick alone, by (seed, sample, epoch). Without picks, as for images
/// that a model made, nothing is flipped.
struct Flip {
    std::uint64_t seed = 0;
    double probability = 0.5;

    bool flips(const Pick& pick) const {
        return Random{{seed, static_cast<std::uint64_t>(pick.sample), static_cast<std::uint32_t>(pick.epoch),
                       Stream::augment}}
                   .uniform() < probability;
    }

    template <class T>
    Tensor<T> apply(Tensor<T> x, std::span<const Pick> picks) const {
        if (picks.empty()) return x;
        if (x.rank() != 4 || x.dim(0) != static_cast<Index>(picks.size()))
            throw ShapeError("Flip: " + std::to_string(picks.size()) + " picks for images " + x.shape().str());
        const Index width = x.dim(2), channels = x.dim(3);
        for (Index n = 0; n < x.dim(0); ++n) {
            if (!flips(picks[static_cast<std::size_t>(n)])) continue;
            for (Index y = 0; y < x.dim(1); ++y)
                for (Index i = 0; i < width / 2; ++i)
                    std::swap_ranges(&x(n, y, i, 0), &x(n, y, i, 0) + channels, &x(n, y, width - 1 - i, 0));
        }
        return x;
    }
    template <class T>
    Tensor<T> inverse(Tensor<T> x, std::span<const Pick> picks) const {
        return apply(std::move(x), picks);
    }
};

/// Steps one after another, from stored bytes to what a network sees, and back in reverse.
template <class... Steps>
class Pipeline {
  public:
    explicit Pipeline(Steps... steps) : steps_(std::move(steps)...) {}

    /// images [N, H, W, C] -> [N, H', W', C]. picks: one for each image, for steps that are random; none: these rest.
    template <class T>
    Tensor<T> apply(const Tensor<std::uint8_t>& images, std::span<const Pick> picks = {}) const {
        auto x = images.template cast<T>();
        std::apply([&]([[maybe_unused]] const auto&... step) { ((x = step.apply(std::move(x), picks)), ...); }, steps_);
        return x;
    }

    /// [N, H', W', C] -> images [N, H, W, C], rounded to the nearest byte; NaN is 0. With the same picks as apply had,
    /// the very same images come back.
    template <class T>
    Tensor<std::uint8_t> inverse(Tensor<T> x, std::span<const Pick> picks = {}) const {
        undo(x, picks, std::index_sequence_for<Steps...>());
        Tensor<std::uint8_t> images(x.shape());
        std::transform(x.begin(), x.end(), images.begin(), [](T v) {
            return v > T(0) ? static_cast<std::uint8_t>(std::min(v + T(0.5), T(255))) : std::uint8_t{0};
        });
        return images;
    }

  private:
    template <class T, std::size_t... I>
    void undo(Tensor<T>& x, [[maybe_unused]] std::span<const Pick> picks, std::index_sequence<I...>) const {
        ((x = std::get<sizeof...(I) - 1 - I>(steps_).inverse(std::move(x), picks)), ...);
    }

    std::tuple<Steps...> steps_;
};

}  // namespace ito
