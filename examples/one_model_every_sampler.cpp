// SPDX-License-Identifier: MIT
// What a network evaluation buys with each sampler, on a mixture of normal distributions in closed form and on a trained model:
//     one_model_every_sampler --model examples/models/fashion-mnist --out samplers.png
// Expected, in about four minutes on two cores: a picture of five panels, error against evaluations. Deterministic samplers
// fall with slopes of their order, the multistep ones (DPM-Solver++ 2M, UniPC, DEIS) far ahead of DDIM for the same work; the
// stochastic ones fall to the statistical error of 4000 samples. On the model all methods meet near 0.002 at 32 to 48: its
// network swings by about 0.003 within a few units of the time that it is told, which steps 20 units apart cannot follow
// whatever their order; with 150 steps 0.0009 is left. Consistency models, which need a network of their own, and inpainting
// are left out. stdout has every point as a line "data,sampler,evaluations,error".
#include <functional>

#include "ito/denoise/analytic.hpp"
#include "ito/io/image.hpp"
#include "ito/io/model_folder.hpp"
#include "ito/io/plot.hpp"
#include "ito/sampler/brownian.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/predictor_corrector.hpp"
#include "ito/sampler/probability_flow.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/task/class_conditional.hpp"
#include "program.hpp"
#include "unet.hpp"

using namespace ito;

