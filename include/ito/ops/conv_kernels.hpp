// SPDX-License-Identifier: MIT
#pragma once

#include "ito/ops/conv_plain.hpp"
#include "ito/simd/bf16.hpp"
#include "ito/simd/conv.hpp"
#include "ito/simd/precision.hpp"
#include "ito/simd/winograd_gradient.hpp"
#include "ito/simd/winograd_lines.hpp"

// Which kernel computes a convolution: the one place where that is chosen.
namespace ito::ops::detail {

/// Clock cycles of a convolution of one image by each algorithm, fitted to measurements. Winograd's pays for seeing inputs
/// and results at the points, and reads 4 or 1.8 times the weights; what WinogradLines saves is not counted.
struct ConvCost {
    const ConvShape& shape;
    double vectors;  // registers of one pixel's result

    double direct() const {
        const double pixels = static_cast<double>(shape.out_height * shape.out_width);
        return products(pixels, static_cast<double>(shape.depth())) + weights(static_cast<double>(shape.depth()));
    }

    /// a_vector: cycles to see the pixels of a tile in one register of channels at the points, or back.
    double winograd(Index tile, double a_vector) const {
        const double points = static_cast<double>((tile + 2) * (tile + 2)), channels = static_cast<double>(shape.channels);
        const double tiles = static_cast<double>(((shape.out_height + tile - 1) / tile) * ((shape.out_width + tile - 1) / tile));
        return products(tiles * points, channels) + tiles * a_vector * (channels / simd::lanes + vectors) + weights(points * channels);
    }

  private:
    double products(double rows, double depth) const { return rows * vectors * (0.55 * depth + 4); }
    /// Memory gives a thread about 4.3 bytes a cycle; two images share them.
    double weights(double depth) const { return depth * vectors * simd::lanes * 4 / 8.6; }
};

/// The algorithm that a table names, else the cheapest for an image. It does not depend on the number of images or threads,
/// so that a sample has the same bits in any batch; the price is paid by small images with many channels, where a batch would
/// rather read more weights than one image does. With AVX-512 the 3x3 convolutions of ddpm-cifar10-32 take what the fastest
/// algorithm of each layer takes at batch 1, and 8% more at batch 8 (5% of the pass): F(4x4) at 8x8 pixels would be a quarter
/// faster there and a seventh slower for one image, F(2x2) at 4x4 pixels 40% faster there and half as slow again for one.
inline ConvAlgorithm choose_algorithm(const ConvShape& s, Index out, const Arithmetic& how) {
    // A tile of fewer channels would be mostly zeros; the first layer of a network stays as exact as it is.
    if (how.precision == Precision::bf16 && s.channels >= 16 && s.dilation == 1) return ConvAlgorithm::bf16;
    const bool fits = s.kernel_h == 3 && s.kernel_w == 3 && s.step == 1 && s.dilation == 1;
    if (!fits || how.precision != Precision::fast) return ConvAlgorithm::direct;
    if (how.algorithms)
        if (const auto named = how.algorithms->of({s.height, s.width, s.channels, out})) return *named;
    const ConvCost cost{s, static_cast<double>((out + simd::lanes - 1) / simd::lanes)};
    const double direct = cost.direct(), two = cost.winograd(2, 50), four = cost.winograd(4, 120);
    if (direct <= std::min(two, four)) return ConvAlgorithm::direct;
    return two <= four ? ConvAlgorithm::winograd2 : ConvAlgorithm::winograd4;
}

/// Winograd's convolution with the form of the kernel that is faster for so many tiles: half of it and the rest computed where
/// it is read from memory for few of them. Both give the same bits; a network that computes single images and batches keeps both.
template <int M>
void convolve_tiles(const ConvShape& s, const float* x, const Parameter<float>& weight, const simd::WeightView& view, bool transposed,
                    Index out, const Addends<float>& addends, float* y) {
    constexpr Index few_tiles = 24, beyond_caches = 1 << 16;
    if (simd::registers == 32 && simd::detail::Tiling<M>(s).count <= few_tiles && s.channels * out >= beyond_caches)
        simd::winograd_convolve(s, x, kernel_of<simd::WinogradLines<M>>(weight, view, transposed), y, addends);
    else simd::winograd_convolve(s, x, kernel_of<simd::WinogradKernel<M>>(weight, view, transposed), y, addends);
}

/// y [images, out_height, out_width, out] = addends + convolution of x with the weight [kh, kw, I, O], or with its
/// transpose, which reads O channels and makes I.
template <class T>
void convolve(const ConvShape& s, const T* x, const Parameter<T>& weight, bool transposed, const Addends<T>& addends, T* y,
              const Arithmetic& how) {
    const Index in = weight.value.dim(2), out = weight.value.dim(3), made = transposed ? in : out;
    if constexpr (has_kernels<T>) {
        const auto view = simd::WeightView::kernel(weight.value.data(), s.taps(), in, out);
        switch (choose_algorithm(s, made, how)) {
            case ConvAlgorithm::winograd2: return convolve_tiles<2>(s, x, weight, view, transposed, made, addends, y);
            case ConvAlgorithm::winograd4: return convolve_tiles<4>(s, x, weight, view, transposed, made, addends, y);
            case ConvAlgorithm::bf16: {
                const auto& packed = kernel_of<simd::Bf16Matrix>(weight, view, transposed);
                if (!s.pointwise()) return simd::bf16_convolve(s, x, packed, y, addends, s.images);
                return simd::bf16_product(x, s.out_pixels(), s.channels, packed, y, addends, s.images);
            }
            case ConvAlgorithm::direct: break;
        }
        simd::convolve(s, x, kernel_of<simd::PackedMatrix>(weight, view, transposed), y, addends);
    } else {
        if (transposed) convolve_plainly(s, x, flipped(weight.value).data(), made, addends, y);
        else convolve_plainly(s, x, weight.value.data(), made, addends, y);
    }
}

/// Gradient of the weight [kh, kw, I, O] from x and dy [.., O].
template <class T>
Tensor<T> weight_gradient(const ConvShape& s, const T* x, const Tensor<T>& dy, const Shape& shape, const Arithmetic& how) {
    const MatrixMap<const T> g = dy.matrix();
    if constexpr (has_kernels<T>) {
        if (choose_algorithm(s, g.cols(), how) != ConvAlgorithm::direct) {
            Tensor<T> gradient(shape);
            if (s.out_height > 2 || s.out_width > 2) simd::winograd_weight_gradient<4>(s, x, g.data(), g.cols(), gradient.data());
            else simd::winograd_weight_gradient<2>(s, x, g.data(), g.cols(), gradient.data());
            return gradient;
        }
    }
    return sum_over_rows<T>(g.rows(), shape, [&](Index begin, Index end, Tensor<T>& sum) {
        if constexpr (has_kernels<T>) simd::convolve_weight_gradient(s, x, g.data(), g.cols(), begin, end, sum.data());
        else add_plain_weight_gradient(s, x, g, begin, end, sum.data());
    });
}

}  // namespace ito::ops::detail
