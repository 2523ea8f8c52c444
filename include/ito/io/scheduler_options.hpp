// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"
#include "ito/io/file_error.hpp"

// The one table of diffusers' scheduler classes and their options.
namespace ito {

/// What a diffusers scheduler_config.json says, under its own names, with the defaults of most classes.
struct SchedulerOptions {
    std::string class_name;
    Index num_train_timesteps = 1000;
    double beta_start = 1e-4;
    double beta_end = 0.02;
    std::string beta_schedule = "linear";
    std::optional<std::vector<double>> trained_betas{};
    std::string prediction_type = "epsilon";
    std::string timestep_spacing = "leading";
    Index steps_offset = 0;
    bool rescale_betas_zero_snr = false;
    double snr_shift_scale = 3;
    bool clip_sample = true;
    double clip_sample_range = 1;
    bool clip_denoised = true;
    bool thresholding = false;
    double dynamic_thresholding_ratio = 0.995;
    double sample_max_value = 1;
    std::optional<std::string> variance_type{};
    bool set_alpha_to_one = true;
    double eta = 0;
    bool skip_prk_steps = false;
    std::string interpolation_type = "linear";
    std::string timestep_type = "discrete";
    bool use_karras_sigmas = false;
    bool use_exponential_sigmas = false;
    bool use_beta_sigmas = false;
    bool use_lu_lambdas = false;
    bool use_flow_sigmas = false;
    double flow_shift = 1;
    std::optional<double> sigma_min{};
    std::optional<double> sigma_max{};
    double sigma_data = 0.5;
    std::string sigma_schedule = "karras";
    double rho = 7;
    std::string final_sigmas_type = "zero";
    Index solver_order = 2;
    Index predictor_order = 2;
    Index corrector_order = 2;
    std::string algorithm_type = "dpmsolver++";
    std::string solver_type = "midpoint";
    bool predict_x0 = true;
    std::vector<Index> disable_corrector{};
    bool lower_order_final = true;
    bool euler_at_final = false;
    double lambda_min_clipped = -std::numeric_limits<double>::infinity();
    std::optional<Index> noise_sampler_seed{};
    Index original_inference_steps = 50;
    double timestep_scaling = 10;
    double shift = 1;
    bool use_dynamic_shifting = false;
    std::string time_shift_type = "exponential";
    std::optional<double> base_shift = 0.5;
    std::optional<double> max_shift = 1.15;
    Index base_image_seq_len = 256;
    Index max_image_seq_len = 4096;
    bool invert_sigmas = false;
    std::optional<double> shift_terminal{};
    bool stochastic_sampling = false;
    double s_noise = 1;
    double s_churn = 80;
    double s_min = 0.05;
    double s_max = 50;
    double scaler = 1;
    double s = 0.008;
    double snr = 0.15;
    Index correct_steps = 1;
    double sampling_eps = 1e-3;
    double beta_min = 0.1;
    double beta_max = 20;
};

namespace detail {

using OptionField =
    std::variant<bool SchedulerOptions::*, Index SchedulerOptions::*, double SchedulerOptions::*, std::string SchedulerOptions::*,
                 std::optional<double> SchedulerOptions::*, std::optional<Index> SchedulerOptions::*, std::optional<std::string> SchedulerOptions::*,
                 std::optional<std::vector<double>> SchedulerOptions::*, std::vector<Index> SchedulerOptions::*>;

// The classes whose options are known, as bits.
using ClassMask = std::uint64_t;
enum : ClassMask {
    ddpm_class = 1ull << 0,
    ddim_class = 1ull << 1,
    ddim_inverse_class = 1ull << 2,
    cogvideox_ddim_class = 1ull << 3,
    cogvideox_dpm_class = 1ull << 4,
    pndm_class = 1ull << 5,
    ipndm_class = 1ull << 6,
    euler_class = 1ull << 7,
    heun_class = 1ull << 8,
    dpm_class = 1ull << 9,
    dpm_inverse_class = 1ull << 10,
    dpm_single_class = 1ull << 11,
    deis_class = 1ull << 12,
    unipc_class = 1ull << 13,
    sa_class = 1ull << 14,
    lcm_class = 1ull << 15,
    tcd_class = 1ull << 16,
    cm_class = 1ull << 17,
    consistency_decoder_class = 1ull << 18,
    scm_class = 1ull << 19,
    edm_euler_class = 1ull << 20,
    edm_dpm_class = 1ull << 21,
    cosine_dpm_class = 1ull << 22,
    flow_euler_class = 1ull << 23,
    flow_heun_class = 1ull << 24,
    flow_lcm_class = 1ull << 25,
    flow_map_class = 1ull << 26,
    unclip_class = 1ull << 27,
    repaint_class = 1ull << 28,
    karras_ve_class = 1ull << 29,
    wuerstchen_class = 1ull << 30,
    euler_ancestral_class = 1ull << 31,
    lms_class = 1ull << 32,
    dpm2_class = 1ull << 33,
    dpm2_ancestral_class = 1ull << 34,
    dpm_sde_class = 1ull << 35,
    sde_ve_class = 1ull << 36,
    sde_vp_class = 1ull << 37,
};

struct SchedulerClass {
    const char* name;
    ClassMask bit;
};
inline constexpr SchedulerClass scheduler_classes[] = {
    {"DDPMScheduler", ddpm_class},
    {"DDPMParallelScheduler", ddpm_class},
    {"DDIMScheduler", ddim_class},
    {"DDIMParallelScheduler", ddim_class},
    {"DDIMInverseScheduler", ddim_inverse_class},
    {"CogVideoXDDIMScheduler", cogvideox_ddim_class},
    {"CogVideoXDPMScheduler", cogvideox_dpm_class},
    {"PNDMScheduler", pndm_class},
    {"IPNDMScheduler", ipndm_class},
    {"EulerDiscreteScheduler", euler_class},
    {"EulerAncestralDiscreteScheduler", euler_ancestral_class},
    {"HeunDiscreteScheduler", heun_class},
    {"LMSDiscreteScheduler", lms_class},
    {"KDPM2DiscreteScheduler", dpm2_class},
    {"KDPM2AncestralDiscreteScheduler", dpm2_ancestral_class},
    {"DPMSolverSDEScheduler", dpm_sde_class},
    {"DPMSolverMultistepScheduler", dpm_class},
    {"DPMSolverMultistepInverseScheduler", dpm_inverse_class},
    {"DPMSolverSinglestepScheduler", dpm_single_class},
    {"DEISMultistepScheduler", deis_class},
    {"UniPCMultistepScheduler", unipc_class},
    {"SASolverScheduler", sa_class},
    {"LCMScheduler", lcm_class},
    {"TCDScheduler", tcd_class},
    {"CMStochasticIterativeScheduler", cm_class},
    {"ConsistencyDecoderScheduler", consistency_decoder_class},
    {"SCMScheduler", scm_class},
    {"EDMEulerScheduler", edm_euler_class},
    {"EDMDPMSolverMultistepScheduler", edm_dpm_class},
    {"CosineDPMSolverMultistepScheduler", cosine_dpm_class},
    {"FlowMatchEulerDiscreteScheduler", flow_euler_class},
    {"FlowMatchHeunDiscreteScheduler", flow_heun_class},
    // Its scale_factors and upscale_mode are refused: x would change its shape between steps, for this class alone.
    {"FlowMatchLCMScheduler", flow_lcm_class},
    {"FlowMapEulerDiscreteScheduler", flow_map_class},
    {"UnCLIPScheduler", unclip_class},
    {"RePaintScheduler", repaint_class},
    {"ScoreSdeVeScheduler", sde_ve_class},
    {"ScoreSdeVpScheduler", sde_vp_class},
    {"KarrasVeScheduler", karras_ve_class},
    {"DDPMWuerstchenScheduler", wuerstchen_class},
};

// Classes that share options.
inline constexpr ClassMask solver_classes = dpm_class | dpm_inverse_class | dpm_single_class | deis_class | unipc_class | sa_class;
/// Classes that scale x to alpha = 1.
inline constexpr ClassMask exploding_classes = euler_class | euler_ancestral_class | heun_class | lms_class | dpm2_class | dpm2_ancestral_class | dpm_sde_class;
inline constexpr ClassMask cogvideox_classes = cogvideox_ddim_class | cogvideox_dpm_class;
inline constexpr ClassMask latent_consistency_classes = lcm_class | tcd_class;
inline constexpr ClassMask edm_classes = edm_euler_class | edm_dpm_class | cosine_dpm_class;
inline constexpr ClassMask flow_classes = flow_euler_class | flow_heun_class | flow_lcm_class | flow_map_class;
inline constexpr ClassMask shifted_flow_classes = flow_euler_class | flow_lcm_class;
/// Classes of a table of betas at integer times.
inline constexpr ClassMask beta_classes = ddpm_class | ddim_class | ddim_inverse_class | cogvideox_classes | pndm_class |
                                          exploding_classes | solver_classes | latent_consistency_classes | repaint_class;
inline constexpr ClassMask spaced_classes = beta_classes & ~(dpm_single_class | repaint_class);
inline constexpr ClassMask thresholding_classes = ddpm_class | ddim_class | solver_classes | latent_consistency_classes | edm_dpm_class;
inline constexpr ClassMask converted_classes = (exploding_classes & ~euler_ancestral_class) | solver_classes | shifted_flow_classes;
inline constexpr ClassMask clipped_classes = ddpm_class | ddim_class | ddim_inverse_class | cogvideox_classes | heun_class |
                                             latent_consistency_classes | unclip_class;

struct SchedulerOption {
    const char* name;
    ClassMask classes;  // that have it
    OptionField field;
};

/// Every option of every known class, once.
inline std::span<const SchedulerOption> scheduler_option_table() {
    using O = SchedulerOptions;
    static const SchedulerOption table[] = {
        {"num_train_timesteps", ~(karras_ve_class | wuerstchen_class), &O::num_train_timesteps},
        {"beta_start", beta_classes, &O::beta_start},
        {"beta_end", beta_classes, &O::beta_end},
        {"beta_schedule", beta_classes | unclip_class, &O::beta_schedule},
        {"trained_betas", beta_classes | ipndm_class, &O::trained_betas},
        {"prediction_type", (beta_classes & ~repaint_class) | edm_classes | unclip_class | scm_class, &O::prediction_type},
        {"timestep_spacing", spaced_classes, &O::timestep_spacing},
        {"steps_offset", spaced_classes, &O::steps_offset},
        {"rescale_betas_zero_snr",
         ddpm_class | ddim_class | ddim_inverse_class | cogvideox_classes | euler_class | euler_ancestral_class | dpm_class | unipc_class | latent_consistency_classes,
         &O::rescale_betas_zero_snr},
        {"snr_shift_scale", cogvideox_classes, &O::snr_shift_scale},
        {"clip_sample", clipped_classes | repaint_class, &O::clip_sample},
        {"clip_sample_range", clipped_classes, &O::clip_sample_range},
        {"clip_denoised", cm_class, &O::clip_denoised},
        {"thresholding", thresholding_classes, &O::thresholding},
        {"dynamic_thresholding_ratio", thresholding_classes, &O::dynamic_thresholding_ratio},
        {"sample_max_value", thresholding_classes | cogvideox_classes, &O::sample_max_value},
        {"variance_type", ddpm_class | dpm_class | dpm_inverse_class | dpm_single_class | sa_class | unclip_class, &O::variance_type},
        {"set_alpha_to_one", ddim_class | ddim_inverse_class | cogvideox_classes | pndm_class | latent_consistency_classes, &O::set_alpha_to_one},
        {"eta", repaint_class, &O::eta},
        {"skip_prk_steps", pndm_class, &O::skip_prk_steps},
        {"interpolation_type", euler_class, &O::interpolation_type},
        {"timestep_type", euler_class, &O::timestep_type},
        {"use_karras_sigmas", converted_classes, &O::use_karras_sigmas},
        {"use_exponential_sigmas", converted_classes, &O::use_exponential_sigmas},
        {"use_beta_sigmas", converted_classes, &O::use_beta_sigmas},
        {"use_lu_lambdas", dpm_class, &O::use_lu_lambdas},
        {"use_flow_sigmas", solver_classes, &O::use_flow_sigmas},
        {"flow_shift", solver_classes, &O::flow_shift},
        {"sigma_min", euler_class | unipc_class | cm_class | edm_classes | karras_ve_class | sde_ve_class, &O::sigma_min},
        {"sigma_max", euler_class | unipc_class | cm_class | edm_classes | karras_ve_class | sde_ve_class, &O::sigma_max},
        {"sigma_data", cm_class | consistency_decoder_class | scm_class | edm_classes, &O::sigma_data},
        {"sigma_schedule", edm_classes, &O::sigma_schedule},
        {"rho", cm_class | edm_classes, &O::rho},
        {"final_sigmas_type", euler_class | dpm_class | dpm_single_class | unipc_class | edm_classes, &O::final_sigmas_type},
        {"solver_order", (solver_classes & ~sa_class) | edm_dpm_class | cosine_dpm_class, &O::solver_order},
        {"predictor_order", sa_class, &O::predictor_order},
        {"corrector_order", sa_class, &O::corrector_order},
        {"algorithm_type", (solver_classes & ~unipc_class) | edm_dpm_class, &O::algorithm_type},
        {"solver_type", (solver_classes & ~sa_class) | edm_dpm_class | cosine_dpm_class, &O::solver_type},
        {"predict_x0", unipc_class, &O::predict_x0},
        {"disable_corrector", unipc_class, &O::disable_corrector},
        {"lower_order_final", solver_classes | edm_dpm_class | cosine_dpm_class, &O::lower_order_final},
        {"euler_at_final", dpm_class | dpm_inverse_class | edm_dpm_class | cosine_dpm_class, &O::euler_at_final},
        {"lambda_min_clipped", dpm_class | dpm_inverse_class | dpm_single_class | sa_class, &O::lambda_min_clipped},
        {"noise_sampler_seed", dpm_sde_class, &O::noise_sampler_seed},
        {"original_inference_steps", latent_consistency_classes, &O::original_inference_steps},
        {"timestep_scaling", latent_consistency_classes, &O::timestep_scaling},
        {"shift", flow_classes, &O::shift},
        {"use_dynamic_shifting", dpm_class | dpm_single_class | deis_class | unipc_class | shifted_flow_classes, &O::use_dynamic_shifting},
        {"time_shift_type", dpm_class | dpm_single_class | deis_class | unipc_class | shifted_flow_classes, &O::time_shift_type},
        {"base_shift", shifted_flow_classes, &O::base_shift},
        {"max_shift", shifted_flow_classes, &O::max_shift},
        {"base_image_seq_len", shifted_flow_classes, &O::base_image_seq_len},
        {"max_image_seq_len", shifted_flow_classes, &O::max_image_seq_len},
        {"invert_sigmas", shifted_flow_classes, &O::invert_sigmas},
        {"shift_terminal", unipc_class | shifted_flow_classes, &O::shift_terminal},
        {"stochastic_sampling", flow_euler_class, &O::stochastic_sampling},
        {"s_noise", cm_class | karras_ve_class, &O::s_noise},
        {"s_churn", karras_ve_class, &O::s_churn},
        {"s_min", karras_ve_class, &O::s_min},
        {"s_max", karras_ve_class, &O::s_max},
        {"scaler", wuerstchen_class, &O::scaler},
        {"s", wuerstchen_class, &O::s},
        {"snr", sde_ve_class, &O::snr},
        {"correct_steps", sde_ve_class, &O::correct_steps},
        {"sampling_eps", sde_ve_class | sde_vp_class, &O::sampling_eps},
        {"beta_min", sde_vp_class, &O::beta_min},
        {"beta_max", sde_vp_class, &O::beta_max},
    };
    return table;
}

inline ClassMask scheduler_class_bit(const std::string& name) {
    for (const auto& known : scheduler_classes)
        if (name == known.name) return known.bit;
    std::string list;
    for (const auto& known : scheduler_classes) list += (list.empty() ? "" : ", ") + std::string(known.name);
    throw ConfigError("scheduler class '" + printable(name) + "' is not one that ito has: " + list);
}

/// Whether sigmas are the picture's shares in place of the noise's: Euler's step does the same with either, the step of
/// consistency models does not and is followed as it stands.
inline bool reads_inverted(const SchedulerOptions& o) {
    return o.invert_sigmas && !o.stochastic_sampling && o.class_name != "FlowMatchLCMScheduler";
}

}  // namespace detail

/// The class's own defaults. Throws ConfigError for a class that ito does not have.
inline SchedulerOptions scheduler_defaults(const std::string& class_name) {
    using namespace detail;
    SchedulerOptions o;
    o.class_name = class_name;
    const ClassMask bit = scheduler_class_bit(class_name);
    if (bit & (exploding_classes | solver_classes)) o.timestep_spacing = "linspace";
    if (bit & ~(ddpm_class | ddim_class | ddim_inverse_class | cogvideox_classes | unclip_class | repaint_class)) o.clip_sample = false;
    if (bit & (heun_class | dpm2_class | dpm2_ancestral_class | dpm_sde_class | cogvideox_classes | latent_consistency_classes)) o.beta_start = 0.00085, o.beta_end = 0.012;
    if (bit & (cogvideox_classes | latent_consistency_classes)) o.beta_schedule = "scaled_linear";
    switch (bit) {
        case ddpm_class: o.variance_type = "fixed_small"; break;
        case pndm_class: o.set_alpha_to_one = false; break;
        case dpm_single_class: o.lower_order_final = false; break;
        case deis_class: o.algorithm_type = "deis", o.solver_type = "logrho"; break;
        case unipc_class: o.solver_type = "bh2"; break;
        case sa_class: o.algorithm_type = "data_prediction"; break;
        case cm_class: o.num_train_timesteps = 40, o.sigma_min = 0.002, o.sigma_max = 80; break;
        case consistency_decoder_class: o.num_train_timesteps = 1024; break;
        case scm_class: o.prediction_type = "trigflow"; break;
        case edm_euler_class:
        case edm_dpm_class: o.sigma_min = 0.002, o.sigma_max = 80; break;
        case cosine_dpm_class:
            o.sigma_min = 0.3, o.sigma_max = 500, o.sigma_data = 1;
            o.sigma_schedule = "exponential", o.prediction_type = "v_prediction";
            break;
        case unclip_class: o.variance_type = "fixed_small_log", o.beta_schedule = "squaredcos_cap_v2"; break;
        case sde_ve_class: o.num_train_timesteps = 2000, o.sigma_min = 0.01, o.sigma_max = 1348, o.sampling_eps = 1e-5; break;
        case sde_vp_class: o.num_train_timesteps = 2000; break;
        case karras_ve_class: o.sigma_min = 0.02, o.sigma_max = 100, o.s_noise = 1.007; break;
        default: break;
    }
    return o;
}

}  // namespace ito
