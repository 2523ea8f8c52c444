// SPDX-License-Identifier: MIT
// Solvers of the probability flow and of the reverse SDE against normal data.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/dpm_solver_blocks.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/pndm.hpp"
#include "ito/sampler/sa_solver.hpp"
#include "ito/sampler/unipc.hpp"
#include "ito/schedule/sigmas.hpp"
#include "sampler/gaussian.hpp"

using namespace ito;
using namespace ito::test;

namespace {

/// Levels equally spaced in sigma / alpha.
std::vector<NoiseLevel> even_ratios(int count) {
    std::vector<NoiseLevel> levels;
    for (int i = 0; i <= count; ++i) levels.push_back(level_of_ratio(count - i, 4 + i * (0.5 - 4) / count));
    return levels;
}

template <class S>
double order_on(const S& sampler, std::vector<NoiseLevel> (*levels)(int), int coarse) {
    return std::log2(ode_error(sampler, levels(coarse)) / ode_error(sampler, levels(2 * coarse)));
}

/// Rectified flow.
std::vector<NoiseLevel> flow_levels(int count) {
    std::vector<NoiseLevel> levels;
    for (int i = 0; i <= count; ++i) {
        const double s = 0.95 - 0.9 * i / count;
        levels.push_back({s, 1 - s, s});
    }
    return levels;
}

template <class S>
Tensor<float> run(const S& sampler, const Steps& steps, Index count = 100000, std::uint64_t seed = 11) {
    Gaussian exact;
    return sample<float>(Denoiser{exact, says_x0}, sampler, steps, {count, 1}, {.seed = seed});
}

}  // namespace

TEST_CASE("high orders are as exact in single precision as in double where steps crowd at an end") {
    // Weights of DEIS and SA-Solver in single precision, as in diffusers, move states on such sigmas by 1e-4 of the
    // largest to more than all of it.
    std::vector<NoiseLevel> levels;
    for (const double ratio : beta_sigmas(0.03, 72, 50)) levels.push_back(level_of_ratio(ratio, ratio));
    const Steps steps = steps_between(levels);
    const auto end = [&](const auto& sampler, auto precision) {
        using T = decltype(precision);
        // Outputs that do not depend on x: errors are those of the solver alone.
        const auto says = [](const Tensor<T>& x, const NoiseLevel& level) {
            return Tensor<T>::full(x.shape(), static_cast<T>(std::sin(3 * level.sigma / level.alpha)));
        };
        Denoiser denoise{says, Reading{.prediction = Prediction::epsilon}};
        WhiteNoise noise;
        Sampling<T, std::decay_t<decltype(sampler)>> sampling(sampler, steps, Tensor<T>::full({1, 1}, T(1)));
        sampling.run(denoise, noise);
        return static_cast<double>(sampling.x()[0]);
    };
    const auto check = [&](const auto& sampler) {
        CHECK(end(sampler, 0.0f) == Approx(end(sampler, 0.0)).epsilon(2e-6));
    };
    check(deis(3));
    for (const bool data : {true, false}) {
        check(DpmSolverMultistep{.order = 3, .data_prediction = data});
        check(UniPc{.order = 3, .data_prediction = data});
        check(SaSolver{.predictor_order = 3, .corrector_order = 4, .tau = 0, .data_prediction = data});
    }
}

TEST_CASE("a block of one interval is DDIM, as is an end alone") {
    CHECK(ode_error(DpmSolverSinglestep{.order = 1}, levels_of(9)) == Approx(ode_error(Ddim{}, levels_of(9))).epsilon(1e-9));
}

