// SPDX-License-Identifier: MIT
// Samplers against normal data.
#include <algorithm>
#include <cmath>
#include <stop_token>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/sigmas.hpp"
#include "sampler/gaussian.hpp"

using namespace ito;
using namespace ito::test;

namespace {

constexpr Index pixels = 7 * 7 * 3;

template <class S>
Tensor<float> draw(const S& sampler, Index batch, const SampleOptions& options) {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    // Looks at neighbouring pixels, so that samples cut in the wrong place would show.
    auto network = [](const Tensor<float>& x, const NoiseLevel& level) {
        Tensor<float> out(x.shape());
        for (Index i = 0; i < x.size(); ++i)
            out[i] = std::sin(1.3f * x[i] + 0.002f * static_cast<float>(level.time)) + 0.1f * x[i / pixels * pixels + (i + 1) % pixels];
        return out;
    };
    return sample<float>(Denoiser{network, Reading{.clip = 1.5}}, sampler, trailing(schedule, 12), {batch, 7, 7, 3}, options);
}

Estimate<float> halved(const Tensor<float>& x, const NoiseLevel& level) {
    Tensor<float> out = x;
    out.array() *= 0.5f;
    return read(Reading{.prediction = Prediction::sample}, x, level, std::move(out));
}

}  // namespace

TEST_CASE("second order is well ahead of first at eighty steps") {
    CHECK(ode_error(Dpmpp2M{}, levels_of(80)) < 0.1 * ode_error(Ddim{}, levels_of(80)));
    CHECK(std::log2(ode_error(Heun{}, levels_of(80)) / ode_error(Heun{}, levels_of(160))) == Approx(2).margin(0.15));
}

TEST_CASE("Euler without churn is DDIM without eta, and Heun does not mind the scale of x") {
    const auto levels = levels_of(10);
    CHECK(ode_error(Euler{}, levels) == Approx(ode_error(Ddim{}, levels)).epsilon(1e-9));
    Gaussian exact;
    Denoiser denoise{exact, says_x0};
    WhiteNoise noise;
    std::vector<NoiseLevel> exploding;
    for (const auto& level : levels) exploding.push_back(variance_exploding(level));
    Sampling<double, Heun> one(Heun{}, steps_between(levels), Tensor<double>::full({1, 1}, 0.3));
    Sampling<double, Heun> other(Heun{}, steps_between(exploding), Tensor<double>::full({1, 1}, 0.3 / levels[0].alpha));
    one.run(denoise, noise);
    other.run(denoise, noise);
    CHECK(one.x()[0] == Approx(other.x()[0] * levels.back().alpha).epsilon(1e-9));
}

TEST_CASE("ancestral sampling with the true variance is exact in any number of steps") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    for (Index count : {3, 10}) {
        const Steps steps = trailing(schedule, count);
        // Var[x_to | x] = beta~ + (weight of x0)^2 Var[x0 | x]; the network says it in its second channel.
        auto network = [&](const Tensor<float>& x, const NoiseLevel& l) {
            Interval now{};
            for (const auto& i : steps.intervals)
                if (i.from.time == l.time) now = i;
            const double beta = transition(now).variance, sigma2 = l.sigma * l.sigma;
            const double weight = now.to.alpha * beta / sigma2, left = s * s * sigma2 / (l.alpha * l.alpha * s * s + sigma2);
            const double variance = beta * now.to.sigma * now.to.sigma / sigma2 + weight * weight * left;
            const Tensor<float> x0 = Gaussian{}(x, l);
            Tensor<float> both({x.dim(0), 2});
            for (Index k = 0; k < x.dim(0); ++k) both(k, 0) = x0[k], both(k, 1) = static_cast<float>(variance);
            return both;
        };
        const Reading reading{.prediction = Prediction::sample, .learned_variance = true};
        const Ddpm sampler{Ddpm::Variance::learned, true};
        // The run starts from N(0, 1) where the chain would from N(alpha m, ..): alpha is 0.006 there.
        check_normal(sample<float>(Denoiser{network, reading}, sampler, steps, {100000, 1}, {.seed = 3}), {m, s * s});
    }
}

