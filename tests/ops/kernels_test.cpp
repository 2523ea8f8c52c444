// SPDX-License-Identifier: MIT
// Operations on float, which run on the kernels of simd/, against the same operations on double, which are plain.
#include "ops/float_against_double.hpp"

#include "ito/ops/conv2d.hpp"
#include "ito/ops/linear.hpp"

using namespace ito;
using test::compare;
using test::random_floats;
using test::run;

TEST_CASE("linear on float agrees with double") {
    for (Index rows : {1, 3, 70})
        for (Index in : {1, 5, 33, 300})
            for (Index out : {1, 3, 16, 100}) {
                CAPTURE(rows, in, out);
                compare([](auto& x, auto& p) { return ops::linear(x[0], p[0], &p[1]); }, {random_floats({rows, in}, 1)},
                        {random_floats({out, in}, 2), random_floats({out}, 3)});
                compare([](auto& x, auto& p) { return ops::linear(x[0], p[0], &p[1], x[1]); },
                        {random_floats({rows, in}, 1), random_floats({rows, out}, 4)}, {random_floats({out, in}, 2), random_floats({out}, 3)});
            }
}

TEST_CASE("a sum over nothing is the bias") {
    const Parameter<float> weight{Tensor<float>({300, 0})}, bias{random_floats({300}, 1)};
    const Var<float> y = ops::linear(Var<float>(Tensor<float>({70, 0})), weight, &bias);
    CHECK((y->matrix().rowwise() - bias.value.array().matrix().transpose()).isZero(0));
}

TEST_CASE("conv2d on float agrees with double") {
    const Index kernel = GENERATE(1, 2, 3, 5), stride = GENERATE(1, 2, 3);
    SECTION("sizes and paddings") {
        for (Index height : {1, 2, 4, 9})
            for (Index width : {1, 3, 7})
                for (const auto& padding : {ops::Padding{}, ops::Padding::same(1), ops::Padding::same(2), ops::Padding{0, 0, 1, 1}}) {
                    if (height + padding.top + padding.bottom < kernel || width + padding.left + padding.right < kernel) continue;
                    for (Index channels : {2, 9}) {
                        CAPTURE(kernel, stride, height, width, padding.top, padding.bottom, channels);
                        compare([&](auto& x, auto& p) { return ops::conv2d(x[0], p[0], &p[1], {stride, padding}); },
                                {random_floats({2, height, width, channels}, 1)},
                                {random_floats({kernel, kernel, channels, 3}, 2), random_floats({3}, 3)});
                    }
                }
    }
    SECTION("channels, with addends") {
        for (Index in : {1, 3, 5, 16, 17, 33, 64, 100})
            for (Index out : {1, 3, 16, 17, 33}) {
                const Index height = 6, width = 5, made_h = (height + 2 - kernel) / stride + 1, made_w = (width + 2 - kernel) / stride + 1;
                CAPTURE(kernel, stride, in, out);
                compare([&](auto& x, auto& p) { return ops::conv2d(x[0], p[0], &p[1], {stride, ops::Padding::same(1)}, x[1], x[2]); },
                        {random_floats({3, height, width, in}, 1), random_floats({3, out}, 4),
                         random_floats({3, made_h, made_w, out}, 5)},
                        {random_floats({kernel, kernel, in, out}, 2), random_floats({out}, 3)});
            }
    }
}

TEST_CASE("one image and a batch, whose kernels are read in different forms, have the same bits") {
    const Parameter<float> weight{random_floats({3, 3, 256, 256}, 1)}, bias{random_floats({256}, 2)};
    for (Index side : {8, 16}) {
        const Tensor<float> x = random_floats({5, side, side, 256}, 3);
        const auto size = static_cast<std::size_t>(x.size() / 5);
        const Var<float> all = ops::conv2d(Var<float>(Tensor<float>(x)), weight, &bias, {1, ops::Padding::same(1)});
        for (std::size_t n : {0, 4}) {
            Tensor<float> one({1, side, side, 256});
            std::copy_n(x.data() + n * size, size, one.data());
            const Var<float> y = ops::conv2d(Var<float>(std::move(one)), weight, &bias, {1, ops::Padding::same(1)});
            CHECK(test::same_bits(y->span(), all->span().subspan(n * size, size)));
        }
    }
}

TEST_CASE("gradients of weights have the same bits for any number of threads") {
    const std::vector<Tensor<float>> inputs{random_floats({5, 13, 11, 20}, 1)};
    const std::vector<Tensor<float>> parameters{random_floats({3, 3, 20, 17}, 2), random_floats({17}, 3)};
    auto f = [](auto& x, auto& p) { return ops::conv2d(x[0], p[0], &p[1], {1, ops::Padding::same(1)}); };
    ThreadPool one(1), five(5);
    auto with = [&](ThreadPool& pool) {
        const ThreadPool::Scope scope(pool);
        return run<float>(f, inputs, parameters);
    };
    const auto expected = with(one), got = with(five);
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(test::same_bits(got[i].span(), expected[i].span()));
}
