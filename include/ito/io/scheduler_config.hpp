// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/json_file.hpp"
#include "ito/io/scheduler_flow.hpp"
#include "ito/io/scheduler_json.hpp"
#include "ito/io/scheduler_samplers.hpp"

namespace ito {

/// A diffusers scheduler in ito's terms: the schedule that a network was trained with, how to read the network, the
/// sampler, and the steps as diffusers places them (in single precision, so that they agree with its tables).
///   const auto config = SchedulerConfig::load(folder / "scheduler_config.json");
///   Denoiser denoise{network, config.reading()};
///   std::visit([&](const auto& sampler) { return sample<float>(denoise, sampler, config.steps(20), shape); }, config.sampler());
/// The samplers of KDPM2 and DPMSolverSDE ask between the steps: give them TimedBy{config.schedule(), network}.
class SchedulerConfig {
  public:
    /// Throws ConfigError for a value that the class does not know or options that contradict each other.
    explicit SchedulerConfig(SchedulerOptions options)
        : options_(std::move(options)), class_(detail::scheduler_class_bit(options_.class_name)) {
        one_of("timestep_spacing", options_.timestep_spacing, {"leading", "linspace", "trailing"});
        one_of("final_sigmas_type", options_.final_sigmas_type, {"zero", "sigma_min"});
        one_of("interpolation_type", options_.interpolation_type, {"linear", "log_linear"});
        one_of("timestep_type", options_.timestep_type, {"discrete", "continuous"});
        one_of("time_shift_type", options_.time_shift_type, {"exponential", linear_shift() ? "linear" : "exponential"});
        one_of("sigma_schedule", options_.sigma_schedule, {"karras", "exponential"});
        if (options_.use_karras_sigmas + options_.use_exponential_sigmas + options_.use_beta_sigmas > 1)
            fail("only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true");
        if (options_.num_train_timesteps < 1) fail("option 'num_train_timesteps' must be positive");
        if (has_table()) make_table();
        reading_ = detail::scheduler_reading(options_, class_);
        sampler_ = detail::scheduler_sampler(options_, class_, schedule_);
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
    const Reading& reading() const { return reading_; }
    const AnySampler& sampler() const { return sampler_; }

    /// The seed that the config itself gives the noise (noise_sampler_seed of DPMSolverSDE), else `otherwise`: for
    /// SampleOptions::seed. The stream is ito's own, not that of torchsde's Brownian tree.
    std::uint64_t seed(std::uint64_t otherwise = 0) const {
        return options_.noise_sampler_seed ? static_cast<std::uint64_t>(*options_.noise_sampler_seed) : otherwise;
    }

    /// The table of betas at integer times and the schedule that it makes. A few classes have none: betas() is empty then, and
    /// schedule() throws ConfigError.
    const std::vector<float>& betas() const { return betas_; }
    const DiscreteSchedule& schedule() const {
        if (!schedule_) fail("has no schedule of its own");
        return *schedule_;
    }

    /// The steps of the class. Throws ArgumentError for fewer than one step or more than the schedule has, ConfigError
    /// for a request that the class does not know.
    Steps steps(Index count) const { return steps(StepRequest{.count = count}); }

    Steps steps(const StepRequest& request) const {
        using namespace detail;
        const auto& o = options_;
        check(request);
        switch (class_) {
            case ddpm_class: return ddpm_steps(o, *schedule_, request);
            case unclip_class: return unclip_steps(o, *schedule_, request);
            case ddim_class:
            case cogvideox_ddim_class: return ddim_steps(o, *schedule_, request);
            case cogvideox_dpm_class: return cogvideox_dpm_steps(o, *schedule_, request);
            case ddim_inverse_class: return ddim_inverse_steps(o, *schedule_, request);
            case pndm_class: return pndm_steps(o, *schedule_, request);
            case ipndm_class: return ipndm_steps(o, request);
            case lcm_class:
            case tcd_class: return latent_consistency_steps(o, *schedule_, request);
            case repaint_class: return repaint_steps(o, *schedule_, request);
            case wuerstchen_class: return wuerstchen_steps(o, request);
            case cm_class: return consistency_model_steps(o, request);
            case consistency_decoder_class: return consistency_decoder_steps(o, *schedule_, request);
            case scm_class: return trigflow_steps(o, request);
            case edm_euler_class:
            case edm_dpm_class:
            case cosine_dpm_class: return edm_steps(o, class_, request);
            case flow_euler_class:
            case flow_heun_class:
            case flow_lcm_class: return flow_match_steps(o, request);
            case flow_map_class: return flow_map_steps(o, request);
            case sde_ve_class: return score_sde_ve_steps(request.count, o.sigma_min.value_or(0), o.sigma_max.value_or(0), o.sampling_eps);
            case sde_vp_class: return sde_vp_steps(o, request);
            case karras_ve_class: return karras_ve_steps(o, request);
            default: break;
        }
        if (class_ & solver_classes) return solver_steps(o, class_, *schedule_, request);
        return variance_exploding_steps(o, class_, *schedule_, request);
    }

  private:
    [[noreturn]] void fail(const std::string& why) const { throw ConfigError(options_.class_name + ": " + why); }

    void one_of(const char* option, const std::string& value, std::initializer_list<const char*> known) const {
        detail::one_of(options_, option, value, known);
    }

    bool linear_shift() const { return class_ & (detail::shifted_flow_classes | detail::unipc_class); }
    bool has_table() const { return class_ & (detail::beta_classes | detail::unclip_class | detail::consistency_decoder_class); }

    void check(const StepRequest& request) const {
        using namespace detail;
        const bool converted = options_.use_karras_sigmas || options_.use_exponential_sigmas || options_.use_beta_sigmas;
        if (request.timesteps.empty() && request.sigmas.empty()) require_steps(request.count);
        constexpr ClassMask free = shifted_flow_classes | flow_map_class;  // that take any times
        constexpr ClassMask timed = ddpm_class | euler_class | heun_class | dpm_class | dpm_single_class | latent_consistency_classes | cm_class | scm_class | wuerstchen_class | free;
        if (!request.timesteps.empty() && (!(class_ & timed) || (!(class_ & free) && converted) || options_.use_lu_lambdas))
            fail("takes no list of timesteps");
        const bool unipc = class_ == unipc_class && options_.use_flow_sigmas && !converted;
        const bool euler = class_ == euler_class && request.sigmas.size() >= 2;
        if (!request.sigmas.empty() && !euler && !unipc && !(class_ & (free | edm_euler_class))) fail("takes no such list of sigmas");
        if ((request.mu || request.image_seq_len) && !options_.use_dynamic_shifting) fail("takes mu only with use_dynamic_shifting");
        if (request.image_seq_len && !(class_ & shifted_flow_classes)) fail("takes no image_seq_len");
    }

    void make_table() {
        try {
            betas_ = detail::scheduler_betas(options_, class_);
            schedule_ = detail::scheduler_schedule(options_, class_, betas_);
        } catch (const ArgumentError& error) {
            fail(error.what());
        }
    }

    SchedulerOptions options_;
    detail::ClassMask class_;
    std::vector<float> betas_;
    std::optional<DiscreteSchedule> schedule_;
    Reading reading_;
    AnySampler sampler_;
};

}  // namespace ito
