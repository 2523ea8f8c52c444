// SPDX-License-Identifier: MIT
// The order of every deterministic sampler, measured against the exact probability flow of Gaussian data and of a mixture, and
// the weak order of the stochastic ones. Runge-Kutta methods are in probability_flow_test, critically-damped diffusion in
// critically_damped_test, the predictors of score SDEs in score_sde_test.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <type_traits>
#include <vector>

#include <Eigen/Eigenvalues>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_blocks.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/pndm.hpp"
#include "ito/sampler/sa_solver.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/sampler/unipc.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/schedule/rectified_flow.hpp"

using namespace ito;

namespace convergence_test {
namespace {

GaussianMixture normal(double variance = 0.16) {
    return GaussianMixture::normal(Eigen::VectorXd::Constant(1, 0.7), Eigen::VectorXd::Constant(1, variance));
}

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

/// The same the other way: inversion.
std::vector<NoiseLevel> rising(int count, bool) {
    auto levels = levels_of(count, false);
    std::reverse(levels.begin(), levels.end());
    return levels;
}

/// Those of rectified flow, equally spaced in time.
std::vector<NoiseLevel> flow_levels(int count, bool) {
    std::vector<NoiseLevel> levels;
    for (int i = 0; i <= count; ++i) levels.push_back(level_at(RectifiedFlow{}, 0.95 - 0.8 * i / count));
    return levels;
}

/// Those of Karras et al. (2022), table 1.
std::vector<NoiseLevel> edm_levels(int count, bool) {
    std::vector<NoiseLevel> levels;
    for (const double sigma : karras_sigmas(0.2, 20, count + 1)) levels.push_back(level_at(Edm{}, sigma));
    return levels;
}

using Levels = std::vector<NoiseLevel> (*)(int, bool);

template <class S>
double error(const GaussianMixture& target, const S& sampler, int count, bool start_up, Levels levels_of) {
    const auto levels = levels_of(count, start_up);
    Steps steps;
    if (levels.front().sigma > levels.back().sigma) {
        steps = steps_between(levels);
    } else {
        for (std::size_t i = 0; i + 1 < levels.size(); ++i) steps.intervals.push_back({levels[i], levels[i + 1], static_cast<Index>(i), count});
        steps.may_rise = true;
    }
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    WhiteNoise noise;
    const Tensor<double> x = Tensor<double>::from({4, 1}, {-1.6, -0.3, 0.2, 1.1});
    Sampling<double, S> sampling(sampler, steps, x);
    sampling.run(denoise, noise);
    return std::sqrt((sampling.x().array() - target.flow(x, levels.front(), levels.back()).array()).square().mean());
}

/// Make(count) is the sampler for so many steps. First orders show themselves with fewer steps than higher ones.
template <class Make>
void check_order(double expected, Make make, int coarse = 80, bool start_up = false, Levels levels = levels_of, double variance = 0.16) {
    const double margin = expected == 1 ? 0.1 : 0.2;
    for (const GaussianMixture& target : {normal(variance), mixture()}) {
        const double a = error(target, make(coarse), coarse, start_up, levels), b = error(target, make(2 * coarse), 2 * coarse, start_up, levels);
        CAPTURE(a, b);
        CHECK(std::log2(a / b) == Approx(expected).margin(margin));
    }
}

/// Gauss and Hermite's rule for a normal number: Golub and Welsch (1969).
struct HermiteRule {
    Eigen::VectorXd nodes, weights;

    explicit HermiteRule(Index n) {
        Eigen::MatrixXd recurrence = Eigen::MatrixXd::Zero(n, n);
        for (Index i = 1; i < n; ++i) recurrence(i, i - 1) = std::sqrt(static_cast<double>(i));
        const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(recurrence);
        nodes = solver.eigenvalues();
        weights = solver.eigenvectors().row(0).array().square();
    }
};

/// Equal distances from -reach to reach, cubic in between.
struct Grid {
    Index points;
    double reach;

