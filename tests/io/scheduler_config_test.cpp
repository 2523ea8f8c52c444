// SPDX-License-Identifier: MIT
#include "ito/io/scheduler_config.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/sample.hpp"

using namespace ito;
using nlohmann::json;

namespace {

json of_class(const char* name, json options = json::object()) {
    options["_class_name"] = name;
    return options;
}

std::string refusal(const json& config) {
    try {
        SchedulerConfig::from_json(config);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

/// diffusers' full-loop test: x = arange(768) / 768 as [3, 8, 8, 4] with the last axis made the batch, and the network
/// x t / (t + 1). Gives the sum of |x| at the end; every element has the same fate in any layout.
double full_loop(const char* class_name, json options, Index count) {
    const auto config = SchedulerConfig::from_json(of_class(class_name, std::move(options)));
    Tensor<float> x({768});
    for (Index i = 0; i < 768; ++i) x[i] = static_cast<float>(i) / 768;
    auto network = [](const Tensor<float>& shown, const NoiseLevel& level) {
        Tensor<float> out(shown.shape());
        out.array() = shown.array() * static_cast<float>(level.time / (level.time + 1));
        return out;
    };
    Denoiser denoise{network, config.reading()};
    WhiteNoise noise;
    return std::visit(
        [&](const auto& sampler) {
            const Steps steps = config.steps(count);
            x.array() *= static_cast<float>(steps.initial_scale);
            Sampling<float, std::decay_t<decltype(sampler)>> sampling(sampler, steps, x);
            sampling.run(denoise, noise);
            double sum = 0;
            for (const float v : sampling.x()) sum += std::abs(static_cast<double>(v));
            return sum;
        },
        config.sampler());
}

}  // namespace

TEST_CASE("the sums of diffusers' full-loop tests") {
    CHECK(full_loop("DDIMScheduler", {}, 10) == Approx(172.0067).margin(1e-2));
    CHECK(full_loop("DDIMScheduler", {{"prediction_type", "v_prediction"}}, 10) == Approx(52.5302).margin(1e-2));
    CHECK(full_loop("DDIMScheduler", {{"set_alpha_to_one", true}, {"beta_start", 0.01}}, 10) == Approx(149.8295).margin(1e-2));
    CHECK(full_loop("DDIMScheduler", {{"set_alpha_to_one", false}, {"beta_start", 0.01}}, 10) == Approx(149.0784).margin(1e-2));
    const json euler{{"num_train_timesteps", 1100}};
    CHECK(full_loop("EulerDiscreteScheduler", euler, 10) == Approx(168.0514).margin(1e-2));
    const json euler_v{{"num_train_timesteps", 1100}, {"prediction_type", "v_prediction"}};
    CHECK(full_loop("EulerDiscreteScheduler", euler_v, 10) == Approx(46.9140).margin(1e-2));
}

TEST_CASE("KarrasVeScheduler gives what diffusers recorded before it left") {
    const auto config = SchedulerConfig::from_json(of_class(
        "KarrasVeScheduler", {{"sigma_min", 0.05}, {"sigma_max", 5.0}, {"s_churn", 2.0}, {"s_noise", 1.007}, {"s_min", 0.05}, {"s_max", 10.0}}));
    auto network = [](const Tensor<float>& x, const NoiseLevel& level) {
        Tensor<float> out(x.shape());
        out[0] = -std::sin(1.3f * x[0] / (1 + static_cast<float>(level.sigma)));
        return out;
    };
    constexpr float draws[] = {0.3f, -1.1f, 0.7f, 0.2f, -0.4f};
    auto noise = [&](Tensor<float>& z, const Interval& interval) { z[0] = draws[interval.index]; };
    Denoiser denoise{network, config.reading()};
    const Steps steps = config.steps(5);
    CHECK(steps.initial_scale == 5);
    std::visit(
        [&](const auto& sampler) {
            Sampling<float, std::decay_t<decltype(sampler)>> sampling(sampler, steps, Tensor<float>::full({1, 1}, 0.9f * 5));
            for (const double expected : {4.148986339569092, 0.5684518218040466, 0.5338157415390015, 0.5197468400001526, 0.5181865692138672}) {
                sampling.step(denoise, noise);
                CHECK(sampling.x()[0] == Approx(expected).epsilon(1e-6));
            }
        },
        config.sampler());
}

TEST_CASE("what a scheduler config asks for and ito does not honour is an error that names it") {
    CHECK_THAT(refusal(of_class("VQDiffusionScheduler")), ContainsSubstring("VQDiffusionScheduler"));
    CHECK_THAT(refusal(json::object()), ContainsSubstring("_class_name"));
    CHECK_THAT(refusal(json::array()), ContainsSubstring("_class_name"));
    CHECK_THAT(refusal(of_class("DDIMScheduler", {{"use_karras_sigmas", true}})), ContainsSubstring("use_karras_sigmas"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"set_alpha_to_one", true}})), ContainsSubstring("set_alpha_to_one"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"wobble", 3}})), ContainsSubstring("wobble"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"beta_start", "small"}})), ContainsSubstring("beta_start"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"num_train_timesteps", 10.5}})), ContainsSubstring("num_train_timesteps"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"num_train_timesteps", 0}})), ContainsSubstring("num_train_timesteps"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"clip_sample", "yes"}})), ContainsSubstring("clip_sample"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"trained_betas", {0.1, 0.2}}})), ContainsSubstring("trained_betas"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"beta_end", 2.0}})), ContainsSubstring("outside [0, 1]"));
    const auto names_value = [](const char* class_name, const char* option, const char* value = "odd") {
        CHECK_THAT(refusal(of_class(class_name, {{option, value}})), ContainsSubstring(option));
    };
    for (const char* option : {"beta_schedule", "prediction_type", "timestep_spacing", "variance_type"}) names_value("DDPMScheduler", option);
    names_value("EulerAncestralDiscreteScheduler", "prediction_type", "sample");
    names_value("EulerDiscreteScheduler", "beta_schedule", "sigmoid");
    for (const char* option : {"interpolation_type", "timestep_type", "final_sigmas_type"}) names_value("EulerDiscreteScheduler", option);
    const char* dpm = "DPMSolverMultistepScheduler";
    for (const char* option : {"algorithm_type", "solver_type", "final_sigmas_type", "time_shift_type"}) names_value(dpm, option);
    CHECK_THAT(refusal(of_class(dpm, {{"solver_order", 4}})), ContainsSubstring("solver_order"));
    CHECK_THAT(refusal(of_class(dpm, {{"algorithm_type", "dpmsolver"}})), ContainsSubstring("final_sigmas_type"));
    CHECK_THAT(refusal(of_class(dpm, {{"algorithm_type", "sde-dpmsolver"}, {"solver_order", 3}, {"final_sigmas_type", "sigma_min"}})),
               ContainsSubstring("solver_order"));
    CHECK_THAT(refusal(of_class(dpm, {{"prediction_type", "flow_prediction"}})), ContainsSubstring("use_flow_sigmas"));
    CHECK_THAT(refusal(of_class(dpm, {{"use_karras_sigmas", true}, {"use_beta_sigmas", true}})), ContainsSubstring("only one"));
    CHECK_THAT(refusal(of_class("DDPMScheduler", {{"num_train_timesteps", 1e300}})), ContainsSubstring("num_train_timesteps"));
    CHECK_THAT(refusal(of_class("UniPCMultistepScheduler", {{"disable_corrector", {0, 12.9}}})), ContainsSubstring("disable_corrector"));
    for (const char* option : {"beta_schedule", "variance_type", "a\nlong\x1b[31mname"})
        CHECK(refusal(of_class("DDPMScheduler", {{option, "odd\nwords\x1b"}})).find_first_of("\n\x1b") == std::string::npos);
    CHECK(refusal(of_class("DDPM\nScheduler")).find('\n') == std::string::npos);

    const auto ddim = SchedulerConfig::from_json(of_class("DDIMScheduler"));
    CHECK_THROWS_AS(ddim.steps(0), ArgumentError);
    CHECK_THROWS_AS(ddim.steps(-4), ArgumentError);
    CHECK_THROWS_AS(ddim.steps(1001), ArgumentError);
    CHECK_THROWS_AS(ddim.steps(StepRequest{.timesteps = {900, 100}}), ConfigError);
    CHECK_THROWS_AS(ddim.steps(StepRequest{.count = 3, .mu = 0.5}), ConfigError);
    const auto ddpm = SchedulerConfig::from_json(of_class("DDPMScheduler"));
    CHECK(ddpm.steps(StepRequest{.timesteps = {900, 100}}).count() == 2);
    CHECK_THROWS_AS(ddpm.steps(StepRequest{.timesteps = {1000, 100}}), ArgumentError);
    CHECK_THROWS_AS(ddpm.steps(StepRequest{.timesteps = {100, 900}}), ArgumentError);
}

