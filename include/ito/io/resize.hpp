// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"

namespace ito {

namespace detail {

inline void require_image(const char* what, const Tensor<std::uint8_t>& image) {
    if (image.rank() != 3)
        throw ShapeError(std::string(what) + ": expected an image [H, W, C], got " + image.shape().str());
}

/// The weights of one output pixel of a triangle filter, whose reach grows with the step between output pixels:
/// bilinear interpolation when enlarging, an average over all that a pixel covers when shrinking.
struct PixelWeights {
    Index first = 0;
    std::vector<float> weights;
};

inline std::vector<PixelWeights> resize_weights(Index from, Index to) {
    const double step = static_cast<double>(from) / static_cast<double>(to), reach = std::max(step, 1.0);
    std::vector<PixelWeights> result(static_cast<std::size_t>(to));
    for (Index i = 0; i < to; ++i) {
        const double centre = (static_cast<double>(i) + 0.5) * step;
        const auto first = std::max<Index>(0, static_cast<Index>(std::floor(centre - reach)));
        const auto last = std::min<Index>(from, static_cast<Index>(std::ceil(centre + reach)));
        std::vector<double> weights;
        double sum = 0;
        for (Index k = first; k < last; ++k) {
            weights.push_back(std::max(0.0, 1.0 - std::abs(static_cast<double>(k) + 0.5 - centre) / reach));
            sum += weights.back();
        }
        auto& out = result[static_cast<std::size_t>(i)];
        out.first = first;
        for (const double weight : weights) out.weights.push_back(static_cast<float>(weight / sum));
    }
    return result;
}

}  // namespace detail

/// The image [H, W, C] at another size [height, width, C]: bilinear when enlarging, averaged without aliasing when
/// shrinking. Throws ShapeError for no image, ArgumentError for a size that is not positive.
inline Tensor<std::uint8_t> resize(const Tensor<std::uint8_t>& image, Index height, Index width) {
    detail::require_image("resize", image);
    if (height <= 0 || width <= 0 || image.empty())
        throw ArgumentError("resize: " + image.shape().str() + " to " + std::to_string(height) + " x " +
                            std::to_string(width));
    const Index rows = image.dim(0), columns = image.dim(1), channels = image.dim(2);
    if (rows == height && columns == width) return image;
    const auto down = detail::resize_weights(rows, height), across = detail::resize_weights(columns, width);

    Tensor<float> narrow({rows, width, channels});
    for (Index y = 0; y < rows; ++y)
        for (Index x = 0; x < width; ++x) {
            const auto& filter = across[static_cast<std::size_t>(x)];
            for (Index c = 0; c < channels; ++c) {
                float sum = 0;
                for (std::size_t k = 0; k < filter.weights.size(); ++k)
                    sum += filter.weights[k] * static_cast<float>(image(y, filter.first + static_cast<Index>(k), c));
                narrow(y, x, c) = sum;
            }
        }
    Tensor<std::uint8_t> result({height, width, channels});
    for (Index y = 0; y < height; ++y) {
        const auto& filter = down[static_cast<std::size_t>(y)];
        for (Index i = 0; i < width * channels; ++i) {
            float sum = 0.5f;
            for (std::size_t k = 0; k < filter.weights.size(); ++k)
                sum += filter.weights[k] * narrow[(filter.first + static_cast<Index>(k)) * width * channels + i];
            result[y * width * channels + i] = static_cast<std::uint8_t>(std::clamp(sum, 0.0f, 255.0f));
        }
    }
    return result;
}

/// The middle [height, width, C] of an image [H, W, C]. Throws ShapeError if the image is smaller.
inline Tensor<std::uint8_t> centre_crop(const Tensor<std::uint8_t>& image, Index height, Index width) {
    detail::require_image("centre_crop", image);
    if (height <= 0 || width <= 0 || height > image.dim(0) || width > image.dim(1))
        throw ShapeError("centre_crop: " + std::to_string(height) + " x " + std::to_string(width) + " of " +
                         image.shape().str());
    const Index channels = image.dim(2), top = (image.dim(0) - height) / 2, left = (image.dim(1) - width) / 2;
    Tensor<std::uint8_t> result({height, width, channels});
    for (Index y = 0; y < height; ++y)
        std::copy_n(&image(top + y, left, Index{0}), width * channels, &result(y, Index{0}, Index{0}));
    return result;
}

/// The image scaled until it just covers [height, width], and then cropped to it around the middle.
inline Tensor<std::uint8_t> resize_and_crop(const Tensor<std::uint8_t>& image, Index height, Index width) {
    detail::require_image("resize_and_crop", image);
    if (image.empty()) throw ShapeError("resize_and_crop: empty image " + image.shape().str());
    const double scale = std::max(static_cast<double>(height) / static_cast<double>(image.dim(0)),
                                  static_cast<double>(width) / static_cast<double>(image.dim(1)));
    const auto scaled = [scale](Index extent, Index least) {
        return std::max(least, static_cast<Index>(std::lround(static_cast<double>(extent) * scale)));
    };
    return centre_crop(resize(image, scaled(image.dim(0), height), scaled(image.dim(1), width)), height, width);
}

}  // namespace ito
