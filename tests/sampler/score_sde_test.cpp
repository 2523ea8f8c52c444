// SPDX-License-Identifier: MIT
// Predictors and correctors of score SDEs on data N(m, s^2), of which every marginal is known.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/predictor_corrector.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/continuous.hpp"

using namespace ito;

namespace score_sde_test {
namespace {

constexpr double m = 0.7, s = 0.4;

struct Score {
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& l) const {
        Tensor<T> score(x.shape());
        score.array() = (static_cast<T>(l.alpha * m) - x.array()) / static_cast<T>(l.alpha * l.alpha * s * s + l.sigma * l.sigma);
        return score;
    }
};

const Reading says_score{.prediction = Prediction::score};

struct Moments {
    double mean, variance;
};

Moments marginal(const NoiseLevel& l) { return {l.alpha * m, l.alpha * l.alpha * s * s + l.sigma * l.sigma}; }

/// `count` equal steps in time from the last one down to `first`.
template <class S>
Steps equal_steps(const S& schedule, int count, double first) {
    std::vector<NoiseLevel> levels;
    for (int i = 0; i <= count; ++i) levels.push_back(level_at(schedule, schedule.last_time() + (first - schedule.last_time()) * i / count));
    return steps_between(levels);
}

/// The moments that a sampler takes a normal distribution to: on Gaussian data a step is x' = a + b x + sum of c_j z_j, and
/// the sampler itself is asked for a, b and c.
template <class S>
Moments moments_of(const S& sampler, const Steps& steps, Moments now, int draws) {
    Score score;
    Denoiser denoise{score, says_score};
    for (const Interval& interval : steps.intervals) {
        const auto step = [&](double x, int which) {
            int draw = 0;
            auto noise = [&](Tensor<double>& z, const Interval&) { z[0] = draw++ == which ? 1 : 0; };
            Tensor<double> at = Tensor<double>::full({1, 1}, x);
            typename S::template State<double> state{};
            sampler.step(at, state, interval, denoise, noise);
            return at[0];
        };
        const double a = step(0, -1), b = step(1, -1) - a;
        now = {a + b * now.mean, b * b * now.variance};
        for (int j = 0; j < draws; ++j) now.variance += std::pow(step(0, j) - a, 2);
    }
    return now;
}

template <class S, class Schedule>
double weak_order(const S& sampler, const Schedule& schedule) {
    const auto error = [&](int count) {
        const Steps steps = equal_steps(schedule, count, 0.05);
        const Moments got = moments_of(sampler, steps, marginal(steps.intervals.front().from), 1), end = marginal(steps.intervals.back().to);
        return std::abs(got.mean - end.mean) + std::abs(got.variance - end.variance);
    };
    return std::log2(error(1000) / error(2000));
}

Moments moments(const Tensor<float>& x) {
    double mean = 0, square = 0;
    for (const double v : x) mean += v;
    mean /= static_cast<double>(x.size());
    for (const double v : x) square += (v - mean) * (v - mean);
    return {mean, square / static_cast<double>(x.size() - 1)};
}

/// Within five standard errors of N(mean, variance).
void check_normal(const Tensor<float>& x, const Moments& expected) {
    const Moments got = moments(x);
    const double n = static_cast<double>(x.size());
    CAPTURE(got.mean, got.variance, expected.mean, expected.variance);
    CHECK(std::abs(got.mean - expected.mean) < 5 * std::sqrt(expected.variance / n));
    CHECK(std::abs(got.variance - expected.variance) < 5 * expected.variance * std::sqrt(2 / n));
}

template <class S>
Tensor<float> draw(const S& sampler, const Steps& steps, const Shape& shape, const SampleOptions& options = {.seed = 3}) {
    Score score;
    return sample<float>(Denoiser{score, says_score}, sampler, steps, shape, options);
}

}  // namespace