TEST_CASE("every class opens with its defaults and is written as it was") {
    for (const auto& known : detail::scheduler_classes) {
        CAPTURE(known.name);
        const auto config = SchedulerConfig::from_json(of_class(known.name));
        CHECK(SchedulerConfig::from_json(json::parse(config.json().dump())).json() == config.json());
        CHECK_THAT(refusal(of_class(known.name, {{"wobble", 3}})), ContainsSubstring("wobble"));
        StepRequest request{.count = known.bit == detail::consistency_decoder_class ? 2 : 8, .intermediate_timesteps = std::nullopt};
        request.jump_length = request.jump_n_sample = 2;
        const Steps steps = config.steps(request);
        CHECK(steps.count() >= 2);
        CHECK_THROWS_AS(config.steps(0), ArgumentError);
        CHECK_THROWS_AS(config.steps(StepRequest{.count = 8, .mu = 0.5}), ConfigError);
        if (known.bit & (detail::beta_classes | detail::unclip_class)) CHECK(config.schedule().size() == config.options().num_train_timesteps);
    }
    CHECK_THROWS_AS(SchedulerConfig::from_json(of_class("FlowMatchEulerDiscreteScheduler")).schedule(), ConfigError);
}

TEST_CASE("options of the solvers and flows are named where they cannot be") {
    const auto names = [](const char* class_name, json options, const char* part) {
        CAPTURE(class_name);
        CHECK_THAT(refusal(of_class(class_name, std::move(options))), ContainsSubstring(part));
    };
    for (const char* solver : {"DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepInverseScheduler"}) {
        names(solver, {{"solver_order", 4}}, "solver_order");
        names(solver, {{"solver_order", 0}}, "solver_order");
        names(solver, {{"solver_type", "odd"}}, "solver_type");
        names(solver, {{"prediction_type", "odd"}}, "prediction_type");
        names(solver, {{"prediction_type", "flow_prediction"}}, "use_flow_sigmas");
    }
    names("DPMSolverSinglestepScheduler", {{"algorithm_type", "sde-dpmsolver"}}, "algorithm_type");
    names("UniPCMultistepScheduler", {{"solver_p", {{"_class_name", "DDIMScheduler"}}}}, "solver_p");
    names("UniPCMultistepScheduler", {{"shift_terminal", 0.1}}, "shift_terminal");
    names("UniPCMultistepScheduler", {{"disable_corrector", "all"}}, "disable_corrector");
    names("SASolverScheduler", {{"tau_func", "odd"}}, "tau_func");
    names("SASolverScheduler", {{"predictor_order", 4}}, "predictor_order");
    names("SASolverScheduler", {{"corrector_order", 5}}, "corrector_order");
    names("SASolverScheduler", {{"algorithm_type", "odd"}}, "algorithm_type");
    names("EDMEulerScheduler", {{"sigma_schedule", "odd"}}, "sigma_schedule");
    names("EDMDPMSolverMultistepScheduler", {{"algorithm_type", "sde-dpmsolver++"}, {"solver_order", 3}}, "solver_order");
    names("CosineDPMSolverMultistepScheduler", {{"solver_order", 3}}, "solver_order");
    names("FlowMatchEulerDiscreteScheduler", {{"time_shift_type", "odd"}}, "time_shift_type");
    names("FlowMatchLCMScheduler", {{"scale_factors", {2}}}, "scale_factors");
    names("UnCLIPScheduler", {{"beta_schedule", "linear"}}, "beta_schedule");
    names("UnCLIPScheduler", {{"variance_type", "fixed_large"}}, "variance_type");
    names("UnCLIPScheduler", {{"prediction_type", "v_prediction"}}, "prediction_type");
    names("KDPM2DiscreteScheduler", {{"prediction_type", "sample"}}, "prediction_type");
    names("DPMSolverSDEScheduler", {{"noise_sampler_seed", 3.5}}, "noise_sampler_seed");
    names("SCMScheduler", {{"prediction_type", "epsilon"}}, "prediction_type");

    const auto flow = SchedulerConfig::from_json(of_class("FlowMatchEulerDiscreteScheduler", {{"use_dynamic_shifting", true}}));
    CHECK_THROWS_AS(flow.steps(5), ConfigError);
    CHECK(flow.steps(StepRequest{.count = 5, .mu = 0.5}).intervals[1].from.sigma ==
          Approx(flow.steps(StepRequest{.count = 5, .image_seq_len = 256}).intervals[1].from.sigma));
    const auto pndm = SchedulerConfig::from_json(of_class("PNDMScheduler"));
    CHECK_THROWS_AS(pndm.steps(3), ArgumentError);
    CHECK(pndm.steps(10).count() == 19);
    const auto lcm = SchedulerConfig::from_json(of_class("LCMScheduler"));
    CHECK_THROWS_AS(lcm.steps(51), ArgumentError);
    CHECK_THROWS_AS(lcm.steps(StepRequest{.count = 4, .original_inference_steps = 1001}), ArgumentError);
    CHECK_THROWS_AS(SchedulerConfig::from_json(of_class("DDIMInverseScheduler", {{"timestep_spacing", "linspace"}})).steps(5), ConfigError);
}

