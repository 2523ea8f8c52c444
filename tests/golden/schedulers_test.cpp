// SPDX-License-Identifier: MIT
// Replays the recorded runs of diffusers' schedulers: the network's recorded outputs and the recorded noise go in, every
// state in between must come out.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "ito/io/safetensors.hpp"
#include "ito/io/scheduler_config.hpp"
#include "ito/sampler/sample.hpp"

using namespace ito;

namespace schedulers_test {
namespace {

std::string goldens() {
    const char* folder = std::getenv("ITO_GOLDENS");
    return folder ? folder : ITO_TEST_GOLDENS;
}

/// Entry k of a recording [K, N, C, H, W] as [N, H, W, C].
Tensor<float> channels_last(const Tensor<float>& recording, Index k) {
    const Index n = recording.dim(1), c = recording.dim(2), h = recording.dim(3), w = recording.dim(4);
    Tensor<float> result({n, h, w, c});
    for (Index a = 0; a < n; ++a)
        for (Index b = 0; b < c; ++b)
            for (Index i = 0; i < h; ++i)
                for (Index j = 0; j < w; ++j) result(a, i, j, b) = recording(k, a, b, i, j);
    return result;
}

/// [N, C, H, W] as [N, H, W, C].
Tensor<float> channels_last(const Tensor<float>& pictures) {
    const Tensor<float> one = Tensor<float>::from(Shape{1, pictures.dim(0), pictures.dim(1), pictures.dim(2), pictures.dim(3)},
                                                  std::span<const float>(pictures.data(), static_cast<std::size_t>(pictures.size())));
    return channels_last(one, 0);
}

double magnitude(const Tensor<float>& x) { return x.array().abs().maxCoeff(); }

double difference(const Tensor<float>& a, const Tensor<float>& b) {
    REQUIRE(a.shape() == b.shape());
    double worst = 0;
    for (Index i = 0; i < a.size(); ++i) {
        const double d = std::abs(static_cast<double>(a[i]) - b[i]);
        worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    }
    return worst;
}

struct Recording {
    Tensor<float> x, input, output, noise;
    std::vector<Index> states;  // where each call found x
    Index calls = 0, draws = 0;
    bool several = false;  // draws in a step
    bool latest = false;   // of two draws in each step after the first, the second counts
    double worst_x = 0, worst_input = 0;