TEST_CASE("pseudo numerical methods are of fourth order where sigma / alpha is equally spaced") {
    // There they are the methods of Runge and Kutta and of Adams. What the first three steps leave, which are twice as long as
    // the others, is of second order but small beside the rest until there are many more steps.
    CHECK(order_on(Pndm{Pndm::Start::runge_kutta}, even_ratios, 120) == Approx(4).margin(0.2));

    // One interval an evaluation is the same for a network that says epsilon.
    const auto levels = levels_of(20);
    Steps split;
    const auto add = [&](const NoiseLevel& begin, const NoiseLevel& end) { split.intervals.push_back({begin, end}); };
    for (std::size_t i = 0; i < 6; i += 2) {
        add(levels[i], levels[i + 1]);
        add(levels[i], levels[i + 1]);
        add(levels[i], levels[i + 2]);
        add(levels[i], levels[i + 2]);
    }
    for (std::size_t i = 6; i < 20; ++i) add(levels[i], levels[i + 1]);
    for (std::size_t i = 0; i < split.intervals.size(); ++i) split.intervals[i].index = static_cast<Index>(i), split.intervals[i].count = 26;
    int calls = 0;
    const auto says_epsilon = [&](const Tensor<double>& x, const NoiseLevel&) {
        ++calls;
        Tensor<double> said(x.shape());
        said.array() = (1.3 * x.array()).sin();
        return said;
    };
    WhiteNoise noise;
    Denoiser denoise{says_epsilon, Reading{}};
    const auto x = Tensor<double>::full({1, 1}, 0.3);
    Sampling<double, Pndm> one(Pndm{}, steps_between(levels), x);
    Sampling<double, ReleasedPndm> other(ReleasedPndm{}, split, x);
    one.run(denoise, noise);
    CHECK(calls == 26);
    other.run(denoise, noise);
    CHECK(calls == 52);
    CHECK(one.x()[0] == Approx(other.x()[0]).epsilon(1e-12));
}

TEST_CASE("Heun's method in the coordinates of rectified flow is of second order and starts without signal") {
    CHECK(order_on(Heun{.churn = {}, .flow = true}, flow_levels, 40) == Approx(2).margin(0.2));
    CHECK(order_on(Heun{}, flow_levels, 40) == Approx(2).margin(0.2));
    std::vector<NoiseLevel> levels;
    for (double s : flow_sigmas(1000, 50)) levels.push_back({s, 1 - s, s});
    levels.front() = {1, 0, 1};
    levels.push_back({0, 1, 0});
    check_normal(run(Heun{.churn = {}, .flow = true}, steps_between(levels)), {m, s * s});
}

TEST_CASE("stochastic solvers give the moments of the data in many steps", "[slow]") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    const auto near_data = [](const Tensor<float>& x, double margin) {
        const Moments got = moments(x);
        CHECK(got.mean == Approx(m).margin(margin));
        CHECK(got.variance == Approx(s * s).margin(margin));
    };
    for (int order : {1, 2, 3})
        for (auto type : {DpmSolverSinglestep::Type::midpoint, DpmSolverSinglestep::Type::heun}) {
            CAPTURE(order);
            const DpmSolverSinglestep sde{.order = order, .stochastic = true, .type = type};
            near_data(run(sde, karras(schedule, 100), 20000), order == 1 ? 0.03 : 0.012);
        }
    for (double tau : {0.0, 0.6, 1.0}) {
        CAPTURE(tau);
        near_data(run(SaSolver{.tau = tau}, karras(schedule, 100), 20000), 0.012);
        near_data(run(SaSolver{.predictor_order = 3, .corrector_order = 4, .tau = tau}, karras(schedule, 100), 20000), 0.012);
    }
    std::vector<NoiseLevel> levels;
    for (double ratio : exponential_sigmas(0.02, 150, 101)) levels.push_back(level_of_ratio(ratio, ratio));
    near_data(run(SaSolver{.tau = 1, .data_prediction = false}, steps_between(levels), 20000), 0.015);
}

TEMPLATE_TEST_CASE("sample k of the solvers is the same in any batch and a copied run goes on as the run does", "", DpmSolverSinglestep, UniPc,
                   SaSolver, Pndm, ReleasedPndm) {
    TestType sampler{};
    if constexpr (std::is_same_v<TestType, DpmSolverSinglestep>) sampler.stochastic = true, sampler.order = 3;
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    const Steps steps = trailing(schedule, 14);
    constexpr Index pixels = 7 * 7 * 3;
    auto network = [](const Tensor<float>& x, const NoiseLevel& level) {
        Tensor<float> out(x.shape());
        for (Index i = 0; i < x.size(); ++i)
            out[i] = std::sin(1.3f * x[i] + 0.002f * static_cast<float>(level.time)) + 0.1f * x[i / pixels * pixels + (i + 1) % pixels];
        return out;
    };
    Denoiser denoise{network, Reading{.clip = 1.5}};
    const auto all = sample<float>(denoise, sampler, steps, {150, 7, 7, 3}, {.seed = 1});
    for (Index k : {0, 149}) {
        const auto alone = sample<float>(denoise, sampler, steps, {1, 7, 7, 3}, {.seed = 1, .first_sample = static_cast<std::uint64_t>(k)});
        CHECK(std::equal(alone.begin(), alone.end(), all.begin() + k * pixels));
    }
    WhiteNoise noise{1, 0};
    Sampling<float, TestType> run(sampler, steps, initial_noise<float>({2, 7, 7, 3}, steps, 1));
    for (int i = 0; i < 5; ++i) run.step(denoise, noise);
    Sampling<float, TestType> copy = run;
    run.run(denoise, noise);
    copy.run(denoise, noise);
    CHECK(std::equal(run.x().begin(), run.x().end(), copy.x().begin()));
    CHECK(std::equal(run.x().begin(), run.x().end(), all.begin()));
}

