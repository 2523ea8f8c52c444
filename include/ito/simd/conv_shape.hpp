// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/shape.hpp"

namespace ito::simd {

/// Pixel (h, w) of the image that is made collects, for each tap (i, j), pixel (h * step + i - top) / dilation of the
/// image that is read, likewise for w, or zeros where that is no pixel. dilation 1 is a convolution of stride step;
/// step 1 and dilation s is the transpose of a convolution of stride s.
struct ConvShape {
    Index images;
    Index height, width, channels;   // of the image that is read
    Index out_height, out_width;     // of the image that is made
    Index kernel_h, kernel_w;
    Index top, left;
    Index step = 1, dilation = 1;

    Index taps() const { return kernel_h * kernel_w; }
    Index depth() const { return taps() * channels; }
    Index out_pixels() const { return images * out_height * out_width; }

    bool pointwise() const {
        return taps() == 1 && step == 1 && dilation == 1 && top == 0 && left == 0 && height == out_height && width == out_width;
    }
};

}  // namespace ito::simd
