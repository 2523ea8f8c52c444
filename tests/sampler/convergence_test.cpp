// SPDX-License-Identifier: MIT
// The order of every deterministic sampler, measured against the exact probability flow of Gaussian data and of a mixture.
#include <cmath>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/sample.hpp"

using namespace ito;

namespace convergence_test {
namespace {

GaussianMixture normal() { return GaussianMixture::normal(Eigen::VectorXd::Constant(1, 0.7), Eigen::VectorXd::Constant(1, 0.16)); }

GaussianMixture mixture() {
    const auto one = [](double weight, double mean, double variance) {
        return GaussianMixture::Component{weight, Eigen::VectorXd::Constant(1, mean), Eigen::VectorXd::Constant(1, variance)};
    };
    return GaussianMixture({one(1, -1, 0.25), one(2, 0.8, 0.4)});
}

/// Levels equally spaced in log(alpha / sigma), after small steps in which a multistep method can find its history
/// without spoiling its order.
std::vector<NoiseLevel> levels_of(int count, bool start_up) {
    const double from = -2.5, to = 1.5, h = (to - from) / count;
    std::vector<double> lambdas{from};
    if (start_up) lambdas.insert(lambdas.end(), {from + 0.2 * h * h, from + 0.4 * h * std::cbrt(h)});
    for (int i = 1; i <= count; ++i) lambdas.push_back(from + i * h);
    std::vector<NoiseLevel> levels;
    for (const double lambda : lambdas) levels.push_back(level_of_ratio(-lambda, std::exp(-lambda)));
    return levels;
}

template <class S>
double error(const GaussianMixture& target, const S& sampler, int count, bool start_up) {
    const auto levels = levels_of(count, start_up);
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    WhiteNoise noise;
    const Tensor<double> x = Tensor<double>::from({4, 1}, {-1.6, -0.3, 0.2, 1.1});
    Sampling<double, S> sampling(sampler, steps_between(levels), x);
    sampling.run(denoise, noise);
    return std::sqrt((sampling.x().array() - target.flow(x, levels.front(), levels.back()).array()).square().mean());
}

/// Make(count) is the sampler for so many steps.
template <class Make>
void check_order(double expected, Make make, int coarse = 80, bool start_up = false) {
    for (const GaussianMixture& target : {normal(), mixture()}) {
        const double a = error(target, make(coarse), coarse, start_up), b = error(target, make(2 * coarse), 2 * coarse, start_up);
        CAPTURE(a, b);
        CHECK(std::log2(a / b) == Approx(expected).margin(0.2));
    }
}

template <class S>
auto fixed(const S& sampler) {
    return [=](int) { return sampler; };
}

}  // namespace

TEST_CASE("samplers that look at one step converge with their order on a normal and on a mixture") {
    check_order(1, fixed(EulerAncestral{.eta = 0}), 160);
    check_order(2, fixed(Heun{}));
    check_order(2, fixed(Dpm2{}));
    check_order(2, fixed(Dpmpp2SAncestral{.eta = 0}));
    check_order(2, fixed(DpmppSde{.eta = 0}));
    check_order(2, fixed(DpmppSde{.eta = 0, .r = 0.7}));
    // Its last step must be of order 2, or that alone would make it second order.
    check_order(3, [](int count) { return DpmSolverFast{.evaluations = 3 * count - 1}; });
    check_order(2, [](int count) { return DpmSolverFast{.evaluations = 3 * count - 2}; }, 160);
}

TEST_CASE("multistep methods converge with their order on a normal and on a mixture") {
    check_order(1, fixed(Lms{1}), 160);
    check_order(2, fixed(Lms{2}), 160, true);
    check_order(3, fixed(Lms{3}), 320, true);
    check_order(4, fixed(Lms{4}), 320, true);
    using Solver = DpmSolverMultistep;
    for (const bool data : {true, false}) {
        CAPTURE(data);
        check_order(2, fixed(Solver{.data_prediction = data}), 160, true);
        check_order(3, fixed(Solver{.order = 3, .data_prediction = data}), 320, true);
    }
}

TEST_CASE("the variance of what stochastic samplers draw converges with their weak order") {
    // On Gaussian data a run is x' = a x + b + sum of c_i z_i; row i of the batch sees z_i = 1 and no other noise, so that
    // the variance a^2 v + sum of c_i^2 comes out without statistical error.
    const GaussianMixture target = normal();
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    const auto variance_error = [&](const auto& sampler, int count) {
        const auto levels = levels_of(count, false);
        const Steps steps = steps_between(levels);
        const Index n = steps.count();
        const auto unit = [&](Tensor<double>& z, const Interval& interval) {
            z.array().setZero();
            if (interval.share < 1) {  // of the path whose increment is row index's, and of its bridge
                z[interval.index] = std::sqrt(interval.share);
                z[n + interval.index] = std::sqrt(1 - interval.share);
            } else {
                z[interval.index] = 1;
            }
        };
        Tensor<double> x = Tensor<double>::full({2 * n + 2, 1}, levels.front().alpha * 0.7);
        x[2 * n + 1] += 1;
        Sampling<double, std::decay_t<decltype(sampler)>> sampling(sampler, steps, x);
        sampling.run(denoise, unit);
        const double zero = sampling.x()[2 * n], a = sampling.x()[2 * n + 1] - zero;
        double variance = a * a * target.covariance(levels.front())(0, 0);
        for (Index i = 0; i < 2 * n; ++i) variance += std::pow(sampling.x()[i] - zero, 2);
        CHECK(zero == Approx(target.mean(levels.back())[0]).epsilon(1e-9));
        return std::abs(variance - target.covariance(levels.back())(0, 0));
    };
    const auto check = [&](double order, const auto& sampler) {
        const double a = variance_error(sampler, 80), b = variance_error(sampler, 160);
        CAPTURE(a, b);
        CHECK(std::log2(a / b) == Approx(order).margin(0.2));
    };
    using Solver = DpmSolverMultistep;
    check(1, EulerAncestral{});
    check(1, EulerAncestral{.eta = 0.5});
    check(1, Solver{.order = 1, .stochastic = true});
    check(1, Solver{.order = 1, .data_prediction = false, .stochastic = true});
    check(1, Solver{.order = 1, .stochastic = true, .eta = 0.5});
    check(1, Solver{.order = 1, .data_prediction = false, .stochastic = true, .eta = 0.5});
    for (const auto type : {Solver::Type::midpoint, Solver::Type::heun}) check(2, Solver{.stochastic = true, .type = type});
    // An ancestral step keeps the marginals but for the error of its deterministic part.
    check(2, Dpm2{.eta = 1});
    check(2, Dpm2{.eta = 0.5});
    check(2, Dpmpp2SAncestral{});
    check(2, DpmppSde{});
}

}  // namespace convergence_test
