// SPDX-License-Identifier: MIT
// Trains a small network on two moons in some ten seconds and draws data, samples and the flow from noise to data.
// Expected: the samples lie on the moons as the data does.
#include "ito/io/image.hpp"
#include "ito/io/plot.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/steps.hpp"
#include "ito/train/denoising_loss.hpp"
#include "ito/train/trainer.hpp"
#include "program.hpp"

using namespace ito;

/// `count` points [count, 2] on two interlocking half circles, with a little noise.
Tensor<float> two_moons(Index count, std::uint64_t seed) {
    Tensor<float> points({count, 2});
    fill_normal(points, seed, 0, 0, Stream::data);
    for (Index i = 0; i < count; ++i) {
        const double side = i % 2 ? -1 : 1, angle = 3.14159265 * Random{{seed, static_cast<std::uint64_t>(i), 1, Stream::data}}.uniform();
        points(i, 0) = static_cast<float>(side * (std::cos(angle) - 0.5) + 0.05 * points(i, 0));
        points(i, 1) = static_cast<float>(side * (std::sin(angle) - 0.25) + 0.05 * points(i, 1));
    }
    return points;
}

std::vector<double> column(const Tensor<float>& points, Index axis) {
    std::vector<double> values;
    for (Index i = 0; i < points.dim(0); ++i) values.push_back(points(i, axis));
    return values;
}

int main(int argc, char** argv) {
    CLI::App app("Trains a small network on 2-D data and draws what it learned.\n\nExample: two_moons --out two_moons.png", "two_moons");
    std::string out = "two_moons.png";
    Index steps = 5000, batch = 256;
    app.add_option("--out", out, "PNG with data, samples and flow")->check(program::path_to_write())->capture_default_str();
    app.add_option("--steps", steps, "Training updates")->capture_default_str();
    return program::run(app, argc, argv, [&] {
        if (steps < 1) throw ArgumentError("--steps must be at least 1, got " + std::to_string(steps));
        const ContinuousVp schedule;
        nn::Mlp<float> network(2, 64, 3);
        nn::initialize(network, 0);
        Trainer<nn::Mlp<float>> trainer(std::move(network), {.learning_rate = {3e-3, 100, steps, 0.01}, .ema_decay = 0.999});
        program::ProgressBar bar("train", "update", steps);
        const auto loss = [&](const nn::Mlp<float>& net, Tape<float>& tape, Index part) {
            const Tensor<float> x0 = two_moons(batch, static_cast<std::uint64_t>(part));
            Tensor<float> eps(x0.shape());
            fill_normal(eps, 0, static_cast<std::uint64_t>(part * batch), 0, Stream::noise);
            Random random{{0, static_cast<std::uint64_t>(part), 0, Stream::timestep}};
            std::vector<NoiseLevel> levels;
            for (Index i = 0; i < batch; ++i) levels.push_back(level_at(schedule, 1e-3 + 0.999 * random.uniform()));
            return DenoisingLoss{Prediction::v}(net, tape, x0, eps, levels);
        };
        while (trainer.steps() < steps) bar.show(trainer.step(loss).step);

        const auto network_says = [&](const Tensor<float>& x, const NoiseLevel& level) {
            return *trainer.ema()(x, std::vector<float>(static_cast<std::size_t>(x.dim(0)), static_cast<float>(level.time)));
        };
        std::vector<Tensor<float>> path;
        sample<float>(Denoiser{network_says, Reading{Prediction::v}}, Ddim{}, uniform_steps(schedule, 100), {1500, 2},
                      {.seed = 1}, [&](const Seen<float>& seen) { path.push_back(seen.x); });
        Plot data{.title = "Data", .equal_scale = true}, samples{.title = "Samples", .equal_scale = true};
        Plot flow{.title = "Probability flow", .equal_scale = true};
        data.points(column(two_moons(1500, 1), 0), column(two_moons(1500, 1), 1), {.alpha = 0.5});
        samples.points(column(path.back(), 0), column(path.back(), 1), {.alpha = 0.5});
        flow.points(column(path.back(), 0), column(path.back(), 1), {.alpha = 0.3});
        for (Index i = 0; i < 150; ++i) {
            std::vector<double> xs, ys;
            for (const Tensor<float>& at : path) xs.push_back(at(i, 0)), ys.push_back(at(i, 1));
            flow.line(std::move(xs), std::move(ys), {.color = Color{200, 80, 40}, .alpha = 0.4});
        }
        write_png(out, draw_plots({data, samples, flow}));
        std::puts(out.c_str());
        return 0;
    });
}