    Tensor<float> operator()(const Tensor<float>& shown, const NoiseLevel&) {
        if (!input.empty()) worst_input = std::max(worst_input, difference(shown, channels_last(input, calls)));
        return channels_last(output, calls++);
    }
    /// The next of the run, or that of the step where every step drew one, some to multiply it by zero.
    void operator()(Tensor<float>& z, const Interval& interval) {
        REQUIRE(!noise.empty());
        const Index k = latest ? std::min(2 * interval.index, noise.dim(0) - 1) : !several && noise.dim(0) == interval.count ? interval.index : draws++;
        REQUIRE(k < noise.dim(0));
        z = channels_last(noise, k);
    }
};

/// To 1e-6 of each entry, or of `unit` where that is larger.
void check_table(const std::string& name, const std::vector<double>& got, const Tensor<double>& expected, double unit = 0) {
    INFO(name);
    CHECK(static_cast<Index>(got.size()) == expected.size());
    if (static_cast<Index>(got.size()) != expected.size()) return;
    double worst = 0;
    for (Index i = 0; i < expected.size(); ++i) {
        const double g = got[static_cast<std::size_t>(i)];
        if (g != expected[i]) worst = std::max(worst, std::abs(g - expected[i]) / std::max(unit, std::abs(expected[i])));
    }
    CHECK(worst <= 1e-6);
}

AnySampler sampler_of(const SchedulerConfig& config, const nlohmann::json& arguments) {
    AnySampler sampler = config.sampler();
    for (const auto& [name, value] : arguments.items()) {
        INFO("argument of step: " << name);
        bool known = true;
        if (auto* ddim = std::get_if<Ddim>(&sampler)) {
            if (name == "eta") ddim->eta = value;
            else if (name == "use_clipped_model_output") ddim->use_clipped_model_output = value;
            else known = false;
        } else if (auto* euler = std::get_if<Euler>(&sampler)) {
            if (name == "s_churn") euler->churn.amount = value;
            else if (name == "s_tmin") euler->churn.min = value;
            else if (name == "s_tmax") euler->churn.max = value;
            else if (name == "s_noise") euler->churn.noise = value;
            else known = false;
        } else if (auto* lms = std::get_if<Lms>(&sampler); lms && name == "order") {
            lms->order = value;
        } else if (auto* sde = std::get_if<DpmppSde>(&sampler); sde && name == "s_noise") {
            sde->noise = value;
        } else if (auto* tcd = std::get_if<Tcd>(&sampler); tcd && name == "eta") {
            tcd->eta = value;
        } else {
            known = false;
        }
        REQUIRE(known);
    }
    return sampler;
}

StepRequest request_of(const nlohmann::json& test) {
    StepRequest request;
    if (test.contains("num_inference_steps") && !test["num_inference_steps"].is_null()) request.count = test["num_inference_steps"];
    const nlohmann::json arguments = test.value("set_timesteps", nlohmann::json::object());
    for (const auto& [name, value] : arguments.items()) {
        INFO("argument of set_timesteps: " << name);
        if (name == "timesteps") request.timesteps = value.get<std::vector<double>>();
        else if (name == "sigmas") request.sigmas = value.get<std::vector<double>>();
        else if (name == "mu") request.mu = value.get<double>();
        else if (name == "original_inference_steps") request.original_inference_steps = value.get<Index>();
        else if (name == "strength") request.strength = value;
        else if (name == "jump_length") request.jump_length = value;
        else if (name == "jump_n_sample") request.jump_n_sample = value;
        else if (name == "max_timesteps") request.max_timesteps = value;
        else if (name == "intermediate_timesteps") request.intermediate_timesteps = value.is_null() ? std::nullopt : std::optional<double>(value);
        else REQUIRE(name == "known");
    }
    return request;
}

void run_case(const nlohmann::json& test, const SafeTensors& file) {
    const std::string name = test["name"];
    INFO(name);
    nlohmann::json json = test["config"];
    json["_class_name"] = test["scheduler"];
    const auto config = SchedulerConfig::from_json(json);
    const Steps steps = config.steps(request_of(test));
    AnySampler sampler = sampler_of(config, test.value("step", nlohmann::json::object()));
    const auto table = [&](const char* what) { return name + "/" + what; };

    Recording recording;
    std::vector<double> times, sigmas;
    const bool heun = std::holds_alternative<Heun>(sampler), repaint = std::holds_alternative<RePaint>(sampler);
    const bool flow = config.options().use_flow_sigmas || config.reading().prediction == Prediction::flow;
    const auto ratio = [&](const NoiseLevel& level) { return flow ? (config.reading().negated ? level.alpha : level.sigma) : level.sigma / level.alpha; };
    const bool middles = std::holds_alternative<Dpm2>(sampler) || std::holds_alternative<DpmppSde>(sampler);
    const bool correcting = std::holds_alternative<PredictorCorrector<ReverseDiffusion, Langevin>>(sampler);
    for (const Interval& i : steps.intervals) {
        const bool rises = i.from.alpha * i.to.sigma > i.to.alpha * i.from.sigma;
        if (repaint && rises) continue;
        times.push_back(i.from.time);
        sigmas.push_back(ratio(i.from));
        if (middles && i.to.sigma > 0) {  // asked again between the levels, at the time where the schedule has the ratio
            const auto* dpm2 = std::get_if<Dpm2>(&sampler);
            const double end = dpm2 && dpm2->reference_rounding ? AncestralStep::in_single(i.from, i.to).down : i.to.sigma;
            times.push_back(time_of_ratio(config.schedule(), std::sqrt(i.from.sigma * end)));
            sigmas.push_back(i.to.sigma);
        }
        if (heun && i.to.sigma > 0) times.push_back(i.to.time), sigmas.push_back(ratio(i.to));
    }
    sigmas.push_back(ratio(steps.intervals.back().to));
    if (std::holds_alternative<Dpm2>(sampler)) sigmas.insert(sigmas.end(), 2, 0);  // diffusers' table goes on
    auto expected_times = file.load<double>(table("timesteps"));
    if (repaint) {  // the network is asked at the times that fall
        std::vector<double> falling;
        for (Index k = 0; k < expected_times.size(); ++k) {
            if (k > 0 && expected_times[k] > expected_times[k - 1]) continue;
            falling.push_back(expected_times[k]);
            recording.states.push_back(k);
        }
        expected_times = Tensor<double>::from({static_cast<Index>(falling.size())}, falling);
        auto& inpainting = std::get<RePaint>(sampler);
        inpainting.picture = channels_last(file.load<float>(table("original")));
        inpainting.mask = channels_last(file.load<float>(table("mask")));
    }
    if (correcting) {  // x is recorded before and after the corrector; the network is told sigma(t)
        check_table("sigmas", times, file.load<double>(table("sigmas")));
        std::vector<double> used(sigmas.rbegin() + 1, sigmas.rend());
        check_table("discrete_sigmas", used, file.load<double>(table("discrete_sigmas")));
    } else {
        check_table("timesteps", times, expected_times, 1);
    }
    // With log-linear interpolation diffusers' table goes on after the last step.
    if (file.contains(table("sigmas")) && !correcting) {
        auto expected = file.load<double>(table("sigmas"));
        // Inversion leaves equal times out, but not their sigmas.
        const bool longer = config.options().interpolation_type == "log_linear" || test["scheduler"] == "DPMSolverMultistepInverseScheduler";
        if (longer && expected.size() > static_cast<Index>(sigmas.size()))
            expected = Tensor<double>::from({static_cast<Index>(sigmas.size())}, std::span<const double>(expected.data(), sigmas.size()));
        check_table("sigmas", sigmas, expected);
    }
    // Rescaling to zero terminal SNR leaves, at its end, the rounding errors of PyTorch's square root, which differs from
    // machine to machine: the products agree to 1e-6 of 1, the betas, quotients of what is left, are not compared.
    const bool rescaled = config.options().rescale_betas_zero_snr;
    if (file.contains(table("alphas_cumprod")))
        check_table("alphas_cumprod", config.schedule().alphas_cumprod(), file.load<double>(table("alphas_cumprod")), rescaled ? 1 : 0);
    if (!rescaled && file.contains(table("betas")) && !config.betas().empty())
        check_table("betas", {config.betas().begin(), config.betas().end()}, file.load<double>(table("betas")));
    if (test.contains("init_noise_sigma") && !test["init_noise_sigma"].is_null())
        CHECK(steps.initial_scale == Approx(test["init_noise_sigma"].get<double>()).epsilon(1e-6));

    recording.x = file.load<float>(table("x"));
    recording.output = file.load<float>(table("model_output"));
    if (file.contains(table("model_input"))) recording.input = file.load<float>(table("model_input"));
    if (file.contains(table("noise"))) recording.noise = file.load<float>(table("noise"));
    recording.several = std::holds_alternative<DpmppSde>(sampler);
    recording.latest = test["scheduler"] == "CogVideoXDPMScheduler" && recording.noise.rank() > 0 && recording.noise.dim(0) > steps.count();
    Denoiser<Recording&> read{recording, config.reading()};
    // The network must be shown what was recorded for the recorded state; the run goes on from its own state.
    const auto denoise = [&](const Tensor<float>& x, const NoiseLevel& level) {
        const auto call = static_cast<std::size_t>(recording.calls);
        const Tensor<float> recorded = channels_last(recording.x, call < recording.states.size() ? recording.states[call] : recording.calls);
        recording.worst_x = std::max(recording.worst_x, difference(x, recorded));
        read(recorded, level);
        return ito::read(config.reading(), x, level, channels_last(recording.output, recording.calls - 1));
    };
    const Index last = recording.x.dim(0) - 1, calls = recording.output.dim(0);
    if (static_cast<Index>(times.size()) * (correcting ? 1 + std::get<PredictorCorrector<ReverseDiffusion, Langevin>>(sampler).corrector.steps : 1) != calls) return;  // reported with the table
    std::visit(
        [&](const auto& chosen) {
            Sampling<float, std::decay_t<decltype(chosen)>> sampling(chosen, steps, channels_last(recording.x, 0));
            sampling.run(denoise, recording);
            // The released pipeline of score_sde_ve returns the mean of its last step.
            const auto end = correcting ? channels_last(file.load<float>(table("final_mean"))) : channels_last(recording.x, last);
            recording.worst_x = std::max(recording.worst_x, difference(sampling.x(), end));
        },
        sampler);
    CHECK(recording.calls == calls);
    const double error = recording.worst_x / magnitude(recording.x);
    const double input_error = recording.input.empty() ? 0 : recording.worst_input / magnitude(recording.input);
    CHECK(error <= 1e-4);
    CHECK(input_error <= 1e-4);
    std::printf("scheduler case %s (%s): %d states, largest error %.1e of the trajectory\n", name.c_str(),
                test["scheduler"].get<std::string>().c_str(), static_cast<int>(last), error);
}

}  // namespace

TEST_CASE("diffusers' schedulers are reproduced step by step") {
    std::ifstream input(goldens() + "/schedulers/cases.json");
    REQUIRE(input.good());
    const auto cases = nlohmann::json::parse(input);
    const auto file = SafeTensors::open(goldens() + "/schedulers/trajectories.safetensors");
    int ran = 0;
    for (const auto& test : cases) {
        try {
            run_case(test, file);
        } catch (const Error& error) {  // also for a class that maps to nothing
            FAIL_CHECK(test["name"] << ": " << error.what());
        }
        ++ran;
    }
    std::printf("%d scheduler cases ran\n", ran);
    CHECK(ran > 0);
}

}  // namespace schedulers_test
