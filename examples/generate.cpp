// SPDX-License-Identifier: MIT
#include "generate.hpp"

#include <optional>
#include <utility>
#include <variant>

#include "ito/nn/tune.hpp"
#include "ito/task/class_conditional.hpp"

template class ito::nn::UNet2D<float>;

namespace program {

ito::SchedulerConfig Generate::scheduler(const ito::Model& folder) const {
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

void Generate::check(const ito::Model& folder) const {
    if (batch < 1) throw ito::ArgumentError("--batch must be at least 1, got " + std::to_string(batch));
    require_between("--eta", eta, 0, 1000);
    require_between("--guidance", guidance, -1000, 1000);
    if (eta != 0 && sampler != "ddim") throw ito::ArgumentError("--eta goes with the ddim sampler");
    if (guidance != 1 && folder.null_class < 0)
        throw ito::ArgumentError("--guidance needs a model that was trained with a null class");
    if (folder.unet.config().sample_size.size() != 2) throw ito::ConfigError(model + ": the model does not say its sample_size");
    scheduler(folder).steps(steps);
}

std::string Generate::tune(ito::Model& folder, const std::vector<ito::Index>& labels, ito::Index count) const {
    if (precision != "fp32") throw ito::ArgumentError("--tune goes with --precision fp32");
    check(folder);
    const std::string file = model + "/unet/" + ito::conv_algorithms_file;
    require_writable(file);
    const auto& config = folder.unet.config();
    const ito::Index n = std::min(batch, count);
    std::vector<ito::Index> classes;
    if (!labels.empty()) classes.assign(labels.begin(), labels.begin() + n);
    const ito::ClassConditional<float> ask{folder.unet, classes, guidance, folder.null_class};
    ito::Tensor<float> x({n, config.sample_size[0], config.sample_size[1], config.in_channels});
    ito::fill_normal(x, seed);
    const ito::NoiseLevel level = scheduler(folder).steps(steps).intervals.front().from;
    std::optional<ProgressBar> bar;
    const ito::nn::Tuned tuned = ito::nn::tuned(folder.unet, [&] { ask(x, level); }, {}, [&](const ito::Progress& progress) {
        if (interrupted) throw ito::Cancelled("stopped while timing; nothing is written");
        if (!bar) bar.emplace("tune", "pass", progress.total);
        bar->show(progress.done);
    });
    folder.unet.set_algorithms(tuned.algorithms);
    ito::write_conv_algorithms(file, tuned.algorithms);
    char text[128];
    std::snprintf(text, sizeof text, ": a step takes %.1f ms by the cost model, %.1f ms by timing%s", 1000 * tuned.cost_model_seconds,
                  1000 * tuned.timed_seconds, tuned.algorithms.choices().empty() ? ", so that the former stays" : "");
    return file + text;
}

ito::Tensor<float> Generate::operator()(const ito::Model& folder, const std::vector<ito::Index>& labels, ito::Index count,
                                        const std::function<void(ito::Index, const ito::Seen<float>&)>& observe) const {
    if (count < 1) throw ito::ArgumentError("--count must be at least 1, got " + std::to_string(count));
    check(folder);
    const ito::PrecisionScope as_asked(precision_named(precision));
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
        const auto draw = [&](const auto& method) {
            const ito::Tensor<float> x = ito::sample<float>(
                ito::Denoiser{ask, plan.reading()}, method, levels, {n, size[0], size[1], config.in_channels},
                {.seed = seed, .first_sample = static_cast<std::uint64_t>(first), .stop = stop.get_token()},
                [&](const ito::Seen<float>& seen) {
                    if (interrupted) stop.request_stop();
                    observe(first, seen);
                });
            std::copy(x.begin(), x.end(), pictures.data() + first * each);
        };
        try {
            std::visit(draw, chosen);
        } catch (const ito::Cancelled&) {
            if (first == 0) throw ito::Cancelled("stopped before the first batch was finished; nothing is written");
            ito::Tensor<float> finished(pictures.shape().with(0, first));
            std::copy_n(pictures.data(), finished.size(), finished.data());
            return finished;
        }
    }
    return pictures;
}

ito::Model open_model(const std::string& folder) { return ito::load_model(folder); }

std::vector<ito::Index> labels_for(const ito::Model& folder, ito::Index count, ito::Index wanted) {
    const ito::Index classes = folder.classes();
    if (classes == 0 && wanted >= 0) throw ito::ArgumentError("--class: the model has no classes");
    if (wanted < -1 || (classes > 0 && wanted >= classes))
        throw ito::ArgumentError("--class must be from 0 to " + std::to_string(classes - 1) + ", got " + std::to_string(wanted));
    ito::require_memory("--count " + std::to_string(count), 8.0 * static_cast<double>(count));
    std::vector<ito::Index> labels;
    for (ito::Index i = 0; classes > 0 && i < count; ++i) labels.push_back(wanted >= 0 ? wanted : i % classes);
    return labels;
}

}  // namespace program