    double step() const { return 2 * reach / static_cast<double>(points - 1); }
    double operator[](Index i) const { return static_cast<double>(i) * step() - reach; }
    double between(const Eigen::VectorXd& u, double x, Index stride = 1, Index offset = 0) const {
        const double at = (std::clamp(x, -reach, reach) + reach) / step();
        const Index i = std::clamp<Index>(static_cast<Index>(at), 1, points - 3);
        const double t = at - static_cast<double>(i);
        const double* v = u.data() + i * stride + offset;
        const double below = -t * (t - 1) * (t - 2) / 6 * v[-stride] + (t + 1) * (t - 1) * (t - 2) / 2 * v[0];
        return below - (t + 1) * t * (t - 2) / 2 * v[stride] + (t + 1) * t * (t - 1) / 6 * v[2 * stride];
    }
};

template <class S>
auto fixed(const S& sampler) {
    return [=](int) { return sampler; };
}

}  // namespace

TEST_CASE("samplers that look at one step converge with their order on a normal and on a mixture") {
    check_order(1, fixed(Ddim{}), 160);
    check_order(1, fixed(Ddim{.use_clipped_model_output = true}), 160);
    check_order(1, fixed(Euler{}), 160);
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

TEST_CASE("samplers converge with their order on the steps of rectified flow and of EDM") {
    check_order(1, fixed(Euler{}), 160, false, flow_levels);
    check_order(2, fixed(Heun{.churn = {}, .flow = true}), 80, false, flow_levels);
    check_order(2, fixed(DpmSolverMultistep{}), 160, false, flow_levels);
    check_order(2, fixed(UniPc{.order = 1}), 160, false, flow_levels);
    check_order(1, fixed(Euler{}), 160, false, edm_levels);
    check_order(2, fixed(Heun{}), 80, false, edm_levels);  // Karras et al. (2022), algorithm 2 without churn
    check_order(2, fixed(DpmSolverMultistep{}), 160, false, edm_levels);
}

TEST_CASE("inversion converges with the order of its sampler") {
    check_order(1, fixed(Ddim{}), 160, false, rising);
    check_order(2, fixed(DpmSolverMultistep{}), 160, false, rising);
    check_order(2, fixed(deis()), 160, false, rising);
}

TEST_CASE("multistep methods converge with their order on a normal and on a mixture") {
    check_order(1, fixed(Lms{1}), 160);
    check_order(2, fixed(Lms{2}), 160, true);
    check_order(3, fixed(Lms{3}), 320, true);
    check_order(4, fixed(Lms{4}), 320, true);
    using Solver = DpmSolverMultistep;
    for (const bool data : {true, false}) {
        CAPTURE(data);
        check_order(1, fixed(Solver{.order = 1, .data_prediction = data}), 160);
        for (const auto type : {Solver::Type::midpoint, Solver::Type::heun}) check_order(2, fixed(Solver{.data_prediction = data, .type = type}), 160, true);
        check_order(3, fixed(Solver{.order = 3, .data_prediction = data}), 320, true);
        check_order(2, fixed(Solver{.order = 3, .data_prediction = data, .reference_third_order = true}), 320, true);
    }
    check_order(1, fixed(deis(1)), 160);
    check_order(2, fixed(deis(2)), 160, true);
    check_order(3, fixed(deis(3)), 320, true);
    // Theirs is second order: for more on special steps see solvers_test.
    for (const auto start : {Pndm::Start::runge_kutta, Pndm::Start::improved_euler, Pndm::Start::multistep}) check_order(2, fixed(Pndm{start}), 160);
}

TEST_CASE("singlestep DPM-Solver converges with its order on a normal and on a mixture") {
    using Solver = DpmSolverSinglestep;
    for (const bool data : {true, false}) {
        CAPTURE(data);
        check_order(1, fixed(Solver{.order = 1, .data_prediction = data}), 160);
        for (const auto type : {Solver::Type::midpoint, Solver::Type::heun}) {
            check_order(2, fixed(Solver{.data_prediction = data, .type = type, .lower_order_final = false}), 160);
            check_order(3, fixed(Solver{.order = 3, .data_prediction = data, .type = type, .lower_order_final = false}), 240);
        }
    }
}

TEST_CASE("predictors with and without their corrector converge with their order on a normal and on a mixture") {
    // On narrower data the leading error of order 4 is so small that 4.35 comes out at these steps and 4.2 at twice as many.
    constexpr double wide = 0.5;
    for (const bool data : {true, false}) {
        CAPTURE(data);
        for (const auto b : {UniPc::B::bh1, UniPc::B::bh2}) {
            CAPTURE(b == UniPc::B::bh1);
            const auto unipc = [&](int order, bool corrected) {
                return [=](int count) {
                    UniPc sampler{.order = order, .data_prediction = data, .b = b, .lower_order_final = false};
                    for (Index i = 0; !corrected && i < count + 2; ++i) sampler.uncorrected_steps.push_back(i);
                    return sampler;
                };
            };
            check_order(1, unipc(1, false), 160);
            check_order(2, unipc(2, false), 160, true);
            check_order(3, unipc(3, false), 320, true);
            // What is corrected; the last prediction is not, and its error of one step is of the corrected order.
            check_order(2, unipc(1, true), 160);
            check_order(3, unipc(2, true), 320, true);
            check_order(4, unipc(3, true), 320, true, levels_of, wide);
        }
        const auto adams = [&](int predictor, int corrector) {
            return fixed(SaSolver{.predictor_order = predictor, .corrector_order = corrector, .tau = 0, .data_prediction = data, .lower_order_final = false});
        };
        check_order(1, adams(1, 0), 160);
        check_order(2, adams(2, 0), 160, true);
        check_order(3, adams(3, 0), 320, true);
        check_order(2, adams(1, 2), 160);
        check_order(3, adams(2, 3), 320, true);
        check_order(4, adams(3, 4), 320, true, levels_of, wide);
    }
    check_order(2, fixed(SaSolver{.corrector_order = 0, .tau = 0, .lower_order_final = false, .reference_second_order = true}), 160, true);
}

TEST_CASE("the variance of what stochastic samplers draw converges with their weak order", "[slow]") {
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
    const auto check = [&](double order, const auto& sampler, int coarse = 80) {
        const double a = variance_error(sampler, coarse), b = variance_error(sampler, 2 * coarse);
        CAPTURE(a, b, coarse);
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
    check(1, Ddim{.eta = 1});
    check(1, Ddim{.eta = 0.5});
    check(1, Ddpm{});
    check(1, Ddpm{Ddpm::Variance::fixed_large});
    check(1, DpmSolverSinglestep{.order = 1, .stochastic = true});
    for (const auto type : {DpmSolverSinglestep::Type::midpoint, DpmSolverSinglestep::Type::heun})
        check(2, DpmSolverSinglestep{.stochastic = true, .type = type, .lower_order_final = false});
    for (const bool data : {true, false}) {
        check(1, SaSolver{.predictor_order = 1, .corrector_order = 0, .data_prediction = data});
        check(2, SaSolver{.corrector_order = 0, .data_prediction = data});
    }
    // Third order of the polynomial does not raise the weak order: what the network says of the noise of the last
    // interval comes too late, in a block its square is integrated by too few nodes, and each leaves O(h^2) in the
    // variance. These steps are finer, because terms of h^3 are large.
    check(2, Solver{.order = 3, .stochastic = true}, 320);
    for (const double eta : {1.0, 0.5})
        check(2, Solver{.order = 3, .stochastic = true, .eta = eta, .halved_third_order = true}, 320);
    for (const auto type : {DpmSolverSinglestep::Type::midpoint, DpmSolverSinglestep::Type::heun})
        check(2, DpmSolverSinglestep{.order = 3, .stochastic = true, .type = type, .lower_order_final = false}, 324);
    for (const bool data : {true, false})
        for (const int corrector : {0, 3}) {
            const SaSolver sampler{
                .predictor_order = 3, .corrector_order = corrector, .data_prediction = data, .lower_order_final = false,
            };
            check(2, sampler, 320);
        }
    check(1, Euler{.churn = {.amount = 8}});
    check(2, Heun{.churn = {.amount = 8}});
    check(2, Dpm2{.churn = {.amount = 8}});
    // An ancestral step keeps the marginals but for the error of its deterministic part.
    check(2, Dpm2{.eta = 1});
    check(2, Dpm2{.eta = 0.5});
    check(2, Dpmpp2SAncestral{});
    check(2, DpmppSde{});
}

TEST_CASE("moments of what stochastic samplers draw of a mixture converge with their weak order", "[slow]") {
    // Blocks of steps that need no history are a Markov chain, so E[x_end^2 | x] comes backwards from the end, without
    // statistical error: on a grid of x, cubic in between, with Gauss and Hermite's rule for the noise.
    constexpr Index nodes = 7;
    const HermiteRule rule(nodes);
    const Grid grid{401, 9};
    const GaussianMixture target = mixture();
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    // A block of two steps has two noises; so has one step with a point in between, which sees a share of the first.
    const auto moment_error = [&](const auto& sampler, int count, Index block, Index noises) {
        const auto levels = levels_of(count, false);
        const Steps steps = steps_between(levels);
        const Index draws = noises == 2 ? nodes * nodes : nodes;
        Eigen::VectorXd u(grid.points);
        for (Index i = 0; i < grid.points; ++i) u[i] = grid[i] * grid[i];
        for (Index begin = steps.count() - block; begin >= 0; begin -= block) {
            Tensor<double> x({grid.points * draws, 1});
            for (Index i = 0; i < x.size(); ++i) x[i] = grid[i / draws];
            typename std::decay_t<decltype(sampler)>::template State<double> state;
            for (Index k = begin; k < begin + block; ++k) {
                const auto draw = [&](Tensor<double>& z, const Interval& interval) {
                    const double share = block == 1 ? interval.share : k == begin ? 1 : 0;
                    for (Index i = 0; i < z.size(); ++i) {
                        z[i] = std::sqrt(share) * rule.nodes[i % nodes];
                        if (share < 1) z[i] += std::sqrt(1 - share) * rule.nodes[i / nodes % nodes];
                    }
                };
                sampler.step(x, state, steps.intervals[static_cast<std::size_t>(k)], denoise, draw);
            }
            Eigen::VectorXd before = Eigen::VectorXd::Zero(grid.points);
            for (Index i = 0; i < x.size(); ++i) {
                const double second = noises == 2 ? rule.weights[i / nodes % nodes] : 1;
                before[i / draws] += rule.weights[i % nodes] * second * grid.between(u, x[i]);
            }
            u = std::move(before);
        }
        const NoiseLevel &first = levels.front(), &last = levels.back();
        double got = 0;
        for (Index i = 0; i < grid.points; ++i) {
            const Tensor<double> x = Tensor<double>::full({1, 1}, grid[i]);
            got += u[i] * std::exp(target.log_density(x, first)[0]) * grid.step();
        }
        return std::abs(got - target.covariance(last)(0, 0) - std::pow(target.mean(last)[0], 2));
    };
    const auto check = [&](double order, const auto& sampler, Index block = 1, Index noises = 1) {
        const double a = moment_error(sampler, 30, block, noises), b = moment_error(sampler, 60, block, noises);
        CAPTURE(a, b);
        CHECK(std::log2(a / b) == Approx(order).margin(0.2));
    };
    check(1, Ddpm{});
    check(1, Ddim{.eta = 1});
    check(1, EulerAncestral{});
    check(1, DpmSolverMultistep{.order = 1, .stochastic = true});
    check(2, Dpmpp2SAncestral{});
    check(2, DpmppSde{}, 1, 2);
    check(2, DpmSolverSinglestep{.stochastic = true, .lower_order_final = false}, 2, 2);
}

TEST_CASE("moments of what stochastic multistep samplers draw of a mixture converge with their weak order", "[slow]") {
    // As above, with the output m of the step before beside x: E[x_end^2 | x_k, m_k-1] is nearly a polynomial in m,
    // which moves x by O(h). Five knots and seven agree in the order within 0.02. (A corrector and third order look back
    // two steps, and their h^3 does not fall behind h^2 before steps are too many for such a table.)
    constexpr Index nodes = 7;
    constexpr double range = 4;  // of m
    const HermiteRule rule(nodes);
    const Grid grid{151, 8};
    const GaussianMixture target = mixture();
    std::array<double, 5> at{};
    constexpr auto knots = static_cast<Index>(at.size());
    for (std::size_t j = 0; j < at.size(); ++j)
        at[j] = range * std::cos(std::numbers::pi * (static_cast<double>(j) + 0.5) / knots);
    const auto lagrange = [&](Index c, double m) {
        const auto own = static_cast<std::size_t>(c);
        double result = 1;
        for (std::size_t i = 0; i < at.size(); ++i)
            if (i != own) result *= (std::clamp(m, -range, range) - at[i]) / (at[own] - at[i]);
        return result;
    };
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    const auto moment_error = [&](const auto& sampler, int count) {
        const auto levels = levels_of(count, false);
        const Steps steps = steps_between(levels);
        Eigen::VectorXd u;
        for (Index k = steps.count() - 1; k >= 0; --k) {
            const Index width = k > 0 ? knots : 1, after = u.size() / grid.points, rows = grid.points * width * nodes;
            typename std::decay_t<decltype(sampler)>::template State<double> state;
            if (k > 0) {
                state.outputs[0] = Tensor<double>({rows, 1});
                for (Index i = 0; i < rows; ++i) state.outputs[0][i] = at[static_cast<std::size_t>(i / nodes % knots)];
                state.lambdas[0] = half_log_snr(levels[static_cast<std::size_t>(k - 1)]);
                state.count = 1;
            }
            Tensor<double> x({rows, 1});
            for (Index i = 0; i < rows; ++i) x[i] = grid[i / nodes / width];
            const auto draw = [&](Tensor<double>& z, const Interval&) {
                for (Index i = 0; i < rows; ++i) z[i] = rule.nodes[i % nodes];
            };
            sampler.step(x, state, steps.intervals[static_cast<std::size_t>(k)], denoise, draw);
            Eigen::VectorXd before = Eigen::VectorXd::Zero(grid.points * width);
            for (Index i = 0; i < rows; ++i) {
                double value = after ? 0 : x[i] * x[i];
                for (Index c = 0; c < after; ++c)
                    value += lagrange(c, state.outputs[0][i]) * grid.between(u, x[i], after, c);
                before[i / nodes] += rule.weights[i % nodes] * value;
            }
            u = std::move(before);
        }
        const NoiseLevel &first = levels.front(), &last = levels.back();
        double got = 0;
        for (Index i = 0; i < grid.points; ++i)
            got += u[i] * std::exp(target.log_density(Tensor<double>::full({1, 1}, grid[i]), first)[0]) * grid.step();
        return std::abs(got - target.covariance(last)(0, 0) - std::pow(target.mean(last)[0], 2));
    };
    const auto check = [&](const auto& sampler) {
        const double a = moment_error(sampler, 30), b = moment_error(sampler, 60);
        CAPTURE(a, b);
        CHECK(std::log2(a / b) == Approx(2).margin(0.2));
    };
    using Solver = DpmSolverMultistep;
    for (const auto type : {Solver::Type::midpoint, Solver::Type::heun}) check(Solver{.stochastic = true, .type = type});
    for (const bool data : {true, false}) check(SaSolver{.corrector_order = 0, .data_prediction = data});
}

}  // namespace convergence_test
