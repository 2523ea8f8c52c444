// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

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
    bool clip_sample = true;
    double clip_sample_range = 1;
    bool thresholding = false;
    double dynamic_thresholding_ratio = 0.995;
    double sample_max_value = 1;
    std::optional<std::string> variance_type{};
    bool set_alpha_to_one = true;
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
    std::string final_sigmas_type = "zero";
    Index solver_order = 2;
    std::string algorithm_type = "dpmsolver++";
    std::string solver_type = "midpoint";
    bool lower_order_final = true;
    bool euler_at_final = false;
    double lambda_min_clipped = -std::numeric_limits<double>::infinity();
    bool use_dynamic_shifting = false;
    std::string time_shift_type = "exponential";
};

namespace detail {

using OptionField =
    std::variant<bool SchedulerOptions::*, Index SchedulerOptions::*, double SchedulerOptions::*,
                 std::string SchedulerOptions::*, std::optional<double> SchedulerOptions::*,
                 std::optional<std::string> SchedulerOptions::*, std::optional<std::vector<double>> SchedulerOptions::*>;

// The classes whose options are known, as bits.
inline constexpr unsigned ddpm_class = 1, ddim_class = 2, euler_class = 4, heun_class = 8, dpm_class = 16, all_classes = 31;

struct SchedulerClass {
    const char* name;
    unsigned bit;
};
inline constexpr std::array<SchedulerClass, 5> scheduler_classes{{{"DDPMScheduler", ddpm_class},
                                                                  {"DDIMScheduler", ddim_class},
                                                                  {"EulerDiscreteScheduler", euler_class},
                                                                  {"HeunDiscreteScheduler", heun_class},
                                                                  {"DPMSolverMultistepScheduler", dpm_class}}};

struct SchedulerOption {
    const char* name;
    unsigned classes;  // that have it
    OptionField field;
};

/// Every option of every known class, once.
inline std::span<const SchedulerOption> scheduler_option_table() {
    using O = SchedulerOptions;
    static const SchedulerOption table[] = {
        {"num_train_timesteps", all_classes, &O::num_train_timesteps},
        {"beta_start", all_classes, &O::beta_start},
        {"beta_end", all_classes, &O::beta_end},
        {"beta_schedule", all_classes, &O::beta_schedule},
        {"trained_betas", all_classes, &O::trained_betas},
        {"prediction_type", all_classes, &O::prediction_type},
        {"timestep_spacing", all_classes, &O::timestep_spacing},
        {"steps_offset", all_classes, &O::steps_offset},
        {"rescale_betas_zero_snr", all_classes & ~heun_class, &O::rescale_betas_zero_snr},
        {"clip_sample", ddpm_class | ddim_class | heun_class, &O::clip_sample},
        {"clip_sample_range", ddpm_class | ddim_class | heun_class, &O::clip_sample_range},
        {"thresholding", ddpm_class | ddim_class | dpm_class, &O::thresholding},
        {"dynamic_thresholding_ratio", ddpm_class | ddim_class | dpm_class, &O::dynamic_thresholding_ratio},
        {"sample_max_value", ddpm_class | ddim_class | dpm_class, &O::sample_max_value},
        {"variance_type", ddpm_class | dpm_class, &O::variance_type},
        {"set_alpha_to_one", ddim_class, &O::set_alpha_to_one},
        {"interpolation_type", euler_class, &O::interpolation_type},
        {"timestep_type", euler_class, &O::timestep_type},
        {"use_karras_sigmas", euler_class | heun_class | dpm_class, &O::use_karras_sigmas},
        {"use_exponential_sigmas", euler_class | heun_class | dpm_class, &O::use_exponential_sigmas},
        {"use_beta_sigmas", euler_class | heun_class | dpm_class, &O::use_beta_sigmas},
        {"use_lu_lambdas", dpm_class, &O::use_lu_lambdas},
        {"use_flow_sigmas", dpm_class, &O::use_flow_sigmas},
        {"flow_shift", dpm_class, &O::flow_shift},
        {"sigma_min", euler_class, &O::sigma_min},
        {"sigma_max", euler_class, &O::sigma_max},
        {"final_sigmas_type", euler_class | dpm_class, &O::final_sigmas_type},
        {"solver_order", dpm_class, &O::solver_order},
        {"algorithm_type", dpm_class, &O::algorithm_type},
        {"solver_type", dpm_class, &O::solver_type},
        {"lower_order_final", dpm_class, &O::lower_order_final},
        {"euler_at_final", dpm_class, &O::euler_at_final},
        {"lambda_min_clipped", dpm_class, &O::lambda_min_clipped},
        {"use_dynamic_shifting", dpm_class, &O::use_dynamic_shifting},
        {"time_shift_type", dpm_class, &O::time_shift_type},
    };
    return table;
}

inline unsigned scheduler_class_bit(const std::string& name) {
    for (const auto& known : scheduler_classes)
        if (name == known.name) return known.bit;
    std::string list;
    for (const auto& known : scheduler_classes) list += (list.empty() ? "" : ", ") + std::string(known.name);
    throw ConfigError("scheduler class '" + name + "' is not one that ito has: " + list);
}

inline void read_field(SchedulerOptions& options, bool SchedulerOptions::*field, const nlohmann::json& value) {
    options.*field = value.get<bool>();
}
inline void read_field(SchedulerOptions& options, Index SchedulerOptions::*field, const nlohmann::json& value) {
    const auto number = value.get<double>();
    if (!value.is_number() || number != static_cast<double>(static_cast<Index>(number)))
        throw ConfigError("not an integer");
    options.*field = static_cast<Index>(number);
}
inline void read_field(SchedulerOptions& options, double SchedulerOptions::*field, const nlohmann::json& value) {
    // Python writes infinities where JSON has none; a string is how they are usually carried.
    if (value.is_string()) {
        const auto text = value.get<std::string>();
        const bool negative = text == "-inf" || text == "-Infinity";
        if (!negative && text != "inf" && text != "Infinity") throw ConfigError("not a number");
        options.*field = negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
        return;
    }
    if (!value.is_number()) throw ConfigError("not a number");
    options.*field = value.get<double>();
}
inline void read_field(SchedulerOptions& options, std::string SchedulerOptions::*field, const nlohmann::json& value) {
    options.*field = value.get<std::string>();
}
template <class V>
void read_field(SchedulerOptions& options, std::optional<V> SchedulerOptions::*field, const nlohmann::json& value) {
    if (value.is_null()) (options.*field).reset();
    else options.*field = value.get<V>();
}

template <class V>
nlohmann::json written_field(const V& value) {
    return value;
}
template <class V>
nlohmann::json written_field(const std::optional<V>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

/// Python writes Infinity and -Infinity, which JSON does not know: in quotes here, outside of strings.
inline std::string quote_infinities(const std::string& text) {
    std::string result;
    bool inside = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (inside && text[i] == '\\' && i + 1 < text.size()) {
            result += text[i++];
        } else if (text[i] == '"') {
            inside = !inside;
        } else if (!inside && (text.compare(i, 8, "Infinity") == 0 || text.compare(i, 9, "-Infinity") == 0)) {
            const std::size_t length = text[i] == '-' ? 9 : 8;
            result += '"' + text.substr(i, length) + '"';
            i += length - 1;
            continue;
        }
        result += text[i];
    }
    return result;
}

/// An option that its class does not have is accepted if it asks for nothing: published configs carry such remnants.
inline bool asks_for_nothing(const std::string& name, const nlohmann::json& value) {
    if (value.is_null() || value == false) return true;
    for (const char* idle : {"skip_prk_steps", "sample_max_value", "dynamic_thresholding_ratio", "clip_sample_range"})
        if (name == idle) return true;
    return false;
}

}  // namespace detail