TEST_CASE("a config may seed its noise") {
    const auto seeded = SchedulerConfig::from_json(of_class("DPMSolverSDEScheduler", {{"noise_sampler_seed", 42}}));
    CHECK(seeded.seed(7) == 42);
    CHECK(seeded.json()["noise_sampler_seed"] == 42);
    CHECK(SchedulerConfig::from_json(of_class("DPMSolverSDEScheduler", {{"noise_sampler_seed", nullptr}})).seed(7) == 7);
    CHECK_THAT(refusal(of_class("DDIMScheduler", {{"noise_sampler_seed", 42}})), ContainsSubstring("noise_sampler_seed"));
}

// Recorded from diffusers 0.42.
TEST_CASE("steps of unusual configs are those of diffusers") {
    const auto times = [](const char* name, json options, Index count) {
        std::vector<double> result;
        for (const Interval& i : SchedulerConfig::from_json(of_class(name, std::move(options))).steps(count).intervals) result.push_back(i.from.time);
        return result;
    };
    // Times that differ by their fractions alone are kept apart.
    CHECK(times("DPMSolverMultistepInverseScheduler",
                {{"beta_schedule", "squaredcos_cap_v2"}, {"use_beta_sigmas", true}, {"timestep_spacing", "trailing"}}, 4) ==
          std::vector<double>{0, 998, 998, 998});
    CHECK(times("DPMSolverMultistepInverseScheduler", {{"use_exponential_sigmas", true}}, 1) == std::vector<double>{0});
    // lambda_min_clipped takes times away where they are spaced, not where sigmas place themselves.
    const json clipped{{"timestep_spacing", "trailing"}, {"lambda_min_clipped", -3}};
    json karras = clipped, flows = clipped;
    karras["use_karras_sigmas"] = true;
    flows.update({{"use_flow_sigmas", true}, {"prediction_type", "flow_prediction"}, {"flow_shift", 3}});
    CHECK(times("DPMSolverMultistepScheduler", clipped, 6).size() == 5);
    CHECK(times("DPMSolverMultistepScheduler", karras, 6) == std::vector<double>{999, 880, 711, 434, 77, 0});
    CHECK(times("DPMSolverMultistepInverseScheduler", flows, 6) == std::vector<double>{999, 937, 856, 749, 599, 374});
    // TCD that is asked for more original steps than there are takes all.
    const Steps tcd = SchedulerConfig::from_json(of_class("TCDScheduler", {{"num_train_timesteps", 100}}))
                          .steps(StepRequest{.count = 4, .original_inference_steps = 200});
    CHECK(tcd.intervals[3].from.time == 24);
    // One step of a consistency model adds no noise.
    const auto consistency = SchedulerConfig::from_json(of_class("CMStochasticIterativeScheduler"));
    const Interval only = consistency.steps(1).intervals.at(0);
    CHECK(std::get<Consistency>(consistency.sampler()).smallest_ratio == only.to.sigma);
    CHECK(SchedulerConfig::from_json(of_class("HeunDiscreteScheduler", {{"prediction_type", "sample"}})).reading().prediction == Prediction::sample);
    // Flow sigmas that fall below the first of the table, where they are to end.
    const auto flow = SchedulerConfig::from_json(of_class("DPMSolverSinglestepScheduler", {{"use_flow_sigmas", true}, {"beta_start", 0.00085},
                                                                                           {"final_sigmas_type", "sigma_min"}}));
    const Interval last = flow.steps(37).intervals.back();
    CHECK(last.to.sigma > last.from.sigma);
    CHECK(last.to.sigma == Approx(0.0291675).epsilon(1e-5));
}

