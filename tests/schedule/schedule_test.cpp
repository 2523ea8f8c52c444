// SPDX-License-Identifier: MIT
#include "ito/schedule/schedule.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "ito/schedule/sigmas.hpp"
#include "ito/schedule/steps.hpp"

using namespace ito;

namespace {
struct NotANumber {
    double alpha(double) const { return std::numeric_limits<double>::quiet_NaN(); }
    double sigma(double) const { return 1; }
    double last_time() const { return 1; }
};
struct Rising {
    double alpha(double t) const { return t; }
    double sigma(double t) const { return 1 - t; }
    double last_time() const { return 1; }
};
}  // namespace

TEMPLATE_TEST_CASE("the beta tables give the published alpha_bar", "", float, double) {
    const double tolerance = std::is_same_v<TestType, float> ? 2e-6 : 1e-8;
    const auto linear = cumulative_alphas(linear_betas<TestType>(1000));
    CHECK(linear[0] == Approx(0.9999).epsilon(tolerance));
    CHECK(linear[499] == Approx(0.078587243).epsilon(tolerance));
    CHECK(linear[999] == Approx(4.0358298e-05).epsilon(tolerance));
    const auto scaled = cumulative_alphas(scaled_linear_betas<TestType>(1000));
    CHECK(scaled[0] == Approx(0.99915).epsilon(tolerance));
    CHECK(scaled[499] == Approx(0.27766965).epsilon(tolerance));
    CHECK(scaled[999] == Approx(0.0046600985).epsilon(tolerance));
    const auto cosine = cumulative_alphas(cosine_betas<TestType>(1000));
    CHECK(cosine[0] == Approx(0.99995872).epsilon(tolerance));
    CHECK(cosine[499] == Approx(0.49384359).epsilon(tolerance));
    CHECK(cosine[999] == Approx(2.4287669e-09).epsilon(10 * tolerance));
    const auto exponential = cumulative_alphas(exponential_betas<TestType>(1000));
    CHECK(exponential[999] == Approx(std::exp(-12.0)).epsilon(100 * tolerance));
    CHECK(sigmoid_betas<TestType>(11)[5] == Approx(0.01005));
    const auto laplace = cumulative_alphas(laplace_betas<TestType>(1000));  // SNR 1 halfway, 1000 at the start
    CHECK(laplace[499] == Approx(std::sqrt(0.5 / (1000.0 / 1001))).epsilon(1e-4));
}

TEMPLATE_TEST_CASE("rescaling leaves no signal at the end", "", float, double) {
    const auto alphas = cumulative_alphas(zero_terminal_snr(scaled_linear_betas<TestType>(1000)));
    CHECK(alphas[0] == Approx(0.99915).epsilon(1e-6));
    CHECK(alphas[499] == Approx(0.24235917).epsilon(1e-6));
    CHECK(alphas[998] == Approx(1.9678881e-07).epsilon(std::is_same_v<TestType, float> ? 1e-4 : 1e-7));
    CHECK(alphas[999] == 0);
}

