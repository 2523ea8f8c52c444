// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "ito/core/random.hpp"
#include "ito/denoise/denoiser.hpp"
#include "ito/denoise/guidance.hpp"

using namespace ito;

TEMPLATE_TEST_CASE("every prediction recovers the picture and the noise that it was made of", "", float, double) {
    using T = TestType;
    Tensor<T> x0({3, 4, 4, 2}), eps({3, 4, 4, 2});
    fill_normal(x0, 1);
    fill_normal(eps, 2);
    const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-13;
    // Variance preserving; variance exploding, with the network shown a scaled input and without; a straight path.
    struct Case {
        NoiseLevel level;
        bool scaled;
    };
    for (const Case& c : {Case{{5, 0.8, 0.6}, false}, Case{{5, 1, 3}, true}, Case{{5, 1, 3}, false}, Case{{5, 0.3, 0.7}, false}})
        for (Prediction p : {Prediction::epsilon, Prediction::sample, Prediction::v, Prediction::score, Prediction::flow}) {
            CAPTURE(int(p), c.scaled, c.level.alpha, c.level.sigma);
            const Tensor<T> x = add_noise(x0, eps, c.level);
            const NoiseLevel seen = c.scaled ? variance_preserving(c.level) : c.level;
            const std::vector<NoiseLevel> levels(3, seen);
            const Tensor<T> said = prediction_target(p, x0, eps, std::span<const NoiseLevel>(levels));
            const Tensor<T> expected_input = c.scaled ? add_noise(x0, eps, seen) : x;
            auto network = [&](const Tensor<T>& shown, const NoiseLevel& level) {
                CHECK(level.time == 5);
                CHECK((shown.array() - expected_input.array()).abs().maxCoeff() < tolerance);
                return said;
            };
            Denoiser denoise{network, Reading{.prediction = p, .scaled_input = c.scaled}};
            const Estimate<T> estimate = denoise(x, c.level);
            CHECK((estimated_x0(x, estimate).array() - x0.array()).abs().maxCoeff() < 10 * tolerance);
            CHECK((estimated_eps(x, estimate).array() - eps.array()).abs().maxCoeff() < 10 * tolerance);
        }
}

TEST_CASE("noise is added sample by sample") {
    const auto x0 = Tensor<double>::full({2, 3}, 1), eps = Tensor<double>::full({2, 3}, 10);
    const std::vector<NoiseLevel> levels{{1, 0.8, 0.6}, {2, 0, 1}};
    const auto x = add_noise(x0, eps, std::span<const NoiseLevel>(levels));
    CHECK(x(0, 2) == Approx(6.8));
    CHECK(x(1, 0) == 10);
    CHECK_THROWS_AS(add_noise(x0, Tensor<double>::zeros({3, 2}), levels[0]), ShapeError);
    const auto three = Tensor<double>::zeros({3, 2});
    CHECK_THROWS_AS(add_noise(three, three, std::span<const NoiseLevel>(levels)), ShapeError);
}

TEST_CASE("a level at which a prediction says nothing is an error") {
    CHECK_THROWS_AS(decoding(Prediction::epsilon, {999, 0, 1}), ArgumentError);
    CHECK_THROWS_AS(decoding(Prediction::score, {999, 0, 1}), ArgumentError);
    CHECK_THROWS_AS(decoding(Prediction::sample, {0, 1, 0}), ArgumentError);
    CHECK_THROWS_AS(encoding(Prediction::score, {0, 1, 0}), ArgumentError);
    CHECK(decoding(Prediction::v, {999, 0, 1}).x0_of_out == -1);
    CHECK(decoding(Prediction::sample, {999, 0, 1}).x0_of_out == 1);
}

TEST_CASE("a quantile is interpolated between neighbours") {
    const std::vector<double> values{3, 1, 2, 5, 4};
    const auto quantile = [&](double q) {
        auto copy = values;
        return quantile_of(std::span<double>(copy), q);
    };
    CHECK(quantile(0) == 1);
    CHECK(quantile(0.5) == 3);
    CHECK(quantile(0.6) == Approx(3.4));
    CHECK(quantile(1) == 5);
    std::vector<float> none, one{7};
    CHECK(quantile_of(std::span<float>(one), 0.3) == 7);
    CHECK_THROWS_AS(quantile_of(std::span<float>(none), 0.5), ArgumentError);
    std::vector<float> many((1 << 24) + 4);
    many.front() = 5;
    CHECK(quantile_of(std::span<float>(many), 1) == 5);  // whose position no float holds
    CHECK_THROWS_AS(quantile_of(std::span<float>(one), 1.5), ArgumentError);
}

TEST_CASE("x0 is clipped, or thresholded by each sample's own quantile") {
    const auto x = Tensor<float>::zeros({2, 5});
    const auto said = Tensor<float>::from({2, 5}, {0.1f, -0.2f, 0.3f, 0.4f, 0.5f, 1, -2, 3, 4, -5});
    const NoiseLevel level{1, 0.8, 0.6};
    const auto x0_of = [&](Reading reading) { return estimated_x0(x, read(reading, x, level, Tensor<float>(said))); };

    const auto clipped = x0_of({.prediction = Prediction::sample, .clip = 2.5});
    CHECK(clipped(0, 4) == 0.5f);
    CHECK(clipped(1, 1) == -2);
    CHECK(clipped(1, 4) == -2.5f);

    const auto dynamic = x0_of({.prediction = Prediction::sample, .threshold = DynamicThreshold{0.75, 10}});
    CHECK(dynamic(0, 4) == 0.5f);   // s = 0.4 is raised to 1
    CHECK(dynamic(1, 0) == 0.25f);  // s = 4
    CHECK(dynamic(1, 3) == 1);
    CHECK(dynamic(1, 4) == -1);
    CHECK(x0_of({.prediction = Prediction::sample, .threshold = DynamicThreshold{0.75, 2}})(1, 0) == 0.5f);

    auto broken = said;
    broken[0] = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(estimated_x0(x, read({.prediction = Prediction::sample, .clip = 1}, x, level, std::move(broken)))[0]));
}

