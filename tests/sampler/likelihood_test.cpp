// SPDX-License-Identifier: MIT
// Likelihoods along the flow against exact densities.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/likelihood.hpp"
#include "ito/schedule/continuous.hpp"

using namespace ito;

namespace likelihood_test {
namespace {

GaussianMixture::Component round(double weight, double x, double y, double variance) {
    return {weight, Eigen::Vector2d(x, y), Eigen::Vector2d::Constant(variance)};
}

const GaussianMixture centred({round(1, 1, 1, 0.1), round(1, -1, -1, 0.1), round(1, 1, -1, 0.3), round(1, -1, 1, 0.3)});
const Reading says_x0{.prediction = Prediction::sample};

/// Largest distance in nats from the exact density.
template <class S, class Prior>
double error_in_nats(const GaussianMixture& target, const S& schedule, Prior&& prior) {
    const double first = 1e-3, last = schedule.last_time();
    const NoiseLevel level = level_at(schedule, first);
    const Tensor<double> x = target.draw<double>(5, 1, level);
    Denoiser denoise{target, says_x0};
    const FlowVelocity velocity(schedule, denoise);
    const auto got = log_likelihood<double>(exact_divergence<double>(velocity, x.shape()), x, first, last, prior, fine_steps(1e-7));
    const auto exact = target.log_density(x, level);
    double worst = 0;
    for (std::size_t k = 0; k < exact.size(); ++k) worst = std::max(worst, std::abs(got.nats[k] - exact[k]));
    return worst;
}

}  // namespace

TEST_CASE("the likelihood of Gaussian and mixture data is exact with the exact trace") {
    Eigen::Matrix3d covariance;
    covariance << 0.5, 0.3, 0, 0.3, 0.4, -0.1, 0, -0.1, 0.2;
    const GaussianMixture normal({GaussianMixture::Component::of_covariance(1, Eigen::Vector3d(0.5, -1, 2), covariance)});
    const GaussianMixture lopsided({round(0.2, 1, 0.5, 0.05), round(0.8, -0.3, 0, 0.4)});
    const auto check = [&](const auto& schedule) {
        for (const GaussianMixture* target : {&normal, &lopsided, &centred}) {
            const auto prior = [&](const Tensor<double>& z) { return target->log_density(z, level_at(schedule, schedule.last_time())); };
            CHECK(error_in_nats(*target, schedule, prior) < 1e-4);
        }
    };
    check(ContinuousVp{});
    check(ContinuousSubVp{});
    check(ContinuousVe{});
    check(ContinuousCosine{});
    // With the prior that a user has, N(0, 1), centred data are as good; alpha = 0.0066 is left of others.
    const auto standard = [](const Tensor<double>& z) { return normal_log_density(z); };
    CHECK(error_in_nats(centred, ContinuousVp{}, standard) < 1e-4);
    const auto wide = [](const Tensor<double>& z) { return normal_log_density(z, 300); };
    CHECK(error_in_nats(centred, ContinuousVe{0.01, 300}, wide) < 1e-4);
}

TEST_CASE("Hutchinson's estimate is unbiased and its probes are each sample's own") {
    const ContinuousVp schedule;
    Denoiser denoise{centred, says_x0};
    const FlowVelocity velocity(schedule, denoise);
    const Tensor<double> x = Tensor<double>::from({1, 2}, {0.9, 0.2});
    const std::vector<double> times{0.2};
    const double exact = exact_divergence<double>(velocity, x.shape())(x, times).divergence[0];
    for (const Probe kind : {Probe::rademacher, Probe::gaussian}) {
        std::vector<double> estimates;
        for (const Tensor<double>& probe : make_probes<double>({1, 2}, 2000, kind, 7))
            estimates.push_back(DifferenceDivergence<double, FlowVelocity<ContinuousVp, decltype(denoise)>>{velocity, {probe}}(x, times).divergence[0]);
        const MeanError got = mean_error(estimates);
        CAPTURE(exact, got.mean, got.error);
        CHECK(got.error > 0);
        CHECK(std::abs(got.mean - exact) < 5 * got.error);
        DifferenceDivergence<double, FlowVelocity<ContinuousVp, decltype(denoise)>> several{velocity, make_probes<double>({1, 2}, 4, kind, 7)};
        CHECK(several(x, times).divergence[0] == Approx((estimates[0] + estimates[1] + estimates[2] + estimates[3]) / 4));
    }
    const auto three = make_probes<double>({3, 2}, 2, Probe::gaussian, 7), last = make_probes<double>({1, 2}, 2, Probe::gaussian, 7, 2);
    CHECK(three[1](2, 1) == last[1](0, 1));
    CHECK(three[0](2, 1) != three[1](2, 1));
    CHECK_THROWS_AS(make_probes<double>({1, 2}, 0, Probe::gaussian, 7), ArgumentError);

    // Over whole solves: E[log p] over the probes is log p.
    const Tensor<double> copies = [&] {
        Tensor<double> result({300, 2});
        for (Index k = 0; k < 300; ++k) result(k, 0) = 0.9, result(k, 1) = 0.2;
        return result;
    }();
    const auto prior = [](const Tensor<double>& z) { return normal_log_density(z); };
    DifferenceDivergence<double, FlowVelocity<ContinuousVp, decltype(denoise)>> random{velocity, make_probes<double>(copies.shape(), 1, Probe::rademacher, 3)};
    const MeanError nats = mean_error(log_likelihood<double>(random, copies, 1e-3, 1, prior).nats);
    CHECK(nats.error > 1e-4);
    CHECK(std::abs(nats.mean - centred.log_density(x, level_at(schedule, 1e-3))[0]) < 5 * nats.error);
}

TEST_CASE("a likelihood does not depend on the batch") {
    const ContinuousVp schedule;
    Denoiser denoise{centred, says_x0};
    const FlowVelocity velocity(schedule, denoise);
    const Tensor<double> x = centred.draw<double>(3, 5);
    const Tensor<double> middle = Tensor<double>::from({1, 2}, {x(1, 0), x(1, 1)});
    const auto prior = [](const Tensor<double>& z) { return normal_log_density(z); };
    const auto all = log_likelihood<double>(exact_divergence<double>(velocity, x.shape()), x, 1e-3, 1, prior);
    const auto one = log_likelihood<double>(exact_divergence<double>(velocity, middle.shape()), middle, 1e-3, 1, prior);
    CHECK(all.nats[1] == one.nats[0]);
    CHECK(all.code(1, 0) == one.code(0, 0));
}

TEST_CASE("bits per dimension count the levels of whole numbers") {
    CHECK(bits_per_dimension(-12 * std::log(2.0), 12) == Approx(8));  // uniform on [-1, 1]
    CHECK(bits_per_dimension(0, 12, 0, 1) == Approx(8));              // uniform on [0, 1]
    CHECK(bits_per_dimension(0, 5) == Approx(7));
    CHECK(bits_per_dimension(-3, 2, -1, 1, 4) == Approx(3 / (2 * std::log(2.0)) + 1));

    Tensor<float> x({256, 50});
    for (Index k = 0; k < 256; ++k)
        for (Index i = 0; i < 50; ++i) x(k, i) = static_cast<float>(static_cast<double>(k) / 127.5 - 1);
    const Tensor<float> spread = dequantize(x, 1), later = dequantize(Tensor<float>::from({1, 2}, {x(3, 0), x(3, 1)}), 1, 3);
    for (Index k = 0; k < 256; ++k)
        for (Index i = 0; i < 50; ++i) CHECK(std::abs(spread(k, i) - (-1 + (static_cast<double>(k) + 0.5) / 128)) <= 1.0 / 256 + 1e-6);
    CHECK(spread.array().mean() == Approx(0).margin(1e-3));
    CHECK(spread(3, 1) == later(0, 1));
    CHECK(mean_error(std::vector<double>{1, 3}).error == Approx(1));
    CHECK(mean_error(std::vector<double>{2}).error == 0);
    CHECK_THROWS_AS(mean_error({}), ArgumentError);
}

}  // namespace likelihood_test
