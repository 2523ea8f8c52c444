// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "ito/core/tensor.hpp"

namespace ito {

/// Values in [-1, 1] as bytes: -1 is 0, 1 is 255, beyond them is clamped, NaN is 0.
template <class T>
Tensor<std::uint8_t> to_bytes(const Tensor<T>& values) {
    static_assert(std::is_floating_point_v<T>);
    Tensor<std::uint8_t> bytes(values.shape());
    std::transform(values.begin(), values.end(), bytes.begin(), [](T value) {
        const T scaled = (value + T(1)) * T(127.5) + T(0.5);
        return scaled > T(0) ? static_cast<std::uint8_t>(std::min(scaled, T(255.5))) : std::uint8_t{0};
    });
    return bytes;
}

/// Images [N, H, W, C], bytes or values in [-1, 1], side by side and row by row in one image [.., .., C] with lines of
/// background between and around them. columns 0 makes the grid about square.
/// Throws ShapeError for no images, ArgumentError for negative columns or padding.
template <class T>
Tensor<std::uint8_t> image_grid(const Tensor<T>& images, Index columns = 0, Index padding = 2,
                                std::uint8_t background = 255) {
    if constexpr (!std::is_same_v<T, std::uint8_t>) {
        return image_grid(to_bytes(images), columns, padding, background);
    } else {
        if (images.rank() != 4 || images.empty())
            throw ShapeError("image_grid: expected images [N, H, W, C], got " + images.shape().str());
        if (columns < 0 || padding < 0) throw ArgumentError("image_grid: columns and padding must not be negative");
        const Index count = images.dim(0), height = images.dim(1), width = images.dim(2), channels = images.dim(3);
        if (columns == 0) columns = static_cast<Index>(std::ceil(std::sqrt(static_cast<double>(count))));
        const Index rows = (count + columns - 1) / columns;
        auto grid = Tensor<std::uint8_t>::full(
            {padding + rows * (height + padding), padding + columns * (width + padding), channels}, background);
        for (Index n = 0; n < count; ++n)
            for (Index y = 0; y < height; ++y)
                std::copy_n(&images(n, y, Index{0}, Index{0}), width * channels,
                            &grid(padding + n / columns * (height + padding) + y,
                                  padding + n % columns * (width + padding), Index{0}));
        return grid;
    }
}

/// A denoising strip: one row a sample, one column a step, from steps of [N, H, W, C] each, all of one shape.
template <class T>
Tensor<std::uint8_t> image_strip(const std::vector<Tensor<T>>& steps, Index padding = 2,
                                 std::uint8_t background = 255) {
    if (steps.empty()) throw ArgumentError("image_strip: no steps");
    const Shape& shape = steps.front().shape();
    if (shape.rank() != 4) throw ShapeError("image_strip: expected images [N, H, W, C], got " + shape.str());
    const auto columns = static_cast<Index>(steps.size());
    const Index samples = shape[0], size = shape.size() / std::max<Index>(samples, 1);
    Tensor<T> ordered(shape.with(0, samples * columns));
    for (Index step = 0; step < columns; ++step) {
        const auto& images = steps[static_cast<std::size_t>(step)];
        require_shape("image_strip: step " + std::to_string(step), shape, images.shape());
        for (Index n = 0; n < samples; ++n)
            std::copy_n(images.data() + n * size, size, ordered.data() + (n * columns + step) * size);
    }
    return image_grid(ordered, columns, padding, background);
}

/// Every pixel of an image [H, W, C] as a square of factor x factor pixels.
inline Tensor<std::uint8_t> enlarge(const Tensor<std::uint8_t>& image, Index factor) {
    if (image.rank() != 3) throw ShapeError("enlarge: expected an image [H, W, C], got " + image.shape().str());
    if (factor < 1) throw ArgumentError("enlarge: factor " + std::to_string(factor) + " is not positive");
    Tensor<std::uint8_t> result({image.dim(0) * factor, image.dim(1) * factor, image.dim(2)});
    for (Index y = 0; y < result.dim(0); ++y)
        for (Index x = 0; x < result.dim(1); ++x)
            for (Index c = 0; c < result.dim(2); ++c) result(y, x, c) = image(y / factor, x / factor, c);
    return result;
}

}  // namespace ito
