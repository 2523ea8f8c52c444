// SPDX-License-Identifier: MIT
// Runge-Kutta methods on equations with known solutions, and the probability flow on data whose flow is known.
#include <cmath>
#include <limits>
#include <stop_token>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/probability_flow.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/schedule/rectified_flow.hpp"

using namespace ito;

namespace probability_flow_test {
namespace {

/// x' = x cos t, whose solutions are x(0) exp(sin t).
Tensor<double> swing(const Tensor<double>& x, std::span<const double> times) {
    Tensor<double> v = x;
    for (Index k = 0; k < x.dim(0); ++k) v[k] *= std::cos(times[static_cast<std::size_t>(k)]);
    return v;
}

std::vector<double> equal_times(int count, double to) {
    std::vector<double> times;
    for (int i = 0; i <= count; ++i) times.push_back(to * i / count);
    return times;
}

template <std::size_t Stages>
void check_tableau(const Tableau<Stages>& tableau) {
    double sum = 0, embedded = 0;
    for (std::size_t i = 0; i < Stages; ++i) {
        double row = 0;
        for (std::size_t j = 0; j < Stages; ++j) {
            row += tableau.a[i][j];
            if (j >= i) CHECK(tableau.a[i][j] == 0);
        }
        CHECK(row == Approx(tableau.c[i]).margin(1e-14));
        sum += tableau.b[i];
        embedded += tableau.embedded[i];
    }
    CHECK(sum == Approx(1).epsilon(1e-14));
    CHECK(embedded == Approx(tableau.embedded_order > 0 ? 1 : 0).margin(1e-14));

    const auto error = [&](const Tableau<Stages>& method, int count) {
        const auto x = integrate(method, swing, Tensor<double>::full({1}, 1), std::span<const double>(equal_times(count, 2)));
        return std::abs(x[0] - std::exp(std::sin(2)));
    };
    CHECK(std::log2(error(tableau, 40) / error(tableau, 80)) == Approx(tableau.order).margin(0.2));
    if (tableau.embedded_order == 0) return;
    Tableau<Stages> lower = tableau;
    lower.b = tableau.embedded;
    CHECK(std::log2(error(lower, 40) / error(lower, 80)) == Approx(tableau.embedded_order).margin(0.2));
}

GaussianMixture::Component component(double weight, double mean, double variance) {
    return {weight, Eigen::VectorXd::Constant(1, mean), Eigen::VectorXd::Constant(1, variance)};
}

const GaussianMixture bimodal({component(0.3, -1, 0.04), component(0.7, 0.6, 0.1)});
const Reading says_x0{.prediction = Prediction::sample};

template <class S>
void check_round_trip(const S& schedule) {
    Denoiser denoise{bimodal, says_x0};
    const double first = 1e-3, last = schedule.last_time();
    const Tensor<double> x = bimodal.draw<double>(6, 1, level_at(schedule, first));
    const Integrated<double> code = flow(schedule, denoise, x, first, last);
    const Tensor<double> exact = bimodal.flow(x, level_at(schedule, first), level_at(schedule, last));
    const double scale = std::max(1.0, static_cast<double>(schedule.sigma(last)));
    for (Index k = 0; k < x.size(); ++k) CHECK(std::abs(code.x[k] - exact[k]) < 2e-4 * scale);
    const Integrated<double> back = flow(schedule, denoise, code.x, last, first);
    for (Index k = 0; k < x.size(); ++k) CHECK(back.x[k] == Approx(x[k]).margin(1e-3));
}

}  // namespace

TEST_CASE("Runge-Kutta methods have their order") {
    check_tableau(tableaux::euler);
    check_tableau(tableaux::heun);
    check_tableau(tableaux::midpoint);
    check_tableau(tableaux::kutta3);
    check_tableau(tableaux::classic4);
    check_tableau(tableaux::bogacki_shampine);
    check_tableau(tableaux::dormand_prince);
    static_assert(tableaux::dormand_prince.first_same_as_last() && tableaux::bogacki_shampine.first_same_as_last());
    static_assert(!tableaux::classic4.first_same_as_last() && !tableaux::euler.first_same_as_last());
}

TEST_CASE("the probability flow converges with the order of its method") {
    const ContinuousVp schedule;
    Denoiser denoise{bimodal, says_x0};
    WhiteNoise noise;
    const auto order = [&](const auto& tableau, int coarse) {
        const auto error = [&](int count) {
            std::vector<NoiseLevel> levels;
            for (int i = 0; i <= count; ++i) levels.push_back(level_at(schedule, 0.9 - 0.8 * i / count));
            const Tensor<double> x = Tensor<double>::full({1, 1}, 0.8);
            Sampling<double, std::decay_t<decltype(ProbabilityFlow{schedule, tableau})>> run(ProbabilityFlow{schedule, tableau}, steps_between(levels), x);
            run.run(denoise, noise);
            return std::abs(run.x()[0] - bimodal.flow(x, levels.front(), levels.back())[0]);
        };
        return std::log2(error(coarse) / error(2 * coarse));
    };
    CHECK(order(tableaux::euler, 400) == Approx(1).margin(0.2));
    CHECK(order(tableaux::heun, 200) == Approx(2).margin(0.2));
    CHECK(order(tableaux::midpoint, 200) == Approx(2).margin(0.2));
    CHECK(order(tableaux::kutta3, 100) == Approx(3).margin(0.2));
    CHECK(order(tableaux::bogacki_shampine, 100) == Approx(3).margin(0.2));
    CHECK(order(tableaux::classic4, 80) == Approx(4).margin(0.2));
    CHECK(order(tableaux::dormand_prince, 60) == Approx(5).margin(0.2));
}

TEST_CASE("the flow as a sampler ends with the picture") {
    Denoiser denoise{bimodal, says_x0};
    const Steps steps = uniform_steps(ContinuousVp{}, 20);
    const auto x = sample<double>(denoise, ProbabilityFlow{ContinuousVp{}, tableaux::classic4}, steps, {8000, 1}, {.seed = 1});
    const double mean = x.array().mean(), variance = (x.array() - mean).square().mean();
    CHECK(mean == Approx(bimodal.mean()[0]).margin(0.03));
    CHECK(variance == Approx(bimodal.covariance()(0, 0)).margin(0.03));
}

TEST_CASE("forwards and backwards along the flow is a round trip") {
    check_round_trip(ContinuousVp{});
    check_round_trip(ContinuousSubVp{});
    check_round_trip(ContinuousVe{});
    check_round_trip(ContinuousCosine{});
    check_round_trip(Edm{});
    check_round_trip(RectifiedFlow{});
}

TEST_CASE("sample k of the flow is the same in any batch") {
    Denoiser denoise{bimodal, says_x0};
    const ContinuousVp schedule;
    const Tensor<double> all = bimodal.draw<double>(9, 1, level_at(schedule, 1e-3)), one = Tensor<double>::full({1, 1}, all[7]);
    const Integrated<double> codes = flow(schedule, denoise, all, 1e-3, 1), code = flow(schedule, denoise, one, 1e-3, 1);
    CHECK(code.x[0] == codes.x[7]);
    CHECK(code.steps[0] == codes.steps[7]);
    const ProbabilityFlow sampler{schedule, tableaux::kutta3};
    const auto many = sample<double>(denoise, sampler, uniform_steps(schedule, 6), {9, 1}, {.seed = 1});
    CHECK(sample<double>(denoise, sampler, uniform_steps(schedule, 6), {1, 1}, {.seed = 1, .first_sample = 7})[0] == many[7]);
}

TEST_CASE("adaptive steps keep their tolerance sample by sample") {
    for (const double tolerance : {1e-4, 1e-7, 1e-10}) {
        const auto end = integrate_adaptively<double>(swing, Tensor<double>::from({2}, {1, 3}), 0, 2, fine_steps(tolerance));
        CHECK(std::abs(end.x[0] - std::exp(std::sin(2))) < 20 * tolerance);
        CHECK(std::abs(end.x[1] - 3 * std::exp(std::sin(2))) < 60 * tolerance);
        const auto low = integrate_adaptively<double>(swing, Tensor<double>::full({1}, 1), 2, 0, fine_steps(tolerance), tableaux::bogacki_shampine);
        CHECK(std::abs(low.x[0] - std::exp(-std::sin(2))) < 60 * tolerance);
        if (tolerance < 1e-6) CHECK(low.steps[0] > end.steps[0]);
    }
    // A stiff sample beside an easy one: the easy one takes the steps that it takes alone, and gets the same bits.
    const auto stiff = [](const Tensor<double>& x, std::span<const double>) {
        Tensor<double> v(x.shape());
        for (Index k = 0; k < x.size(); ++k) v[k] = x[k] > 5 ? 300 * std::cos(x[k]) : -x[k];
        return v;
    };
    const auto both = integrate_adaptively<double>(stiff, Tensor<double>::from({2}, {1, 100}), 0, 1);
    const auto alone = integrate_adaptively<double>(stiff, Tensor<double>::from({1}, {1}), 0, 1);
    CHECK(both.x[0] == alone.x[0]);
    CHECK(both.steps[0] == alone.steps[0]);
    CHECK(both.steps[1] > both.steps[0]);
    StepControl together = fine_steps();
    together.whole_batch = true;
    const auto coupled = integrate_adaptively<double>(stiff, Tensor<double>::from({2}, {1, 100}), 0, 1, together);
    CHECK(coupled.steps[0] == coupled.steps[1]);
    CHECK(coupled.steps[0] > alone.steps[0]);
    CHECK(coupled.x[0] == Approx(std::exp(-1)).margin(1e-4));
}

TEST_CASE("a solver that cannot keep its tolerance says where it got") {
    const auto explode = [](const Tensor<double>& x, std::span<const double>) {  // from 1: 1 / (1 - t)
        Tensor<double> v = x;
        v.array() *= x.array();
        return v;
    };
    try {
        integrate_adaptively<double>(explode, Tensor<double>::full({1}, 1), 0, 2);
        FAIL("went through a pole");
    } catch (const ToleranceError<double>& error) {
        CHECK(error.levels.at(0).time == Approx(1).margin(1e-3));
        CHECK(error.x[0] > 1000);
        CHECK_THAT(error.what(), ContainsSubstring("sample 0"));
    }
    StepControl impatient = fine_steps(1e-12);
    impatient.max_tries = 5;
    CHECK_THROWS_AS(integrate_adaptively<double>(swing, Tensor<double>::full({1}, 1), 0, 2, impatient), ToleranceError<double>);
    const auto nonsense = [](const Tensor<double>& x, std::span<const double>) {
        return Tensor<double>::full(x.shape(), std::numeric_limits<double>::quiet_NaN());
    };
    CHECK_THROWS_AS(integrate_adaptively<double>(nonsense, Tensor<double>::full({1}, 1), 0, 2), ToleranceError<double>);
    CHECK_THROWS_AS(integrate_adaptively<double>(swing, Tensor<double>::full({1}, 1), 0, 2, fine_steps(), tableaux::heun), ArgumentError);
    CHECK_THROWS_AS(integrate_adaptively<double>(swing, Tensor<double>::full({1}, 1), 0, 2, fine_steps(0)), ArgumentError);
    CHECK_THROWS_AS(integrate(tableaux::heun, swing, Tensor<double>::full({1}, 1), std::span<const double>()), ArgumentError);
    std::stop_source source;
    source.request_stop();
    CHECK_THROWS_AS(integrate_adaptively<double>(swing, Tensor<double>::full({1}, 1), 0, 2, fine_steps(), tableaux::dormand_prince, source.get_token()),
                    Cancelled);
}

}  // namespace probability_flow_test
