// SPDX-License-Identifier: MIT
#include "gradient_check.hpp"

#include "ito/ops/activation.hpp"
#include "ito/ops/attention.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/dropout.hpp"
#include "ito/ops/elementwise.hpp"
#include "ito/ops/embedding.hpp"
#include "ito/ops/fir.hpp"
#include "ito/ops/gate.hpp"
#include "ito/ops/group_norm.hpp"
#include "ito/ops/layer_norm.hpp"
#include "ito/ops/linear.hpp"
#include "ito/ops/loss.hpp"
#include "ito/ops/resample.hpp"

using namespace ito;
using test::check_gradients;
using test::numbers;
using Vars = std::vector<Var<double>>;

TEST_CASE("gradients of linear") {
    Parameter<double> w{numbers({5, 3}, 1)}, b{numbers({5}, 2)};
    check_gradients([&](const Vars& x) { return ops::linear(x[0], w, &b); }, {numbers({2, 70, 3}, 3)}, {&w, &b});
    check_gradients([&](const Vars& x) { return ops::linear(x[0], w); }, {numbers({4, 3}, 3)}, {&w});
    check_gradients([&](const Vars& x) { return ops::linear(x[0], w, &b, x[1]); }, {numbers({4, 3}, 3), numbers({4, 5}, 4)}, {&w, &b});
}

TEST_CASE("gradients of conv2d") {
    Parameter<double> w3{numbers({3, 3, 2, 4}, 1)}, w1{numbers({1, 1, 2, 4}, 1)}, w2{numbers({2, 3, 2, 4}, 1)}, b{numbers({4}, 2)};
    SECTION("3x3, bias, sum per sample and residual") {
        check_gradients([&](const Vars& x) { return ops::conv2d(x[0], w3, &b, {1, ops::Padding::same(1)}, x[1], x[2]); },
                        {numbers({2, 4, 5, 2}, 3), numbers({2, 4}, 4), numbers({2, 4, 5, 4}, 5)}, {&w3, &b});
    }
    SECTION("stride 2") {
        check_gradients([&](const Vars& x) { return ops::conv2d(x[0], w3, &b, {2, ops::Padding::same(1)}); },
                        {numbers({2, 6, 5, 2}, 3)}, {&w3, &b});
    }
    SECTION("stride 2, padded at the bottom and right only") {
        check_gradients([&](const Vars& x) { return ops::conv2d(x[0], w3, &b, {2, {0, 0, 1, 1}}); }, {numbers({2, 6, 4, 2}, 3)},
                        {&w3, &b});
    }
    SECTION("1x1") {
        check_gradients([&](const Vars& x) { return ops::conv2d(x[0], w1, &b); }, {numbers({2, 3, 3, 2}, 3)}, {&w1, &b});
    }
    SECTION("2x3, stride 3, no padding") {
        check_gradients([&](const Vars& x) { return ops::conv2d<double>(x[0], w2, nullptr, {3, {}}); }, {numbers({1, 8, 9, 2}, 3)},
                        {&w2});
    }
}

TEST_CASE("conv2d equals its definition") {
    const Tensor<double> x = numbers({2, 5, 6, 3}, 1);
    const Parameter<double> w{numbers({3, 3, 3, 2}, 2)}, b{numbers({2}, 3)};
    for (const auto& how : {ops::Conv2d{1, ops::Padding::same(1)}, ops::Conv2d{2, ops::Padding::same(1)}, ops::Conv2d{2, {0, 0, 1, 1}}}) {
        const Var<double> y = ops::conv2d<double>(x, w, &b, how);
        double worst = 0;
        for (Index n = 0; n < y->dim(0); ++n)
            for (Index h = 0; h < y->dim(1); ++h)
                for (Index v = 0; v < y->dim(2); ++v)
                    for (Index o = 0; o < 2; ++o) {
                        double sum = b.value[o];
                        for (Index i = 0; i < 3; ++i)
                            for (Index j = 0; j < 3; ++j)
                                for (Index c = 0; c < 3; ++c) {
                                    const Index r = h * how.stride + i - how.padding.top, s = v * how.stride + j - how.padding.left;
                                    if (r >= 0 && r < 5 && s >= 0 && s < 6) sum += x(n, r, s, c) * w.value(i, j, c, o);
                                }
                        worst = std::max(worst, std::abs(sum - (*y)(n, h, v, o)));
                    }
        CHECK(worst < 1e-13);
    }
}