TEST_CASE("DDIM with all of its noise keeps the rounding of diffusers where no picture is left") {
    json options{{"timestep_spacing", "trailing"}, {"rescale_betas_zero_snr", true}, {"prediction_type", "v_prediction"}, {"clip_sample", false}};
    const auto config = SchedulerConfig::from_json(of_class("DDIMScheduler", options));
    Ddim ddim = std::get<Ddim>(config.sampler());
    ddim.eta = 1;
    const auto direction = [&](const Ddim& sampler) {  // of one step with eps = 1, x0 = 0 and no noise
        auto network = [](const Tensor<double>& shown, const NoiseLevel&) { return Tensor<double>::from(shown.shape(), std::vector<double>{0}); };
        auto quiet = [](Tensor<double>& z, const Interval&) { z.array() = 0; };
        Denoiser denoise{network, config.reading()};
        auto x = Tensor<double>::from({1}, std::vector<double>{1});
        NoState state;
        sampler.step(x, state, config.steps(37).intervals[0], denoise, quiet);
        return x[0];
    };
    CHECK(direction(ddim) == Approx(0.000244140625).epsilon(1e-5));
    ddim.reference_rounding = false;
    CHECK(direction(ddim) == Approx(0).margin(1e-7));
}

TEST_CASE("remnants of other classes that ask for nothing are accepted") {
    CHECK(refusal(of_class("EulerDiscreteScheduler", {{"skip_prk_steps", true}, {"clip_sample", false}, {"set_alpha_to_one", false},
                                                      {"sample_max_value", 1.0}, {"trained_betas", nullptr}})) == "accepted");
}

