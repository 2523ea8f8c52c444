// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "simd/compare.hpp"

#include <limits>

#include "ito/core/half.hpp"
#include "ito/ops/attention_plain.hpp"
#include "ito/ops/conv_plain.hpp"
#include "ito/simd/bf16_attention.hpp"

using namespace ito;
using simd::Bf16Matrix;
using simd::Bf16Path;
using simd::ConvShape;
using simd::WeightView;
using test::random_floats;
using test::same_bits;

namespace {

Tensor<double> rounded(const Tensor<float>& x) {
    Tensor<double> y(x.shape());
    const auto round = [](float v) { return bfloat16_to_float(bfloat16_from(static_cast<double>(v))); };
    for (Index i = 0; i < x.size(); ++i) y[i] = static_cast<double>(round(x[i]));
    return y;
}

/// A convolution with all of its addends and what double makes of the same rounded numbers.
struct RoundedLayer {
    ConvShape shape;
    Index columns;
    Tensor<float> x = random_floats({shape.images, shape.height, shape.width, shape.channels}, 1);
    Tensor<float> w = random_floats({shape.taps(), shape.channels, columns}, 2);
    Tensor<float> bias = random_floats({columns}, 3), per_sample = random_floats({shape.images, columns}, 4);
    Tensor<float> residual = random_floats({shape.out_pixels(), columns}, 5);
    Bf16Matrix packed{WeightView::kernel(w.data(), shape.taps(), shape.channels, columns)};

    Tensor<float> result(const Bf16Path& path) const {
        Tensor<float> y({shape.out_pixels(), columns});
        simd::bf16_convolve(shape, x.data(), packed, y.data(), {bias.data(), per_sample.data(), residual.data()},
                            shape.images, path);
        return y;
    }

    /// The largest error over the bound of a sum of so many terms of these sizes, two roundings a term.
    double rounding(const Tensor<float>& y) const {
        auto exact = [&](auto&& of) {
            const Tensor<double> image = of(rounded(x)), weight = of(rounded(w)), first = of(bias.cast<double>());
            const Tensor<double> second = of(per_sample.cast<double>()), third = of(residual.cast<double>());
            Tensor<double> z({shape.out_pixels(), columns});
            ops::detail::convolve_plainly<double>(shape, image.data(), weight.data(), columns,
                                                  {first.data(), second.data(), third.data()}, z.data());
            return z;
        };
        const Tensor<double> expected = exact([](Tensor<double> t) { return t; });
        const Tensor<double> sizes = exact([](Tensor<double> t) {
            t.array() = t.array().abs().eval();
            return t;
        });
        const double terms = static_cast<double>(shape.depth() + 3);
        const auto bound = sizes.array() * (2 * terms) * 0x1p-24;
        return ((y.cast<double>().array() - expected.array()).abs() / bound).maxCoeff();
    }
};

ConvShape square(Index images, Index height, Index width, Index channels, Index kernel, Index stride, Index padding) {
    const auto made = [=](Index size) { return (size + 2 * padding - kernel) / stride + 1; };
    return {images, height, width, channels, made(height), made(width), kernel, kernel, padding, padding, stride};
}

}  // namespace

TEST_CASE("every path of bfloat16 computes the product of rounded numbers at ragged sizes") {
    for (const Bf16Path& path : simd::bf16_paths())
        for (Index rows : {1, 2, 16, 17, 33, 100})
            for (Index depth : {1, 3, 31, 32, 33, 64, 257})
                for (Index columns : {1, 5, 16, 17, 32, 33, 100}) {
                    CAPTURE(path.name, rows, depth, columns);
                    const RoundedLayer layer{{1, rows, 1, depth, rows, 1, 1, 1, 0, 0}, columns};
                    REQUIRE(layer.rounding(layer.result(path)) <= 1);
                }
}

