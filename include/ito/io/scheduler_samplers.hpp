// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ito/io/scheduler_options.hpp"
#include "ito/sampler/consistency.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_blocks.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/pndm.hpp"
#include "ito/sampler/predictor_corrector.hpp"
#include "ito/sampler/repaint.hpp"
#include "ito/sampler/sa_solver.hpp"
#include "ito/sampler/unipc.hpp"

// What a scheduler class and its options are in ito: table of betas, reading of the network, sampler.
namespace ito {

/// The sampler of a scheduler class.
using AnySampler = std::variant<Ddpm, Ddim, Euler, EulerAncestral, Heun, Lms, Dpm2, DpmppSde, DpmSolverMultistep, DpmSolverSinglestep, UniPc,
                                SaSolver, Pndm, ReleasedPndm, Consistency, Tcd, RePaint, PredictorCorrector<ReverseDiffusion, Langevin>,
                                EulerMaruyama<ContinuousVp>>;

namespace detail {

/// Throws ConfigError, which names the option, unless the value is one of the known.
inline void one_of(const SchedulerOptions& o, const char* option, const std::string& value, std::initializer_list<const char*> known) {
    for (const char* name : known)
        if (value == name) return;
    throw ConfigError(o.class_name + ": option '" + option + "' cannot be \"" + value + "\"");
}

/// beta_t in single precision, as PyTorch computes it.
inline std::vector<float> scheduler_betas(const SchedulerOptions& o, ClassMask bit) {
    const Index n = o.num_train_timesteps;
    std::vector<float> betas;
    if (o.trained_betas) {
        betas.assign(o.trained_betas->begin(), o.trained_betas->end());
        if (static_cast<Index>(betas.size()) != n)
            throw ConfigError(o.class_name + ": option 'trained_betas' has " + std::to_string(betas.size()) + " values, num_train_timesteps is " + std::to_string(n));
    } else if (bit == consistency_decoder_class || o.beta_schedule == "squaredcos_cap_v2") {
        betas = cosine_betas<float>(n);
    } else if (o.beta_schedule == "linear" && bit != unclip_class) {
        betas = linear_betas<float>(n, o.beta_start, o.beta_end);
    } else if (o.beta_schedule == "scaled_linear" && (bit & cogvideox_classes)) {  // there in double precision
        for (const double beta : scaled_linear_betas<double>(n, o.beta_start, o.beta_end)) betas.push_back(static_cast<float>(beta));
    } else if (o.beta_schedule == "scaled_linear" && bit != unclip_class) {
        betas = scaled_linear_betas<float>(n, o.beta_start, o.beta_end);
    } else if (o.beta_schedule == "sigmoid" && (bit & (ddpm_class | repaint_class))) {
        betas = sigmoid_betas<float>(n, o.beta_start, o.beta_end);
    } else if (o.beta_schedule == "laplace" && bit == ddpm_class) {
        betas = laplace_betas<float>(n);
    } else if (o.beta_schedule == "exp" && bit == heun_class) {
        betas = exponential_betas<float>(n);
    } else {
        throw ConfigError(o.class_name + ": option 'beta_schedule' cannot be \"" + o.beta_schedule + "\"");
    }
    return o.rescale_betas_zero_snr && !(bit & cogvideox_classes) ? zero_terminal_snr(betas) : betas;
}

/// CogVideoX moves the signal-to-noise ratio down by a factor: abar / (c + (1 - c) abar). Its rescaling acts on abar itself.
inline DiscreteSchedule cogvideox_schedule(const SchedulerOptions& o, const std::vector<float>& betas) {
    std::vector<double> alphas_cumprod;
    if (o.beta_schedule == "scaled_linear" && !o.trained_betas) {
        alphas_cumprod = cumulative_alphas(scaled_linear_betas<double>(o.num_train_timesteps, o.beta_start, o.beta_end));
    } else {
        for (const float a : cumulative_alphas(betas)) alphas_cumprod.push_back(static_cast<double>(a));
    }
    for (double& a : alphas_cumprod) a /= o.snr_shift_scale + (1 - o.snr_shift_scale) * a;
    if (o.rescale_betas_zero_snr) {
        const double first = std::sqrt(alphas_cumprod.front()), last = std::sqrt(alphas_cumprod.back());
        for (double& a : alphas_cumprod) {
            const double root = (std::sqrt(a) - last) * first / (first - last);
            a = root * root;
        }
    }
    return DiscreteSchedule::of_alphas_cumprod(alphas_cumprod);
}

inline DiscreteSchedule scheduler_schedule(const SchedulerOptions& o, ClassMask bit, const std::vector<float>& betas) {
    if (bit & cogvideox_classes) return cogvideox_schedule(o, betas);
    std::vector<float> alphas_cumprod = cumulative_alphas(betas);
    // These divide by alpha, so a little is left of the picture.
    if (o.rescale_betas_zero_snr && (bit & (euler_class | euler_ancestral_class | dpm_class | unipc_class))) alphas_cumprod.back() = 0x1p-24f;
    return DiscreteSchedule::of_alphas_cumprod(alphas_cumprod);
}

/// How the class reads its network.
inline Reading scheduler_reading(const SchedulerOptions& o, ClassMask bit) {
    Reading reading;
    const auto unknown = [&] { one_of(o, "prediction_type", o.prediction_type, {}); };
    const bool solver_of_epsilon = o.algorithm_type == "dpmsolver" || o.algorithm_type == "sde-dpmsolver" ||
                                   o.algorithm_type == "noise_prediction" || (bit == unipc_class && !o.predict_x0);
    reading.scaled_input = bit & (exploding_classes | edm_classes | cm_class | consistency_decoder_class);
    if (bit & (edm_classes | cm_class | consistency_decoder_class)) {
        reading.prediction = Prediction::edm;
        reading.sigma_data = o.sigma_data;
        if (bit == cm_class) reading.smallest_ratio = o.sigma_min.value_or(0);
        if ((bit & edm_classes) && o.prediction_type == "v_prediction") reading.prediction = Prediction::v;
        else if ((bit & edm_classes) && o.prediction_type != "epsilon") unknown();
        if (bit == cm_class && o.clip_denoised) reading.clip = 1;
    } else if (bit & flow_classes) {
        reading.prediction = Prediction::flow;
        reading.negated = reads_inverted(o);  // s is the picture's share, so the slope over s is x0 - eps
    } else if (bit == ipndm_class) {
        reading.prediction = Prediction::v;
    } else if (bit == karras_ve_class) {
        reading.negated = true;  // of epsilon
    } else if (bit == sde_ve_class) {
        reading.prediction = Prediction::score;
    } else if (bit == scm_class) {
        one_of(o, "prediction_type", o.prediction_type, {"trigflow"});
        reading.prediction = Prediction::v;
    } else if (o.prediction_type == "v_prediction" && bit != unclip_class) {
        reading.prediction = Prediction::v;
    } else if (o.prediction_type == "sample" && !(bit & (euler_ancestral_class | dpm2_class | dpm2_ancestral_class | dpm_sde_class | pndm_class))) {
        reading.prediction = Prediction::sample;
    } else if (o.prediction_type == "flow_prediction" && (bit & solver_classes)) {
        reading.prediction = Prediction::flow;
        if (!o.use_flow_sigmas || solver_of_epsilon)
            throw ConfigError(o.class_name + ": prediction_type \"flow_prediction\" needs use_flow_sigmas and a solver that predicts x0");
    } else if (o.prediction_type != "epsilon") {
        unknown();
    }
    if (o.use_flow_sigmas && o.prediction_type == "v_prediction")
        throw ConfigError(o.class_name + ": use_flow_sigmas contradicts prediction_type \"v_prediction\"");
    if (o.clip_sample && !(bit & (cogvideox_classes | tcd_class))) reading.clip = bit == repaint_class ? 1 : o.clip_sample_range;
    if (o.thresholding && bit != tcd_class && !(bit == unipc_class && !o.predict_x0))
        reading.threshold = DynamicThreshold{o.dynamic_thresholding_ratio, o.sample_max_value};
    const bool learned = o.variance_type && (*o.variance_type == "learned" || *o.variance_type == "learned_range");
    reading.learned_variance = learned && ((bit & (ddpm_class | unclip_class)) || reading.prediction == Prediction::epsilon);
    return reading;
}

inline Ddpm ddpm_sampler(const SchedulerOptions& o, ClassMask bit) {
    using V = Ddpm::Variance;
    const std::string& type = o.variance_type.value_or("");
    if (bit == unclip_class) one_of(o, "variance_type", type, {"fixed_small_log", "learned_range"});
    if (type == "fixed_small" || type == "fixed_small_log") return Ddpm{V::fixed_small, true};
    if (type == "fixed_large" || type == "fixed_large_log") return Ddpm{V::fixed_large, true};
    if (type == "learned") return Ddpm{V::learned, true};
    if (type == "learned_range") return Ddpm{V::learned_range, true};
    throw ConfigError(o.class_name + ": option 'variance_type' cannot be \"" + type + "\"");
}

/// What the DPM-Solver classes share. Names of other classes' solvers stand for the usual ones, as in diffusers.
template <class Solver>
Solver dpm_sampler(const SchedulerOptions& o, ClassMask bit) {
    Solver solver;
    const bool singlestep = bit == dpm_single_class, edm = bit & (edm_dpm_class | cosine_dpm_class);
    if (edm) one_of(o, "algorithm_type", o.algorithm_type, {"dpmsolver++", "sde-dpmsolver++", "deis"});
    else if (singlestep) one_of(o, "algorithm_type", o.algorithm_type, {"dpmsolver", "dpmsolver++", "sde-dpmsolver++", "deis"});
    else one_of(o, "algorithm_type", o.algorithm_type, {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"});
    one_of(o, "solver_type", o.solver_type, {"midpoint", "heun", "logrho", "bh1", "bh2"});
    solver.data_prediction = o.algorithm_type != "dpmsolver" && o.algorithm_type != "sde-dpmsolver";  // deis runs as ++
    solver.stochastic = o.algorithm_type.rfind("sde-", 0) == 0 || bit == cosine_dpm_class;
    const bool no_third = o.algorithm_type == "sde-dpmsolver" || bit == cosine_dpm_class || (edm && solver.stochastic);
    if (o.solver_order < 1 || o.solver_order > (no_third ? 2 : 3))
        throw ConfigError(o.class_name + ": option 'solver_order' cannot be " + std::to_string(o.solver_order) + " with algorithm_type \"" + o.algorithm_type + "\"");
    const bool ends = bit & (dpm_class | dpm_single_class);
    if (ends && (!solver.data_prediction || o.algorithm_type == "deis") && o.final_sigmas_type == "zero")
        throw ConfigError(o.class_name + ": option 'final_sigmas_type' cannot be \"zero\" with algorithm_type \"" + o.algorithm_type + "\"");
    solver.order = static_cast<int>(o.solver_order);
    solver.type = o.solver_type == "heun" ? Solver::Type::heun : Solver::Type::midpoint;
    solver.lower_order_final = o.lower_order_final;
    if constexpr (requires { solver.euler_at_final; }) solver.euler_at_final = o.euler_at_final;
    if constexpr (requires { solver.reference_sde; }) solver.reference_sde = true;
    else solver.reference_third_order = true;
    return solver;
}

inline UniPc unipc_sampler(const SchedulerOptions& o) {
    one_of(o, "solver_type", o.solver_type, {"bh1", "bh2", "midpoint", "heun", "logrho"});  // the others stand for bh2
    if (o.solver_order < 1 || o.solver_order > 3)
        throw ConfigError(o.class_name + ": option 'solver_order' cannot be " + std::to_string(o.solver_order));
    if (o.shift_terminal && !o.use_flow_sigmas) throw ConfigError(o.class_name + ": option 'shift_terminal' needs use_flow_sigmas");
    return {.order = static_cast<int>(o.solver_order),
            .data_prediction = o.predict_x0,
            .b = o.solver_type == "bh1" ? UniPc::B::bh1 : UniPc::B::bh2,
            .lower_order_final = o.lower_order_final,
            .uncorrected_steps = o.disable_corrector};
}

inline SaSolver sa_sampler(const SchedulerOptions& o) {
    one_of(o, "algorithm_type", o.algorithm_type, {"data_prediction", "noise_prediction"});
    if (o.predictor_order < 1 || o.predictor_order > 3) throw ConfigError(o.class_name + ": option 'predictor_order' must be 1, 2 or 3");
    if (o.corrector_order < 1 || o.corrector_order > 4) throw ConfigError(o.class_name + ": option 'corrector_order' must be 1 to 4");
    SaSolver solver;
    solver.predictor_order = static_cast<int>(o.predictor_order);
    solver.corrector_order = static_cast<int>(o.corrector_order);
    solver.first_time = 200;  // of the default tau_func
    solver.last_time = 800;
    solver.data_prediction = o.algorithm_type == "data_prediction";
    solver.lower_order_final = o.lower_order_final;
    solver.reference_second_order = true;
    return solver;
}

inline AnySampler scheduler_sampler(const SchedulerOptions& o, ClassMask bit, const std::optional<DiscreteSchedule>& schedule) {
    switch (bit) {
        case ddpm_class:
        case unclip_class: {
            Ddpm sampler = ddpm_sampler(o, bit);
            if (bit == unclip_class) sampler.reference_betas = scheduler_betas(o, bit);
            return sampler;
        }
        case wuerstchen_class: return Ddpm{.quiet_end = true};
        case ddim_class:
        case ddim_inverse_class:
        case cogvideox_ddim_class: return Ddim{.reference_rounding = bit == ddim_class};
        case cogvideox_dpm_class:
            return DpmSolverMultistep{.stochastic = true, .lower_order_final = false, .euler_at_final = true};
        case pndm_class: return ReleasedPndm{o.skip_prk_steps ? Pndm::Start::improved_euler : Pndm::Start::runge_kutta};
        case ipndm_class: return Pndm{Pndm::Start::multistep, true};
        case euler_class: return Euler{.churn = {}, .ask_before_churn = true};
        case edm_euler_class: return Euler{.churn = {}, .ask_before_churn = true, .reread = scheduler_reading(o, bit)};
        case euler_ancestral_class: return EulerAncestral{};
        case lms_class: return Lms{};
        case dpm2_class: return Dpm2{};
        case dpm2_ancestral_class: return Dpm2{.churn = {}, .eta = 1, .reference_rounding = true};
        case dpm_sde_class: return DpmppSde{};
        case sde_ve_class: return PredictorCorrector{ReverseDiffusion{}, Langevin{o.snr, o.correct_steps, true}};
        case sde_vp_class: return EulerMaruyama<ContinuousVp>{{o.beta_min, o.beta_max}, true, true};
        case flow_euler_class:
            if (o.stochastic_sampling) return Consistency{};
            return Euler{};
        case flow_map_class: return Euler{};
        case flow_heun_class: return Heun{.churn = {}, .flow = true};
        case karras_ve_class: return Heun{Churn{o.s_churn, o.s_min, o.s_max, o.s_noise}};
        case lcm_class: return latent_consistency(o.timestep_scaling);
        case tcd_class: return Tcd{*schedule};
        case cm_class:  // in the precision of the table, so that its last step adds nothing
            return Consistency{.smallest_ratio = static_cast<float>(o.sigma_min.value_or(0)), .noise_scale = o.s_noise};
        case scm_class: return Consistency{.noise_scale = o.sigma_data};
        case flow_lcm_class:
        case consistency_decoder_class: return Consistency{};
        case dpm_single_class: return dpm_sampler<DpmSolverSinglestep>(o, bit);
        case deis_class: {
            one_of(o, "algorithm_type", o.algorithm_type, {"deis", "dpmsolver", "dpmsolver++"});
            one_of(o, "solver_type", o.solver_type, {"logrho", "midpoint", "heun", "bh1", "bh2"});
            if (o.solver_order < 1 || o.solver_order > 3)
                throw ConfigError(o.class_name + ": option 'solver_order' cannot be " + std::to_string(o.solver_order));
            DpmSolverMultistep solver = deis(static_cast<int>(o.solver_order));
            solver.lower_order_final = o.lower_order_final;
            return solver;
        }
        case unipc_class: return unipc_sampler(o);
        case sa_class: return sa_sampler(o);
        case repaint_class: return RePaint{{}, {}, o.eta};
        case dpm_class:
        case dpm_inverse_class:
        case edm_dpm_class:
        case cosine_dpm_class: return dpm_sampler<DpmSolverMultistep>(o, bit);
        default: return Heun{};
    }
}

}  // namespace detail

}  // namespace ito
