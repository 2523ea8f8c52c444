// SPDX-License-Identifier: MIT
// The divergence by automatic differentiation against differences, on a network with random weights.
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/task/tape_divergence.hpp"

using namespace ito;

TEST_CASE("the tape gives the velocity and the divergence that differences give") {
    nn::Mlp<double> network(3, 16, 2);
    nn::initialize(network, 5);
    for (const bool scaled : {false, true}) {
        const Reading reading{.prediction = Prediction::v, .scaled_input = scaled};
        const auto plain = [&](const Tensor<double>& x, const NoiseLevel& level) {
            return *network(x, std::vector<double>(static_cast<std::size_t>(x.dim(0)), level.time));
        };
        const ContinuousSubVp schedule;
        Denoiser denoise{plain, reading};
        const FlowVelocity velocity(schedule, denoise);
        Tensor<double> x({4, 3});
        fill_normal(x, 1);
        const std::vector<double> times{0.1, 0.4, 0.4, 0.9};
        const auto expected = exact_divergence<double>(velocity, x.shape())(x, times);
        TapeDivergence<double, ContinuousSubVp, nn::Mlp<double>&> tape{schedule, network, reading, unit_probes<double>(x.shape()), true};
        const Expansion<double> got = tape(x, times);
        for (Index i = 0; i < x.size(); ++i) CHECK(got.velocity[i] == Approx(expected.velocity[i]).epsilon(1e-9));
        for (std::size_t k = 0; k < 4; ++k) CHECK(got.divergence[k] == Approx(expected.divergence[k]).epsilon(1e-6));

        const auto probes = make_probes<double>(x.shape(), 3, Probe::gaussian, 9);
        const auto estimated = DifferenceDivergence<double, FlowVelocity<ContinuousSubVp, decltype(denoise)>>{velocity, probes}(x, times);
        TapeDivergence<double, ContinuousSubVp, nn::Mlp<double>&> random{schedule, network, reading, probes};
        const Expansion<double> hutchinson = random(x, times);
        // The part of the divergence that is linear in x is exact here and estimated there.
        const auto alone = [&](std::size_t k) {
            double square = 0;
            for (const auto& probe : probes)
                for (Index i = 0; i < 3; ++i) square += probe[static_cast<Index>(k) * 3 + i] * probe[static_cast<Index>(k) * 3 + i] / 3;
            const FlowRates rates = flow_rates(schedule, times[k]);
            const Decoding decode = detail::decoding(reading, level_at(schedule, times[k]));
            return (rates.of_x0 * decode.x0_of_x + rates.of_eps * decode.eps_of_x) * (square - 3);
        };
        for (std::size_t k = 0; k < 4; ++k) CHECK(hutchinson.divergence[k] + alone(k) == Approx(estimated.divergence[k]).epsilon(1e-6));
    }
}

TEST_CASE("a float network has a likelihood in double") {
    nn::Mlp<float> network(2, 16, 1);
    nn::initialize(network, 5);
    Tensor<double> x({3, 2});
    fill_normal(x, 1);
    const ContinuousVp schedule;
    TapeDivergence<float, ContinuousVp, nn::Mlp<float>&> flow{schedule, network, Reading{.prediction = Prediction::v}, unit_probes<float>(x.shape()), true};
    const auto prior = [](const Tensor<double>& z) { return normal_log_density(z); };
    const auto nats = log_likelihood<double>(flow, x, 1e-3, 1, prior, fine_steps(1e-4)).nats;
    for (const double value : nats) CHECK(std::isfinite(value));

    // Twice the channels: what is said of the variance is not differentiated.
    const auto doubled = [&](const Var<float>& in, std::span<const float> times) {
        const Var<float> said = network(in, times);
        Tensor<float> both = Tensor<float>::full({in.shape()[0], 4}, 3);
        both.matrix().leftCols(2) = said->matrix();
        Tape<float>* tape = in.tape();
        return result_of(std::move(both), tape, [tape, said](Tensor<float>& dy) {
            Tensor<float> half(said.shape());
            half.matrix() = dy.matrix().leftCols(2);
            tape->add(said, std::move(half));
        }, said);
    };
    TapeDivergence<float, ContinuousVp, decltype(doubled)&> learned{schedule, doubled, Reading{.prediction = Prediction::v, .learned_variance = true},
                                                                    unit_probes<float>(x.shape()), true};
    const std::vector<double> times{0.3, 0.3, 0.6};
    CHECK(learned(x, times).divergence[2] == Approx(flow(x, times).divergence[2]));
    CHECK(learned(x, times).velocity[3] == Approx(flow(x, times).velocity[3]));
}