TEST_CASE("every path of bfloat16 computes the convolution of rounded numbers") {
    const Index kernel = GENERATE(1, 2, 3, 5), stride = GENERATE(1, 2, 3), padding = GENERATE(0, 1, 2);
    for (const Bf16Path& path : simd::bf16_paths())
        for (Index height : {1, 4, 9})
            for (Index width : {1, 7, 8, 34})
                for (Index channels : {3, 32, 40}) {
                    if (height + 2 * padding < kernel || width + 2 * padding < kernel) continue;
                    CAPTURE(path.name, kernel, stride, padding, height, width, channels);
                    const RoundedLayer layer{square(2, height, width, channels, kernel, stride, padding), 17};
                    REQUIRE(layer.rounding(layer.result(path)) <= 1);
                }
}

TEST_CASE("bfloat16 convolves with padding on one side only, and leaves pixels out") {
    for (const Bf16Path& path : simd::bf16_paths()) {
        CAPTURE(path.name);
        const RoundedLayer halving{{3, 8, 8, 20, 4, 4, 3, 3, 0, 0, 2}, 40};
        const RoundedLayer cropping{{2, 9, 7, 20, 5, 3, 3, 3, 0, 1, 1}, 40};
        CHECK(halving.rounding(halving.result(path)) <= 1);
        CHECK(cropping.rounding(cropping.result(path)) <= 1);
    }
}

TEST_CASE("paths of bfloat16 differ in the order of their sums only") {
    const RoundedLayer layer{square(2, 16, 16, 256, 3, 1, 1), 64};
    const Tensor<double> first = layer.result(simd::bf16_paths().front()).cast<double>();
    for (const Bf16Path& path : simd::bf16_paths()) {
        const double error = test::worst_error(layer.result(path), first);
        WARN(path.name << " differs from " << simd::bf16_paths().front().name << " by " << error << " of the rms");
        CHECK(error < 1e-5);
    }
}

TEST_CASE("a pixel has the same bits in bfloat16 in any batch and with any number of threads") {
    for (const Bf16Path& path : simd::bf16_paths())
        for (Index size : {4, 8, 17, 32})
            for (Index columns : {16, 128}) {
                CAPTURE(path.name, size, columns);
                const RoundedLayer all{square(5, size, size, 64, 3, 1, 1), columns};
                ThreadPool one(1), two(2), five(5);
                auto with = [&](ThreadPool& pool, const RoundedLayer& layer) {
                    const ThreadPool::Scope scope(pool);
                    return layer.result(path);
                };
                const Tensor<float> expected = with(one, all);
                REQUIRE(same_bits(with(two, all).span(), expected.span()));
                REQUIRE(same_bits(with(five, all).span(), expected.span()));
                RoundedLayer last = all;
                last.shape.images = 1;
                const auto tail = [](Tensor<float>& t, Index count) {
                    t = Tensor<float>::from({count}, t.span().last(static_cast<std::size_t>(count)));
                };
                tail(last.x, all.x.size() / 5);
                tail(last.per_sample, columns);
                tail(last.residual, all.residual.size() / 5);
                const auto pixels = static_cast<std::size_t>(size * size * columns);
                REQUIRE(same_bits(with(two, last).span(), expected.span().last(pixels)));
            }
}

TEST_CASE("numbers are rounded to bfloat16 to nearest with ties to even, and NaN stays") {
    const float infinity = std::numeric_limits<float>::infinity();
    Tensor<float> x = random_floats({203}, 1);
    const float special[] = {0.0f,        -0.0f,       infinity,     -infinity,  3.4e38f,
                             1.00390625f, 1.01171875f, -1.00390625f, 1.0039064f, 1e-30f};
    std::copy(std::begin(special), std::end(special), x.data());
    for (const Bf16Path& path : simd::bf16_paths()) {
        CAPTURE(path.name);
        Tensor<std::uint16_t> y({203}), pairs({203, 2});
        path.round(x.data(), 203, y.data());
        path.round_pairs(x.data(), x.data(), 203, pairs.data());
        for (Index i = 0; i < 203; ++i) {
            REQUIRE(y[i] == bfloat16_from(static_cast<double>(x[i])));
            REQUIRE(pairs(i, 0) == y[i]);
            REQUIRE(pairs(i, 1) == y[i]);
        }
        RoundedLayer layer{square(1, 5, 5, 40, 3, 1, 1), 33};
        layer.x[12 * 40 + 39] = std::numeric_limits<float>::quiet_NaN();  // in the middle
        const Tensor<float> z = layer.result(path);
        for (Index pixel = 0; pixel < 25; ++pixel) {
            const bool near = pixel / 5 >= 1 && pixel / 5 <= 3 && pixel % 5 >= 1 && pixel % 5 <= 3;
            for (Index n = 0; n < 33; ++n) REQUIRE(std::isnan(z(pixel, n)) == near);
        }
    }
}

