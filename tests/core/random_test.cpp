// SPDX-License-Identifier: MIT
#include "ito/core/random.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace ito;

TEST_CASE("Philox 4x32-10 gives the published vectors") {
    constexpr std::uint32_t ones = 0xffffffff;
    CHECK(Philox::apply({0, 0, 0, 0}, {0, 0}) == Philox::Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(Philox::apply({ones, ones, ones, ones}, {ones, ones}) ==
          Philox::Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(Philox::apply({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Philox::Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the logarithm and the Box-Muller transform agree with libm") {
    Random random{{.seed = 3}};
    double worst = 0;
    for (int i = 0; i < 100000; ++i) {
        const std::uint32_t a = i == 0 ? 0 : i == 1 ? 0xffffffff : random.next(), b = i < 2 ? 0 : random.next();
        double first, second;
        detail::on_circle(std::sqrt(detail::squared_radius(a)), b, first, second);
        const double r = std::sqrt(-2 * std::log((a + 0.5) * 0x1p-32)), angle = b * 0x1p-32 * 6.283185307179586477;
        worst = std::max({worst, std::abs(first - r * std::cos(angle)), std::abs(second - r * std::sin(angle))});
    }
    CHECK(worst < 1e-13);
    for (double x : {1e-300, 1e-10, 0.5, 0.70710678118654746, 0.70710678118654757, 1.0, 1.4142135623730951, 2.0, 1e200})
        CHECK(std::abs(detail::log_positive(x) - std::log(x)) <= 1e-15 * std::max(1.0, std::abs(std::log(x))));
}

TEMPLATE_TEST_CASE("normals have the moments and the tails of N(0, 1)", "", float, double) {
    Tensor<TestType> x({8, 50000});
    fill_normal(x, 7);
    const double n = static_cast<double>(x.size());
    double m[5] = {0, 0, 0, 0, 0}, beyond2 = 0, neighbours = 0;
    for (Index i = 0; i < x.size(); ++i) {
        const double v = x[i];
        for (int p = 1; p <= 4; ++p) m[p] += std::pow(v, p) / n;
        beyond2 += (std::abs(v) > 2) / n;
        if (i) neighbours += v * x[i - 1] / n;
    }
    // Five standard errors each.
    const double se = 5 / std::sqrt(n);
    CHECK(std::abs(m[1]) < se);
    CHECK(std::abs(m[2] - 1) < se * std::sqrt(2.0));
    CHECK(std::abs(m[3]) < se * std::sqrt(15.0));
    CHECK(std::abs(m[4] - 3) < se * std::sqrt(96.0));
    CHECK(std::abs(beyond2 - 0.0455003) < se * 0.21);
    CHECK(std::abs(neighbours) < se);
}

namespace {

/// What core/normal.hpp computes, one number at a time, each operation rounded to float by itself.
struct OneByOne {
    static float product(float a, float b) {
        volatile float p = a * b;  // not fused with what follows
        return p;
    }
    static float squared_radius(std::uint32_t a) {
        volatile float high = static_cast<float>(a >> 16) * 65536.0f, whole = high + static_cast<float>(a & 0xFFFF);
        const float u = whole + 0.5f;
        const auto bits = std::bit_cast<std::uint32_t>(u);
        const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3F3504F3u) >> 23;
        float f = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23)) - 1.0f;
        if (exponent == 32) f = product(static_cast<float>(~a) + 0.5f, -0x1p-32f);
        const float s = f / (2.0f + f), q = product(s, s);
        float p = product(q, 1.0f / 11) + 1.0f / 9;
        for (const float c : {1.0f / 7, 1.0f / 5, 1.0f / 3}) p = product(p, q) + c;
        const float half_log = product(product(s, q), p) + s;
        return product(static_cast<float>(exponent - 32), -1.38629436111989062f) - product(4.0f, half_log);
    }
    static std::pair<float, float> on_circle(float radius, std::uint32_t b) {
        const std::uint32_t turned = b + 0x20000000u, quadrant = turned >> 30;
        const float fraction = static_cast<float>(static_cast<std::int32_t>(turned & 0x3FFFFFFFu) - 0x20000000);
        const float x = product(fraction, 1.57079632679489661923f * 0x1p-30f), q = product(x, x);
        float s = product(q, 1.0f / 362880) - 1.0f / 5040;
        for (const float k : {1.0f / 120, -1.0f / 6}) s = product(s, q) + k;
        s = product(product(x, q), s) + x;
        float c = product(q, -1.0f / 3628800) + 1.0f / 40320;
        for (const float k : {-1.0f / 720, 1.0f / 24, -0.5f, 1.0f}) c = product(c, q) + k;
        switch (quadrant) {
            case 0: return {radius * c, radius * s};
            case 1: return {radius * -s, radius * c};
            case 2: return {radius * -c, radius * -s};
            default: return {radius * s, radius * -c};
        }
    }
};

}  // namespace

TEST_CASE("the float stream has the same bits one by one, at any length and place") {
    const RandomKey key{11, 5, 2, Stream::initial};
    std::vector<float> x(4099);
    fill_normal(std::span<float>(x), key);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const auto words = key.numbers(static_cast<std::uint32_t>(i / 4));
        const auto pair = OneByOne::on_circle(std::sqrt(OneByOne::squared_radius(words[i % 4 & 2])), words[i % 4 | 1]);
        wrong += x[i] != (i % 2 ? pair.second : pair.first);
    }
    CHECK(wrong == 0);
    for (const std::size_t length : {1u, 2u, 3u, 5u, 17u, 64u, 65u, 1000u}) {
        std::vector<float> part(length);
        for (const std::size_t first : {0u, 4u, 36u, 2048u}) {
            fill_normal(std::span<float>(part), key, first);
            CHECK(std::equal(part.begin(), part.end(), x.begin() + static_cast<std::ptrdiff_t>(first)));
        }
    }
    // The ends of the radius, and where its two ways of computing meet.
    for (const std::uint32_t a : {0u, 1u, 2u, 0x7FFFFFFFu, 0x80000000u, 0xB504F332u, 0xB504F333u, 0xB504F334u, 0xB504F400u, 0xFFFFFF00u, 0xFFFFFFFEu, 0xFFFFFFFFu}) {
        const double expected = -2 * std::log((static_cast<double>(a) + 0.5) * 0x1p-32);
        CHECK(OneByOne::squared_radius(a) == Approx(expected).epsilon(3e-7));
    }
}

TEST_CASE("the float stream is the double stream but for rounding") {
    Tensor<float> x({3, 100000});
    Tensor<double> y({3, 100000});
    fill_normal(x, 11, 5, 2);
    fill_normal(y, 11, 5, 2);
    double worst = 0;
    for (Index i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(x[i]) - y[i]));
    CHECK(worst < 1e-6);
    std::vector<double> part(50);
    fill_normal(std::span<double>(part), RandomKey{11, 5, 2, Stream::step}, 400);
    CHECK(std::equal(part.begin(), part.end(), y.begin() + 400));
}

