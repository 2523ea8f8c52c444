// SPDX-License-Identifier: MIT
// Group norm, attention, activations and the rest on float, which run on the kernels of simd/, against double.
#include "ops/float_against_double.hpp"

#include "ito/ops/attention.hpp"
#include "ito/ops/dropout.hpp"
#include "ito/ops/elementwise.hpp"
#include "ito/ops/gate.hpp"
#include "ito/ops/group_norm.hpp"
#include "ito/ops/layer_norm.hpp"
#include "ito/ops/loss.hpp"
#include "ito/ops/resample.hpp"

using namespace ito;
using ops::Activation;
using test::compare;
using test::random_floats;
using test::run;

namespace {

constexpr Activation all_activations[] = {Activation::none, Activation::silu, Activation::relu, Activation::gelu,
                                          Activation::mish, Activation::tanh, Activation::sine};

Tensor<float> scaled(Tensor<float> x, float factor, float offset = 0) {
    for (float& v : x) v = v * factor + offset;
    return x;
}

/// Rows [first, first + count) of a tensor, as a batch of their own.
Tensor<float> part(const Tensor<float>& x, Index first, Index count) {
    const Index row = x.size() / x.dim(0);
    return Tensor<float>::from(x.shape().with(0, count),
                               x.span().subspan(static_cast<std::size_t>(first * row), static_cast<std::size_t>(count * row)));
}

}  // namespace

TEST_CASE("activations on float agree with double") {
    for (Activation kind : all_activations)
        for (Index size : {1, 7, 8, 9, 100, 40000}) {
            CAPTURE(static_cast<int>(kind), size);
            compare([&](auto& x, auto&) { return ops::activate(x[0], kind); }, {scaled(random_floats({size}, 1), 6)}, {});
        }
}

TEST_CASE("activations bear the ends of the range") {
    for (Activation kind : {Activation::silu, Activation::relu, Activation::gelu, Activation::mish, Activation::tanh}) {
        CAPTURE(static_cast<int>(kind));
        const auto x = Tensor<float>::from({5}, {-1000, -88, 0, 88, 1000});
        const Var<float> y = ops::activate<float>(x, kind);
        CHECK((*y)[0] == Approx(kind == Activation::tanh ? -1 : 0).margin(1e-30));
        CHECK((*y)[2] == 0);
        CHECK((*y)[4] == (kind == Activation::tanh ? 1.0f : 1000.0f));
        const auto nan = Tensor<float>::from({1}, {std::numeric_limits<float>::quiet_NaN()});
        CHECK(std::isnan((*ops::activate<float>(nan, kind))[0]));
    }
}

TEST_CASE("group norm on float agrees with double") {
    for (Activation kind : all_activations) {
        CAPTURE(static_cast<int>(kind));
        for (const auto& [shape, groups] : {std::pair{Shape{2, 5, 3, 6}, Index{3}}, {Shape{1, 16, 16, 32}, Index{8}},
                                            {Shape{3, 13, 11, 40}, Index{4}}, {Shape{2, 1, 96}, Index{8}}}) {
            const Index c = shape[-1];
            CAPTURE(shape.str(), groups);
            const Tensor<float> x = scaled(random_floats(shape, 1), 2, 1);
            const std::vector<Tensor<float>> parameters{random_floats({c}, 2), random_floats({c}, 3)};
            compare([&, g = groups](auto& v, auto& p) { return ops::group_norm(v[0], p[0], p[1], {g, 1e-5, kind}); }, {x}, parameters);
            compare([&, g = groups](auto& v, auto& p) { return ops::group_norm(v[0], p[0], p[1], {g, 1e-5, kind}, v[1]); },
                    {x, random_floats({shape[0], 2 * c}, 4)}, parameters);
        }
    }
}

