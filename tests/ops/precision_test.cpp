// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "simd/compare.hpp"

#include <array>
#include <type_traits>

#include "ito/ops/attention.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/linear.hpp"

using namespace ito;
using ops::detail::choose_algorithm;
using ops::detail::ConvAlgorithm;
using test::random_floats;

TEST_CASE("the precision of a thread is that of the innermost scope") {
    CHECK(PrecisionScope::current() == Precision::fast);
    {
        const PrecisionScope exact(Precision::exact);
        CHECK(PrecisionScope::current() == Precision::exact);
        const PrecisionScope fast(Precision::fast);
        CHECK(PrecisionScope::current() == Precision::fast);
    }
    CHECK(PrecisionScope::current() == Precision::fast);
}

TEST_CASE("the algorithm of a convolution follows from its shape and precision and from nothing else") {
    auto chosen = [](Index images, Index size, Index channels, Index kernel, Index stride, Precision precision) {
        const Index made = size / stride;
        return choose_algorithm({images, size, size, channels, made, made, kernel, kernel, kernel / 2, kernel / 2, stride}, channels, precision);
    };
    CHECK(chosen(1, 32, 64, 3, 1, Precision::fast) == ConvAlgorithm::winograd4);
    CHECK(chosen(1, 4, 256, 3, 1, Precision::fast) != ConvAlgorithm::winograd4);
    CHECK(chosen(1, 32, 64, 3, 1, Precision::exact) == ConvAlgorithm::direct);
    CHECK(chosen(1, 32, 64, 3, 2, Precision::fast) == ConvAlgorithm::direct);
    CHECK(chosen(1, 32, 64, 1, 1, Precision::fast) == ConvAlgorithm::direct);
    CHECK(chosen(1, 32, 64, 3, 1, Precision::bf16) == ConvAlgorithm::bf16);
    CHECK(chosen(1, 32, 64, 3, 2, Precision::bf16) == ConvAlgorithm::bf16);
    CHECK(chosen(1, 32, 3, 3, 1, Precision::bf16) == ConvAlgorithm::direct);
    for (Index size : {2, 4, 8, 16, 32})
        for (Index channels : {8, 64, 256})
            CHECK(chosen(1, size, channels, 3, 1, Precision::fast) == chosen(64, size, channels, 3, 1, Precision::fast));
}

TEST_CASE("an exact convolution is closer to double, and so are its gradients") {
    const Tensor<float> x = random_floats({1, 16, 16, 64}, 1), seed = random_floats({1, 16, 16, 64}, 3);
    const Parameter<float> w{random_floats({3, 3, 64, 64}, 2)};
    auto run = [&](auto tape, Precision precision) {
        using T = typename decltype(tape)::type;
        const PrecisionScope scope(precision);
        Tape<T> record;
        const Parameter<T> weight{w.value.template cast<T>()};
        const Var<T> in = record.input(x.template cast<T>());
        const Var<T> y = ops::conv2d<T>(in, weight, nullptr, {1, ops::Padding::same(1)});
        {
            const PrecisionScope other(Precision::fast);  // gradients use that of their operation
            record.backward(y, seed.template cast<T>());
        }
        return std::array<Tensor<T>, 3>{*y, *record.gradient(in), *record.gradient(weight)};
    };
    const auto plain = run(std::type_identity<double>(), Precision::fast);
    const auto exact = run(std::type_identity<float>(), Precision::exact), fast = run(std::type_identity<float>(), Precision::fast);
    for (std::size_t i = 0; i < 3; ++i) {
        const double exact_error = test::worst_error(exact[i], plain[i]), fast_error = test::worst_error(fast[i], plain[i]);
        WARN("error over rms of " << (i == 0 ? "result" : i == 1 ? "input gradient" : "weight gradient") << ": exact " << exact_error
                                  << ", fast " << fast_error);
        CHECK(exact_error < fast_error);
        CHECK(fast_error < 1e-5);
    }
}

TEST_CASE("bf16 is for float without gradients: where they are recorded it is fast, on double it is double") {
    const Tensor<float> x = random_floats({2, 8, 8, 32}, 1), rows = random_floats({2, 50, 32}, 2);
    const Parameter<float> kernel{random_floats({3, 3, 32, 32}, 3)}, matrix{random_floats({32, 32}, 4)};
    auto results = [&](auto type, Precision precision, bool recorded) {
        using T = typename decltype(type)::type;
        const PrecisionScope scope(precision);
        Tape<T> tape;
        const Parameter<T> w{kernel.value.template cast<T>()}, m{matrix.value.template cast<T>()};
        const Parameter<T>* no_bias = nullptr;
        auto var = [&](const Tensor<float>& t) {
            return recorded ? tape.input(t.template cast<T>()) : Var<T>(t.template cast<T>());
        };
        const Var<T> image = var(x), r = var(rows), convolved = ops::conv2d(image, w, no_bias, {1, ops::Padding::same(1)});
        return std::array<Tensor<T>, 3>{*convolved, *ops::linear(r, m), *ops::attention(r, r, r, 2)};
    };
    const std::type_identity<float> single;
    const std::type_identity<double> twice;
    const auto expected = results(twice, Precision::fast, false), ignored = results(twice, Precision::bf16, false);
    const auto fast = results(single, Precision::fast, false), recorded = results(single, Precision::bf16, true);
    const auto rounded = results(single, Precision::bf16, false);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK((ignored[i].array() == expected[i].array()).all());
        CHECK(test::same_bits(recorded[i].span(), fast[i].span()));
        const double error = test::worst_error(rounded[i], expected[i]);
        WARN("error over rms of " << (i == 0 ? "a convolution" : i == 1 ? "a linear map" : "attention") << ": " << error);
        CHECK(error > 1e-4);
        CHECK(error < 3e-2);
    }
}
