// SPDX-License-Identifier: MIT
// A trained model folder and the options that say how to sample from it: shared by `sample` and `evaluate`,
// and compiled once for both.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ito/io/model_folder.hpp"
#include "ito/sampler/sample.hpp"
#include "program.hpp"
#include "unet.hpp"

namespace program {

struct Generate {
    std::string model, sampler = "ddim", schedule = "trailing", precision = "fp32";
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
        app.add_option("--seed", seed, "Picture k of a seed is the same in any batch, with any number of threads")->check(not_negative())
            ->capture_default_str();
        app.add_option("--batch", batch, "Pictures made at a time")->capture_default_str();
        app.add_option("--precision", precision, "fp32, exact (no Winograd) or bf16")
            ->check(CLI::IsMember({"fp32", "exact", "bf16"}))
            ->capture_default_str();
    }

    /// The model's schedule with the sampler and spacing asked for.
    ito::SchedulerConfig scheduler(const ito::Model& folder) const;

    /// Throws for options that no run could follow.
    void check(const ito::Model& folder) const;

    /// Chooses the algorithms of the model's convolutions by timing a step of its first batch, and writes them beside its
    /// weights; one line for the user. Throws Cancelled on Ctrl-C.
    std::string tune(ito::Model& folder, const std::vector<ito::Index>& labels, ito::Index count) const;

    /// `count` pictures [N, H, W, C], picture k of class labels[k]; observe(first picture of the batch, seen) after each step.
    /// On Ctrl-C those of the batches that were finished; throws Cancelled if there are none.
    ito::Tensor<float> operator()(const ito::Model& folder, const std::vector<ito::Index>& labels, ito::Index count,
                                  const std::function<void(ito::Index, const ito::Seen<float>&)>& observe) const;
};

/// ito::load_model, compiled with the samplers.
ito::Model open_model(const std::string& folder);

/// The class of each of `count` pictures: the one asked for, else one after the other. None without classes.
/// Throws ArgumentError for a class that the model does not have.
std::vector<ito::Index> labels_for(const ito::Model& folder, ito::Index count, ito::Index wanted);

}  // namespace program