TEST_CASE("group norm keeps its digits where the mean is far larger than the deviation") {
    const Index c = 64;
    Parameter<float> one{Tensor<float>::full({c}, 1)}, zero{Tensor<float>::zeros({c})};
    const Tensor<float> x = scaled(random_floats({1, 32, 32, c}, 1), 1, 1000);
    const Tensor<double> wide = x.cast<double>();
    Parameter<double> wide_one{Tensor<double>::full({c}, 1)}, wide_zero{Tensor<double>::zeros({c})};
    const auto got = ops::group_norm<float>(x, one, zero, {32});
    const auto expected = ops::group_norm<double>(wide, wide_one, wide_zero, {32});
    CHECK(test::worst_error(*got, *expected) < 1000 * 0x1p-23 * 4);  // a number near 1000 is known to 3e-5
}

TEST_CASE("layer norm and gates on float agree with double") {
    for (Index channels : {1, 7, 16, 40, 1280}) {
        CAPTURE(channels);
        const Tensor<float> x = random_floats({2, 70, channels}, 1);
        compare([](auto& v, auto& p) { return ops::layer_norm(v[0], p[0], p[1]); }, {x},
                {random_floats({channels}, 2), random_floats({channels}, 3)});
        for (auto kind : {Activation::gelu, Activation::silu})
            compare([=](auto& v, auto&) { return ops::gate(v[0], kind); }, {random_floats({2, 70, 2 * channels}, 1)}, {});
    }
}

TEST_CASE("layer norm keeps its digits where the mean is far larger than the deviation") {
    Tensor<float> x = random_floats({5, 320}, 1);
    x.array() += 1000;
    const Parameter<float> one{Tensor<float>::full({320}, 1)}, zero{Tensor<float>::zeros({320})};
    const Parameter<double> wide_one{Tensor<double>::full({320}, 1)}, wide_zero{Tensor<double>::zeros({320})};
    const auto expected = ops::layer_norm<double>(x.cast<double>(), wide_one, wide_zero);
    CHECK(test::worst_error(*ops::layer_norm<float>(x, one, zero), *expected) < 1e-5);
    x(1, 3) = std::numeric_limits<float>::quiet_NaN();
    const auto marked = ops::layer_norm<float>(x, one, zero);
    CHECK(std::isnan((*marked)(1, 7)));
    CHECK(std::isfinite((*marked)(2, 3)));
}

TEST_CASE("attention on float agrees with double") {
    for (Index heads : {1, 3})
        for (Index width : {1, 8, 20})
            for (const auto& [queries, keys] : {std::pair<Index, Index>{1, 1}, {5, 7}, {64, 64}, {130, 65}, {49, 200}}) {
                CAPTURE(heads, width, queries, keys);
                compare([&](auto& x, auto&) { return ops::attention(x[0], x[1], x[2], heads); },
                        {scaled(random_floats({2, queries, heads * width}, 1), 2), scaled(random_floats({2, keys, heads * width}, 2), 2),
                         random_floats({2, keys, heads * (width + 1)}, 3)},
                        {});
            }
}

TEST_CASE("attention bears scores far apart and lets NaN through") {
    Tensor<float> q = scaled(random_floats({1, 70, 16}, 1), 100), k = scaled(random_floats({1, 150, 16}, 2), 100);
    const Tensor<float> v = random_floats({1, 150, 16}, 3);
    const auto got = ops::attention<float>(q, k, v, 2);
    const auto expected = ops::attention<double>(q.cast<double>(), k.cast<double>(), v.cast<double>(), 2);
    CHECK(test::worst_error(*got, *expected) < 1e-3);  // scores of the order of 10^4 are known to 1e-3
    q(0, 3, 0) = std::numeric_limits<float>::quiet_NaN();
    const auto marked = ops::attention<float>(q, k, v, 2);
    CHECK(std::isnan((*marked)(0, 3, 0)));
    CHECK((*marked)(0, 4, 0) == (*got)(0, 4, 0));
    CHECK((*marked)(0, 3, 8) == (*got)(0, 3, 8));
}