TEST_CASE("gradients of activations") {
    using ops::Activation;
    for (auto kind : {Activation::silu, Activation::gelu, Activation::mish, Activation::tanh, Activation::relu, Activation::sine}) {
        INFO(static_cast<int>(kind));
        Tensor<double> x = numbers({3, 100}, 4);
        x.array() *= 4;
        check_gradients([&](const Vars& v) { return ops::activate(v[0], kind); }, {x});
    }
}

TEST_CASE("gradients of group norm") {
    Parameter<double> g{numbers({6}, 1)}, b{numbers({6}, 2)};
    SECTION("plain") {
        check_gradients([&](const Vars& x) { return ops::group_norm(x[0], g, b, {3, 1e-5}); }, {numbers({2, 3, 2, 6}, 3)}, {&g, &b});
    }
    SECTION("with SiLU") {
        check_gradients([&](const Vars& x) { return ops::group_norm(x[0], g, b, {2, 1e-6, ops::Activation::silu}); },
                        {numbers({2, 7, 6}, 3)}, {&g, &b});
    }
    SECTION("with scale, shift and SiLU") {
        check_gradients([&](const Vars& x) { return ops::group_norm(x[0], g, b, {3, 1e-5, ops::Activation::silu}, x[1]); },
                        {numbers({2, 3, 2, 6}, 3), numbers({2, 12}, 4)}, {&g, &b});
    }
}

TEST_CASE("group norm has mean 0 and variance 1 in each group") {
    Parameter<float> g{Tensor<float>::full({8}, 1)}, b{Tensor<float>::zeros({8})};
    Tensor<float> x = numbers({2, 16, 16, 8}, 1).cast<float>();
    x.array() = x.array() * 3 + 100;
    const Var<float> y = ops::group_norm<float>(x, g, b, {4, 1e-6});
    for (Index n = 0; n < 2; ++n)
        for (Index group = 0; group < 4; ++group) {
            double sum = 0, squares = 0;
            for (Index p = 0; p < 256; ++p)
                for (Index c = 2 * group; c < 2 * group + 2; ++c) {
                    const double v = (*y)[(n * 256 + p) * 8 + c];
                    sum += v;
                    squares += v * v;
                }
            CHECK(std::abs(sum / 512) < 1e-5);
            CHECK(squares / 512 == Approx(1).epsilon(1e-4));
        }
}

TEST_CASE("gradients of layer norm and of gates") {
    Parameter<double> gamma{numbers({6}, 1)}, beta{numbers({6}, 2)};
    check_gradients([&](const Vars& x) { return ops::layer_norm(x[0], gamma, beta); }, {numbers({3, 70, 6}, 3)}, {&gamma, &beta});
    using ops::Activation;
    for (auto kind : {Activation::gelu, Activation::silu, Activation::none})
        check_gradients([&](const Vars& x) { return ops::gate(x[0], kind); }, {numbers({2, 5, 6}, 4)});
    CHECK_THROWS_AS(ops::gate(Var<double>(numbers({2, 5}, 4))), ShapeError);
    CHECK_THROWS_AS(ops::layer_norm(Var<double>(numbers({2, 5}, 4)), gamma, beta), ShapeError);
}