TEST_CASE("every variance of DDPM and eta of DDIM give the moments that follow from them") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    const Steps steps = trailing(schedule, 8);
    Gaussian exact;
    struct Parts {
        double of_x, of_x0, added;
    };
    const auto expect = [&](auto parts_of) {  // of x' = of_x x + of_x0 x0(x) + sqrt(added) z
        Moments now{0, 1};
        for (const Interval& i : steps.intervals) {
            const double k = i.from.alpha * s * s / std::pow(deviation(i.from), 2);
            const Parts p = parts_of(i);
            now.mean = (p.of_x + p.of_x0 * k) * now.mean + p.of_x0 * m * (1 - k * i.from.alpha);
            now.variance = std::pow(p.of_x + p.of_x0 * k, 2) * now.variance + p.added;
        }
        return now;
    };
    const auto ddpm = [&](double share) {  // log variance: share of beta, rest of beta~
        return expect([&](const Interval& i) {
            const Transition t = transition(i);
            const double from2 = i.from.sigma * i.from.sigma, to2 = i.to.sigma * i.to.sigma;
            const double added = to2 == 0 ? 0 : std::pow(t.variance, share) * std::pow(t.variance * to2 / from2, 1 - share);
            return Parts{t.alpha * to2 / from2, i.to.alpha * t.variance / from2, added};
        });
    };
    const auto run = [&](auto sampler) { return sample<float>(Denoiser{exact, says_x0}, sampler, steps, {100000, 1}, {.seed = 5}); };
    check_normal(run(Ddpm{}), ddpm(0));
    check_normal(run(Ddpm{Ddpm::Variance::fixed_large}), ddpm(1));
    auto ranged = [&](const Tensor<float>& x, const NoiseLevel& l) {
        const Tensor<float> x0 = Gaussian{}(x, l);
        Tensor<float> both = Tensor<float>::full({x.dim(0), 2}, 0.5f);  // three quarters of the way from beta~ to beta
        for (Index k = 0; k < x.dim(0); ++k) both(k, 0) = x0[k];
        return both;
    };
    const Reading learned{.prediction = Prediction::sample, .learned_variance = true};
    check_normal(sample<float>(Denoiser{ranged, learned}, Ddpm{Ddpm::Variance::learned_range}, steps, {100000, 1}, {.seed = 6}),
                 ddpm(0.75));
    check_normal(run(Ddim{.eta = 1}), ddpm(0));  // eta = 1 is DDPM with the small variance
    const Moments flow = expect([](const Interval& i) {
        const double left = i.to.sigma / i.from.sigma;
        return Parts{left, i.to.alpha - left * i.from.alpha, 0};
    });
    check_normal(run(Ddim{}), flow);
    check_normal(run(Ddim{.use_clipped_model_output = true}), flow);
    check_normal(run(Euler{}), flow);
}

