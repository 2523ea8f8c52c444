// SPDX-License-Identifier: MIT
// Trains critically-damped Langevin diffusion on nine modes by hybrid score matching, in about half a minute on two
// cores, and draws data, samples, and a path of position and velocity:
//     cld --out cld.png
// Expected: "9 of 9 modes", each with about a ninth of the samples.
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

#include "ito/data/toy_points.hpp"
#include "ito/io/image.hpp"
#include "ito/io/plot.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/ops/loss.hpp"
#include "ito/sampler/critically_damped.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/train/times.hpp"
#include "ito/train/trainer.hpp"
#include "program.hpp"

using namespace ito;

namespace {

std::vector<double> column(const Tensor<float>& points, Index axis) {
    std::vector<double> values;
    for (Index i = 0; i < points.dim(0); ++i) values.push_back(points(i, axis));
    return values;
}

/// Samples in each of the nine modes, within five of their deviations; the rest is in none.
std::array<Index, 9> count_modes(const Tensor<float>& z) {
    std::array<Index, 9> counts{};
    for (Index k = 0; k < z.dim(0); ++k) {
        const double a = (z(k, 0) - z(k, 1)) * std::numbers::sqrt2, b = (z(k, 0) + z(k, 1)) * std::numbers::sqrt2;
        const double i = std::round(a), j = std::round(b);
        if (std::abs(i) <= 1 && std::abs(j) <= 1 && std::hypot(a - i, b - j) / 2 < 0.2) ++counts[static_cast<std::size_t>(3 * (i + 1) + j + 1)];
    }
    return counts;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Trains critically-damped Langevin diffusion on nine modes and draws what it learned.\n\nExample: cld --out cld.png", "cld");
    std::string out = "cld.png";
    Index updates = 6000, batch = 512, count = 3000, steps = 200;
    app.add_option("--out", out, "PNG with data, samples and a path")->check(program::path_to_write())->capture_default_str();
    app.add_option("--updates", updates, "Training updates")->capture_default_str();
    app.add_option("--count", count, "Samples")->capture_default_str();
    app.add_option("--steps", steps, "Sampler steps")->capture_default_str();
    return program::run(app, argc, argv, [&] {
        if (updates < 1 || count < 1) throw ArgumentError("--updates and --count must be at least 1");
        const PhaseReading reading{};
        const Steps levels = phase_steps(reading.sde, steps, 2);
        nn::Mlp<float> network(4, 128, 3);
        network.out = nn::Linear<float>(128, 2);  // sees positions and velocities, speaks of velocities
        nn::initialize(network, 0);
        Trainer<nn::Mlp<float>> trainer(std::move(network), {.learning_rate = {2e-3, 100, updates, 0.01}, .ema_decay = 0.999});
        program::ProgressBar bar("train", "update", updates);
        const auto says = [](const nn::Mlp<float>& net, const Var<float>& z, const std::vector<double>& times) {
            std::vector<float> labels;
            for (const double t : times) labels.push_back(static_cast<float>(1000 * t));
            return net(z, labels);
        };
        double loss = 0;
        while (trainer.steps() < updates) {
            const TrainingStep seen = trainer.step([&](const nn::Mlp<float>& net, Tape<float>& tape, Index part) {
                std::vector<double> times = stratified_numbers(batch, 0, static_cast<std::uint64_t>(part));
                for (double& t : times) t = 1e-5 + (1 - 1e-5) * t;
                const Tensor<float> x0 = diamond<float>(batch, 0, static_cast<std::uint64_t>(part * batch));
                Tensor<float> eps({batch, 4});
                fill_normal(eps, 0, static_cast<std::uint64_t>(part * batch), 0, Stream::noise);
                const PhaseExample<float> example = hybrid_example<float>(reading, x0, eps, times);
                return ops::squared_error<float>(says(net, tape.constant(example.z), times), example.target);
            });
            loss += (seen.loss - loss) / static_cast<double>(std::min<Index>(seen.step, 100));
            bar.show(seen.step, "loss " + std::to_string(loss));
        }

        const auto ask = [&](const Tensor<float>& z, const NoiseLevel& level) {
            return *says(trainer.ema(), Var<float>(z), std::vector<double>(static_cast<std::size_t>(z.dim(0)), level.time));
        };
        VelocityScore score{ask, reading};
        WhiteNoise noise{1};
        Sampling<float, Sscs> sampling(Sscs{reading.sde}, levels, initial_phase<float>(reading.sde, {count, 4}, 1));
        std::vector<Tensor<float>> path{sampling.x()};
        sampling.run(score, noise, {}, [&](const Seen<float>& seen) { path.push_back(seen.x); });

        const std::array<Index, 9> modes = count_modes(path.back());
        Index found = 0, inside = 0;
        for (const Index mode : modes) found += mode > count / 50, inside += mode;
        std::printf("%lld of 9 modes; of %lld samples", static_cast<long long>(found), static_cast<long long>(count));
        for (const Index mode : modes) std::printf(" %lld", static_cast<long long>(mode));
        std::printf(" in each, %lld in none\n", static_cast<long long>(count - inside));

        const Tensor<float> real = diamond<float>(count, 1);
        Plot data{.title = "Data", .equal_scale = true}, samples{.title = "Samples by SSCS", .equal_scale = true};
        Plot phase{.title = "Position and velocity", .x = {.label = "x"}, .y = {.label = "v"}};
        data.points(column(real, 0), column(real, 1), {.alpha = 0.5});
        samples.points(column(path.back(), 0), column(path.back(), 1), {.alpha = 0.5});
        for (Index i = 0; i < std::min<Index>(count, 3); ++i) {
            std::vector<double> xs, vs;
            for (const Tensor<float>& at : path) xs.push_back(at(i, 0)), vs.push_back(at(i, 2));
            phase.line(std::move(xs), std::move(vs), {.alpha = 0.8});
        }
        write_png(out, draw_plots({data, samples, phase}));
        return 0;
    });
}
