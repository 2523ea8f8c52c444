// SPDX-License-Identifier: MIT
// Samplers that choose their own steps, and all of k-diffusion's as runs that are stepped, copied, stopped and shared.
#include <algorithm>
#include <cmath>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/brownian.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/sigmas.hpp"

using namespace ito;

namespace adaptive_test {
namespace {

const Reading says_x0{.prediction = Prediction::sample};

GaussianMixture mixture() {
    return GaussianMixture({{.weight = 1, .mean = Eigen::Vector2d(-1, 0.5), .variances = Eigen::Vector2d(0.09, 0.25)},
                            {.weight = 2, .mean = Eigen::Vector2d(0.8, 0), .variances = Eigen::Vector2d(0.16, 0.01)}});
}

Steps steps_through(const std::vector<double>& ratios) {
    std::vector<NoiseLevel> levels;
    for (const double ratio : ratios) levels.push_back(level_of_ratio(ratio, ratio));
    return steps_between(levels);
}

template <class T>
Tensor<T> start(Index batch, std::uint64_t first = 0) {
    Tensor<T> x({batch, 2});
    fill_normal(x, 1, first, 0, Stream::initial);
    return x;
}

template <class T>
bool same(const Tensor<T>& a, const Tensor<T>& b) {
    return a.shape() == b.shape() && std::equal(a.begin(), a.end(), b.begin());
}

template <class S, class D, class Z, class T>
Tensor<T> run(const S& sampler, const Steps& steps, D& denoise, Z& noise, const Tensor<T>& x) {
    Sampling<T, S> sampling(sampler, steps, x);
    sampling.run(denoise, noise);
    return sampling.x();
}

/// One that is stochastic where it can be.
template <class S>
S lively() {
    S sampler{};
    if constexpr (requires { sampler.eta; }) sampler.eta = 0.8;
    if constexpr (std::is_same_v<S, DpmSolverMultistep>) sampler.stochastic = true;
    if constexpr (std::is_same_v<S, DpmSolverFast>) sampler.evaluations = 16;
    if constexpr (std::is_same_v<S, DpmSolverAdaptive>) sampler.control.relative = 0.02;
    return sampler;
}

/// Six steps, or as many stretches for the adaptive one.
Steps six() { return steps_through({20, 8, 4, 2, 0.8, 0.3, 0.1}); }

}  // namespace

TEST_CASE("adaptive DPM-Solver keeps its tolerance with every error in its own sample") {
    const auto target = GaussianMixture::normal(Eigen::Vector2d(0.7, -0.2), Eigen::Vector2d(0.16, 0.05));
    Denoiser denoise{target, says_x0};
    WhiteNoise noise;
    const Steps steps = steps_through({20, 0.05});
    const Tensor<double> x = start<double>(20), exact = target.flow(x, steps.intervals[0].from, steps.intervals[0].to);
    for (const int order : {2, 3}) {
        double first = 0;
        for (const double tolerance : {1e-2, 1e-3, 1e-4}) {
            const DpmSolverAdaptive sampler{.order = order, .control = {.relative = tolerance, .absolute = tolerance}};
            const double error = (run(sampler, steps, denoise, noise, x).array() - exact.array()).abs().maxCoeff();
            CAPTURE(order, tolerance, error);
            CHECK(error < 10 * tolerance);
            if (tolerance == 1e-2) first = error;
            if (tolerance == 1e-4) CHECK(error < first / 10);
        }
    }
}

TEST_CASE("an adaptive sampler's sample is the same in any batch unless whole batches are asked for") {
    const auto target = mixture();
    auto one_level = [&](const Tensor<float>& x, const NoiseLevel& level) { return target(x, level); };
    Denoiser at_once{target, says_x0};
    Denoiser by_level{one_level, says_x0};
    const Steps steps = steps_through({20, 1, 0.05});
    for (const double eta : {0.0, 1.0}) {
        DpmSolverAdaptive sampler{.eta = eta};
        WhiteNoise white{4, 0};
        BrownianPath path{4, 0};
        const Tensor<float> all = run(sampler, steps, at_once, white, start<float>(7)), on_path = run(sampler, steps, at_once, path, start<float>(7));
        CHECK(same(all, run(sampler, steps, by_level, white, start<float>(7))));
        for (Index k = 0; k < 7; ++k) {
            WhiteNoise own{4, static_cast<std::uint64_t>(k)};
            BrownianPath own_path{4, static_cast<std::uint64_t>(k)};
            const Tensor<float> alone = run(sampler, steps, at_once, own, start<float>(1, static_cast<std::uint64_t>(k)));
            CHECK(std::equal(alone.begin(), alone.end(), all.begin() + 2 * k));
            const Tensor<float> alone_on_path = run(sampler, steps, at_once, own_path, start<float>(1, static_cast<std::uint64_t>(k)));
            CHECK(std::equal(alone_on_path.begin(), alone_on_path.end(), on_path.begin() + 2 * k));
        }
        sampler.control.whole_batch = true;
        CHECK_FALSE(same(all, run(sampler, steps, at_once, white, start<float>(7))));
    }
}

TEST_CASE("a tolerance out of reach ends in an error with the state reached") {
    const auto target = mixture();
    Denoiser denoise{target, says_x0};
    WhiteNoise noise;
    const Steps steps = steps_through({20, 0.05});
    const auto x = start<double>(3);
    const DpmSolverAdaptive hopeless{.control = {.relative = 0, .absolute = 1e-13, .max_tries = 40}};
    Sampling<double, DpmSolverAdaptive> sampling(hopeless, steps, x);
    try {
        sampling.run(denoise, noise);
        FAIL("reached the end");
    } catch (const ToleranceError<double>& error) {
        CHECK(error.x.shape() == x.shape());
        CHECK(error.levels.size() == 3);
        for (const NoiseLevel& level : error.levels) CHECK(level.sigma / level.alpha > 0.05);
        CHECK_THAT(error.what(), ContainsSubstring("40 tries"));
    }
    auto broken = [](const Tensor<double>& shown, const NoiseLevel&) { return Tensor<double>::full(shown.shape(), std::nan("")); };
    Denoiser nothing{broken, says_x0};
    CHECK_THROWS_AS(run(DpmSolverAdaptive{.control = {.max_tries = 50}}, steps, nothing, noise, x), ToleranceError<double>);

    CHECK_THROWS_AS(run(DpmSolverAdaptive{.order = 1}, steps, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmSolverAdaptive{.control = {.first_size = 0}}, steps, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmSolverFast{.evaluations = 10}, steps, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(Lms{5}, steps, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmppSde{.r = 0}, steps, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(Dpm2{.churn = {.amount = 3}, .eta = 1}, steps, denoise, noise, x), ArgumentError);
    const Steps silent = steps_between({{1, 0, 1}, level_of_ratio(0.5, 0.5)});
    CHECK_NOTHROW(run(EulerAncestral{}, silent, denoise, noise, x));
    CHECK_THROWS_AS(run(Dpm2{}, silent, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(Lms{}, silent, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(Dpmpp2SAncestral{}, silent, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmppSde{}, silent, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmSolverFast{.evaluations = 2}, silent, denoise, noise, x), ArgumentError);
    CHECK_THROWS_AS(run(DpmSolverAdaptive{}, silent, denoise, noise, x), ArgumentError);
}

TEST_CASE("every sampler ends at the estimate where a step ends without noise") {
    const auto target = mixture();
    Denoiser denoise{target, says_x0};
    WhiteNoise noise;
    std::vector<NoiseLevel> levels{level_of_ratio(0, 0.3), {0, 1, 0}};
    const Steps steps = steps_between(levels);
    const auto x = start<double>(3);
    const Tensor<double> x0 = target(x, levels[0]);
    const auto check = [&](const auto& sampler) { CHECK((run(sampler, steps, denoise, noise, x).array() - x0.array()).abs().maxCoeff() < 1e-12); };
    check(EulerAncestral{});
    check(Dpm2{.eta = 1});
    check(Lms{});
    check(Dpmpp2SAncestral{});
    check(DpmppSde{});
    check(DpmSolverFast{.evaluations = 2});
    check(DpmSolverAdaptive{});
    check(DpmSolverMultistep{.stochastic = true, .eta = 0});
}

TEMPLATE_TEST_CASE("a run can be stepped by the caller, copied in the middle, stopped and resumed", "", EulerAncestral, Dpm2, Lms,
                   Dpmpp2SAncestral, DpmppSde, DpmSolverMultistep, DpmSolverFast, DpmSolverAdaptive) {
    const auto target = mixture();
    Denoiser denoise{target, says_x0};
    WhiteNoise noise{9, 0};
    const TestType sampler = lively<TestType>();
    const Tensor<float> whole = run(sampler, six(), denoise, noise, start<float>(5));

    Sampling<float, TestType> stepped(sampler, six(), start<float>(5));
    int steps = 0;
    for (; steps < 4; ++steps) stepped.step(denoise, noise);
    Sampling<float, TestType> copy = stepped;
    stepped.run(denoise, noise);
    while (!copy.done()) copy.step(denoise, noise), ++steps;
    CHECK(steps >= 6);
    CHECK(same(stepped.x(), whole));
    CHECK(same(copy.x(), whole));
    CHECK_THROWS_AS(copy.step(denoise, noise), ArgumentError);

    Sampling<float, TestType> stopped(sampler, six(), start<float>(5));
    std::stop_source stop;
    int seen = 0;
    const auto stop_after_three = [&](const Seen<float>&) {
        if (++seen == 3) stop.request_stop();
    };
    CHECK_THROWS_AS(stopped.run(denoise, noise, stop.get_token(), stop_after_three), Cancelled);
    CHECK(seen == 3);
    stopped.run(denoise, noise);
    CHECK(same(stopped.x(), whole));

    // A network that throws leaves the run as it was.
    Sampling<float, TestType> fragile(sampler, six(), start<float>(5));
    int calls = 0;
    auto failing = [&](const Tensor<float>& x, const NoiseLevel& level) {
        if (++calls == 4) throw NumericError("once");
        return target(x, level);
    };
    Denoiser once{failing, says_x0};
    CHECK_THROWS_AS(fragile.run(once, noise), NumericError);
    fragile.run(once, noise);
    CHECK(same(fragile.x(), whole));
}

TEMPLATE_TEST_CASE("sample k does not depend on its batch nor on the threads", "", EulerAncestral, Dpm2, Lms, Dpmpp2SAncestral, DpmppSde,
                   DpmSolverFast, DpmSolverAdaptive) {
    const auto target = mixture();
    Denoiser denoise{target, says_x0};
    const TestType sampler = lively<TestType>();
    ThreadPool one(1), four(4);
    Tensor<float> all;
    {
        ThreadPool::Scope scope(four);
        WhiteNoise noise{2, 0};
        all = run(sampler, six(), denoise, noise, start<float>(40));
    }
    ThreadPool::Scope scope(one);
    for (const Index k : {0, 17, 39}) {
        WhiteNoise noise{2, static_cast<std::uint64_t>(k)};
        const Tensor<float> alone = run(sampler, six(), denoise, noise, start<float>(1, static_cast<std::uint64_t>(k)));
        CHECK(std::equal(alone.begin(), alone.end(), all.begin() + 2 * k));
    }
}

TEST_CASE("two runs on one model in two threads are independent") {
    const auto target = mixture();
    const auto draw = [&](std::uint64_t seed) {
        Denoiser denoise{target, says_x0};
        WhiteNoise noise{seed, 0};
        BrownianPath path{seed, 0};
        std::vector<Tensor<float>> results;
        Tensor<float> x({200, 2});
        fill_normal(x, seed);
        results.push_back(run(Ddim{.eta = 1}, six(), denoise, noise, x));
        results.push_back(run(lively<DpmSolverMultistep>(), six(), denoise, noise, x));
        results.push_back(run(DpmppSde{}, six(), denoise, path, x));
        results.push_back(run(lively<DpmSolverAdaptive>(), six(), denoise, noise, x));
        return results;
    };
    const auto first = draw(1), second = draw(2);
    std::vector<Tensor<float>> at_once, at_once_too;
    std::thread other([&] { at_once_too = draw(2); });
    at_once = draw(1);
    other.join();
    for (std::size_t i = 0; i < first.size(); ++i) {
        CHECK(same(at_once[i], first[i]));
        CHECK(same(at_once_too[i], second[i]));
    }
}

}  // namespace adaptive_test