TEST_CASE("a sample's noise does not depend on its batch") {
    Tensor<float> all({5, 7, 3}), one({1, 7, 3});
    fill_normal(all, 42, 10, 3);
    for (Index k = 0; k < 5; ++k) {
        fill_normal(one, 42, 10 + static_cast<std::uint64_t>(k), 3);
        CHECK(std::equal(one.begin(), one.end(), all.begin() + k * 21));
    }
    fill_uniform(all, 42, 10, 3);
    fill_uniform(one, 42, 12, 3);
    CHECK(std::equal(one.begin(), one.end(), all.begin() + 2 * 21));
}

TEST_CASE("seed, sample, step and stream each give other noise") {
    const auto first = [](RandomKey key) {
        std::array<double, 1> v;
        fill_normal(std::span<double>(v), key);
        return v[0];
    };
    const RandomKey key{1, 2, 3, Stream::step};
    const std::vector<double> values = {
        first(key), first({2, 2, 3, Stream::step}), first({1, 3, 3, Stream::step}), first({1, 2, 4, Stream::step}),
        first({1, 2, 3, Stream::initial}), first({1ULL << 32 | 1, 2, 3, Stream::step}), first({1, 1ULL << 32 | 2, 3, Stream::step})};
    for (std::size_t i = 0; i < values.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) CHECK(values[i] != values[j]);
}

TEST_CASE("noise is the same on every machine") {
    std::array<float, 4> x;
    fill_normal(std::span<float>(x), RandomKey{});
    CHECK(x[0] == -0x1.aeb5b8p-2f);
    CHECK(x[1] == -0x1.8a1e08p-3f);
    CHECK(x[2] == -0x1.ca632cp-1f);
    CHECK(x[3] == -0x1.3c6f7cp-3f);
}

TEMPLATE_TEST_CASE("uniform numbers fill the unit interval without its end", "", float, double) {
    Tensor<TestType> x({2, 30001});
    fill_uniform(x, 5);
    double mean = 0, square = 0;
    bool inside = true;
    for (double v : x) {
        mean += v / static_cast<double>(x.size());
        square += v * v / static_cast<double>(x.size());
        inside = inside && v >= 0 && v < 1;
    }
    CHECK(inside);
    CHECK(std::abs(mean - 0.5) < 0.006);
    CHECK(std::abs(square - 1.0 / 3) < 0.006);
}

TEST_CASE("choices are uniform, shuffles are permutations, and both resume from their state") {
    Random random{{.seed = 1, .stream = Stream::data}};
    std::vector<int> counts(10);
    for (int i = 0; i < 10000; ++i) ++counts[static_cast<std::size_t>(random.below(10))];
    for (int count : counts) CHECK(std::abs(count - 1000) < 150);

    std::vector<int> order(100);
    std::iota(order.begin(), order.end(), 0);
    Random copy = random;
    auto again = order;
    random.shuffle(std::span<int>(order));
    copy.shuffle(std::span<int>(again));
    CHECK(order == again);
    CHECK(random.uniform() == copy.uniform());
    CHECK(random.normal() == copy.normal());
    std::sort(again.begin(), again.end());
    CHECK(again != order);
    for (int i = 0; i < 100; ++i) CHECK(again[static_cast<std::size_t>(i)] == i);

    CHECK_THROWS_AS(random.below(0), ArgumentError);
    CHECK_THROWS_AS(random.below(-3), ArgumentError);
}