TEST_CASE("predictors of score SDEs have weak order 1") {
    CHECK(weak_order(EulerMaruyama{ContinuousVp{}}, ContinuousVp{}) == Approx(1).margin(0.1));
    CHECK(weak_order(EulerMaruyama{ContinuousSubVp{}}, ContinuousSubVp{}) == Approx(1).margin(0.1));
    CHECK(weak_order(EulerMaruyama{ContinuousVe{0.01, 3}}, ContinuousVe{0.01, 3}) == Approx(1).margin(0.2));
    CHECK(weak_order(EulerMaruyama{ContinuousCosine{}}, ContinuousCosine{}) == Approx(1).margin(0.1));
    CHECK(weak_order(ReverseDiffusion{}, ContinuousVp{}) == Approx(1).margin(0.1));
    CHECK(weak_order(ReverseDiffusion{}, ContinuousSubVp{}) == Approx(1).margin(0.1));
    CHECK(weak_order(ReverseDiffusion{}, ContinuousVe{}) == Approx(1).margin(0.1));
    CHECK(weak_order(Ddpm{}, ContinuousVe{}) == Approx(1).margin(0.1));
    CHECK(weak_order(Ddpm{Ddpm::Variance::fixed_large}, ContinuousVp{}) == Approx(1).margin(0.1));
}

TEST_CASE("the ancestral predictor of the papers is Ddpm") {
    Score score;
    Denoiser denoise{score, says_score};
    auto noise = [](Tensor<double>& z, const Interval&) { z[0] = 0.3; };
    NoState none;
    const double x = 1.2;
    Tensor<double> at = Tensor<double>::full({1, 1}, x);
    Interval step{{1, 1, 2}, {0, 1, 1.5}, 0, 1};
    const double of_ve = (m - x) / (s * s + 4), gained = 4 - 2.25;  // equation 47
    Ddpm{}.step(at, none, step, denoise, noise);
    CHECK(at[0] == Approx(x + gained * of_ve + std::sqrt(2.25 * gained / 4) * 0.3));

    step = {{1, 0.6, 0.8}, {0, 0.8, 0.6}, 0, 1};
    const double beta = 1 - 0.36 / 0.64, of_vp = (0.6 * m - x) / (0.36 * s * s + 0.64);  // equation 4
    at[0] = x;
    Ddpm{Ddpm::Variance::fixed_large}.step(at, none, step, denoise, noise);
    CHECK(at[0] == Approx((x + beta * of_vp) / std::sqrt(1 - beta) + std::sqrt(beta) * 0.3));
    at[0] = x;
    ReverseDiffusion{}.step(at, none, step, denoise, noise);  // equation 46
    CHECK(at[0] == Approx((2 - std::sqrt(1 - beta)) * x + beta * of_vp + std::sqrt(beta) * 0.3));
}

TEST_CASE("predictors and correctors compose on VP and VE and sub-VP") {
    const auto check = [](const auto& sampler, const auto& schedule, int draws) {
        const Steps steps = uniform_steps(schedule, 20);
        const double start = steps.initial_scale;
        check_normal(draw(sampler, steps, {1000, 100}), moments_of(sampler, steps, {0, start * start}, draws));
    };
    const AnnealedLangevin twice{.snr = 0.2, .steps = 2};
    check(PredictorCorrector{ReverseDiffusion{}, AnnealedLangevin{}}, ContinuousVp{}, 2);
    check(PredictorCorrector{EulerMaruyama{ContinuousVp{}}, twice}, ContinuousVp{}, 3);
    check(PredictorCorrector{Ddpm{Ddpm::Variance::fixed_large}, NoCorrector{}}, ContinuousVp{}, 1);
    check(PredictorCorrector{ReverseDiffusion{.noisy_end = true}, AnnealedLangevin{}}, ContinuousVe{}, 2);
    check(PredictorCorrector{Ddpm{}, twice}, ContinuousVe{}, 3);
    check(PredictorCorrector{EulerMaruyama{ContinuousVe{}}, AnnealedLangevin{}}, ContinuousVe{}, 2);
    check(PredictorCorrector{EulerMaruyama{ContinuousSubVp{}}, AnnealedLangevin{}}, ContinuousSubVp{}, 2);
    check(PredictorCorrector{ReverseDiffusion{}, AnnealedLangevin{}}, ContinuousSubVp{}, 2);
    check(PredictorCorrector{NoPredictor{}, twice}, ContinuousVe{}, 2);
}