TEST_CASE("stochastic solvers in many steps end at the data") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    Gaussian exact;
    const auto near_data = [](const Tensor<float>& x, double margin) {
        const Moments got = moments(x);
        CHECK(got.mean == Approx(m).margin(margin));
        CHECK(got.variance == Approx(s * s).margin(margin));
    };
    for (int order : {1, 2, 3}) {
        CAPTURE(order);
        const DpmSolverMultistep sde{.order = order, .stochastic = true};
        near_data(sample<float>(Denoiser{exact, says_x0}, sde, karras(schedule, 100), {20000, 1}, {.seed = 8}),
                  order == 1 ? 0.03 : 0.012);
    }
    // With epsilon, ending above zero noise.
    std::vector<NoiseLevel> levels;
    for (double ratio : exponential_sigmas(0.02, 150, 101)) levels.push_back(level_of_ratio(ratio, ratio));
    for (int order : {1, 2}) {
        CAPTURE(order);
        const DpmSolverMultistep sde{.order = order, .data_prediction = false, .stochastic = true};
        near_data(sample<float>(Denoiser{exact, says_x0}, sde, steps_between(levels), {20000, 1}, {.seed = 8}),
                  order == 1 ? 0.05 : 0.015);
    }
    const Churn churn{.amount = 20, .min = 0.05, .max = 50, .noise = 1};
    const Steps steps = karras(schedule, 60);
    near_data(sample<float>(Denoiser{exact, says_x0}, Heun{churn}, steps, {20000, 1}, {.seed = 9}), 0.012);
    near_data(sample<float>(Denoiser{exact, says_x0}, Euler{churn}, steps, {20000, 1}, {.seed = 9}), 0.05);
    near_data(sample<float>(Denoiser{exact, says_x0}, Euler{churn, true}, steps, {20000, 1}, {.seed = 9}), 0.1);

    // A network that is told a time is told that of the raised level.
    double asked = 0;
    TimedBy timed{schedule, [&](const Tensor<float>& x, const NoiseLevel& level) {
                      asked = level.time;
                      return x;
                  }};
    timed(Tensor<float>::zeros({1, 1}), NoiseLevel{0, 1, schedule.sigma(321) / schedule.alpha(321)});
    CHECK(asked == Approx(321));
}

TEMPLATE_TEST_CASE("sample k is the same in any batch and with any number of threads", "", Ddpm, Ddim, Euler, Heun,
                   DpmSolverMultistep) {
    TestType sampler{};
    if constexpr (std::is_same_v<TestType, Ddim>) sampler.eta = 1;
    if constexpr (std::is_same_v<TestType, DpmSolverMultistep>) sampler.stochastic = true;
    if constexpr (std::is_same_v<TestType, Euler> || std::is_same_v<TestType, Heun>) sampler.churn.amount = 3;
    ThreadPool one(1), four(4);
    Tensor<float> all;
    {
        ThreadPool::Scope scope(four);
        all = draw(sampler, 150, {.seed = 1});  // more elements than one piece of work
    }
    ThreadPool::Scope scope(one);
    for (Index k : {0, 1, 77, 149}) {
        const Tensor<float> alone = draw(sampler, 1, {.seed = 1, .first_sample = static_cast<std::uint64_t>(k)});
        CHECK(std::equal(alone.begin(), alone.end(), all.begin() + k * pixels));
    }
    const auto other = draw(sampler, 1, {.seed = 2});
    CHECK_FALSE(std::equal(other.begin(), other.end(), all.begin()));
}

TEST_CASE("functions and constant objects can be denoisers") {
    const Steps steps = trailing(DiscreteSchedule(linear_betas<double>(1000)), 5);
    const auto constant = [](const Tensor<float>& x, const NoiseLevel& level) { return halved(x, level); };
    const Tensor<float> x = sample<float>(halved, Ddim{}, steps, {2, 3});
    CHECK((sample<float>(constant, Ddim{}, steps, {2, 3}).array() == x.array()).all());
    // One that chooses levels sample by sample.
    CHECK(sample<float>(halved, DpmSolverAdaptive{}, steps, {2, 3}).array().isFinite().all());
}

