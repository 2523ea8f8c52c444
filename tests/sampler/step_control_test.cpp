// SPDX-License-Identifier: MIT
#include "ito/sampler/step_control.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"

using namespace ito;

namespace {

/// Solves y' = -rate y from 1 over [0, 5] with Heun's method around Euler's; the number of accepted steps.
Index solve(const StepControl& control, double rate, double& error) {
    auto state = control.start();
    double t = 0, y = 1;
    while (t < 5 && state.accepted + state.rejected < control.max_tries) {
        const double h = std::min(state.size, 5 - t);
        const auto one = [](double v) { return Tensor<double>::full({1}, v); };
        const double low = y - h * rate * y, high = y - h * rate * (y + low) / 2;
        if (control.accept(state, control.errors(one(low), one(high), one(y))[0], 2)) t += h, y = high;
    }
    error = std::abs(y - std::exp(-5 * rate));
    return state.accepted;
}

}  // namespace

TEST_CASE("step control takes as many steps as the tolerance needs") {
    double error = 0, finer = 0;
    StepControl control{.relative = 0, .absolute = 1e-4};
    const Index steps = solve(control, 1, error);
    CHECK(error < 2e-3);
    control.absolute = 1e-6;
    const Index more = solve(control, 1, finer);
    CHECK(finer < error / 10);
    // The local error of the lower method falls as h^2.
    CHECK(static_cast<double>(more) / static_cast<double>(steps) == Approx(10).epsilon(0.2));
    const Index stiffer = solve(control, 3, finer);
    CHECK(stiffer > more);

    control = {.relative = 1e-4, .absolute = 1e-6, .proportional = 0.4, .integral = 0.3, .derivative = 0.1};
    solve(control, 1, error);
    CHECK(error < 2e-3);
}

TEST_CASE("errors are counted sample by sample unless the whole batch is asked for") {
    StepControl control{.relative = 0.1, .absolute = 0.01};
    const auto low = Tensor<float>::from({2, 2}, {1, 0, 0, 0}), high = Tensor<float>::from({2, 2}, {1.1f, 0, 0, 0.02f});
    const auto before = Tensor<float>::from({2, 2}, {2, 0, 0, 0});
    const auto apart = control.errors(low, high, before);
    REQUIRE(apart.size() == 2);
    CHECK(apart[0] == Approx(std::sqrt(0.5 * 0.25)));
    CHECK(apart[1] == Approx(std::sqrt(0.5 * 4)));
    control.whole_batch = true;
    const auto together = control.errors(low, high, before);
    CHECK(together[0] == Approx(std::sqrt(0.25 * 4.25)));
    CHECK(together[1] == together[0]);
    CHECK_THROWS_AS(control.errors(low, Tensor<float>::zeros({2, 3}), before), ShapeError);
}

TEST_CASE("a step without a finite error is rejected and made smaller") {
    const StepControl control;
    for (const double error : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 100.0}) {
        auto state = control.start();
        CHECK_FALSE(control.accept(state, error, 3));
        CHECK(state.size < control.first_size);
        CHECK(state.size > 0);
        CHECK(state.rejected == 1);
    }
    auto state = control.start();
    CHECK(control.accept(state, 0.1, 3));
    CHECK(state.size > control.first_size);

    CHECK_THROWS_AS(validate(StepControl{.relative = 0, .absolute = 0}), ArgumentError);
    CHECK_THROWS_AS(validate(StepControl{.first_size = 0}), ArgumentError);
    CHECK_THROWS_AS(validate(StepControl{.absolute = std::nan("")}), ArgumentError);
    CHECK_NOTHROW(validate(StepControl{}));
}
