// SPDX-License-Identifier: MIT
// The variational bound on data whose best bound and likelihood are known.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/likelihood.hpp"
#include "ito/sampler/variational_bound.hpp"
#include "ito/schedule/steps.hpp"

using namespace ito;

namespace variational_bound_test {
namespace {

const DiscreteSchedule schedule(linear_betas<double>(1000));
const Reading says_x0{.prediction = Prediction::sample};
constexpr double s = 0.3;
constexpr Index n = 4;

GaussianMixture normal() { return GaussianMixture::normal(Eigen::VectorXd::Constant(n, 0.1), Eigen::VectorXd::Constant(n, s * s)); }

/// Whole-number data: draws rounded to the 256 levels of [-1, 1].
Tensor<double> pictures(Index count) {
    Tensor<double> x = normal().draw<double>(count, 1);
    for (double& v : x) v = std::clamp(std::round((v + 1) * 127.5), 0.0, 255.0) / 127.5 - 1;
    return x;
}

}  // namespace

TEST_CASE("the bound is the likelihood where the reverse chain is exact and above it elsewhere") {
    const Tensor<double> x = pictures(4000);
    const GaussianMixture target = normal();
    // The probability of a level is the density times its width, 2 / 255.
    std::vector<double> exact;
    for (const double nats : target.log_density(x)) exact.push_back(-nats / (n * std::log(2.0)) - std::log2(2.0 / 255));
    const auto excess = [&](const VariationalBound& bound) {
        std::vector<double> difference = bound.total();
        for (std::size_t k = 0; k < difference.size(); ++k) difference[k] -= exact[k];
        return mean_error(difference);
    };
    for (const Index count : {3, 30}) {
        const Steps steps = trailing(schedule, count);
        // Var[x_to | x] = beta~ + (weight of x0)^2 Var[x0 | x].
        auto network = [&](const Tensor<double>& at, const NoiseLevel& level) {
            Interval now{};
            for (const Interval& i : steps.intervals)
                if (i.from.time == level.time) now = i;
            const double beta = transition(now).variance, sigma2 = level.sigma * level.sigma, weight = now.to.alpha * beta / sigma2;
            const double left = s * s * sigma2 / (level.alpha * level.alpha * s * s + sigma2);
            Tensor<double> both = Tensor<double>::full({at.dim(0), 2 * n}, beta * now.to.sigma * now.to.sigma / sigma2 + weight * weight * left);
            both.matrix().leftCols(n) = target(at, level).matrix();
            return both;
        };
        const Denoiser denoise{network, Reading{.prediction = Prediction::sample, .learned_variance = true}};
        const MeanError true_chain = excess(variational_bound(x, steps, Denoiser(denoise), Ddpm::Variance::learned, 3));
        CAPTURE(count, true_chain.mean, true_chain.error);
        CHECK(std::abs(true_chain.mean) < 5 * true_chain.error);
        CHECK(true_chain.error < 0.02);
        Denoiser plain{target, says_x0};
        for (const auto variance : {Ddpm::Variance::fixed_small, Ddpm::Variance::fixed_large})
            CHECK(excess(variational_bound(x, steps, plain, variance, 3)).mean > 5 * true_chain.error);
    }
}

TEST_CASE("each term of the bound is what its definition says") {
    const Tensor<double> x = pictures(50000);
    const GaussianMixture target = normal();
    Denoiser denoise{target, says_x0};
    const Steps steps = trailing(schedule, 3);
    const VariationalBound bound = variational_bound(x, steps, denoise, Ddpm::Variance::fixed_small, 3);
    const double unit = 1 / std::log(2.0);
    const auto check = [&](const std::vector<double>& values, double expected) {
        const MeanError got = mean_error(values);
        CAPTURE(got.mean, got.error, expected);
        CHECK(std::abs(got.mean - expected) < 5 * got.error + 1e-3 * expected);
    };
    const NoiseLevel last = steps.intervals[0].from;
    const double a2 = last.alpha * last.alpha, s2 = last.sigma * last.sigma;
    check(bound.prior, 0.5 * unit * (s2 + a2 * (s * s + 0.01) - 1 - std::log(s2)));
    for (std::size_t i = 0; i < 2; ++i) {
        // With equal variances the term is (weight of x0)^2 E[Var(x0 | x)] / (2 beta~).
        const NoiseLevel &from = steps.intervals[i].from, &to = steps.intervals[i].to;
        const double beta = transition(steps.intervals[i]).variance, small = beta * to.sigma * to.sigma / (from.sigma * from.sigma);
        const double weight = to.alpha * beta / (from.sigma * from.sigma);
        const double left = s * s * from.sigma * from.sigma / (from.alpha * from.alpha * s * s + from.sigma * from.sigma);
        check(bound.steps[i], unit * weight * weight * left / (2 * small));
    }
    CHECK(mean_error(bound.decoder).mean > 0);
}

TEST_CASE("learned variances are those that are said") {
    const Tensor<double> x = pictures(100);
    const GaussianMixture target = normal();
    const Steps steps = trailing(schedule, 10);
    const auto with_channel = [&](double said) {
        auto network = [&target, said](const Tensor<double>& at, const NoiseLevel& level) {
            const Tensor<double> x0 = target(at, level);
            Tensor<double> both = Tensor<double>::full({at.dim(0), 2 * n}, said);
            both.matrix().leftCols(n) = x0.matrix();
            return both;
        };
        Denoiser denoise{network, Reading{.prediction = Prediction::sample, .learned_variance = true}};
        return variational_bound(x, steps, denoise, Ddpm::Variance::learned_range, 3);
    };
    Denoiser fixed{target, says_x0};
    const auto small = variational_bound(x, steps, fixed, Ddpm::Variance::fixed_small, 3), large = variational_bound(x, steps, fixed, Ddpm::Variance::fixed_large, 3);
    const auto low = with_channel(-1), high = with_channel(1), middle = with_channel(0.5);
    for (std::size_t i = 0; i < 9; ++i) {
        CHECK(low.steps[i][7] == Approx(small.steps[i][7]));
        CHECK(high.steps[i][7] == Approx(large.steps[i][7]));
    }
    CHECK(low.decoder[7] == Approx(small.decoder[7]));
    CHECK(middle.steps[4][7] != high.steps[4][7]);
}

TEST_CASE("a bound of a sample is its own and steps without a bound are refused") {
    const Tensor<double> x = pictures(3);
    const GaussianMixture target = normal();
    Denoiser denoise{target, says_x0};
    const Steps steps = trailing(schedule, 5);
    Tensor<double> third({1, n});
    for (Index i = 0; i < n; ++i) third[i] = x(2, i);
    const auto all = variational_bound(x, steps, denoise, Ddpm::Variance::fixed_small, 3), one = variational_bound(third, steps, denoise, Ddpm::Variance::fixed_small, 3, 2);
    CHECK(all.total()[2] == one.total()[0]);
    Steps gap = steps, open = steps;
    gap.intervals.erase(gap.intervals.begin() + 2);
    open.intervals.pop_back();
    CHECK_THROWS_AS(variational_bound(x, gap, denoise, Ddpm::Variance::fixed_small, 3), ArgumentError);
    CHECK_THROWS_AS(variational_bound(x, open, denoise, Ddpm::Variance::fixed_small, 3), ArgumentError);
}

}  // namespace variational_bound_test