namespace {

/// Something to sample from, and how far a result is from what it should be.
struct Problem {
    std::string name;
    std::function<Tensor<float>(const Tensor<float>&, const NoiseLevel&)> network;
    Reading reading;
    Shape shape;
    std::function<double(const Tensor<float>&)> error;
};

// All samplers work on x0 + sigma eps here, which Edm is the schedule of, between the same two levels.
constexpr double smallest = 0.01, largest = 80;

Steps karras_steps(Index count) { return edm_steps(count, smallest, largest); }
Steps log_steps(Index count) {
    std::vector<NoiseLevel> levels;
    for (const double sigma : exponential_sigmas(smallest, largest, count)) levels.push_back(level_at(Edm{}, sigma));
    levels.push_back({0, 1, 0});
    return steps_between(levels);
}

struct Run {
    Index evaluations = 0;
    double error = 0;
};

/// One sampler, ready to run with about `budget` evaluations.
struct Method {
    std::string label;
    std::function<Run(const Problem&, Index budget)> run;
};

template <class S, class Noise>
Run run_once(const Problem& problem, S sampler, Steps steps, Noise noise) {
    Run result;
    const auto counted = [&](const Tensor<float>& x, const NoiseLevel& level) {
        ++result.evaluations;
        return problem.network(x, level);
    };
    Denoiser denoise{counted, problem.reading};
    Sampling<float, S> sampling(std::move(sampler), steps, initial_noise<float>(problem.shape, steps, 1));
    sampling.run(denoise, noise);
    result.error = problem.error(sampling.x());
    return result;
}

/// `stages` evaluations a step.
template <class S, class Noise = WhiteNoise>
Method method(std::string label, S sampler, Index stages = 1, Noise noise = {}) {
    return {std::move(label), [=](const Problem& problem, Index budget) {
                return run_once(problem, sampler, karras_steps(std::max<Index>(2, budget / stages)), noise);
            }};
}

std::vector<Method> multistep() {
    return {method("Euler = DDIM", Euler{}),
            method("DPM-Solver-2M", DpmSolverMultistep{.order = 2, .data_prediction = false}),
            method("DPM-Solver++ 2M", DpmSolverMultistep{.order = 2}),
            method("DPM-Solver++ 3M", DpmSolverMultistep{.order = 3}),
            method("DEIS 3", deis(3)),
            method("UniPC 2", UniPc{.order = 2}),
            method("UniPC 3", UniPc{.order = 3}),
            method("SA-Solver, tau 0", SaSolver{.tau = 0}),
            method("PNDM (PLMS)", Pndm{.start = Pndm::Start::improved_euler}),
            method("iPNDM", Pndm{.start = Pndm::Start::multistep}),
            method("LMS 4", Lms{})};
}

std::vector<Method> singlestep() {
    return {method("Heun", Heun{}, 2),
            method("DPM2", Dpm2{}, 2),
            method("DPM-Solver++ 2S", Dpmpp2SAncestral{.eta = 0}, 2),
            method("DPM-Solver-2 (block)", DpmSolverSinglestep{.order = 2}),
            method("DPM-Solver-3 (block)", DpmSolverSinglestep{.order = 3}),
            {"DPM-Solver-fast",
             [](const Problem& p, Index budget) {
                 const DpmSolverFast fast{.evaluations = budget};
                 return run_once(p, fast, log_steps(fast.step_count()), WhiteNoise{});
             }},
            {"DPM-Solver-23 adaptive",
             [](const Problem& p, Index budget) {
                 DpmSolverAdaptive adaptive{};
                 adaptive.control.whole_batch = true;
                 adaptive.control.relative = adaptive.control.absolute = std::pow(3.0 / static_cast<double>(budget), 3);
                 return run_once(p, adaptive, log_steps(2), WhiteNoise{});
             }},
            method("Runge-Kutta midpoint", ProbabilityFlow{Edm{}, tableaux::midpoint}, 2),
            method("Runge-Kutta 4", ProbabilityFlow{Edm{}, tableaux::classic4}, 4),
            method("Dormand-Prince 5", ProbabilityFlow{Edm{}, tableaux::dormand_prince}, 7)};
}

std::vector<Method> stochastic() {
    return {method("DDPM", Ddpm{}),
            method("Euler-Maruyama", EulerMaruyama{Edm{}}),
            method("Euler ancestral", EulerAncestral{}),
            method("DPM2 ancestral", Dpm2{.eta = 1}, 2),
            method("DPM-Solver++ 2S ancestral", Dpmpp2SAncestral{}, 2),
            method("DPM-Solver++ SDE", DpmppSde{}, 2, BrownianPath{}),  // asks for two parts of an interval
            method("DPM-Solver++ 2M SDE", DpmSolverMultistep{.order = 2, .stochastic = true}),
            method("DPM-Solver++ 3M SDE", DpmSolverMultistep{.order = 3, .stochastic = true}),
            method("SA-Solver", SaSolver{}),
            method("Heun with churn 20", Heun{.churn = {.amount = 20}}, 2),
            method("predictor-corrector", PredictorCorrector{ReverseDiffusion{}, AnnealedLangevin{}}, 2)};
}

double root_mean_square(const Tensor<float>& a, const Tensor<float>& b) {
    return std::sqrt((a.array() - b.array()).cast<double>().square().mean());
}

/// Errors become distances to a run of many steps from the same noise.
void compare_with_many_steps(Problem& problem, Index steps) {
    Tensor<float> end;
    problem.error = [&](const Tensor<float>& x) { return end = x, 0.0; };
    run_once(problem, UniPc{.order = 3}, karras_steps(steps), WhiteNoise{});
    problem.error = [end](const Tensor<float>& x) { return root_mean_square(x, end); };
}

Plot compare(const std::string& title, const Problem& problem, const std::vector<Method>& methods, const std::vector<Index>& budgets,
             program::ProgressBar& bar, Index& done) {
    constexpr Color colors[] = {{120, 120, 120}, {38, 101, 181}, {226, 110, 34}, {44, 145, 96}, {198, 55, 82}, {128, 90, 176},
                                {60, 180, 200},  {150, 110, 50}, {230, 120, 190}, {150, 180, 30}, {20, 20, 20}};
    // Room at the right, where the legend hides no line.
    const double last = 6.0 * static_cast<double>(budgets.back());
    Plot plot{.title = title, .x = {.label = "network evaluations", .log = true, .low = {}, .high = last}, .y = {.label = "error", .log = true}};
    for (std::size_t i = 0; i < methods.size(); ++i) {
        std::vector<double> evaluations, errors;
        for (const Index budget : budgets) {
            const Run run = methods[i].run(problem, budget);
            std::printf("%s,%s,%lld,%.3g\n", problem.name.c_str(), methods[i].label.c_str(), static_cast<long long>(run.evaluations), run.error);
            evaluations.push_back(static_cast<double>(run.evaluations));
            errors.push_back(run.error);
            bar.show(++done);
        }
        const Color color = colors[i % std::size(colors)];
        plot.points(evaluations, errors, {.color = color, .size = 2.5});
        plot.line(std::move(evaluations), std::move(errors), {.label = methods[i].label, .color = color});
    }
    return plot;
}

int compare_samplers(const std::string& folder, const std::string& out, bool quick) {
    const std::vector<Method> one = multistep(), several = singlestep(), random = stochastic();
    const std::vector<Index> budgets = quick ? std::vector<Index>{8, 16} : std::vector<Index>{6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
    const std::vector<Index> on_model = quick ? std::vector<Index>{8} : std::vector<Index>{6, 8, 12, 16, 24, 32, 48};
    const auto runs = [](const auto& methods, const auto& with) { return static_cast<Index>(methods.size() * with.size()); };
    const Index total = runs(one, budgets) + runs(several, budgets) + runs(random, budgets) +
                        (folder.empty() ? 0 : runs(one, on_model) + runs(several, on_model));
    program::ProgressBar bar("samplers", "run", total);
    Index done = 0;

    std::vector<GaussianMixture::Component> components;
    for (int i = 0; i < 5; ++i) {
        const double angle = 1.2566371 * i;
        components.push_back({1.0 + i, Eigen::Vector2d(std::cos(angle), std::sin(angle)), Eigen::Vector2d(0.05, 0.02)});
    }
    const GaussianMixture mixture(std::move(components));
    Problem points{"mixture", [&](const Tensor<float>& x, const NoiseLevel& level) { return mixture(x, level); },
                   {.prediction = Prediction::sample}, {quick ? 100 : 1000, 2}, {}};
    compare_with_many_steps(points, quick ? 100 : 1000);
    std::vector<Plot> panels;
    panels.push_back(compare("Mixture: one evaluation a step", points, one, budgets, bar, done));
    panels.push_back(compare("Mixture: several evaluations a step", points, several, budgets, bar, done));
    points.shape = {quick ? 500 : 4000, 2};
    points.error = [&](const Tensor<float>& x) {  // of mean and covariance
        const Eigen::MatrixXd rows = x.matrix().cast<double>();
        const Eigen::RowVectorXd mean = rows.colwise().mean();
        const Eigen::MatrixXd centred = rows.rowwise() - mean;
        return std::sqrt((mean.transpose() - mixture.mean()).squaredNorm() +
                         (centred.transpose() * centred / static_cast<double>(rows.rows()) - mixture.covariance()).squaredNorm());
    };
    panels.push_back(compare("Mixture: with noise (of mean, covariance)", points, random, budgets, bar, done));

    if (!folder.empty()) {
        const Model model = load_model(folder);
        const auto& config = model.unet.config();
        if (config.sample_size.size() != 2) throw ConfigError(folder + ": the model does not say its sample_size");
        const Index count = quick ? 2 : 8;
        std::vector<Index> labels;
        for (Index i = 0; model.classes() > 0 && i < count; ++i) labels.push_back(i % model.classes());
        Reading reading = model.scheduler.reading();
        reading.scaled_input = true;  // the model knows x / sqrt(1 + sigma^2)
        reading.clip = std::numeric_limits<double>::infinity();  // clamping has no limit that samplers could agree on
        reading.threshold.reset();
        TimedBy network{model.scheduler.schedule(), ClassConditional<float>{model.unet, labels, 1.0, model.null_class}};
        Problem pictures{"model", [&](const Tensor<float>& x, const NoiseLevel& level) { return network(x, level); }, reading,
                         {count, config.sample_size[0], config.sample_size[1], config.in_channels}, {}};
        compare_with_many_steps(pictures, quick ? 40 : 300);
        panels.push_back(compare("Model: one evaluation a step", pictures, one, on_model, bar, done));
        panels.push_back(compare("Model: several evaluations a step", pictures, several, on_model, bar, done));
    }
    write_png(out, draw_plots(panels, {.columns = 3, .width = 680, .height = 480}));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Draws the error of every sampler against its network evaluations.\n\n"
                 "Example: one_model_every_sampler --model examples/models/fashion-mnist --out samplers.png",
                 "one_model_every_sampler");
    std::string model, out = "samplers.png";
    bool quick = false;
    int threads = 0;
    app.add_option("--model", model, "Model folder (diffusers layout); without one the mixture alone");
    app.add_option("--out", out, "PNG with the panels")->check(program::path_to_write())->capture_default_str();
    app.add_flag("--quick", quick, "Few samples and few budgets");
    app.add_option("--threads", threads, "Threads (0: all)")->capture_default_str();
    return program::run(app, argc, argv, [&] {
        ThreadPool pool(threads);
        const ThreadPool::Scope scope(pool);
        return compare_samplers(model, out, quick);
    });
}
