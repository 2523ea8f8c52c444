// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ito/io/json_file.hpp"
#include "ito/io/scheduler_steps.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/heun.hpp"

namespace ito {

/// The sampler of a scheduler class.
using AnySampler = std::variant<Ddpm, Ddim, Euler, Heun, DpmSolverMultistep>;

/// A diffusers scheduler in ito's terms: the schedule that a network was trained with, how to read the network, the
/// sampler, and the steps as diffusers places them (in single precision, so that they agree with its tables).
///   const auto config = SchedulerConfig::load(folder / "scheduler_config.json");
///   Denoiser denoise{network, config.reading()};
///   std::visit([&](const auto& sampler) { return sample<float>(denoise, sampler, config.steps(20), shape); }, config.sampler());
class SchedulerConfig {
  public:
    /// Throws ConfigError for a value that the class does not know or options that contradict each other.
    explicit SchedulerConfig(SchedulerOptions options)
        : options_(std::move(options)),
          class_(detail::scheduler_class_bit(options_.class_name)),
          betas_(betas_of_options()),
          schedule_(schedule_of_betas()),
          reading_(reading_of_options()),
          sampler_(sampler_of_options()) {
        one_of("timestep_spacing", options_.timestep_spacing, {"leading", "linspace", "trailing"});
        one_of("final_sigmas_type", options_.final_sigmas_type, {"zero", "sigma_min"});
        one_of("interpolation_type", options_.interpolation_type, {"linear", "log_linear"});
        one_of("timestep_type", options_.timestep_type, {"discrete", "continuous"});
        one_of("time_shift_type", options_.time_shift_type, {"exponential"});
        if (options_.use_karras_sigmas + options_.use_exponential_sigmas + options_.use_beta_sigmas > 1)
            fail("only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true");
    }

    /// Throws ConfigError, which names the option.
    static SchedulerConfig from_json(const nlohmann::json& config) { return SchedulerConfig(read_scheduler_options(config)); }

    /// Reads a scheduler_config.json. Throws FileError if it cannot be read as JSON, ConfigError otherwise.
    static SchedulerConfig load(const std::filesystem::path& path) {
        const MappedFile file(path);
        const std::string text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
        const auto config = parse_json(path, detail::quote_infinities(text));
        try {
            return from_json(config);
        } catch (const ConfigError& error) {
            throw ConfigError(path.string() + ": " + error.what());
        }
    }

    /// What diffusers opens: every option of the class.
    nlohmann::json json() const { return write_scheduler_options(options_); }

    const SchedulerOptions& options() const { return options_; }
    const std::vector<float>& betas() const { return betas_; }
    const DiscreteSchedule& schedule() const { return schedule_; }
    const Reading& reading() const { return reading_; }
    const AnySampler& sampler() const { return sampler_; }

    /// The steps of the class. Throws ArgumentError for fewer than one step or more than the schedule has, ConfigError
    /// for a request that the class does not know.
    Steps steps(Index count) const { return steps(StepRequest{.count = count}); }

    Steps steps(const StepRequest& request) const {
        if (request.timesteps.empty() && request.sigmas.empty()) detail::require_steps(request.count);
        const bool converted = options_.use_karras_sigmas || options_.use_exponential_sigmas || options_.use_beta_sigmas ||
                               options_.use_lu_lambdas;
        if (!request.timesteps.empty() && (class_ == detail::ddim_class || converted)) fail("takes no list of timesteps");
        if (!request.sigmas.empty() && (class_ != detail::euler_class || request.sigmas.size() < 2)) fail("takes no such list of sigmas");
        if (request.mu && !options_.use_dynamic_shifting) fail("takes mu only with use_dynamic_shifting");
        switch (class_) {
            case detail::ddpm_class: return detail::ddpm_steps(options_, schedule_, request);
            case detail::ddim_class: return detail::ddim_steps(options_, schedule_, request);
            case detail::dpm_class: return detail::dpm_solver_steps(options_, schedule_, request);
            default: return detail::variance_exploding_steps(options_, schedule_, request);
        }
    }

  private:
    [[noreturn]] void fail(const std::string& why) const { throw ConfigError(options_.class_name + ": " + why); }

    void one_of(const char* option, const std::string& value, std::initializer_list<const char*> known) const {
        for (const char* name : known)
            if (value == name) return;
        fail("option '" + std::string(option) + "' cannot be \"" + value + "\"");
    }

    std::vector<float> betas_of_options() const {
        const auto& o = options_;
        if (o.num_train_timesteps < 1) fail("option 'num_train_timesteps' must be positive");
        const Index n = o.num_train_timesteps;
        std::vector<float> betas;
        if (o.trained_betas) {
            betas.assign(o.trained_betas->begin(), o.trained_betas->end());
            if (static_cast<Index>(betas.size()) != n)
                fail("option 'trained_betas' has " + std::to_string(betas.size()) + " values, num_train_timesteps is " + std::to_string(n));
        } else if (o.beta_schedule == "linear") {
            betas = linear_betas<float>(n, o.beta_start, o.beta_end);
        } else if (o.beta_schedule == "scaled_linear") {
            betas = scaled_linear_betas<float>(n, o.beta_start, o.beta_end);
        } else if (o.beta_schedule == "squaredcos_cap_v2") {
            betas = cosine_betas<float>(n);
        } else if (o.beta_schedule == "sigmoid" && class_ == detail::ddpm_class) {
            betas = sigmoid_betas<float>(n, o.beta_start, o.beta_end);
        } else if (o.beta_schedule == "laplace" && class_ == detail::ddpm_class) {
            betas = laplace_betas<float>(n);
        } else if (o.beta_schedule == "exp" && class_ == detail::heun_class) {
            betas = exponential_betas<float>(n);
        } else {
            fail("option 'beta_schedule' cannot be \"" + o.beta_schedule + "\"");
        }
        return o.rescale_betas_zero_snr ? zero_terminal_snr(betas) : betas;
    }

