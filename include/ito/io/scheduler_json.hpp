// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/io/scheduler_options.hpp"

namespace ito {

namespace detail {

inline void read_field(SchedulerOptions& options, bool SchedulerOptions::*field, const nlohmann::json& value) {
    options.*field = value.get<bool>();
}
inline void read_field(SchedulerOptions& options, Index SchedulerOptions::*field, const nlohmann::json& value) {
    const auto number = value.get<double>();
    if (!(std::abs(number) < 0x1p53) || number != std::trunc(number)) throw ConfigError("not an integer");
    options.*field = static_cast<Index>(number);
}
inline void read_field(SchedulerOptions& options, std::optional<Index> SchedulerOptions::*field, const nlohmann::json& value) {
    if (value.is_null()) return (options.*field).reset();
    if (!value.is_number_integer()) throw ConfigError("not an integer");
    options.*field = value.get<Index>();
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
    if (printable(options.*field) != options.*field) throw ConfigError("not a name");
}
inline void read_field(SchedulerOptions& options, std::vector<Index> SchedulerOptions::*field, const nlohmann::json& value) {
    for (const auto& number : value)
        if (!number.is_number_integer()) throw ConfigError("not an integer");
    options.*field = value.get<std::vector<Index>>();
}
inline void read_field(SchedulerOptions& options, std::optional<std::string> SchedulerOptions::*field, const nlohmann::json& value) {
    if (value.is_null()) return (options.*field).reset();
    options.*field = value.get<std::string>();
    if (printable(*(options.*field)) != *(options.*field)) throw ConfigError("not a name");
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
    if (value.is_null() || (value.is_boolean() && !value.get<bool>())) return true;
    for (const char* idle : {"skip_prk_steps", "sample_max_value", "dynamic_thresholding_ratio", "clip_sample_range", "upscale_mode"})
        if (name == idle) return true;
    return false;
}

}  // namespace detail

/// Reads {"_class_name": ..., option: value, ...}; what is absent takes the class's default. Throws ConfigError naming
/// an unknown class, an option that the class does not have, or a value of the wrong kind.
inline SchedulerOptions read_scheduler_options(const nlohmann::json& config) {
    if (!config.is_object() || !config.contains("_class_name") || !config["_class_name"].is_string())
        throw ConfigError("a scheduler config must be an object with a \"_class_name\"");
    SchedulerOptions options = scheduler_defaults(config["_class_name"].get<std::string>());
    const detail::ClassMask bit = detail::scheduler_class_bit(options.class_name);
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
                throw ConfigError(options.class_name + ": option '" + name + "' cannot be " + detail::printable(value.dump()));
            }
        }
        if (!known && !detail::asks_for_nothing(name, value))
            throw ConfigError(options.class_name + ": option '" + detail::printable(name) + "' = " + detail::printable(value.dump()) + " is not one that ito honours");
    }
    return options;
}

/// The JSON object that read_scheduler_options reads and diffusers opens: every option of the class.
inline nlohmann::json write_scheduler_options(const SchedulerOptions& options) {
    const detail::ClassMask bit = detail::scheduler_class_bit(options.class_name);
    nlohmann::json config = {{"_class_name", options.class_name}, {"_diffusers_version", "0.30.0"}};
    for (const auto& option : detail::scheduler_option_table())
        if (option.classes & bit)
            config[option.name] = std::visit([&](auto field) { return detail::written_field(options.*field); }, option.field);
    // JSON has no infinity; left out it is the default.
    if (std::isinf(options.lambda_min_clipped)) config.erase("lambda_min_clipped");
    return config;
}

}  // namespace ito