TEST_CASE("a learned variance is split off the channels, and outputs must fit") {
    const Tensor<float> x = Tensor<float>::zeros({1, 2, 2});
    const NoiseLevel level{1, 0.8, 0.6};
    const Reading learned{.prediction = Prediction::sample, .learned_variance = true};
    const auto estimate = read(learned, x, level, Tensor<float>::from({1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}));
    CHECK(estimate.output(0, 1, 0) == 5);
    CHECK(estimate.variance(0, 0, 1) == 4);
    CHECK_THROWS_AS(read(learned, x, level, Tensor<float>::zeros({1, 2, 2})), ShapeError);
    CHECK_THROWS_AS(read(Reading{}, x, level, Tensor<float>::zeros({1, 2, 3})), ShapeError);
}

TEST_CASE("guidance extrapolates from the unconditional output") {
    const auto c = Tensor<float>::full({2, 3}, 3), u = Tensor<float>::full({2, 3}, 1);
    CHECK(guide(c, u, 2.5)[0] == 6);
    CHECK(guide(c, u, 1)[0] == 3);
    CHECK(guide(c, u, 0)[5] == 1);
    CHECK_THROWS_AS(guide(c, Tensor<float>::zeros({3, 2}), 2), ShapeError);

    auto both = twice(u);
    REQUIRE(both.shape() == Shape({4, 3}));
    both.array().tail(6) = 3;
    const auto halves = guide_halves(both, 2.5);
    REQUIRE(halves.shape() == Shape({2, 3}));
    CHECK(halves[5] == 6);
    CHECK_THROWS_AS(guide_halves(Tensor<float>::zeros({3, 2}), 2), ShapeError);

    auto says_c = [&](const Tensor<float>&, const NoiseLevel&) { return c; };
    auto says_u = [&](const Tensor<float>&, const NoiseLevel&) { return u; };
    Guided guided{says_c, says_u, 2.5};
    CHECK(guided(u, NoiseLevel{})[0] == 6);
}

TEST_CASE("a denoiser can be asked about every sample at its own level") {
    const std::vector<NoiseLevel> levels{{3, 0.8, 0.6}, {5, 0.6, 0.8}, {3, 0.8, 0.6}, {7, 0.1, 0.9}};
    const std::span<const NoiseLevel> each(levels);
    Tensor<double> x({4, 2, 3});
    fill_normal(x, 1);
    int calls = 0;
    auto plain = [&](const Tensor<double>& shown, const NoiseLevel& level) {
        ++calls;
        Tensor<double> out(shown.shape());
        out.array() = (shown.array() + level.time).sin();
        return out;
    };
    struct PerSample {
        Tensor<double> operator()(const Tensor<double>& shown, const NoiseLevel& level) const {
            return (*this)(shown, std::vector<NoiseLevel>(static_cast<std::size_t>(shown.dim(0)), level));
        }
        Tensor<double> operator()(const Tensor<double>& shown, std::span<const NoiseLevel> at) const {
            Tensor<double> out(shown.shape());
            for (Index i = 0; i < shown.size(); ++i) out[i] = std::sin(shown[i] + at[static_cast<std::size_t>(i / 6)].time);
            return out;
        }
    } per_sample;
    for (const Reading& reading : {Reading{}, Reading{.prediction = Prediction::v, .clip = 0.7, .scaled_input = true},
                                   Reading{.threshold = DynamicThreshold{0.8, 2}}}) {
        Denoiser denoise{plain, reading};
        Denoiser at_once{per_sample, reading};
        calls = 0;
        const auto said = denoise_each(denoise, x, each), at_once_said = denoise_each(at_once, x, each);
        CHECK(calls == 3);
        for (std::size_t k = 0; k < 4; ++k) {
            const auto alone = denoise(x, levels[k]);
            const auto expected = estimated_x0(x, alone), eps = estimated_eps(x, alone);
            for (Index i = 6 * static_cast<Index>(k); i < 6 * static_cast<Index>(k) + 6; ++i) {
                CHECK(estimated_x0(x, said)[i] == expected[i]);
                CHECK(estimated_x0(x, at_once_said)[i] == Approx(expected[i]).epsilon(1e-12));
                CHECK(estimated_eps(x, said)[i] == eps[i]);
            }
        }
    }
    calls = 0;
    Denoiser denoise{plain, Reading{}};
    const std::vector<NoiseLevel> equal(4, levels[0]);
    denoise_each(denoise, x, std::span<const NoiseLevel>(equal));
    CHECK(calls == 1);
    CHECK_THROWS_AS(denoise_each(denoise, x, each.first(3)), ShapeError);

    Guided guided{per_sample, per_sample, 2.0};
    Denoiser both{guided, Reading{}};
    CHECK(estimated_x0(x, denoise_each(both, x, each))[7] == Approx(estimated_x0(x, both(x, levels[1]))[7]));
}
