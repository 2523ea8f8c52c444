// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "simd/compare.hpp"

#include <limits>

#include "ito/simd/winograd_gradient.hpp"
#include "ito/simd/winograd_lines.hpp"

using namespace ito;
using test::random_floats;
using test::worst_error;

namespace {

struct Layer {
    simd::ConvShape shape;
    Index out;
    Tensor<float> x, weight, bias, per_sample, residual;

    Layer(Index images, Index height, Index width, Index in, Index out, Index top = 1, Index left = 1, Index bottom = 1, Index right = 1)
        : shape{images, height, width, in, height + top + bottom - 2, width + left + right - 2, 3, 3, top, left},
          out(out),
          x(random_floats({images, height, width, in}, 1)),
          weight(random_floats({3, 3, in, out}, 2)),
          bias(random_floats({out}, 3)),
          per_sample(random_floats({images, out}, 4)),
          residual(random_floats({images, shape.out_height, shape.out_width, out}, 5)) {}

    simd::WeightView view() const { return simd::WeightView::kernel(weight.data(), 9, shape.channels, out); }
    simd::Addends<float> addends() const { return {bias.data(), per_sample.data(), residual.data()}; }

    template <int M, template <int> class Kernel = simd::WinogradKernel>
    Tensor<float> result() const {
        Tensor<float> y(residual.shape());
        simd::winograd_convolve(shape, x.data(), Kernel<M>(view()), y.data(), addends());
        return y;
    }

    template <int M>
    Tensor<float> gradient() const {
        Tensor<float> dw(weight.shape());
        simd::winograd_weight_gradient<M>(shape, x.data(), residual.data(), out, dw.data());
        return dw;
    }

    /// f(input pixel, output pixel, tap) for all that meet.
    template <class F>
    void for_taps(F&& f) const {
        for (Index n = 0; n < shape.images; ++n)
            for (Index h = 0; h < shape.out_height; ++h)
                for (Index w = 0; w < shape.out_width; ++w)
                    for (Index tap = 0; tap < 9; ++tap) {
                        const Index y = h + tap / 3 - shape.top, v = w + tap % 3 - shape.left;
                        if (y < 0 || y >= shape.height || v < 0 || v >= shape.width) continue;
                        f((n * shape.height + y) * shape.width + v, (n * shape.out_height + h) * shape.out_width + w, tap);
                    }
    }

    Tensor<double> exact_result() const {
        Tensor<double> y = residual.cast<double>();
        const Index pixels = shape.out_height * shape.out_width;
        for (Index p = 0; p < y.matrix().rows(); ++p)
            for (Index k = 0; k < out; ++k) y[p * out + k] += double(bias[k]) + double(per_sample[p / pixels * out + k]);
        const Tensor<double> input = x.cast<double>(), w = weight.cast<double>();
        for_taps([&](Index from, Index to, Index tap) {
            y.matrix().row(to) += input.matrix().row(from) * MatrixMap<const double>(w.data(), 9 * shape.channels, out)
                                                                 .middleRows(tap * shape.channels, shape.channels);
        });
        return y;
    }

    Tensor<double> exact_gradient() const {
        Tensor<double> dw = Tensor<double>::zeros(weight.shape());
        const Tensor<double> input = x.cast<double>(), dy = residual.cast<double>();
        MatrixMap<double> sums(dw.data(), 9 * shape.channels, out);
        for_taps([&](Index from, Index to, Index tap) {
            sums.middleRows(tap * shape.channels, shape.channels) += input.matrix().row(from).transpose() * dy.matrix().row(to);
        });
        return dw;
    }
};

}  // namespace

TEST_CASE("winograd convolution and its weight gradient equal their definitions at ragged sizes") {
    for (Index height : {1, 2, 3, 4, 5, 9})
        for (Index width : {1, 4, 7, 12})
            for (Index in : {1, 3, 8, 17, 70})
                for (Index out : {1, 3, 8, 20, 33, 70}) {
                    CAPTURE(height, width, in, out);
                    const Layer layer(2, height, width, in, out);
                    const Tensor<double> y = layer.exact_result(), dw = layer.exact_gradient();
                    REQUIRE(worst_error(layer.result<2>(), y) < 5e-6);
                    REQUIRE(worst_error(layer.result<4>(), y) < 1e-5);
                    REQUIRE(worst_error(layer.gradient<2>(), dw) < 1e-5);
                    REQUIRE(worst_error(layer.gradient<4>(), dw) < 2e-5);
                }
}