TEST_CASE("a discrete schedule is read by position and interpolated between") {
    const DiscreteSchedule schedule(scaled_linear_betas<double>(1000));
    CHECK(schedule.size() == 1000);
    for (Index t : {0, 1, 500, 999}) {
        const NoiseLevel level = schedule.level(t);
        CHECK(level.alpha * level.alpha + level.sigma * level.sigma == Approx(1));
        CHECK(schedule.alpha(static_cast<double>(t)) == level.alpha);
        CHECK(schedule.sigma(static_cast<double>(t)) == level.sigma);
    }
    const double between = half_log_snr(level_at(schedule, 500.25));
    CHECK(between == Approx(0.75 * half_log_snr(schedule.level(500)) + 0.25 * half_log_snr(schedule.level(501))));
    CHECK(log_snr(schedule.level(500)) == 2 * half_log_snr(schedule.level(500)));
    CHECK(time_of_ratio(schedule, schedule.sigma(123.4) / schedule.alpha(123.4)) == Approx(123.4));
    const NoiseLevel rescaled = level_at(DiscreteSchedule(zero_terminal_snr(scaled_linear_betas<double>(1000))), 998.5);
    CHECK(rescaled.alpha > 0);
    CHECK(std::hypot(rescaled.alpha, rescaled.sigma) == Approx(1));

    CHECK_THROWS_AS(schedule.level(-1), ArgumentError);
    CHECK_THROWS_AS(schedule.level(1000), ArgumentError);
    CHECK_THROWS_AS(DiscreteSchedule(std::vector<double>{}), ArgumentError);
    CHECK_THROWS_AS(DiscreteSchedule(std::vector<double>{0.1, 1.5}), ArgumentError);
    CHECK_THROWS_AS(DiscreteSchedule(std::vector<double>{0.1, std::nan("")}), ArgumentError);
    CHECK_THROWS_AS(DiscreteSchedule::of_alphas_cumprod(std::vector<float>{0.9f, -0.1f}), ArgumentError);
    CHECK_THROWS_AS(linear_betas<double>(0), ArgumentError);
}

TEST_CASE("the continuous VP schedule has the paper's moments") {
    const ContinuousVp vp;
    CHECK(vp.alpha(0.5) == Approx(0.281183).epsilon(1e-5));
    CHECK(vp.sigma(0.5) * vp.sigma(0.5) == Approx(0.92093619).epsilon(1e-7));
    CHECK(vp.alpha(1) == Approx(0.00657159).epsilon(1e-5));
    CHECK(vp.sigma(1) * vp.sigma(1) == Approx(0.99995681).epsilon(1e-7));
    CHECK(level_at(vp, 0.25).time == Approx(249.75));
}

TEST_CASE("times are spaced as Lin et al. have them") {
    CHECK(leading_times(1000, 10, 1) == std::vector<double>{901, 801, 701, 601, 501, 401, 301, 201, 101, 1});
    CHECK(trailing_times(1000, 10) == std::vector<double>{999, 899, 799, 699, 599, 499, 399, 299, 199, 99});
    CHECK(linspace_times(1000, 10) == std::vector<double>{999, 888, 777, 666, 555, 444, 333, 222, 111, 0});
    CHECK(linspace_times(1000, 3) == std::vector<double>{999, 500, 0});  // 499.5 to even
    const auto halfway = trailing_times(1000, 48);  // 937.5, 687.5, 187.5 fall as they do in numpy.arange
    CHECK(halfway[3] == 936);
    CHECK(halfway[15] == 686);
    CHECK(halfway[39] == 186);
    for (Index n = 1; n <= 1000; ++n) {
        const auto times = trailing_times(1000, n);
        CHECK((static_cast<Index>(times.size()) == n && times.front() == 999 && times.back() >= 0));
    }
    for (Index bad : {0, -3, 1001}) {
        CHECK_THROWS_AS(leading_times(1000, bad), ArgumentError);
        CHECK_THROWS_AS(linspace_times(1000, bad), ArgumentError);
        CHECK_THROWS_AS(trailing_times(1000, bad), ArgumentError);
    }
}