    DiscreteSchedule schedule_of_betas() const {
        try {
            std::vector<float> alphas_cumprod = cumulative_alphas(betas_);
            // These two divide by alpha, so a little is left of the picture.
            if (options_.rescale_betas_zero_snr && (class_ == detail::euler_class || class_ == detail::dpm_class))
                alphas_cumprod.back() = 0x1p-24f;
            return DiscreteSchedule::of_alphas_cumprod(alphas_cumprod);
        } catch (const ArgumentError& error) {
            fail(error.what());
        }
    }

    Reading reading_of_options() const {
        const auto& o = options_;
        Reading reading;
        reading.scaled_input = class_ == detail::euler_class || class_ == detail::heun_class;
        if (o.prediction_type == "epsilon") reading.prediction = Prediction::epsilon;
        else if (o.prediction_type == "v_prediction") reading.prediction = Prediction::v;
        else if (o.prediction_type == "sample" && class_ != detail::heun_class) reading.prediction = Prediction::sample;
        else if (o.prediction_type == "flow_prediction" && class_ == detail::dpm_class) reading.prediction = Prediction::flow;
        else fail("option 'prediction_type' cannot be \"" + o.prediction_type + "\"");
        if (o.use_flow_sigmas && o.prediction_type == "v_prediction") fail("use_flow_sigmas contradicts prediction_type \"v_prediction\"");
        if (reading.prediction == Prediction::flow && (!o.use_flow_sigmas || o.algorithm_type == "dpmsolver" || o.algorithm_type == "sde-dpmsolver"))
            fail("prediction_type \"flow_prediction\" needs use_flow_sigmas and a ++ algorithm_type");
        if (o.clip_sample) reading.clip = o.clip_sample_range;
        if (o.thresholding) reading.threshold = DynamicThreshold{o.dynamic_thresholding_ratio, o.sample_max_value};
        const bool learned = o.variance_type && (*o.variance_type == "learned" || *o.variance_type == "learned_range");
        reading.learned_variance = learned && (class_ == detail::ddpm_class || reading.prediction == Prediction::epsilon);
        return reading;
    }

    AnySampler sampler_of_options() const {
        const auto& o = options_;
        switch (class_) {
            case detail::ddpm_class: {
                const std::string& type = o.variance_type.value_or("");
                using V = Ddpm::Variance;
                if (type == "fixed_small" || type == "fixed_small_log") return Ddpm{V::fixed_small, true};
                if (type == "fixed_large" || type == "fixed_large_log") return Ddpm{V::fixed_large, true};
                if (type == "learned") return Ddpm{V::learned, true};
                if (type == "learned_range") return Ddpm{V::learned_range, true};
                fail("option 'variance_type' cannot be \"" + type + "\"");
            }
            case detail::ddim_class: return Ddim{};
            case detail::euler_class: return Euler{.churn = {}, .ask_before_churn = true};
            case detail::heun_class: return Heun{};
            default: break;
        }
        DpmSolverMultistep solver;
        one_of("algorithm_type", o.algorithm_type, {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"});
        one_of("solver_type", o.solver_type, {"midpoint", "heun", "logrho", "bh1", "bh2"});
        solver.data_prediction = o.algorithm_type != "dpmsolver" && o.algorithm_type != "sde-dpmsolver";  // deis runs as ++
        solver.stochastic = o.algorithm_type.rfind("sde-", 0) == 0;
        if (o.solver_order < 1 || o.solver_order > 3 || (o.solver_order == 3 && o.algorithm_type == "sde-dpmsolver"))
            fail("option 'solver_order' cannot be " + std::to_string(o.solver_order) + " with algorithm_type \"" + o.algorithm_type + "\"");
        if ((!solver.data_prediction || o.algorithm_type == "deis") && o.final_sigmas_type == "zero")
            fail("option 'final_sigmas_type' cannot be \"zero\" with algorithm_type \"" + o.algorithm_type + "\"");
        solver.order = static_cast<int>(o.solver_order);
        solver.type = o.solver_type == "heun" ? DpmSolverMultistep::Type::heun : DpmSolverMultistep::Type::midpoint;
        solver.lower_order_final = o.lower_order_final;
        solver.euler_at_final = o.euler_at_final;
        solver.reference_third_order = true;
        return solver;
    }

    SchedulerOptions options_;
    unsigned class_;
    std::vector<float> betas_;
    DiscreteSchedule schedule_;
    Reading reading_;
    AnySampler sampler_;
};

}  // namespace ito