TEST_CASE("the other operations on float agree with double") {
    for (Index channels : {1, 3, 8, 33}) {
        CAPTURE(channels);
        const Tensor<float> a = random_floats({3, 4, 6, channels}, 1), b = random_floats({3, 4, 6, channels}, 2);
        compare([](auto& x, auto&) { return ops::add(x[0], x[1]); }, {a, b}, {});
        compare([](auto& x, auto&) { return ops::scale(x[0], static_cast<std::decay_t<decltype((*x[0])[0])>>(1.7), {}); }, {a}, {});
        compare([](auto& x, auto&) { return ops::concat(x[0], x[1]); }, {a, random_floats({3, 4, 6, 5}, 2)}, {});
        compare([](auto& x, auto&) { return ops::upsample_nearest(x[0]); }, {a}, {});
        compare([](auto& x, auto&) { return ops::average_pool(x[0]); }, {a}, {});
        compare(
            [&](auto& x, auto&) {
                using T = std::decay_t<decltype((*x[0])[0])>;
                const std::vector<T> weights{1, 2, 0.5};
                return ops::squared_error<T>(x[0], b.cast<T>(), weights);
            },
            {a}, {});
    }
}

TEST_CASE("group norm writes over what nobody else reads, and over nothing else") {
    const Tensor<float> x = random_floats({2, 5, 3, 8}, 1);
    const Parameter<float> gamma{random_floats({8}, 2)}, beta{random_floats({8}, 3)};
    const ops::GroupNorm how{4, 1e-5, Activation::silu};
    Var<float> alone = Tensor<float>(x), shared = Tensor<float>(x);
    const float *const before = alone->data(), *const kept = shared->data();
    const Var<float> other = shared, y = ops::group_norm(shared, gamma, beta, how);
    CHECK(y->data() != kept);
    CHECK(ops::group_norm(std::move(shared), gamma, beta, how)->data() != kept);
    CHECK(test::same_bits(other->span(), x.span()));

    const Var<float> moved = ops::group_norm(std::move(alone), gamma, beta, how);
    CHECK(moved->data() == before);
    CHECK(test::same_bits(moved->span(), y->span()));

    Tape<float> tape;
    Var<float> tracked = tape.input(x);
    const float* const recorded = tracked->data();
    CHECK(ops::group_norm(std::move(tracked), gamma, beta, how)->data() != recorded);
    CHECK(ops::group_norm(Var<float>(Tensor<float>(x)), gamma, beta, how, tape.input(random_floats({2, 16}, 4))).tracked());
}

TEST_CASE("a sample has the same bits in any batch and for any number of threads") {
    const Index c = GENERATE(6, 40);
    const Tensor<float> x = random_floats({5, 7, 9, c}, 1), scale_shift = random_floats({5, 2 * c}, 2);
    const Parameter<float> gamma{random_floats({c}, 3)}, beta{random_floats({c}, 4)};
    auto compute = [&](const Tensor<float>& x, const Tensor<float>& s) {
        const Var<float> h = ops::group_norm<float>(x, gamma, beta, {2, 1e-5, Activation::silu}, Var<float>(s));
        const Var<float> sequence = ops::reshape(h, {x.dim(0), 63, c});
        return ops::activate(ops::add(sequence, ops::attention(sequence, sequence, sequence, 2)), Activation::gelu);
    };
    ThreadPool one(1), three(3);
    Tensor<float> all;
    {
        const ThreadPool::Scope scope(one);
        all = *compute(x, scale_shift);
    }
    const ThreadPool::Scope scope(three);
    CHECK(test::same_bits(compute(x, scale_shift)->span(), all.span()));
    for (Index first : {0, 2, 4})
        for (Index count : {1, 3}) {
            if (first + count > 5) continue;
            CHECK(test::same_bits(compute(part(x, first, count), part(scale_shift, first, count))->span(), part(all, first, count).span()));
        }
}

TEST_CASE("gradients have the same bits for any number of threads") {
    const std::vector<Tensor<float>> inputs{random_floats({4, 100, 24}, 1)};
    const std::vector<Tensor<float>> parameters{random_floats({24}, 2), random_floats({24}, 3)};
    auto f = [](auto& x, auto& p) {
        const auto h = ops::group_norm(x[0], p[0], p[1], {4, 1e-5, Activation::mish});
        return ops::attention(h, h, h, 3);
    };
    ThreadPool one(1), five(5);
    auto with = [&](ThreadPool& pool) {
        const ThreadPool::Scope scope(pool);
        return run<float>(f, inputs, parameters);
    };
    const auto expected = with(one), got = with(five);
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(test::same_bits(got[i].span(), expected[i].span()));
}
