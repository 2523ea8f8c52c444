// SPDX-License-Identifier: MIT
#include "ito/denoise/analytic.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/denoiser.hpp"

using namespace ito;

namespace {

using Component = GaussianMixture::Component;

Eigen::MatrixXd covariance() { return (Eigen::MatrixXd(2, 2) << 1.0, 0.6, 0.6, 0.5).finished(); }

GaussianMixture mixture() {
    return GaussianMixture({Component::of_covariance(2, Eigen::Vector2d(1, -1), covariance()),
                            Component{1, Eigen::Vector2d(-2, 0.5), Eigen::Vector2d(0.3, 0.1)}});
}

GaussianMixture on_line() {
    Eigen::VectorXd left(1), right(1), narrow(1), wide(1);
    left << -1, right << 0.8, narrow << 0.04, wide << 0.2;
    return GaussianMixture({Component{1, left, narrow}, Component{3, right, wide}});
}

}  // namespace

TEST_CASE("the score of a mixture is the gradient of its log density and tells x0 by Tweedie") {
    const GaussianMixture target = mixture();
    const Tensor<double> x = Tensor<double>::from({3, 2}, {0.4, -0.3, -1.5, 0.2, 3, 2});
    for (const NoiseLevel level : {NoiseLevel{0, 0.8, 0.6}, NoiseLevel{0, 1, 5}, NoiseLevel{0, 0.1, 0.99}, NoiseLevel{0, 1, 0.05}}) {
        const Tensor<double> score = target.score(x, level), x0 = target(x, level);
        for (Index i = 0; i < x.size(); ++i) {
            Tensor<double> up = x, down = x;
            up[i] += 1e-5, down[i] -= 1e-5;
            const auto k = static_cast<std::size_t>(i / 2);
            CHECK(score[i] == Approx((target.log_density(up, level)[k] - target.log_density(down, level)[k]) / 2e-5).epsilon(1e-5).margin(1e-6));
            CHECK(x0[i] * level.alpha == Approx(x[i] + level.sigma * level.sigma * score[i]).epsilon(1e-9).margin(1e-9));
        }
    }
}

TEST_CASE("the density of a mixture sums to one and its draws have its moments") {
    const GaussianMixture target = mixture();
    const NoiseLevel level{0, 0.9, 0.5};
    double sum = 0;
    std::vector<double> grid;
    constexpr double step = 0.1;
    for (double a = -9; a < 9; a += step)
        for (double b = -9; b < 9; b += step) grid.insert(grid.end(), {a, b});
    const auto points = Tensor<double>::from({static_cast<Index>(grid.size()) / 2, 2}, std::span<const double>(grid));
    for (const double log_density : target.log_density(points, level)) sum += std::exp(log_density) * step * step;
    CHECK(sum == Approx(1).epsilon(1e-6));

    constexpr Index n = 100000;
    const Tensor<double> x = target.draw<double>(n, 3, level);
    const Eigen::VectorXd mean = x.matrix().colwise().mean();
    const Eigen::MatrixXd away = x.matrix().rowwise() - mean.transpose();
    const Eigen::MatrixXd cov = away.transpose() * away / static_cast<double>(n);
    // Five standard errors, with the kurtosis of no mixture here above twice the normal's.
    const Eigen::MatrixXd expected = target.covariance(level);
    for (int i = 0; i < 2; ++i) {
        CHECK(std::abs(mean[i] - target.mean(level)[i]) < 5 * std::sqrt(expected(i, i) / n));
        for (int j = 0; j < 2; ++j) CHECK(std::abs(cov(i, j) - expected(i, j)) < 7 * std::sqrt(expected(i, i) * expected(j, j) / n));
    }
    const Tensor<double> later = target.draw<double>(2, 3, level, 5);
    CHECK(later(0, 1) == x(5, 1));
}

TEST_CASE("the flow of a mixture solves the probability-flow equation") {
    const NoiseLevel from{0, 1, 3}, to{0, 1, 0.2};
    const auto runge_kutta = [&](const GaussianMixture& target, Tensor<double> x) {
        const int steps = 4000;
        const double ratio = std::pow(to.sigma / from.sigma, 1.0 / steps);
        double s = from.sigma;
        const auto slope = [&](const Tensor<double>& at, double sigma) {  // dx / dsigma = -sigma score
            Tensor<double> d = target.score(at, {0, 1, sigma});
            d.array() *= -sigma;
            return d;
        };
        for (int i = 0; i < steps; ++i, s *= ratio) {
            const double h = s * (ratio - 1);
            Tensor<double> middle = x;
            middle.array() += 0.5 * h * slope(x, s).array();
            x.array() += h * slope(middle, s + 0.5 * h).array();
        }
        return x;
    };
    const Tensor<double> start = Tensor<double>::from({5, 1}, {-6, -1, 0.3, 1, 7});
    const Tensor<double> expected = runge_kutta(on_line(), start), got = on_line().flow(start, from, to);
    CHECK((got.array() - expected.array()).abs().maxCoeff() < 1e-5);
    const Tensor<double> back = on_line().flow(got, to, from);
    CHECK((back.array() - start.array()).abs().maxCoeff() < 1e-9);

    const GaussianMixture one({Component::of_covariance(1, Eigen::Vector2d(1, -1), covariance())});
    const Tensor<double> plane = Tensor<double>::from({2, 2}, {-6, -1, 0.3, 1});
    CHECK((one.flow(plane, from, to).array() - runge_kutta(one, plane).array()).abs().maxCoeff() < 1e-5);
    CHECK_THROWS_AS(mixture().flow(plane, from, to), ArgumentError);
}

TEST_CASE("a mixture is a network in single precision and at a level a sample") {
    const GaussianMixture target = mixture();
    const std::vector<NoiseLevel> levels{{0, 1, 2}, {0, 0.6, 0.8}};
    const Tensor<float> x = Tensor<float>::from({2, 1, 1, 2}, {1.f, 2.f, -0.5f, 0.3f});
    const Tensor<float> both = target(x, std::span<const NoiseLevel>(levels));
    for (Index k = 0; k < 2; ++k)
        for (Index i = 0; i < 2; ++i) CHECK(both[2 * k + i] == target(x, levels[static_cast<std::size_t>(k)])[2 * k + i]);
    Denoiser denoise{target, Reading{.prediction = Prediction::sample}};
    CHECK(estimated_x0(x, denoise(x, levels[0]))[0] == target(x, levels[0])[0]);

    CHECK_THROWS_AS(target(Tensor<float>::zeros({2, 3}), levels[0]), ShapeError);
    CHECK_THROWS_AS(GaussianMixture({}), ArgumentError);
    CHECK_THROWS_AS(GaussianMixture({Component{-1, Eigen::Vector2d(0, 0), Eigen::Vector2d(1, 1)}}), ArgumentError);
    CHECK_THROWS_AS(GaussianMixture({Component{1, Eigen::Vector2d(0, 0), Eigen::Vector2d(1, -1)}}), ArgumentError);
    CHECK_THROWS_AS(GaussianMixture::normal(Eigen::Vector2d(0, 0), Eigen::VectorXd::Ones(3)), ArgumentError);
    CHECK_THROWS_AS(target.cumulative(0), ArgumentError);
}
