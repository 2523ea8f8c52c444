// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "ito/simd/conv_shape.hpp"
#include "ito/simd/gemm.hpp"
#include "ito/simd/gemm_transposed.hpp"

// Convolutions as products of gathered rows: a row is a pixel of the result, a tap is a pixel of the kernel.
namespace ito::simd {

namespace detail {

/// The pixels of the made image with (h, w) = (row, column) modulo the dilation: they use the same taps, and between
/// them the dilation disappears.
class PixelClass {
  public:
    PixelClass(const ConvShape& shape, Index row, Index column)
        : shape_(shape), row_(row), column_(column),
          height_((shape.out_height - row + shape.dilation - 1) / shape.dilation),
          width_((shape.out_width - column + shape.dilation - 1) / shape.dilation) {
        for (Index i = 0; i < shape.kernel_h; ++i)
            for (Index j = 0; j < shape.kernel_w; ++j) {
                const Index y = row * shape.step + i - shape.top, x = column * shape.step + j - shape.left;
                if (y % shape.dilation != 0 || x % shape.dilation != 0) continue;
                taps_.push_back({y / shape.dilation, x / shape.dilation});
                weight_rows_.push_back((i * shape.kernel_w + j) * shape.channels);
            }
    }

    Index rows() const { return shape_.images * height_ * width_; }
    Index taps() const { return static_cast<Index>(taps_.size()); }
    const Index* weight_rows() const { return weight_rows_.data(); }

    /// Calls line(first, count, n, h, w) for each piece of a line of pixels in rows [begin, end): `count` pixels from
    /// row `first` on, which lie at (n, h, w), (n, h, w + 1), .. of this class.
    template <class Line>
    void for_lines(Index begin, Index end, Line&& line) const {
        Index w = begin % width_, h = begin / width_ % height_, n = begin / (width_ * height_);
        while (begin < end) {
            const Index count = std::min(width_ - w, end - begin);
            line(begin, count, n, h, w);
            begin += count;
            w = 0;
            if (++h == height_) {
                h = 0;
                ++n;
            }
        }
    }

    /// Addresses of what rows [begin, end) read: a [taps, stride]; zeros holds `channels` zeros.
    void sources(const float* image, Index begin, Index end, const float* zeros, const float** a, Index stride) const {
        const Index channels = shape_.channels, width = shape_.width, step = shape_.step;
        for_lines(begin, end, [&](Index first, Index count, Index n, Index h, Index w) {
            for (std::size_t tap = 0; tap < taps_.size(); ++tap) {
                const float** to = a + static_cast<Index>(tap) * stride + first - begin;
                const Index y = h * step + taps_[tap].y;
                if (y < 0 || y >= shape_.height) {
                    std::fill_n(to, count, zeros);
                    continue;
                }
                const float* line = image + (n * shape_.height + y) * width * channels;
                Index x = w * step + taps_[tap].x;
                for (Index r = 0; r < count; ++r, x += step) to[r] = x >= 0 && x < width ? line + x * channels : zeros;
            }
        });
    }

    /// Calls f(row - begin, pixel) with the place of each row of [begin, end) among all pixels of the made images.
    template <class F>
    void targets(Index begin, Index end, F&& f) const {
        const Index d = shape_.dilation;
        for_lines(begin, end, [&](Index first, Index count, Index n, Index h, Index w) {
            const Index line = (n * shape_.out_height + h * d + row_) * shape_.out_width;
            for (Index r = 0; r < count; ++r) f(first + r - begin, line + (w + r) * d + column_);
        });
    }

  private:
    struct Offset {
        Index y, x;
    };