TEST_CASE("predictor and Langevin corrector in many steps end at the data", "[slow]") {
    // The corrector has a bias of about snr^2 + 4 / dimensions of the variance: kept below the statistical error.
    const Langevin corrector{.snr = 0.03};
    const auto check = [&](const auto& predictor, const auto& schedule) {
        check_normal(draw(PredictorCorrector{predictor, corrector}, uniform_steps(schedule, 1000), {25, 4000}), {m, s * s});
    };
    check(ReverseDiffusion{}, ContinuousVp{});
    check(EulerMaruyama{ContinuousVp{}}, ContinuousVp{});
    check(Ddpm{}, ContinuousVe{});
    check(EulerMaruyama{ContinuousSubVp{}}, ContinuousSubVp{});
}

TEST_CASE("annealed Langevin dynamics reach the data") {
    const PredictorCorrector sampler{NoPredictor{}, NcsnLangevin{.epsilon = 2e-4, .steps = 30}};
    const Steps steps = ncsn_steps(10);
    check_normal(draw(sampler, steps, {1000, 100}), moments_of(sampler, steps, {0, 2}, 30));
    const Moments end = moments_of(sampler, steps, {0, 2}, 30);
    CHECK(end.mean == Approx(m).margin(0.01));
    CHECK(end.variance == Approx(s * s).margin(0.01));
}

TEST_CASE("a corrected sample does not depend on its batch mates unless asked to") {
    const Steps steps = uniform_steps(ContinuousVp{}, 5);
    const PredictorCorrector alone{ReverseDiffusion{}, Langevin{.steps = 2}};
    const auto row = [](const Tensor<float>& x, Index k) { return std::vector<float>(x.data() + 5 * k, x.data() + 5 * (k + 1)); };
    CHECK(row(draw(alone, steps, {4, 5}, {.seed = 1}), 2) == row(draw(alone, steps, {1, 5}, {.seed = 1, .first_sample = 2}), 0));
    const auto own = [&](const auto& sampler, const Steps& through) {
        CHECK(row(draw(sampler, through, {4, 5}, {.seed = 1}), 2) == row(draw(sampler, through, {1, 5}, {.seed = 1, .first_sample = 2}), 0));
    };
    own(EulerMaruyama{ContinuousVp{}}, steps);
    own(PredictorCorrector{Ddpm{}, AnnealedLangevin{.steps = 2}}, uniform_steps(ContinuousVe{}, 5));
    own(PredictorCorrector{EulerMaruyama{ContinuousSubVp{}}, Langevin{}}, uniform_steps(ContinuousSubVp{}, 5));
    own(PredictorCorrector{NoPredictor{}, NcsnLangevin{.epsilon = 2e-4, .steps = 3}}, ncsn_steps(5));
    const PredictorCorrector together{ReverseDiffusion{}, Langevin{.steps = 2, .batch_mean = true}};
    CHECK(row(draw(together, steps, {4, 5}, {.seed = 1}), 2) != row(draw(together, steps, {1, 5}, {.seed = 1, .first_sample = 2}), 0));
    CHECK(row(draw(together, steps, {1, 5}, {.seed = 1}), 0) == row(draw(alone, steps, {1, 5}, {.seed = 1}), 0));
}

TEST_CASE("a corrector names what it cannot do and leaves x as it was") {
    const PredictorCorrector sampler{ReverseDiffusion{}, Langevin{}};
    auto flat = [](const Tensor<float>& x, const NoiseLevel&) { return Tensor<float>::zeros(x.shape()); };
    CHECK_THROWS_AS(sample<float>(Denoiser{flat, says_score}, sampler, uniform_steps(ContinuousVp{}, 3), {1, 2}), NumericError);

    int calls = 0;
    auto stubborn = [&](const Tensor<float>& x, const NoiseLevel& level) {
        if (++calls == 2) throw Error("no answer");
        return Score{}(x, level);
    };
    Denoiser denoise{stubborn, says_score};
    WhiteNoise noise;
    Sampling<float, PredictorCorrector<ReverseDiffusion, Langevin>> sampling(sampler, uniform_steps(ContinuousVp{}, 3), Tensor<float>::full({1, 2}, 1));
    CHECK_THROWS_AS(sampling.step(denoise, noise), Error);
    CHECK(sampling.x()[0] == 1);
    sampling.run(denoise, noise);
    CHECK(sampling.done());
}

}  // namespace score_sde_test