/// The class's own defaults. Throws ConfigError for a class that ito does not have.
inline SchedulerOptions scheduler_defaults(const std::string& class_name) {
    SchedulerOptions options;
    options.class_name = class_name;
    const unsigned bit = detail::scheduler_class_bit(class_name);
    if (bit & (detail::euler_class | detail::heun_class | detail::dpm_class)) {
        options.timestep_spacing = "linspace";
        options.clip_sample = false;
    }
    if (bit == detail::heun_class) {
        options.beta_start = 0.00085;
        options.beta_end = 0.012;
    }
    if (bit == detail::ddpm_class) options.variance_type = "fixed_small";
    return options;
}

/// Reads {"_class_name": ..., option: value, ...}; what is absent takes the class's default. Throws ConfigError naming
/// an unknown class, an option that the class does not have, or a value of the wrong kind.
inline SchedulerOptions read_scheduler_options(const nlohmann::json& config) {
    if (!config.is_object() || !config.contains("_class_name") || !config["_class_name"].is_string())
        throw ConfigError("a scheduler config must be an object with a \"_class_name\"");
    SchedulerOptions options = scheduler_defaults(config["_class_name"].get<std::string>());
    const unsigned bit = detail::scheduler_class_bit(options.class_name);
    for (const auto& item : config.items()) {
        const std::string& name = item.key();
        const nlohmann::json& value = item.value();
        if (name.rfind('_', 0) == 0) continue;  // notes by diffusers, not options
        bool known = false;
        for (const auto& option : detail::scheduler_option_table()) {
            if (name != option.name || !(option.classes & bit)) continue;
            known = true;
            try {
                std::visit([&](auto field) { detail::read_field(options, field, value); }, option.field);
            } catch (const std::exception&) {
                throw ConfigError(options.class_name + ": option '" + name + "' cannot be " + value.dump());
            }
        }
        if (!known && !detail::asks_for_nothing(name, value))
            throw ConfigError(options.class_name + ": option '" + name + "' = " + value.dump() + " is not one that ito honours");
    }
    return options;
}

/// The JSON object that read_scheduler_options reads and diffusers opens: every option of the class.
inline nlohmann::json write_scheduler_options(const SchedulerOptions& options) {
    const unsigned bit = detail::scheduler_class_bit(options.class_name);
    nlohmann::json config = {{"_class_name", options.class_name}, {"_diffusers_version", "0.30.0"}};
    for (const auto& option : detail::scheduler_option_table())
        if (option.classes & bit)
            config[option.name] = std::visit([&](auto field) { return detail::written_field(options.*field); }, option.field);
    // JSON has no infinity; left out it is the default.
    if (std::isinf(options.lambda_min_clipped)) config.erase("lambda_min_clipped");
    return config;
}

}  // namespace ito
