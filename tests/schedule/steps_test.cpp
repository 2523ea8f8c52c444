// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/schedule/rectified_flow.hpp"
#include "ito/schedule/steps.hpp"

using namespace ito;

TEST_CASE("EDM steps are those of the paper") {
    const Steps steps = edm_steps(18);
    REQUIRE(steps.count() == 18);
    CHECK(steps.intervals[0].from.sigma == Approx(80));
    CHECK(steps.intervals[1].from.sigma == Approx(57.5860).epsilon(1e-5));
    CHECK(steps.intervals[17].from.sigma == Approx(0.002));
    CHECK(steps.intervals[17].to.sigma == 0);
    CHECK(steps.intervals[0].from.time == Approx(std::log(80.0) / 4));
    CHECK(steps.initial_scale == Approx(std::hypot(1, 80)));
    const Steps above = edm_steps(18, 0.002, 80, 7, End::first_level);
    CHECK(above.count() == 17);
    CHECK(above.intervals.back().to.sigma == Approx(0.002));
    CHECK_THROWS_AS(edm_steps(0), ArgumentError);
    CHECK_THROWS_AS(edm_steps(5, 0), ArgumentError);
    constexpr BasicEdm<float> single{};
    static_assert(single.sigma(3.0f) == 3.0f && single.last_time() == 80.0f);
    CHECK(single.diffusion(2.0f) == 2.0f);
}

TEST_CASE("rectified flow goes straight from noise to picture and shifts towards noise") {
    static_assert(BasicRectifiedFlow<float>{}.alpha(0.25f) == 0.75f);
    const RectifiedFlow flow;
    const Steps steps = flow_steps(flow, 4);
    CHECK(steps.intervals[0].from.alpha == 0);
    CHECK(steps.intervals[1].from.sigma == Approx(0.75));
    CHECK(steps.intervals[1].from.time == Approx(750));
    CHECK(steps.intervals[3].to.sigma == 0);
    CHECK(steps.initial_scale == 1);
    CHECK(flow_steps(flow, 4, 3).intervals[2].from.sigma == Approx(0.75));  // 3 / 2 / (1 + 2 / 2)
    CHECK(resolution_shift(256) == Approx(0.5));
    CHECK(resolution_shift(4096) == Approx(1.15));
    CHECK(resolution_shift(2176) == Approx(0.825));
    CHECK_THROWS_AS(resolution_shift(256, 0.5, 1, 10, 10), ArgumentError);
    CHECK_THROWS_AS(flow_steps(flow, 0), ArgumentError);
    CHECK_THROWS_AS(flow_steps(flow, 3, -1), ArgumentError);
}

TEST_CASE("quadratic times are dense near the picture") {
    CHECK(quadratic_times(1000, 5) == std::vector<double>{800, 450, 200, 50, 0});
    CHECK_THROWS_AS(quadratic_times(1000, 0), ArgumentError);
    CHECK_THROWS_AS(quadratic_times(10, 50), ArgumentError);
}

TEST_CASE("steps uniform in log-SNR end at zero or at the last ratio") {
    const DiscreteSchedule schedule(scaled_linear_betas<double>(1000));
    const Steps steps = uniform_log_snr(schedule, 10);
    REQUIRE(steps.count() == 10);
    const double h = half_log_snr(steps.intervals[0].to) - half_log_snr(steps.intervals[0].from);
    for (std::size_t i = 1; i < 9; ++i)
        CHECK(half_log_snr(steps.intervals[i].to) - half_log_snr(steps.intervals[i].from) == Approx(h).epsilon(1e-9));
    CHECK(steps.intervals[9].to.sigma == 0);
    const Steps above = uniform_log_snr(schedule, 10, 0, End::first_level);
    REQUIRE(above.count() == 9);
    CHECK(above.intervals[8].to.sigma == Approx(schedule.level(0).sigma));
    CHECK(above.intervals[8].to.time == Approx(0).margin(1e-6));
}