TEST_CASE("sigmas fall as published") {
    const DiscreteSchedule schedule(scaled_linear_betas<double>(1000));
    const double max = schedule.sigma(999) / schedule.alpha(999), min = schedule.sigma(0) / schedule.alpha(0);
    CHECK(max == Approx(14.6146).epsilon(1e-5));
    CHECK(min == Approx(0.0291672).epsilon(1e-4));
    const std::vector<double> expected{14.6146, 9.1029, 5.4784, 3.1686, 1.7494, 0.9141, 0.4469, 0.2014, 0.0819, 0.0292};
    const auto karras_10 = karras_sigmas(min, max, 10);
    for (std::size_t i = 0; i < 10; ++i) CHECK(karras_10[i] == Approx(expected[i]).margin(1e-4));
    const auto edm = karras_sigmas(0.002, 80, 18);
    CHECK(edm[0] == Approx(80));
    CHECK(edm[1] == Approx(57.5860).epsilon(1e-5));
    CHECK(edm[2] == Approx(40.7856).epsilon(1e-5));
    CHECK(edm[16] == Approx(0.0075).margin(1e-4));
    CHECK(edm[17] == Approx(0.002));

    const auto exponential = exponential_sigmas(0.01, 100, 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK(exponential[i] == Approx(std::pow(10.0, 2.0 - static_cast<double>(i))));
    CHECK(karras_sigmas(1, 5, 1)[0] == Approx(5));
    CHECK_THROWS_AS(karras_sigmas(0, 1, 5), ArgumentError);
    CHECK_THROWS_AS(karras_sigmas(2, 1, 5), ArgumentError);
    CHECK_THROWS_AS(exponential_sigmas(0.1, 1, 0), ArgumentError);
    CHECK_THROWS_AS(flow_sigmas(1000, 5, 0), ArgumentError);
    CHECK(flow_sigmas(1000, 4).front() == Approx(0.999));
    CHECK(flow_sigmas(1000, 2, 3).back() == Approx(3 * 0.4995 / (1 + 2 * 0.4995)));
}

TEST_CASE("beta quantiles invert the incomplete beta function") {
    // Beta(1/2, 1/2) is the arcsine law; Beta(2, 1) has the distribution x^2.
    for (double p : {0.0, 1e-6, 0.1, 0.5, 0.7, 0.999, 1.0}) {
        CHECK(beta_quantile(p, 0.5, 0.5) == Approx(std::pow(std::sin(p * 1.57079632679489661923), 2)).epsilon(1e-11));
        CHECK(beta_quantile(p, 2, 1) == Approx(std::sqrt(p)).epsilon(1e-11));
    }
    const auto sigmas = beta_sigmas(1, 3, 5);
    CHECK(sigmas.front() == 3);
    CHECK(sigmas[2] == Approx(2));
    CHECK(sigmas.back() == 1);
}

TEST_CASE("steps meet, fall and end without noise") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    for (const Steps& steps : {leading(schedule, 20), trailing(schedule, 20), linspace(schedule, 20), karras(schedule, 20)}) {
        REQUIRE(steps.count() == 20);
        for (Index i = 0; i < 20; ++i) {
            const Interval& interval = steps.intervals[static_cast<std::size_t>(i)];
            CHECK(interval.index == i);
            CHECK(half_log_snr(interval.to) > half_log_snr(interval.from));
            if (i > 0) CHECK(interval.from.sigma == steps.intervals[static_cast<std::size_t>(i) - 1].to.sigma);
        }
        CHECK(steps.intervals.back().to.sigma == 0);
        CHECK(steps.initial_scale == Approx(1));
    }
    CHECK(uniform_steps(ContinuousVp{}, 10).count() == 10);
    CHECK(steps_at(schedule, {999, 500}, End::first_level).intervals.back().to.sigma == schedule.level(0).sigma);
    CHECK(leading(schedule, 10).starting_at(4).intervals.front().index == 4);

    CHECK_THROWS_AS(leading(schedule, 0), ArgumentError);
    CHECK_THROWS_AS(trailing(schedule, -1), ArgumentError);
    CHECK_THROWS_AS(linspace(schedule, 1), ArgumentError);
    CHECK_THROWS_AS(leading(schedule, 10).starting_at(10), ArgumentError);
    CHECK_THROWS_AS(steps_at(schedule, {}), ArgumentError);
    CHECK_THROWS_AS(steps_at(schedule, {10, 500}), ArgumentError);
    CHECK_THROWS_AS(uniform_steps(NotANumber{}, 4), ArgumentError);
    CHECK_THROWS_AS(uniform_steps(Rising{}, 4), ArgumentError);
    CHECK_THROWS_AS(karras(DiscreteSchedule(zero_terminal_snr(linear_betas<double>(1000))), 10), ArgumentError);
    CHECK_THROWS_AS(variance_exploding({999, 0, 1}), ArgumentError);
    CHECK_THROWS_AS(transition({{999, 0, 1}, {998, 0, 1}}), ArgumentError);
}