TEST_CASE("solvers refuse what they cannot do") {
    const DiscreteSchedule schedule(linear_betas<double>(1000)), rescaled(zero_terminal_snr(linear_betas<double>(1000)));
    const Steps steps = trailing(schedule, 8), blind = trailing(rescaled, 8);
    Gaussian exact;
    const auto fails = [&](const auto& sampler, const Steps& where) {
        CHECK_THROWS_AS(sample<float>(Denoiser{exact, says_x0}, sampler, where, {1, 1}), ArgumentError);
    };
    for (int order : {0, 4}) {
        fails(DpmSolverSinglestep{.order = order}, steps);
        fails(UniPc{.order = order}, steps);
        fails(SaSolver{.predictor_order = order}, steps);
    }
    fails(SaSolver{.corrector_order = 5}, steps);
    fails(DpmSolverSinglestep{.data_prediction = false, .stochastic = true}, steps);
    fails(DpmSolverSinglestep{.data_prediction = false}, blind);
    fails(UniPc{.data_prediction = false}, blind);
    fails(SaSolver{.data_prediction = false}, blind);
    fails(SaSolver{.data_prediction = false}, steps);  // ends at sigma = 0
    fails(Pndm{}, blind);
    fails(Pndm{}, trailing(schedule, 5));  // too few for the warm-up
    fails(ReleasedPndm{Pndm::Start::improved_euler}, blind);

    Steps upwards = steps;
    std::reverse(upwards.intervals.begin(), upwards.intervals.end());
    for (Interval& i : upwards.intervals) std::swap(i.from, i.to);
    upwards.may_rise = true;  // starts without noise
    fails(Dpmpp2M{}, upwards);
    fails(DpmSolverSinglestep{}, upwards);
    fails(UniPc{}, upwards);
    fails(SaSolver{}, upwards);
    fails(Pndm{}, upwards);
    fails(Euler{}, upwards);
    fails(Heun{}, upwards);
    upwards.intervals.erase(upwards.intervals.begin());
    fails(Dpmpp2M{.stochastic = true}, upwards);
    fails(SaSolver{}, upwards);
}

TEST_CASE("inversion leads back to where sampling started") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    const Steps down = trailing(schedule, 400);
    Steps up = down;
    std::reverse(up.intervals.begin(), up.intervals.end());
    for (Interval& i : up.intervals) std::swap(i.from, i.to);
    up.may_rise = true;
    Gaussian exact;
    Denoiser denoise{exact, says_x0};
    // Without noise the network's word on x0 says nothing about eps: start at the first level with some.
    up.intervals.erase(up.intervals.begin());
    WhiteNoise noise;
    const auto start = initial_noise<double>({50, 1}, down, 3);
    Sampling<double, Ddim> sampling(Ddim{}, Steps{{down.intervals.begin(), down.intervals.end() - 1}}, start);
    sampling.run(denoise, noise);
    Sampling<double, Ddim> inversion(Ddim{}, up, sampling.x());
    inversion.run(denoise, noise);
    Sampling<double, DpmSolverMultistep> second(Dpmpp2M{}, up, sampling.x());
    second.run(denoise, noise);
    double worst = 0, worst_second = 0;
    for (Index i = 0; i < start.size(); ++i) {
        worst = std::max(worst, std::abs(inversion.x()[i] - start[i]));
        worst_second = std::max(worst_second, std::abs(second.x()[i] - start[i]));
    }
    CHECK(worst < 0.05);
    CHECK(worst_second < 0.05);
}