TEST_CASE("weights in bfloat16 take half the memory") {
    const Tensor<float> w = random_floats({9, 64, 128}, 1);
    const Bf16Matrix packed(WeightView::kernel(w.data(), 9, 64, 128));
    CHECK(packed.bytes() * 2 == static_cast<std::size_t>(w.size()) * sizeof(float));
}

TEST_CASE("attention in bfloat16 is that of rounded numbers, on every path") {
    for (const Bf16Path& path : simd::bf16_paths())
        for (Index width : {1, 16, 33, 64})
            for (Index value_width : {1, 32, 40})
                for (Index queries : {1, 50, 100})
                    for (Index keys : {1, 17, 256, 300}) {
                        CAPTURE(path.name, width, value_width, queries, keys);
                        const simd::AttentionShape shape{2, 3, queries, keys, width, value_width};
                        const Tensor<float> q = random_floats({2, queries, 3 * width}, 1);
                        const Tensor<float> k = random_floats({2, keys, 3 * width}, 2);
                        const Tensor<float> v = random_floats({2, keys, 3 * value_width}, 3);
                        Tensor<float> y({2, queries, 3 * value_width});
                        simd::bf16_attention(shape, q.data(), k.data(), v.data(), y.data(), path);
                        // The scaled q is rounded, and then the weights, by 2^-9 of each term at most.
                        Tensor<float> scaled = q;
                        scaled.array() *= static_cast<float>(shape.scale());
                        Tensor<double> query = rounded(scaled), expected({2, queries, 3 * value_width});
                        query.array() /= shape.scale();
                        const Tensor<double> key = rounded(k), value = rounded(v);
                        ops::detail::attend_plainly(shape, query.data(), key.data(), value.data(), expected.data());
                        Tensor<double> size({2, queries, 3 * value_width}), magnitude = value;
                        magnitude.array() = value.array().abs();
                        ops::detail::attend_plainly(shape, query.data(), key.data(), magnitude.data(), size.data());
                        const Tensor<double> got = y.cast<double>();
                        REQUIRE(((got.array() - expected.array()).abs() / size.array()).maxCoeff() < 0x1p-8);
                    }
}

TEST_CASE("attention in bfloat16 has the same bits in any batch and with any number of threads") {
    const simd::AttentionShape all{3, 2, 100, 300, 32, 40}, last{1, 2, 100, 300, 32, 40};
    const Tensor<float> q = random_floats({3, 100, 64}, 1), k = random_floats({3, 300, 64}, 2);
    const Tensor<float> v = random_floats({3, 300, 80}, 3);
    for (const Bf16Path& path : simd::bf16_paths()) {
        Tensor<float> y({3, 100, 80}), z({3, 100, 80}), part({1, 100, 80});
        ThreadPool one(1), five(5);
        {
            const ThreadPool::Scope scope(one);
            simd::bf16_attention(all, q.data(), k.data(), v.data(), y.data(), path);
        }
        const ThreadPool::Scope scope(five);
        simd::bf16_attention(all, q.data(), k.data(), v.data(), z.data(), path);
        simd::bf16_attention(last, &q(2, 0, 0), &k(2, 0, 0), &v(2, 0, 0), part.data(), path);
        CHECK(same_bits(z.span(), y.span()));
        CHECK(same_bits(part.span(), y.span().last(8000)));
    }
}