TEST_CASE("a run can be stopped, copied and resumed") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    auto network = [](const Tensor<float>& x, const NoiseLevel&) { return x; };
    Denoiser denoise{network, Reading{.prediction = Prediction::v}};
    WhiteNoise noise{4, 0};
    const Steps steps = trailing(schedule, 10);
    const DpmSolverMultistep sampler{.order = 3, .stochastic = true};
    const auto start = initial_noise<float>({2, 5}, steps, 4);

    Sampling<float, DpmSolverMultistep> whole(sampler, steps, start), stopped(sampler, steps, start);
    std::vector<Index> seen;
    whole.run(denoise, noise, {}, [&](const Seen<float>& now) {
        seen.push_back(now.progress.done);
        CHECK(now.progress.total == 10);
        CHECK(now.x.shape() == start.shape());
    });
    CHECK(seen == std::vector<Index>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});

    std::stop_source stop;
    const auto stop_after_four = [&](const Seen<float>& now) {
        if (now.progress.done == 4) stop.request_stop();
    };
    CHECK_THROWS_AS(stopped.run(denoise, noise, stop.get_token(), stop_after_four), Cancelled);
    CHECK(stopped.progress().done == 4);
    auto copy = stopped;
    stopped.run(denoise, noise);
    while (!copy.done()) copy.step(denoise, noise);
    CHECK(std::equal(whole.x().begin(), whole.x().end(), stopped.x().begin()));
    CHECK(std::equal(whole.x().begin(), whole.x().end(), copy.x().begin()));
    CHECK_THROWS_AS(copy.step(denoise, noise), ArgumentError);

    // A network that throws leaves the run as it was.
    Sampling<float, DpmSolverMultistep> again(sampler, steps, start);
    int calls = 0;
    auto failing = [&](const Tensor<float>& x, const NoiseLevel&) {
        if (++calls == 3) throw NumericError("once");
        return x;
    };
    Denoiser fragile{failing, Reading{.prediction = Prediction::v}};
    CHECK_THROWS_AS(again.run(fragile, noise), NumericError);
    again.run(fragile, noise);
    CHECK(std::equal(whole.x().begin(), whole.x().end(), again.x().begin()));
}

TEST_CASE("bad input to a run is an exception that says what") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    auto network = [](const Tensor<float>& x, const NoiseLevel&) { return x; };
    Denoiser denoise{network, Reading{}};
    CHECK_THROWS_AS(sample<float>(denoise, Ddim{}, Steps{}, {1, 2}), ArgumentError);
    CHECK_THROWS_AS(sample<float>(denoise, Ddim{}, trailing(schedule, 5), {0, 2}), ArgumentError);

    Steps upwards = trailing(schedule, 5);
    std::swap(upwards.intervals[1].from, upwards.intervals[1].to);
    CHECK_THROWS_AS(sample<float>(denoise, Ddim{}, upwards, {1, 2}), ArgumentError);
    upwards.may_rise = true;
    CHECK_NOTHROW(sample<float>(denoise, Ddim{}, upwards, {1, 2}));

    const DiscreteSchedule rescaled(zero_terminal_snr(linear_betas<double>(1000)));
    CHECK_THROWS_AS(sample<float>(denoise, Ddim{}, trailing(rescaled, 5), {1, 2}), ArgumentError);
    Denoiser v{network, Reading{.prediction = Prediction::v}};
    CHECK_NOTHROW(sample<float>(v, Ddim{}, trailing(rescaled, 5), {1, 2}));
    CHECK_NOTHROW(sample<float>(v, Dpmpp2M{}, trailing(rescaled, 5), {1, 2}));
    CHECK_THROWS_AS(sample<float>(v, Heun{}, trailing(rescaled, 5), {1, 2}), ArgumentError);
    CHECK_THROWS_AS(sample<float>(v, DpmSolverMultistep{.data_prediction = false}, trailing(rescaled, 5), {1, 2}), ArgumentError);
    CHECK_THROWS_AS(sample<float>(v, DpmSolverMultistep{.order = 4}, trailing(schedule, 5), {1, 2}), ArgumentError);

    auto wrong = [](const Tensor<float>&, const NoiseLevel&) { return Tensor<float>::zeros({1, 3}); };
    CHECK_THROWS_AS(sample<float>(Denoiser{wrong, Reading{}}, Ddim{}, trailing(schedule, 5), {1, 2}), ShapeError);
    auto broken = [](const Tensor<float>& x, const NoiseLevel&) { return Tensor<float>::full(x.shape(), std::nanf("")); };
    CHECK_THROWS_AS(sample<float>(Denoiser{broken, Reading{.clip = 1}}, Ddim{}, trailing(schedule, 5), {1, 2}), NumericError);
}
