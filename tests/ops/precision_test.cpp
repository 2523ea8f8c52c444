// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "simd/compare.hpp"

#include <array>
#include <thread>
#include <type_traits>

#include "ito/ops/attention.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/linear.hpp"

using namespace ito;
using ops::detail::choose_algorithm;
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

TEST_CASE("a table of algorithms chooses for its layers, in whatever batch, and for no others") {
    ConvAlgorithms table;
    table.choose({8, 6, 64, 32}, ConvAlgorithm::winograd2);
    table.choose({8, 6, 64, 32}, ConvAlgorithm::direct);
    table.choose({9, 9, 16, 16}, ConvAlgorithm::winograd4);
    REQUIRE(table.choices().size() == 2);
    CHECK(table.of({8, 6, 64, 32}) == ConvAlgorithm::direct);
    CHECK_FALSE(table.of({6, 8, 64, 32}));
    CHECK_THROWS_AS(table.choose({0, 8, 8, 8}, ConvAlgorithm::direct), ArgumentError);
    CHECK_THROWS_AS(table.choose({8, 8, 8, 8}, ConvAlgorithm::bf16), ArgumentError);
    auto chosen = [&](Index images, Index height, Index width, Index in, Index out, Index kernel, Index stride, Precision precision) {
        return choose_algorithm({images, height, width, in, height / stride, width / stride, kernel, kernel, 1, 1, stride}, out, {precision, &table});
    };
    for (Index images : {1, 64}) {
        CHECK(chosen(images, 8, 6, 64, 32, 3, 1, Precision::fast) == ConvAlgorithm::direct);
        CHECK(chosen(images, 9, 9, 16, 16, 3, 1, Precision::fast) == ConvAlgorithm::winograd4);
        CHECK(chosen(images, 9, 9, 16, 16, 3, 1, Precision::exact) == ConvAlgorithm::direct);
        CHECK(chosen(images, 9, 9, 16, 16, 3, 1, Precision::bf16) == ConvAlgorithm::bf16);
        CHECK(chosen(images, 9, 9, 16, 16, 5, 1, Precision::fast) == ConvAlgorithm::direct);
        CHECK(chosen(images, 9, 9, 16, 16, 3, 2, Precision::fast) == ConvAlgorithm::direct);
    }

    CHECK(PrecisionScope::algorithms() == nullptr);
    const ConvAlgorithms inner;
    const PrecisionScope scope(&table);
    {
        const PrecisionScope exact(Precision::exact), none(nullptr), other(&inner);
        CHECK(PrecisionScope::current() == Precision::exact);
        CHECK(PrecisionScope::algorithms() == &inner);
        CHECK(PrecisionScope::of_operation(false).algorithms == &inner);
        CHECK(PrecisionScope::of_operation(true).algorithms == nullptr);
    }
    CHECK(PrecisionScope::algorithms() == &table);
}

TEST_CASE("every algorithm gives a convolution, with the same bits in any batch and with any threads, two threads with two tables at once") {
    struct Case {
        Index side, in, out;
    };
    for (const Case& layer : {Case{32, 16, 32}, {16, 32, 16}, {8, 64, 48}, {7, 20, 12}, {4, 128, 64}, {2, 32, 32}, {1, 16, 16}}) {
        const Index side = layer.side, in = layer.in, out = layer.out;
        CAPTURE(side, in, out);
        const Tensor<float> x = random_floats({5, side, side, in}, 1);
        Tensor<float> third({1, side, side, in});
        std::copy_n(&x(2, 0, 0, 0), third.size(), third.data());
        const Parameter<float> w{random_floats({3, 3, in, out}, 2)};
        const Parameter<float>* const no_bias = nullptr;
        const ops::Conv2d same{1, ops::Padding::same(1)};
        const Parameter<double>* const none = nullptr;
        const Parameter<double> twice{w.value.cast<double>()};
        const Tensor<double> expected = *ops::conv2d(Var<double>(x.cast<double>()), twice, none, same);
        std::array<Tensor<float>, 3> results;
        std::array<std::thread, 3> workers;
        for (int a = 0; a < 3; ++a)
            workers[static_cast<std::size_t>(a)] = std::thread([&, a] {
                ThreadPool pool(a + 1);
                const ThreadPool::Scope threads(pool);
                ConvAlgorithms table;
                table.choose({side, side, in, out}, static_cast<ConvAlgorithm>(a));
                const PrecisionScope scope(&table);
                results[static_cast<std::size_t>(a)] = *ops::conv2d(Var<float>(x), w, no_bias, same);
            });
        for (std::thread& worker : workers) worker.join();
        for (int a = 0; a < 3; ++a) {
            CAPTURE(a);
            const Tensor<float>& result = results[static_cast<std::size_t>(a)];
            CHECK(test::worst_error(result, expected) < 2e-5);
            ConvAlgorithms table;
            table.choose({side, side, in, out}, static_cast<ConvAlgorithm>(a));
            const PrecisionScope scope(&table);
            const Tensor<float> alone = *ops::conv2d(Var<float>(third), w, no_bias, same);
            CHECK(test::same_bits(alone.span(), result.span().subspan(static_cast<std::size_t>(2 * alone.size()), static_cast<std::size_t>(alone.size()))));
            if (side > 1 && a > 0) CHECK_FALSE(test::same_bits(result.span(), results[0].span()));
        }
        // Where gradients are recorded a table does not count.
        const auto recorded = [&] {
            Tape<float> tape;
            return *ops::conv2d(tape.input(x), w, no_bias, same);
        };
        const Tensor<float> by_model = recorded();
        ConvAlgorithms table;
        for (const ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd2}) {
            table.choose({side, side, in, out}, algorithm);
            const PrecisionScope scope(&table);
            CHECK(test::same_bits(recorded().span(), by_model.span()));
        }
    }
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