TEST_CASE("layer norm and gate equal their definitions") {
    const Tensor<double> x = numbers({3, 8}, 1);
    const Parameter<double> gamma{numbers({8}, 2)}, beta{numbers({8}, 3)};
    const Var<double> y = ops::layer_norm(Var<double>(x), gamma, beta, 1e-3), gated = ops::gate(Var<double>(x));
    for (Index r = 0; r < 3; ++r) {
        const auto row = x.matrix().row(r).array();
        const double mean = row.mean(), deviation = std::sqrt((row - mean).square().mean() + 1e-3);
        for (Index c = 0; c < 8; ++c)
            CHECK((*y)(r, c) == Approx((x(r, c) - mean) / deviation * gamma.value[c] + beta.value[c]).epsilon(1e-13));
        for (Index c = 0; c < 4; ++c) {
            const double g = x(r, c + 4);
            CHECK((*gated)(r, c) == Approx(x(r, c) * g * std::erfc(-g / std::sqrt(2.0)) / 2).epsilon(1e-13));
        }
    }
}

TEST_CASE("gradients of attention") {
    check_gradients([](const Vars& x) { return ops::attention(x[0], x[1], x[2], 2); },
                    {numbers({2, 5, 6}, 1), numbers({2, 7, 6}, 2), numbers({2, 7, 4}, 3)});
    SECTION("of images") {
        check_gradients([](const Vars& x) { return ops::attention(x[0], x[1], x[1], 2); }, {numbers({2, 2, 3, 4}, 1), numbers({2, 3, 1, 4}, 2)});
    }
    SECTION("more queries than a block") {
        check_gradients([](const Vars& x) { return ops::attention(x[0], x[0], x[0], 1); }, {numbers({1, 70, 2}, 1)});
    }
}

TEST_CASE("gradients of elementwise operations and reshaping") {
    check_gradients([](const Vars& x) { return ops::add(x[0], ops::scale(x[1], 1.5, 0.5)); }, {numbers({2, 3}, 1), numbers({2, 3}, 2)});
    check_gradients([](const Vars& x) { return ops::add(x[0], x[0]); }, {numbers({2, 3}, 1)});
    check_gradients([](const Vars& x) { return ops::concat(x[0], ops::reshape(x[1], {2, 4})); }, {numbers({2, 3}, 1), numbers({4, 2}, 2)});
    check_gradients([](const Vars& x) { return ops::leading_channels(x[0], 2); }, {numbers({2, 5}, 1)});
    check_gradients([](const Vars& x) { return ops::scale_samples(x[0], numbers({2}, 3)); }, {numbers({2, 3}, 1)});
    check_gradients([](const Vars& x) { return ops::upsample_nearest(x[0]); }, {numbers({2, 2, 3, 2}, 1)});
    check_gradients([](const Vars& x) { return ops::average_pool(x[0]); }, {numbers({2, 4, 6, 2}, 1)});
}

TEST_CASE("gradients of FIR resampling") {
    check_gradients([](const Vars& x) { return ops::fir_downsample(x[0]); }, {numbers({2, 4, 6, 2}, 1)});
    check_gradients([](const Vars& x) { return ops::fir_upsample(x[0]); }, {numbers({2, 2, 3, 2}, 1)});
}

TEST_CASE("FIR resampling equals its definition") {
    const double filter[] = {1 / 8.0, 3 / 8.0, 3 / 8.0, 1 / 8.0};
    const Tensor<double> x = numbers({2, 6, 4, 3}, 1);
    const Var<double> down = ops::fir_downsample<double>(x), up = ops::fir_upsample<double>(x);
    REQUIRE(down.shape() == Shape{2, 3, 2, 3});
    REQUIRE(up.shape() == Shape{2, 12, 8, 3});
    // Down: y[o] = sum_k f[k] x[2o + k - 1]. Up: y[o] = 2 sum_k f[k] u[o + k - 2], u[2i] = x[i] and zero elsewhere.
    const auto at = [&](Index n, Index h, Index w, Index c) { return h < 0 || w < 0 || h >= 6 || w >= 4 ? 0 : x(n, h, w, c); };
    double worst = 0;
    for (Index n = 0; n < 2; ++n)
        for (Index h = 0; h < 12; ++h)
            for (Index w = 0; w < 8; ++w)
                for (Index c = 0; c < 3; ++c) {
                    double halved = 0, doubled = 0;
                    for (Index i = 0; i < 4; ++i)
                        for (Index j = 0; j < 4; ++j) {
                            const double weight = filter[i] * filter[j];
                            halved += weight * at(n, 2 * h + i - 1, 2 * w + j - 1, c);
                            const Index r = h + i - 2, s = w + j - 2;
                            if (r % 2 == 0 && s % 2 == 0) doubled += 4 * weight * at(n, r / 2, s / 2, c);
                        }
                    if (h < 3 && w < 2) worst = std::max(worst, std::abs(halved - (*down)(n, h, w, c)));
                    worst = std::max(worst, std::abs(doubled - (*up)(n, h, w, c)));
                }
    CHECK(worst < 1e-15);
    CHECK_THROWS_AS(ops::fir_downsample<double>(numbers({1, 3, 4, 1}, 1)), ShapeError);
}

