// SPDX-License-Identifier: MIT
// A trained model folder and the options that say how to sample from it: shared by `sample` and `evaluate`.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ito/io/model_folder.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/task/class_conditional.hpp"
#include "program.hpp"

namespace program {

struct Generate {
    std::string model, sampler = "ddim", schedule = "trailing";
    ito::Index steps = 20, batch = 32;
    double eta = 0, guidance = 1;
    std::uint64_t seed = 0;

    void add_options(CLI::App& app) {
        app.add_option("--model", model, "Model folder (diffusers layout)")->required();
        app.add_option("--sampler", sampler, "ddpm, ddim, euler, heun or dpmpp_2m")
            ->check(CLI::IsMember({"ddpm", "ddim", "euler", "heun", "dpmpp_2m"}))
            ->capture_default_str();
        app.add_option("--steps", steps, "Sampler steps")->capture_default_str();
        app.add_option("--eta", eta, "DDIM's noise: 0 none, 1 as DDPM")->capture_default_str();
        app.add_option("--schedule", schedule, "Where to stop: leading, linspace, trailing, or (not ddpm, ddim) karras")
            ->check(CLI::IsMember({"leading", "linspace", "trailing", "karras"}))
            ->capture_default_str();
        app.add_option("--guidance", guidance, "Classifier-free guidance (1: none)")->capture_default_str();
        app.add_option("--seed", seed, "Picture k of a seed is the same in any batch, with any number of threads")->capture_default_str();
        app.add_option("--batch", batch, "Pictures made at a time")->capture_default_str();
    }

    /// The model's schedule with the sampler and spacing asked for.
    ito::SchedulerConfig scheduler(const ito::Model& folder) const {
        ito::SchedulerOptions options = folder.scheduler.options();
        options.class_name = sampler == "ddpm"    ? "DDPMScheduler"
                             : sampler == "ddim"  ? "DDIMScheduler"
                             : sampler == "euler" ? "EulerDiscreteScheduler"
                             : sampler == "heun"  ? "HeunDiscreteScheduler"
                                                  : "DPMSolverMultistepScheduler";
        options.use_karras_sigmas = schedule == "karras";
        if (schedule != "karras") options.timestep_spacing = schedule;
        else if (sampler == "ddpm" || sampler == "ddim") throw ito::ArgumentError("--schedule karras goes with euler, heun and dpmpp_2m");
        return ito::SchedulerConfig(options);
    }

    /// Throws for options that no run could follow.
    void check(const ito::Model& folder) const {
        if (batch < 1) throw ito::ArgumentError("--batch must be at least 1, got " + std::to_string(batch));
        if (eta < 0) throw ito::ArgumentError("--eta must not be negative");
        if (eta != 0 && sampler != "ddim") throw ito::ArgumentError("--eta goes with the ddim sampler");
        if (guidance != 1 && folder.null_class < 0)
            throw ito::ArgumentError("--guidance needs a model that was trained with a null class");
        if (folder.unet.config().sample_size.size() != 2) throw ito::ConfigError(model + ": the model does not say its sample_size");
        scheduler(folder).steps(steps);
    }

    /// `count` pictures [N, H, W, C], picture k of class labels[k]; observe(first picture of the batch, seen) after each step.
    template <class Observer>
    ito::Tensor<float> operator()(const ito::Model& folder, const std::vector<ito::Index>& labels, ito::Index count,
                                  Observer&& observe) const {
        if (count < 1) throw ito::ArgumentError("--count must be at least 1, got " + std::to_string(count));
        check(folder);
        const auto& config = folder.unet.config();
        const auto size = config.sample_size;
        const ito::SchedulerConfig plan = scheduler(folder);
        ito::AnySampler chosen = plan.sampler();
        if (auto* ddim = std::get_if<ito::Ddim>(&chosen)) ddim->eta = eta;
        const ito::Steps levels = plan.steps(steps);

        ito::Tensor<float> pictures({count, size[0], size[1], config.in_channels});
        const ito::Index each = pictures.size() / count;
        std::stop_source stop;
        for (ito::Index first = 0; first < count; first += batch) {
            const ito::Index n = std::min(batch, count - first);
            std::vector<ito::Index> classes;
            if (!labels.empty()) classes.assign(labels.begin() + first, labels.begin() + first + n);
            const ito::ClassConditional<float> ask{folder.unet, classes, guidance, folder.null_class};
            std::visit(
                [&](const auto& method) {
                    const ito::Tensor<float> x = ito::sample<float>(
                        ito::Denoiser{ask, plan.reading()}, method, levels, {n, size[0], size[1], config.in_channels},
                        {.seed = seed, .first_sample = static_cast<std::uint64_t>(first), .stop = stop.get_token()},
                        [&](const ito::Seen<float>& seen) {
                            if (interrupted) stop.request_stop();
                            observe(first, seen);
                        });
                    std::copy(x.begin(), x.end(), pictures.data() + first * each);
                },
                chosen);
        }
        return pictures;
    }
};

/// The class of each of `count` pictures: the one asked for, else one after the other. None without classes.
/// Throws ArgumentError for a class that the model does not have.
inline std::vector<ito::Index> labels_for(const ito::Model& folder, ito::Index count, ito::Index wanted) {
    const ito::Index classes = folder.classes();
    if (classes == 0 && wanted >= 0) throw ito::ArgumentError("--class: the model has no classes");
    if (wanted < -1 || (classes > 0 && wanted >= classes))
        throw ito::ArgumentError("--class must be from 0 to " + std::to_string(classes - 1) + ", got " + std::to_string(wanted));
    std::vector<ito::Index> labels;
    for (ito::Index i = 0; classes > 0 && i < count; ++i) labels.push_back(wanted >= 0 ? wanted : i % classes);
    return labels;
}

}  // namespace program