TEST_CASE("a written config reads back as it was") {
    for (const char* name : {"DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"}) {
        SchedulerOptions options = scheduler_defaults(name);
        options.beta_schedule = "squaredcos_cap_v2";
        options.prediction_type = "v_prediction";
        options.num_train_timesteps = 500;
        const SchedulerConfig config(options);
        const auto again = SchedulerConfig::from_json(json::parse(config.json().dump()));
        CHECK(again.json() == config.json());
        CHECK(again.schedule().size() == 500);
        CHECK(again.reading().prediction == Prediction::v);
    }
}

TEST_CASE("a config file may hold Python's infinities") {
    const auto path = std::filesystem::temp_directory_path() / "ito_scheduler_config_test.json";
    const auto write = [&](const char* text) { std::ofstream(path) << text; };
    write(R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "_note": "a \"-Infinity\" here"})");
    CHECK(std::isinf(SchedulerConfig::load(path).options().lambda_min_clipped));
    write(R"({"_class_name": )");
    CHECK_THROWS_AS(SchedulerConfig::load(path), FileError);
    write(R"({"_class_name": "Unknown"})");
    CHECK_THROWS_AS(SchedulerConfig::load(path), ConfigError);
    std::filesystem::remove(path);
    CHECK_THROWS_AS(SchedulerConfig::load(path), FileError);
}