TEST_CASE("winograd convolution with half of the kernel gives the same bits as with all of it") {
    const auto check = [](const Layer& layer) {
        CHECK(test::same_bits(layer.result<2, simd::WinogradLines>().span(), layer.result<2>().span()));
        CHECK(test::same_bits(layer.result<4, simd::WinogradLines>().span(), layer.result<4>().span()));
    };
    for (Index side : {1, 4, 7, 8, 14, 23})
        for (Index in : {1, 3, 17, 128, 150, 300})
            for (Index out : {1, 16, 35}) {
                CAPTURE(side, in, out);
                check(Layer(1, side, side + 1, in, out));
            }
    check(Layer(3, 16, 16, 256, 64));
    Layer layer(1, 9, 9, 20, 8);
    layer.x(0, 4, 4, 3) = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(layer.result<4, simd::WinogradLines>()(0, 4, 4, 0)));
}

TEST_CASE("winograd convolution pads as it is asked") {
    for (const auto& [top, left, bottom, right] : {std::array<Index, 4>{0, 0, 0, 0}, {2, 2, 2, 2}, {0, 1, 2, 0}, {2, 0, 0, 1}}) {
        CAPTURE(top, left, bottom, right);
        const Layer layer(1, 6, 5, 5, 6, top, left, bottom, right);
        CHECK(worst_error(layer.result<2>(), layer.exact_result()) < 5e-6);
        CHECK(worst_error(layer.result<4>(), layer.exact_result()) < 1e-5);
        CHECK(worst_error(layer.gradient<4>(), layer.exact_gradient()) < 2e-5);
    }
}

TEST_CASE("errors of winograd convolution against double at the sizes of networks") {
    for (Index channels : {32, 128, 512}) {
        const Layer layer(1, 16, 16, channels, 64);
        const Tensor<double> y = layer.exact_result(), dw = layer.exact_gradient();
        const double two = worst_error(layer.result<2>(), y), four = worst_error(layer.result<4>(), y);
        const double gradient = worst_error(layer.gradient<4>(), dw);
        WARN(channels << " channels, worst error over rms: F(2x2) " << two << ", F(4x4) " << four << ", weight gradient " << gradient);
        CHECK(two < 5e-6);
        CHECK(four < 1e-5);
        CHECK(gradient < 2e-5);
    }
}

TEST_CASE("winograd convolution gives a sample the same bits in any batch, for any number of threads") {
    const Layer layer(7, 13, 18, 20, 40);
    ThreadPool one(1), five(5);
    auto check = [&](auto tile) {
        constexpr int M = decltype(tile)::value;
        Tensor<float> alone, gradient;
        {
            const ThreadPool::Scope scope(one);
            alone = layer.result<M>();
            gradient = layer.gradient<M>();
        }
        const ThreadPool::Scope scope(five);
        CHECK(test::same_bits(layer.result<M>().span(), alone.span()));
        CHECK(test::same_bits(layer.gradient<M>().span(), gradient.span()));
        const Index in = layer.x.size() / 7, out = layer.residual.size() / 7;
        const simd::WinogradKernel<M> kernel(layer.view());
        for (Index n : {0, 3, 6}) {
            simd::ConvShape shape = layer.shape;
            shape.images = 1;
            simd::Addends<float> addends = layer.addends();
            addends.per_sample += n * layer.out;
            addends.residual += n * out;
            Tensor<float> y({out});
            simd::winograd_convolve(shape, layer.x.data() + n * in, kernel, y.data(), addends);
            CHECK(test::same_bits(y.span(), alone.span().subspan(static_cast<std::size_t>(n * out), static_cast<std::size_t>(out))));
        }
    };
    check(std::integral_constant<int, 2>());
    check(std::integral_constant<int, 4>());
}

TEST_CASE("NaN in gives NaN out of winograd convolution, in the pixels around it") {
    Layer layer(1, 12, 12, 3, 2);
    layer.x(0, 5, 6, 1) = std::numeric_limits<float>::quiet_NaN();
    const Tensor<float> two = layer.result<2>(), four = layer.result<4>(), gradient = layer.gradient<4>();
    for (Index h = 4; h <= 6; ++h)
        for (Index w = 5; w <= 7; ++w)
            for (Index k = 0; k < 2; ++k) {
                CHECK(std::isnan(two(0, h, w, k)));
                CHECK(std::isnan(four(0, h, w, k)));
            }
    CHECK(std::isfinite(four(0, 11, 0, 0)));
    CHECK(std::isnan(gradient(1, 1, 1, 0)));
}
