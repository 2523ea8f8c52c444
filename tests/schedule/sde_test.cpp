// SPDX-License-Identifier: MIT
// Continuous schedules against reference values and against the SDEs that they stand for.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/core/random.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/schedule/sde.hpp"

using namespace ito;

namespace sde_test {
namespace {

/// The same schedule, of which only alpha and sigma are known.
template <class S>
struct Bare {
    S schedule{};
    double alpha(double t) const { return schedule.alpha(t); }
    double sigma(double t) const { return schedule.sigma(t); }
    double last_time() const { return schedule.last_time(); }
};

struct RectifiedFlow {
    double alpha(double t) const { return 1 - t; }
    double sigma(double t) const { return t; }
    double last_time() const { return 1; }
};

struct Moments {
    double mean, variance;
};

/// Of the Euler-Maruyama scheme in `count` steps from time `first` to `last`.
template <class S>
Moments scheme(const S& schedule, Moments m, double first, double last, int count) {
    const double dt = (last - first) / count;
    for (int i = 0; i < count; ++i) {
        const double t = first + i * dt, f = drift(schedule, t), g = diffusion(schedule, t);
        m = {m.mean * (1 + f * dt), m.variance * std::pow(1 + f * dt, 2) + g * g * dt};
    }
    return m;
}

template <class S>
void check_sde(const S& schedule) {
    const Bare<S> bare{schedule};
    for (const double t : {1e-3, 0.01, 0.2, 0.5, 0.77, 1.0}) {
        CAPTURE(t);
        CHECK(drift(bare, t) == Approx(drift(schedule, t)).epsilon(1e-7).margin(1e-9));
        CHECK(diffusion(bare, t) == Approx(diffusion(schedule, t)).epsilon(1e-7));
        const FlowRates derived = flow_rates(bare, t), rates = flow_rates(schedule, t);
        CHECK(derived.of_x0 == Approx(rates.of_x0).epsilon(1e-7).margin(1e-9));
        CHECK(derived.of_eps == Approx(rates.of_eps).epsilon(1e-7));
    }
    // x0 ~ N(0.7, 0.3^2), perturbed to t = 0.1 and simulated from there.
    const double first = 0.1, last = 0.8;
    const auto marginal = [&](double t) {
        return Moments{schedule.alpha(t) * 0.7, std::pow(schedule.alpha(t) * 0.3, 2) + std::pow(schedule.sigma(t), 2)};
    };
    const Moments coarse = scheme(schedule, marginal(first), first, last, 1000), fine = scheme(schedule, marginal(first), first, last, 2000);
    CHECK(2 * fine.mean - coarse.mean == Approx(marginal(last).mean).epsilon(1e-4));
    CHECK(2 * fine.variance - coarse.variance == Approx(marginal(last).variance).epsilon(1e-4));

    constexpr int steps = 100, paths = 100000;
    const double dt = (last - first) / steps;
    Tensor<double> x({1, paths}), z({1, paths});  // one sample of many elements: noise for many of one takes far longer
    fill_normal(x, 1, 0, 0, Stream::initial);
    x.array() = marginal(first).mean + std::sqrt(marginal(first).variance) * x.array();
    for (int i = 0; i < steps; ++i) {
        const double t = first + i * dt;
        fill_normal(z, 1, 0, static_cast<std::uint32_t>(i));
        x.array() += drift(schedule, t) * dt * x.array() + diffusion(schedule, t) * std::sqrt(dt) * z.array();
    }
    const Moments expected = scheme(schedule, marginal(first), first, last, steps);
    const double mean = x.array().mean(), variance = (x.array() - mean).square().sum() / (paths - 1);
    CHECK(std::abs(mean - expected.mean) < 5 * std::sqrt(expected.variance / paths));
    CHECK(std::abs(variance - expected.variance) < 5 * expected.variance * std::sqrt(2.0 / paths));
}

}  // namespace

TEST_CASE("continuous schedules have the published values") {
    const ContinuousVp vp;
    CHECK(vp.alpha(0.5) == Approx(0.281183).epsilon(1e-5));
    CHECK(std::pow(vp.sigma(0.5), 2) == Approx(0.92093619).epsilon(1e-8));
    CHECK(vp.alpha(1.0) == Approx(0.00657159).epsilon(1e-5));
    CHECK(ContinuousSubVp{}.sigma(0.5) == Approx(0.92093619).epsilon(1e-8));
    CHECK(ContinuousSubVp{}.alpha(0.3) == vp.alpha(0.3));
    CHECK(ContinuousVe{}.sigma(0.0) == Approx(0.01));
    CHECK(ContinuousVe{}.sigma(1.0) == Approx(50));
    CHECK(level_at(ContinuousVe{}, 0.5).time == Approx(std::sqrt(0.5)));
    static_assert(ContinuousVp{}.drift(0.0) == -0.05);
    static_assert(BasicVe<float>{}.alpha(1) == 1.0f);
    CHECK(BasicSubVp<float>{}.diffusion(0.5f) == Approx(ContinuousSubVp{}.diffusion(0.5)).epsilon(1e-6));
    CHECK(BasicCosine<float>{}.alpha(0.5f) == Approx(ContinuousCosine{}.alpha(0.5)).epsilon(1e-5));
    CHECK(BasicVp<float>{}.sigma(0.5f) == Approx(vp.sigma(0.5)).epsilon(1e-6));
}

TEST_CASE("cosine schedules are shifted and interpolated in log-SNR") {
    const ContinuousCosine plain;
    CHECK(plain.log_snr(0.0) == Approx(15));
    CHECK(plain.log_snr(1.0) == Approx(-15));
    CHECK(plain.log_snr(0.5) == Approx(0).margin(1e-9));
    CHECK(ContinuousCosine{.last_log_snr = 40}.log_snr(0.25) == Approx(-2 * std::log(std::tan(3.14159265358979 / 8))));
    for (const double t : {0.0, 0.3, 1.0}) CHECK(std::hypot(plain.alpha(t), plain.sigma(t)) == Approx(1));
    CHECK(log_snr(level_at(plain, 0.3)) == Approx(plain.log_snr(0.3)));

    const double shift = cosine_shift(64, 256);
    CHECK(shift == Approx(-2 * std::log(4.0)));
    const ContinuousCosine shifted{.first_shift = shift};
    CHECK(shifted.log_snr(0.5) == Approx(shift).margin(1e-2));
    CHECK(shifted.log_snr(0.0) == Approx(15));
    CHECK(shifted.log_snr(1.0) == Approx(-15));
    const ContinuousCosine between{.first_shift = 0, .last_shift = shift};
    CHECK(between.log_snr(0.25) == Approx(0.75 * plain.log_snr(0.25) + 0.25 * shifted.log_snr(0.25)));
}

TEST_CASE("VP is the SDE that it says") { check_sde(ContinuousVp{}); }
TEST_CASE("sub-VP is the SDE that it says") { check_sde(ContinuousSubVp{}); }
TEST_CASE("VE is the SDE that it says") { check_sde(ContinuousVe{0.01, 3}); }
TEST_CASE("the cosine schedule is an SDE") {
    // d alpha^2 / dt = -beta alpha^2 for every variance-preserving schedule
    const ContinuousCosine cosine;
    for (const double t : {0.1, 0.5, 0.9}) CHECK(std::pow(diffusion(cosine, t), 2) == Approx(-2 * drift(cosine, t)).epsilon(1e-6));
}

TEST_CASE("a discrete schedule becomes a smooth SDE in log-SNR") {
    const DiscreteSchedule discrete(linear_betas<double>(1000));
    const UniformLogSnr smooth(discrete);
    check_sde(smooth);
    CHECK(level_at(smooth, 0).time == Approx(0).margin(1e-9));
    CHECK(level_at(smooth, 1).time == Approx(999));
    const NoiseLevel middle = level_at(smooth, 0.4), same = level_at(discrete, middle.time);
    CHECK(middle.alpha == Approx(same.alpha));
    CHECK(log_snr(middle) == Approx(0.6 * log_snr(discrete.level(0)) + 0.4 * log_snr(discrete.level(999))));
    CHECK_THROWS_AS(UniformLogSnr(RectifiedFlow{}), ArgumentError);
    CHECK_THROWS_AS(UniformLogSnr(ContinuousVe{}), ArgumentError);
}

TEST_CASE("rectified flow has straight lines, also where alpha is zero") {
    for (const double t : {0.1, 0.5, 1.0}) {
        CHECK(flow_rates(RectifiedFlow{}, t).of_x0 == Approx(-1));
        CHECK(flow_rates(RectifiedFlow{}, t).of_eps == Approx(1));
    }
    CHECK(drift(RectifiedFlow{}, 0.5) == Approx(-2));
    CHECK_THROWS_AS(drift(RectifiedFlow{}, 1.0), ArgumentError);
    CHECK_THROWS_AS(flow_rates(RectifiedFlow{}, 0.0), ArgumentError);
}

TEST_CASE("NCSN visits geometric levels and then none") {
    const Steps steps = ncsn_steps(10);
    CHECK(steps.count() == 10);
    CHECK(steps.intervals[0].from.sigma == Approx(1));
    CHECK(steps.intervals[4].from.sigma / steps.intervals[3].from.sigma == Approx(std::pow(0.01, 1.0 / 9)));
    CHECK(steps.intervals[9].from.sigma == Approx(0.01));
    CHECK(steps.intervals[9].from.time == 9);
    CHECK(steps.intervals[9].to.sigma == 0);
    CHECK_THROWS_AS(ncsn_steps(0), ArgumentError);
    CHECK_THROWS_AS(ncsn_steps(10, 0.01, 1), ArgumentError);
    CHECK_THROWS_AS(score_sde_ve_steps(0), ArgumentError);
    const Steps single = score_sde_ve_steps(1);
    CHECK(single.intervals[0].from.time == Approx(1348));
    CHECK(single.intervals[0].from.sigma == Approx(0.01));
}

}  // namespace sde_test
