// SPDX-License-Identifier: MIT
// Trains score models of the VP, sub-VP and VE SDEs on a swiss roll, about half a minute on two cores, and draws
// for each samples of the predictor-corrector sampler, the probability flow from noise to data, and contours of the
// log-likelihood:
//     score_sde --out score_sde.png
// Expected: all three draw the roll; the mean log-likelihood of held-out points is between -0.25 and 0 nats for each.
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "ito/data/toy_points.hpp"
#include "ito/io/image.hpp"
#include "ito/io/plot.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/sampler/predictor_corrector.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/task/tape_divergence.hpp"
#include "ito/train/denoising_loss.hpp"
#include "ito/train/times.hpp"
#include "ito/train/trainer.hpp"
#include "program.hpp"

using namespace ito;

namespace {

constexpr double epsilon = 1e-3;  // where likelihoods start and training times, too
const Reading reading{.prediction = Prediction::v, .scaled_input = true};

/// A schedule whose network is told 1000 t, as the small network wants it.
template <class S>
struct Told : S {
    double label(double t) const { return 1000 * t; }
};

struct Settings {
    std::string out = "score_sde.png";
    Index updates = 4000, batch = 256, count = 1500, steps = 300, grid = 60;
};

std::vector<double> column(const Tensor<float>& points, Index axis) {
    std::vector<double> values;
    for (Index i = 0; i < points.dim(0); ++i) values.push_back(points(i, axis));
    return values;
}

/// The lines on which a function known on a square grid of [-reach, reach]^2 has the given value (marching squares).
void contour(Plot& plot, const std::vector<double>& f, Index n, double reach, double value, Color color) {
    std::vector<double> xs, ys;
    const auto at = [&](Index i, Index j) { return f[static_cast<std::size_t>(i * n + j)]; };
    const auto place = [&](double i) { return reach * (2 * i / static_cast<double>(n - 1) - 1); };
    for (Index i = 0; i + 1 < n; ++i) {
        for (Index j = 0; j + 1 < n; ++j) {
            const Index corners[5][2] = {{i, j}, {i, j + 1}, {i + 1, j + 1}, {i + 1, j}, {i, j}};
            int crossings = 0;
            for (int side = 0; side < 4; ++side) {
                const auto &a = corners[side], &b = corners[side + 1];
                const double fa = at(a[0], a[1]) - value, fb = at(b[0], b[1]) - value;
                if ((fa < 0) == (fb < 0)) continue;
                const double w = fa / (fa - fb);
                ys.push_back(place(static_cast<double>(a[0]) + w * static_cast<double>(b[0] - a[0])));
                xs.push_back(place(static_cast<double>(a[1]) + w * static_cast<double>(b[1] - a[1])));
                if (++crossings % 2 == 0) xs.push_back(std::numeric_limits<double>::quiet_NaN()), ys.push_back(xs.back());
            }
        }
    }
    plot.line(std::move(xs), std::move(ys), {.color = color, .size = 1});
}

/// Trains and draws one SDE; the prior is normal with the schedule's last deviation.
template <class S, class Predictor>
std::vector<Plot> study(const Settings& s, const std::string& name, const S& schedule, const Predictor& predictor) {
    nn::Mlp<float> network(2, 64, 3);
    nn::initialize(network, 0);
    Trainer<nn::Mlp<float>> trainer(std::move(network), {.learning_rate = {3e-3, 100, s.updates, 0.01}, .ema_decay = 0.999});
    program::ProgressBar bar("train " + name, "update", s.updates);
    while (trainer.steps() < s.updates) {
        bar.show(trainer.step([&](const nn::Mlp<float>& net, Tape<float>& tape, Index part) {
            const auto first = static_cast<std::uint64_t>(part * s.batch);
            Tensor<float> eps({s.batch, 2});
            fill_normal(eps, 0, first, 0, Stream::noise);
            std::vector<NoiseLevel> levels;
            for (const double u : stratified_numbers(s.batch, 0, static_cast<std::uint64_t>(part))) levels.push_back(level_at(schedule, epsilon + (1 - epsilon) * u));
            return DenoisingLoss(reading)(net, tape, swiss_roll<float>(s.batch, 0, first), eps, levels);
        }).step);
    }

    const nn::Mlp<float>& trained = trainer.ema();
    const auto ask = [&](const Tensor<float>& x, const NoiseLevel& level) {
        return *trained(x, std::vector<float>(static_cast<std::size_t>(x.dim(0)), static_cast<float>(level.time)));
    };
    const Steps levels = uniform_steps(schedule, s.steps, epsilon);
    const auto samples = sample<float>(Denoiser{ask, reading}, PredictorCorrector{predictor, AnnealedLangevin{}}, levels, {s.count, 2}, {.seed = 1});
    std::vector<Tensor<float>> path;
    sample<float>(Denoiser{ask, reading}, ProbabilityFlow{schedule, tableaux::heun}, uniform_steps(schedule, 100, epsilon), {150, 2}, {.seed = 2},
                  [&](const Seen<float>& seen) { path.push_back(seen.x); });

    const auto nats_of = [&](const Tensor<double>& x) {
        TapeDivergence<float, S, const nn::Mlp<float>&> flow{schedule, trained, reading, unit_probes<float>(x.shape()), true};
        const auto prior = [&](const Tensor<double>& z) { return normal_log_density(z, schedule.sigma(1)); };
        return log_likelihood<double>(flow, x, epsilon, 1, prior, fine_steps(1e-4)).nats;
    };
    const MeanError held_out = mean_error(nats_of(swiss_roll<double>(500, 1)));
    std::printf("%-7s log-likelihood of held-out points %.3f +- %.3f nats\n", name.c_str(), held_out.mean, held_out.error);
    constexpr double reach = 1.8;
    Tensor<double> grid({s.grid * s.grid, 2});
    for (Index i = 0; i < s.grid; ++i)
        for (Index j = 0; j < s.grid; ++j) {
            grid(i * s.grid + j, 0) = reach * (2 * static_cast<double>(j) / static_cast<double>(s.grid - 1) - 1);
            grid(i * s.grid + j, 1) = reach * (2 * static_cast<double>(i) / static_cast<double>(s.grid - 1) - 1);
        }
    const std::vector<double> nats = nats_of(grid);

    std::vector<Plot> plots{Plot{.title = name + ": samples", .equal_scale = true}, Plot{.title = name + ": probability flow", .equal_scale = true},
                            Plot{.title = name + ": log-likelihood", .equal_scale = true}};
    plots[0].points(column(samples, 0), column(samples, 1), {.alpha = 0.5});
    for (Index i = 0; i < 150; ++i) {
        std::vector<double> xs, ys;
        for (const Tensor<float>& at : path) {
            if (std::hypot(at(i, 0), at(i, 1)) > 3) continue;  // noise of VE starts far outside
            xs.push_back(at(i, 0)), ys.push_back(at(i, 1));
        }
        plots[1].line(std::move(xs), std::move(ys), {.color = Color{200, 80, 40}, .alpha = 0.4});
    }
    plots[1].points(column(path.back(), 0), column(path.back(), 1));
    for (int i = 0; i < 6; ++i) {
        const auto shade = [&](int from, int to) { return static_cast<std::uint8_t>(from + (to - from) * i / 5); };
        contour(plots[2], nats, s.grid, reach, -9.0 + 2 * i, Color{shade(210, 20), shade(225, 60), shade(245, 140)});
    }
    return plots;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Trains VP, sub-VP and VE score SDEs on a swiss roll; draws samples, flow and likelihood.\n\nExample: score_sde --out score_sde.png",
                 "score_sde");
    Settings s;
    app.add_option("--out", s.out, "PNG with a row of panels for each SDE")->check(program::path_to_write())->capture_default_str();
    app.add_option("--updates", s.updates, "Training updates for each SDE")->capture_default_str();
    app.add_option("--count", s.count, "Samples")->capture_default_str();
    app.add_option("--steps", s.steps, "Predictor-corrector steps")->capture_default_str();
    app.add_option("--grid", s.grid, "Points a side at which the likelihood is computed")->capture_default_str();
    return program::run(app, argc, argv, [&] {
        if (s.updates < 1 || s.count < 1 || s.grid < 2) throw ArgumentError("--updates and --count must be at least 1, --grid at least 2");
        const Told<ContinuousVp> vp;
        const Told<ContinuousSubVp> sub_vp;
        const Told<ContinuousVe> ve{{0.01, 10}};
        std::vector<Plot> plots = study(s, "VP", vp, ReverseDiffusion{});
        for (Plot& plot : study(s, "sub-VP", sub_vp, EulerMaruyama<Told<ContinuousSubVp>>{sub_vp})) plots.push_back(std::move(plot));
        for (Plot& plot : study(s, "VE", ve, ReverseDiffusion{})) plots.push_back(std::move(plot));
        write_png(s.out, draw_plots(plots, {.columns = 3}));
        return 0;
    });
}
