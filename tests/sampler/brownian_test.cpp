// SPDX-License-Identifier: MIT
#include "ito/sampler/brownian.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/denoiser.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/sample.hpp"

using namespace ito;

namespace brownian_test {
namespace {

Interval between(double from, double to) { return {level_of_ratio(0, std::exp(-from)), level_of_ratio(0, std::exp(-to)), 0, 1}; }

struct Moments {
    double mean = 0, variance = 0;
};

Moments moments(const Tensor<double>& x) {
    Moments m{x.array().mean(), 0};
    m.variance = (x.array() - m.mean).square().mean();
    return m;
}

}  // namespace

TEST_CASE("increments of a Brownian path add up and are independent normals") {
    const BrownianPath path{3, 0};
    Tensor<double> ab({4, 5000}), bc({4, 5000}), ac({4, 5000});
    for (const auto& at : {std::array{-4.0, 0.3, 2.7}, std::array{-9.0, -8.999, -8.9}, std::array{5.0, 5.5, 9.0}}) {
        path.increment(ab, between(at[0], at[1]));
        path.increment(bc, between(at[1], at[2]));
        path.increment(ac, between(at[0], at[2]));
        const double whole = std::sqrt(std::exp(2 * at[2]) - std::exp(2 * at[0]));
        CHECK((ab.array() + bc.array() - ac.array()).abs().maxCoeff() < 1e-12 * whole);
        path.increment(ac, between(at[2], at[0]));
        CHECK((ab.array() + bc.array() + ac.array()).abs().maxCoeff() < 1e-12 * whole);

        path(ab, between(at[0], at[1]));
        path(bc, between(at[1], at[2]));
        const double n = static_cast<double>(ab.size());
        for (const auto* z : {&ab, &bc}) {
            const Moments m = moments(*z);
            CHECK(std::abs(m.mean) < 5 / std::sqrt(n));
            CHECK(std::abs(m.variance - 1) < 5 * std::sqrt(2 / n));
        }
        CHECK(std::abs((ab.array() * bc.array()).mean()) < 5 / std::sqrt(n));
        CHECK(std::abs((ab.array().head(10000) * ab.array().tail(10000)).mean()) < 5 / std::sqrt(n / 2));
    }
    // From pure noise, and to none.
    path(ab, Interval{{0, 0, 1}, level_of_ratio(0, 2), 0, 1});
    CHECK(moments(ab).variance == Approx(1).epsilon(0.05));
    path(bc, Interval{level_of_ratio(0, 2), {0, 1, 0}, 1, 2});
    CHECK(moments(bc).variance == Approx(1).epsilon(0.05));
    CHECK(std::abs((ab.array() * bc.array()).mean()) < 0.05);
    CHECK_THROWS_AS(path.increment(ab, Interval{level_of_ratio(0, 2), {0, 1, 0}, 1, 2}), ArgumentError);
    CHECK_THROWS_AS(path(ab, between(1, 17)), ArgumentError);
}

TEST_CASE("a sample's Brownian path does not depend on its batch nor on the precision") {
    Tensor<float> all({6, 3, 5}), one({1, 3, 5});
    Tensor<double> fine({6, 3, 5});
    const BrownianPath path{7, 100};
    path(all, between(-2, 1));
    path(fine, between(-2, 1));
    for (Index k = 0; k < 6; ++k) {
        BrownianPath{7, 100 + static_cast<std::uint64_t>(k)}(one, between(-2, 1));
        CHECK(std::equal(one.begin(), one.end(), all.begin() + 15 * k));
    }
    for (Index i = 0; i < all.size(); ++i) CHECK(all[i] == static_cast<float>(fine[i]));
    BrownianPath{8, 100}(one, between(-2, 1));
    CHECK_FALSE(std::equal(one.begin(), one.end(), all.begin()));
}

TEST_CASE("white noise of the first part of a step is that of the whole step's path") {
    const WhiteNoise noise{5, 0};
    const Interval step = between(-1, 1), part = first_part(step, level_of_ratio(0, std::exp(-0.5)));
    CHECK(part.share == Approx((std::exp(1.0) - std::exp(-2.0)) / (std::exp(2.0) - std::exp(-2.0))));
    Tensor<double> whole({2, 20000}), first({2, 20000});
    noise(whole, step);
    noise(first, part);
    CHECK(moments(first).variance == Approx(1).epsilon(0.04));
    CHECK((whole.array() * first.array()).mean() == Approx(std::sqrt(part.share)).margin(0.03));
    CHECK(first_part(Interval{step.from, {0, 1, 0}}, step.to).share == 0);
}

TEST_CASE("with more steps a stochastic sampler follows the same trajectory more closely") {
    // Element by element x0 ~ N(0.7, 0.16): two samples of many elements, whose paths are made far sooner than those of many.
    const auto target = [](const Tensor<double>& x, const NoiseLevel& l) {
        Tensor<double> x0(x.shape());
        x0.array() = 0.7 + l.alpha * 0.16 / (l.alpha * l.alpha * 0.16 + l.sigma * l.sigma) * (x.array() - l.alpha * 0.7);
        return x0;
    };
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    BrownianPath path{11, 0};
    const auto end = [&](const auto& sampler, Index count) {
        std::vector<NoiseLevel> levels;
        for (Index i = 0; i <= count; ++i) {
            const double lambda = -3 + 5 * static_cast<double>(i) / static_cast<double>(count);
            levels.push_back(level_of_ratio(-lambda, std::exp(-lambda)));
        }
        Tensor<double> x({2, 128});
        fill_normal(x, 2, 0, 0, Stream::initial);
        Sampling<double, std::decay_t<decltype(sampler)>> sampling(sampler, steps_between(levels), x);
        sampling.run(denoise, path);
        return sampling.x();
    };
    using Solver = DpmSolverMultistep;
    const Tensor<double> fine = end(Solver{.stochastic = true, .lower_order_final = false}, 2048);
    const auto error = [&](const auto& sampler, Index count) {
        return std::sqrt((end(sampler, count).array() - fine.array()).square().mean());
    };
    const auto check = [&](const auto& sampler, double order) {
        const double coarse = error(sampler, 32), finer = error(sampler, 128);
        CAPTURE(coarse, finer);
        CHECK(std::log2(coarse / finer) / 2 > order - 0.2);
    };
    check(Solver{.order = 1, .stochastic = true}, 1);
    check(EulerAncestral{}, 1);
    check(Ddim{.eta = 1}, 1);
    check(Solver{.stochastic = true, .lower_order_final = false}, 1);
    check(DpmppSde{}, 1);
    CHECK(error(DpmppSde{}, 32) < error(EulerAncestral{}, 64));
}

}  // namespace brownian_test