    ConvShape shape_;
    Index row_, column_;
    Index height_, width_;
    PooledVector<Offset> taps_;
    PooledVector<Index> weight_rows_;
};

/// With so few channels a tap is over before its loop has begun: the taps are copied side by side and become one.
inline bool copies_patches(const ConvShape& shape) { return shape.channels < 8 && shape.taps() > 1; }

/// Rows of addresses [taps, stride], `count` of them filled -> their contents side by side in patches [count, depth],
/// and one row of addresses of that. Taps that the class does not have stay zero.
inline void copy_patches(const ConvShape& shape, const PixelClass& pixels, const float* const* a, Index stride, Index count,
                         Tensor<float>& patches, const float** to) {
    if (pixels.taps() < shape.taps()) std::fill_n(patches.data(), patches.size(), 0.0f);
    const Index depth = shape.depth(), taps = pixels.taps();
    const Index* const weight_rows = pixels.weight_rows();
    with_constant<7>(shape.channels, [&](auto channels) {  // a copy of known length: calling memmove would take longer
        for (Index r = 0; r < count; ++r) {
            float* const patch = patches.data() + r * depth;
            for (Index tap = 0; tap < taps; ++tap)
                unrolled<channels>([&](auto c) { patch[weight_rows[tap] + c] = a[tap * stride + r][c]; });
            to[r] = patch;
        }
    });
}

}  // namespace detail

/// y [images * out_height * out_width, N] = addends + convolution of x with w [taps * channels, N], on all threads.
inline void convolve(const ConvShape& shape, const float* x, const PackedMatrix& w, float* y, const Addends<float>& addends) {
    if (shape.pointwise()) {
        matrix_product(x, shape.images * shape.height * shape.width, w, y, addends, shape.images);
        return;
    }
    const Index columns = w.columns(), image = shape.out_height * shape.out_width;
    const Tensor<float> zeros = Tensor<float>::zeros({shape.channels});
    const StartRows starts(addends, shape.images, columns);
    const bool copies = detail::copies_patches(shape);
    for (Index row = 0; row < std::min(shape.dilation, shape.out_height); ++row)
        for (Index column = 0; column < std::min(shape.dilation, shape.out_width); ++column) {
            const detail::PixelClass pixels(shape, row, column);
            const Index taps = pixels.taps();
            share_product(pixels.rows(), w, [&](Index begin, Index end, Index first_panel, Index last_panel) {
                const Index rows = end - begin, weight_row = 0;
                Tensor<const float*> a({taps + 3, rows});
                Tensor<float*> to({rows});
                const float **const joined = a.data() + taps * rows, **const start = joined + rows, **const residual = start + rows;
                pixels.targets(begin, end, [&](Index r, Index pixel) {
                    to[r] = y + pixel * columns;
                    start[r] = starts[pixel / image];
                    if (addends.residual) residual[r] = addends.residual + pixel * columns;
                });
                pixels.sources(x, begin, end, zeros.data(), a.data(), rows);
                RowBlock block{rows, taps, shape.channels, a.data(), pixels.weight_rows(), to.data(), start, addends.residual ? residual : nullptr};
                Tensor<float> patches({copies ? rows : 0, shape.depth()});
                if (copies) {
                    detail::copy_patches(shape, pixels, a.data(), rows, rows, patches, joined);
                    block.taps = 1;
                    block.channels = shape.depth();
                    block.a = joined;
                    block.weight_rows = &weight_row;
                }
                gathered_product(block, w, first_panel, last_panel);
            });
        }
}

/// sums [taps, channels, N] += gradient of the weight of convolve from pixels [begin, end) of dy [.., N], in this thread.
/// Throws nothing; the shape must have dilation 1.
inline void convolve_weight_gradient(const ConvShape& shape, const float* x, const float* dy, Index columns, Index begin,
                                     Index end, float* sums) {
    if (shape.pointwise()) {
        transposed_product(x + begin * shape.channels, end - begin, shape.channels, dy + begin * columns, columns, sums);
        return;
    }
    const Tensor<float> zeros = Tensor<float>::zeros({shape.channels});
    const detail::PixelClass pixels(shape, 0, 0);
    Tensor<const float*> a({shape.taps() + 1, outer_rows});
    const bool copies = detail::copies_patches(shape);
    Tensor<float> patches({copies ? outer_rows : 0, shape.depth()});
    for (Index at = begin; at < end; at += outer_rows) {
        const Index rows = std::min(outer_rows, end - at);
        const PackedMatrix g(WeightView::matrix(dy + at * columns, rows, columns, columns, 1));
        pixels.sources(x, at, at + rows, zeros.data(), a.data(), rows);
        if (copies) {
            const float** joined = a.data() + shape.taps() * rows;
            detail::copy_patches(shape, pixels, a.data(), rows, rows, patches, joined);
            outer_products(rows, 1, shape.depth(), joined, g, sums);
        } else {
            outer_products(rows, shape.taps(), shape.channels, a.data(), g, sums);
        }
    }
}

}  // namespace ito::simd
