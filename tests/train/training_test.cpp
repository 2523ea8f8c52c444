// SPDX-License-Identifier: MIT
// Every loss trains a small network on points whose mean and covariance its samples then have.
#include <algorithm>
#include <functional>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/schedule/rectified_flow.hpp"
#include "ito/train/score_matching.hpp"
#include "ito/train/time_resampler.hpp"
#include "ito/train/times.hpp"
#include "ito/train/trainer.hpp"
#include "ito/train/variational_loss.hpp"

using namespace ito;

namespace {

constexpr Index batch = 128, updates = 600;

/// Two clusters.
const GaussianMixture& target() {
    static const GaussianMixture mixture({{2, Eigen::Vector2d(0.5, 0.3), Eigen::Vector2d(0.02, 0.05)},
                                          {1, Eigen::Vector2d(-0.6, -0.4), Eigen::Vector2d(0.05, 0.01)}});
    return mixture;
}

/// A network for two coordinates, and what it says of the variance if asked to. Its waves are made for times up to a thousand.
struct Net {
    nn::Mlp<float> mean, variance;
    bool learned = false;
    float label_scale = 1;

    Var<float> operator()(const Var<float>& x, std::span<const float> times) const {
        std::vector<float> labels;
        for (const float t : times) labels.push_back(label_scale * t);
        return learned ? ops::concat(mean(x, labels), variance(x, labels)) : mean(x, labels);
    }
    static void fields(auto& self, auto&& visit) {
        visit("mean", self.mean);
        if (self.learned) visit("variance", self.variance);
    }
};

using Loss = std::function<Var<float>(const Net&, Tape<float>&, const Tensor<float>& x0, const Tensor<float>& eps, std::uint64_t part)>;

Net trained(const Loss& loss, float label_scale = 1, bool learned_variance = false) {
    Net net{nn::Mlp<float>(2, 48, 2), nn::Mlp<float>(2, 48, 2), learned_variance, label_scale};
    nn::initialize(net, 1);
    Trainer<Net> trainer(std::move(net), {.learning_rate = {4e-3, 50, updates, 0.02}, .ema_decay = 0.99});
    while (trainer.steps() < updates)
        trainer.step([&](const Net& model, Tape<float>& tape, Index part) {
            const auto first = static_cast<std::uint64_t>(part * batch);
            Tensor<float> eps({batch, 2});
            fill_normal(eps, 1, first, 0, Stream::noise);
            return loss(model, tape, target().draw<float>(batch, 2, {}, first), eps, static_cast<std::uint64_t>(part));
        });
    return trainer.ema();
}

template <class S>
void check_samples(const Net& net, const Reading& reading, const Steps& steps, const S& sampler) {
    const auto says = [&](const Tensor<float>& x, const NoiseLevel& level) {
        return *net(x, std::vector<float>(static_cast<std::size_t>(x.dim(0)), static_cast<float>(level.time)));
    };
    const Tensor<float> x = sample<float>(Denoiser{says, reading}, sampler, steps, {4000, 2}, {.seed = 3});
    const Eigen::MatrixXd rows = x.matrix().cast<double>();
    const Eigen::RowVectorXd mean = rows.colwise().mean();
    const Eigen::MatrixXd centred = rows.rowwise() - mean, covariance = centred.transpose() * centred / 4000;
    CAPTURE(mean, covariance);
    CHECK((mean.transpose() - target().mean()).norm() < 0.06);
    CHECK((covariance - target().covariance()).norm() < 0.06);
}

std::vector<double> times_of(Index count, std::uint64_t part) {
    std::vector<double> times;
    for (const double u : stratified_numbers(count, 5, part)) times.push_back(0.02 + 0.98 * u);
    return times;
}

template <class S>
std::vector<NoiseLevel> levels_of(const S& schedule, const std::vector<double>& times) {
    std::vector<NoiseLevel> levels;
    for (const double t : times) levels.push_back(level_at(schedule, t));
    return levels;
}

}  // namespace

TEST_CASE("score matching trains a sampler under both weightings", "[slow]") {
    const ContinuousVp schedule;
    const Reading reading{Prediction::v};  // its score is well said at every level, as a network's own would not be
    for (const bool likelihood : {false, true}) {
        CAPTURE(likelihood);
        const Net net = trained([&](const Net& model, Tape<float>& tape, const auto& x0, const auto& eps, std::uint64_t part) {
            const std::vector<double> times = times_of(batch, part);
            const std::vector<NoiseLevel> levels = levels_of(schedule, times);
            const std::vector<double> lambdas = likelihood ? likelihood_weights(schedule, times) : smld_weights(levels);
            return ScoreMatchingLoss{reading}(model, tape, x0, eps, levels, lambdas);
        });
        check_samples(net, reading, uniform_steps(schedule, 50, 0.02), Ddim{});
    }
}

TEST_CASE("EDM's loss trains a sampler", "[slow]") {
    const Reading reading = edm_reading(0.6);
    const Net net = trained([&](const Net& model, Tape<float>& tape, const auto& x0, const auto& eps, std::uint64_t part) {
        std::vector<NoiseLevel> levels;
        for (const double u : stratified_numbers(batch, 5, part)) levels.push_back(level_at(Edm{}, lognormal_quantile(u)));
        return DenoisingLoss(reading)(model, tape, x0, eps, levels);
    }, 250);
    check_samples(net, reading, edm_steps(30, 0.02, 10), Ddim{});
}

TEST_CASE("flow matching trains a sampler", "[slow]") {
    const Reading reading{Prediction::flow};
    const Net net = trained([&](const Net& model, Tape<float>& tape, const auto& x0, const auto& eps, std::uint64_t part) {
        std::vector<NoiseLevel> levels;
        for (const double u : stratified_numbers(batch, 5, part)) levels.push_back(level_at(RectifiedFlow{}, logit_normal_quantile(u)));
        return DenoisingLoss(reading)(model, tape, x0, eps, levels);
    });
    check_samples(net, reading, flow_steps(RectifiedFlow{}, 40), Ddim{});
}

TEST_CASE("the losses of learned variances train a sampler of few noisy steps", "[slow]") {
    const DiscreteSchedule schedule(cosine_betas<double>(50));
    const Ddpm sampler{.variance = Ddpm::Variance::learned_range};
    const Reading reading{.clip = 1.3, .learned_variance = true};
    SECTION("hybrid") {
        const auto loss = [&](const Net& model, Tape<float>& tape, const auto& x0, const auto& eps, std::uint64_t part) {
            std::vector<Index> times;
            for (const double u : stratified_numbers(batch, 5, part)) times.push_back(static_cast<Index>(50 * u));
            return VariationalLoss{}(model, tape, schedule, x0, eps, times);
        };
        check_samples(trained(loss, 20, true), reading, trailing(schedule, 50), sampler);
    }
    SECTION("the bound itself, with resampled times") {
        TimeResampler<float> resampler(50);
        const auto loss = [&](const Net& model, Tape<float>& tape, const auto& x0, const auto& eps, std::uint64_t part) {
            const auto drawn = resampler.draw(stratified_numbers(batch, 5, part));
            const Var<float> each = VariationalLoss{VariationalLoss::Kind::vlb}.each(model, tape, schedule, x0, eps, drawn.times);
            resampler.update(drawn.times, *each);
            return ops::weighted_mean<float>(each, drawn.weights);
        };
        check_samples(trained(loss, 20, true), reading, trailing(schedule, 50), sampler);
        const std::vector<double> p = resampler.probabilities();
        CHECK(*std::max_element(p.begin(), p.end()) > 1.5 / 50);
    }
}