TEST_CASE("gradients of losses") {
    const Tensor<double> target = numbers({3, 4}, 5);
    const std::vector<double> weights{0.5, 2, 1};
    const std::vector<Index> labels{3, 0, 2};
    check_gradients([&](const Vars& x) { return ops::squared_errors<double>(x[0], target); }, {numbers({3, 4}, 1)});
    check_gradients([&](const Vars& x) { return ops::weighted_mean<double>(x[0], weights); }, {numbers({3}, 1)});
    check_gradients([&](const Vars& x) { return ops::squared_error<double>(x[0], target); }, {numbers({3, 4}, 1)});
    check_gradients([&](const Vars& x) { return ops::squared_error<double>(x[0], target, weights); }, {numbers({3, 4}, 1)});
    check_gradients([&](const Vars& x) { return ops::cross_entropy<double>(x[0], labels); }, {numbers({3, 4}, 1)});
    CHECK_THROWS_AS(ops::cross_entropy<double>(target, std::vector<Index>{0, 1, 4}), ArgumentError);
}

TEST_CASE("gradients of an embedding") {
    Parameter<double> w{numbers({4, 3}, 1)};
    const std::vector<Index> indices{2, 0, 2};
    Tape<double> tape;
    const Var<double> y = ops::embedding<double>(indices, w, &tape);
    tape.backward(y, numbers({3, 3}, 2));
    const Tensor<double> seed = numbers({3, 3}, 2);
    for (Index c = 0; c < 3; ++c) {
        CHECK((*tape.gradient(w))(2, c) == Approx(seed(0, c) + seed(2, c)));
        CHECK((*tape.gradient(w))(0, c) == Approx(seed(1, c)));
        CHECK((*tape.gradient(w))(3, c) == 0);
    }
    CHECK_THROWS_AS(ops::embedding<double>(std::vector<Index>{4}, w), ArgumentError);
}

TEST_CASE("dropout keeps the mean, has the gradient of its mask, and is off at inference") {
    const Tensor<double> ones = Tensor<double>::full({10000}, 1);
    CHECK((*ops::dropout<double>(ones, 0.3)).array().minCoeff() == 1);
    Tape<double> tape;
    tape.enable_dropout(7);
    const Var<double> x = tape.input(ones), y = ops::dropout(x, 0.3), z = ops::dropout(x, 0.3);
    CHECK((*y).array().mean() == Approx(1).epsilon(0.03));
    CHECK(((*y).array() != (*z).array()).any());
    tape.backward(y);
    CHECK((tape.gradient(x)->array() == (*y).array()).all());
}

TEST_CASE("a tape goes backward once") {
    Tape<double> tape;
    const Var<double> x = tape.input(numbers({2}, 1)), y = ops::scale(x, 2.0);
    tape.backward(y);
    CHECK_THROWS_AS(tape.backward(y), ArgumentError);
    CHECK(tape.gradient(x)->array().isApproxToConstant(2));
}

TEST_CASE("a tape of inputs leaves the parameters out") {
    Parameter<double> w{numbers({5, 3}, 1)};
    Tape<double> tape(Track::inputs);
    const Var<double> x = tape.input(numbers({2, 3}, 2)), y = ops::linear(x, w);
    tape.backward(y);
    CHECK(tape.gradient(w) == nullptr);
    CHECK(tape.gradient(x) != nullptr);
}
