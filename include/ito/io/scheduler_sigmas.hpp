// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/scheduler_steps.hpp"
#include "ito/schedule/continuous.hpp"

// Steps of the classes that place ratios sigma / alpha.
namespace ito::detail {

/// Karras, exponential or beta sigmas between the ends, if one is asked for.
inline std::optional<std::vector<double>> converted_sigmas(const SchedulerOptions& o, double max, double min, Index count) {
    if (o.sigma_min) min = *o.sigma_min;
    if (o.sigma_max) max = *o.sigma_max;
    if (o.use_karras_sigmas) return karras_sigmas(min, max, count);
    if (o.use_exponential_sigmas) return exponential_sigmas(min, max, count);
    if (o.use_beta_sigmas) return beta_sigmas(min, max, count);
    return std::nullopt;
}

inline double final_ratio(const SchedulerOptions& o, double smallest) {
    if (o.final_sigmas_type == "zero") return 0;
    if (o.final_sigmas_type == "sigma_min") return smallest;
    throw ConfigError(o.class_name + ": option 'final_sigmas_type' cannot be \"" + o.final_sigmas_type + "\"");
}

/// Noise shares of rectified flow moved towards noise, as the resolution asks or by a constant, and stretched to end where the
/// config says. In precision T: diffusers computes with given times in float.
template <class T = double>
std::vector<double> shifted_sigmas(const SchedulerOptions& o, std::vector<double> sigmas, double shift, const StepRequest& request) {
    if (o.use_dynamic_shifting) {
        std::optional<double> mu = request.mu;
        if (!mu && request.image_seq_len) {
            if (!o.base_shift || !o.max_shift) throw ConfigError(o.class_name + ": image_seq_len needs base_shift and max_shift");
            mu = resolution_shift(static_cast<double>(*request.image_seq_len), *o.base_shift, *o.max_shift,
                                  static_cast<double>(o.base_image_seq_len), static_cast<double>(o.max_image_seq_len));
        }
        if (!mu) throw ConfigError(o.class_name + ": use_dynamic_shifting needs mu");
        shift = o.time_shift_type == "linear" ? *mu : std::exp(*mu);
    }
    const T k = static_cast<T>(shift), less = static_cast<T>(shift - 1);
    std::vector<T> shares(sigmas.begin(), sigmas.end());
    for (T& s : shares) s = o.use_dynamic_shifting ? k / (k + (1 / s - 1)) : k * s / (1 + less * s);
    if (o.shift_terminal && *o.shift_terminal != 0) {
        const T scale = (1 - shares.back()) / static_cast<T>(1 - *o.shift_terminal);
        for (T& s : shares) s = 1 - (1 - s) / scale;
    }
    return {shares.begin(), shares.end()};
}

/// Intervals through sigmas, of which there is one more than times, with x scaled to alpha = 1.
inline Steps exploding_steps(const std::vector<double>& times, const std::vector<double>& sigmas, bool may_rise = false) {
    Steps steps;
    steps.may_rise = may_rise;
    for (std::size_t i = 0; i < times.size() && i + 1 < sigmas.size(); ++i)
        steps.intervals.push_back({{times[i], 1, sigmas[i]},
                                   {i + 1 < times.size() ? times[i + 1] : 0, 1, sigmas[i + 1]},
                                   static_cast<Index>(i),
                                   static_cast<Index>(sigmas.size()) - 1});
    validate(steps);
    return steps;
}

/// Steps of Euler, Heun and their kin: x is scaled to alpha = 1.
inline Steps variance_exploding_steps(const SchedulerOptions& o, ClassMask bit, const DiscreteSchedule& schedule, const StepRequest& request) {
    const RatioTable table(schedule);
    std::vector<double> times = request.timesteps, sigmas = request.sigmas;
    const bool euler = bit == euler_class;
    if (!sigmas.empty()) {
        times = table.times_of({sigmas.begin(), sigmas.end() - 1});
    } else {
        if (times.empty()) times = spaced_times(o, request.count, false);
        for (double& t : times) t = single(t);
        const auto count = static_cast<Index>(times.size());
        if (o.interpolation_type == "linear") {
            for (const double t : times) sigmas.push_back(table.at(t));
        } else {  // count + 1 of them, the last one before the final
            const double low = static_cast<double>(table.logs.front()), high = static_cast<double>(table.logs.back());
            for (const float v : equally_spaced<float>(high, low, (request.count ? request.count : count) + 1)) sigmas.push_back(static_cast<double>(std::exp(v)));
        }
        if (auto converted = converted_sigmas(o, sigmas.front(), sigmas.back(), request.count ? request.count : count)) {
            sigmas = *converted;
            times = table.times_of(sigmas);
            if (o.use_karras_sigmas && (bit & (dpm2_class | dpm2_ancestral_class)))
                for (double& t : times) t = round_half_even(t);
        }
        sigmas.push_back(euler ? final_ratio(o, static_cast<double>(table.ratios.front())) : 0);
    }
    for (double& sigma : sigmas) sigma = single(sigma);
    if (euler && o.timestep_type == "continuous" && o.prediction_type == "v_prediction") {
        times.resize(sigmas.size() - 1);
        for (std::size_t i = 0; i < times.size(); ++i) times[i] = 0.25 * std::log(sigmas[i]);
    }
    for (double& t : times) t = single(t);
    Steps steps = exploding_steps(times, sigmas, o.sigma_min.has_value());  // the table's first sigma, where some end, can be above it
    const double largest = *std::max_element(sigmas.begin(), sigmas.end());
    steps.initial_scale = o.timestep_spacing == "leading" ? std::sqrt(largest * largest + 1) : largest;
    return steps;
}

/// How many times have at least log(alpha / sigma) = lambda_min_clipped.
inline Index unclipped_times(const SchedulerOptions& o, const DiscreteSchedule& schedule) {
    Index count = o.num_train_timesteps;
    for (const double alpha_bar : schedule.alphas_cumprod()) {
        const auto a = static_cast<float>(alpha_bar);
        const float lambda = std::log(std::sqrt(a)) - std::log(std::sqrt(1 - a));
        count -= lambda < static_cast<float>(o.lambda_min_clipped);
    }
    return count;
}

/// Integer times of the solvers: their spacings take one more than steps and leave the lowest out (inversion the highest).
inline std::vector<double> solver_times(const SchedulerOptions& o, ClassMask bit, const DiscreteSchedule& schedule, Index count) {
    const Index train = o.num_train_timesteps;
    require_steps(count);
    const std::string spacing = bit == dpm_single_class ? "linspace" : o.timestep_spacing;
    if (count >= train && spacing != "trailing")
        throw ArgumentError(std::to_string(count) + " steps on a schedule of " + std::to_string(train));
    const Index last = unclipped_times(o, schedule);
    std::vector<double> times;
    if (spacing == "trailing") {
        times = trailing_times(train, count, last);
        if (bit == dpm_inverse_class) std::reverse(times.begin(), times.end());
        return times;
    }
    times = spacing == "linspace" ? linspace_times(last, count + 1) : leading_times(last, count + 1);
    if (bit == dpm_inverse_class) {
        times.erase(times.begin());
        std::reverse(times.begin(), times.end());
    } else {
        times.pop_back();
    }
    if (spacing == "leading")
        for (double& t : times) t += static_cast<double>(o.steps_offset);
    return times;
}

/// Flow sigmas as UniPC has them: from 1, shifted, stretched, and kept off 1.
inline std::vector<double> unipc_flow_sigmas(const SchedulerOptions& o, Index count, const StepRequest& request) {
    std::vector<double> sigmas = request.sigmas;
    if (sigmas.empty()) {
        const double last = 1.0 / static_cast<double>(o.num_train_timesteps);
        for (Index i = 0; i < count; ++i) sigmas.push_back(1 + static_cast<double>(i) * (last - 1) / static_cast<double>(count));
    }
    sigmas = shifted_sigmas(o, std::move(sigmas), o.flow_shift, request);
    if (std::abs(sigmas.front() - 1) < 1e-6) sigmas.front() -= 1e-6;
    return sigmas;
}

/// Steps of the DPM-Solvers, DEIS, UniPC and SA-Solver.
inline Steps solver_steps(const SchedulerOptions& o, ClassMask bit, const DiscreteSchedule& schedule, const StepRequest& request) {
    const RatioTable table(schedule);
    const Index train = o.num_train_timesteps;
    std::vector<double> times = request.timesteps, sigmas;
    // The times may be fewer, without those that lambda_min_clipped takes away: sigmas that place themselves are as many as asked for.
    const std::size_t given = std::max(request.timesteps.size(), request.sigmas.size());
    const Index count = given > 0 ? static_cast<Index>(given) : request.count;
    if (times.empty()) times = solver_times(o, bit, schedule, count);
    const double low = static_cast<double>(table.ratios.front());
    const double high = static_cast<double>(table.ratios.back());
    bool placed = true;  // sigmas by themselves, not by times
    bool round = o.use_karras_sigmas || (o.use_lu_lambdas && !o.use_karras_sigmas);
    if (bit == dpm_class && o.beta_schedule == "squaredcos_cap_v2") round = false;

    if (o.use_lu_lambdas && !o.use_karras_sigmas) {  // uniform in lambda = -log ratio
        for (Index i = 0; i < count; ++i) {
            const double a = static_cast<double>(table.logs.back()), b = static_cast<double>(table.logs.front());
            sigmas.push_back(std::exp(a + ramp(i, count) * (b - a)));
        }
        times = table.times_of(sigmas);
    } else if (auto converted = converted_sigmas(o, bit == dpm_inverse_class && count == 1 ? low : high, low, count)) {
        sigmas = *converted;
        if (bit == dpm_inverse_class) std::reverse(sigmas.begin(), sigmas.end());
        if (bit == unipc_class && o.use_karras_sigmas && o.use_flow_sigmas) {
            round = false;
            times.resize(sigmas.size());
            for (std::size_t i = 0; i < sigmas.size(); ++i) {
                sigmas[i] /= sigmas[i] + 1;
                times[i] = sigmas[i] * static_cast<double>(train);
            }
        } else {
            times = table.times_of(sigmas);
        }
    } else if (o.use_flow_sigmas) {
        if (bit == unipc_class) sigmas = unipc_flow_sigmas(o, count, request);
        else sigmas = flow_sigmas(train, count, request.mu ? std::exp(*request.mu) : o.flow_shift);
        times.clear();
        for (const double sigma : sigmas) times.push_back(sigma * static_cast<double>(train));
    } else {
        placed = false;
        for (const double t : times) sigmas.push_back(table.at(t));
        sigmas.push_back(low);  // replaced below by classes that say where to end
    }
    if (round)
        for (double& t : times) t = round_half_even(t);

    if (placed) sigmas.push_back(sigmas.back());
    if (bit & (dpm_class | dpm_single_class)) sigmas.back() = final_ratio(o, low);
    if (bit == unipc_class) sigmas.back() = final_ratio(o, sigmas.back());
    if (bit == dpm_inverse_class) {
        if (!placed) sigmas.back() = table.at(static_cast<double>(unclipped_times(o, schedule) - 1));
        // Of equal times one is kept (before their fractions go), and the sigmas are not moved.
        std::vector<double> unique;
        for (const double t : times)
            if (std::find(unique.begin(), unique.end(), t) == unique.end()) unique.push_back(t);
        times = unique;
    }
    for (double& t : times) t = std::trunc(t);

    Steps steps;
    // Flow sigmas may fall below the first of the table, where some are to end.
    steps.may_rise = bit == dpm_inverse_class || (o.use_flow_sigmas && o.final_sigmas_type == "sigma_min");
    const auto level = [&](std::size_t i) {
        const double sigma = single(sigmas[i]), time = i < times.size() ? times[i] : 0;
        return o.use_flow_sigmas ? NoiseLevel{time, 1 - sigma, sigma} : level_of_ratio(time, sigma);
    };
    for (std::size_t i = 0; i < times.size(); ++i) steps.intervals.push_back({level(i), level(i + 1)});
    return counted(std::move(steps));
}

/// sigmas with x scaled to alpha = 1, from sigma_max to sigma_min, in single precision.
inline Steps edm_steps(const SchedulerOptions& o, ClassMask bit, const StepRequest& request) {
    const double min = o.sigma_min.value_or(0), max = o.sigma_max.value_or(0);
    const Index count = request.sigmas.empty() ? request.count : static_cast<Index>(request.sigmas.size());
    require_sigmas(min, max, count);
    std::vector<double> sigmas;
    if (o.sigma_schedule == "exponential") {
        std::vector<float> logs = equally_spaced<float>(std::log(min), std::log(max), count);
        for (Index i = count; i-- > 0;) sigmas.push_back(static_cast<double>(std::exp(logs[static_cast<std::size_t>(i)])));
    } else if (bit != edm_euler_class) {
        sigmas = karras_sigmas<float>(min, max, count, o.rho);
    } else if (request.sigmas.empty()) {
        sigmas = karras_sigmas(min, max, count, o.rho);
    } else {  // places between sigma_max (0) and sigma_min (1)
        const double a = std::pow(max, 1 / o.rho), b = std::pow(min, 1 / o.rho);
        for (const double place : request.sigmas) sigmas.push_back(std::pow(a + place * (b - a), o.rho));
    }
    for (double& sigma : sigmas) sigma = single(sigma);
    std::vector<double> times;
    for (const double sigma : sigmas)
        times.push_back(bit == cosine_dpm_class ? std::atan(sigma) / 1.57079632679489661923 : 0.25 * std::log(sigma));
    sigmas.push_back(final_ratio(o, bit == edm_euler_class ? sigmas.back() : single(min)));
    // In single precision the last of the sigmas may be below sigma_min, where the steps are to end.
    Steps steps = exploding_steps(times, sigmas, o.final_sigmas_type == "sigma_min");
    steps.initial_scale = std::sqrt(max * max + 1);
    return steps;
}

/// Every T / N-th of T Karras sigmas, and the smallest.
inline Steps consistency_model_steps(const SchedulerOptions& o, const StepRequest& request) {
    const double min = o.sigma_min.value_or(0), max = o.sigma_max.value_or(0);
    const Index train = o.num_train_timesteps;
    std::vector<double> positions = request.timesteps, times, sigmas;
    if (positions.empty()) positions = leading_times(train, request.count);
    for (std::size_t i = 0; i < positions.size(); ++i)
        if (positions[i] >= (i == 0 ? static_cast<double>(train) : positions[i - 1]))
            throw ArgumentError(o.class_name + ": timesteps must fall from below num_train_timesteps");
    std::reverse(positions.begin(), positions.end());
    require_sigmas(min, max, static_cast<Index>(positions.size()));
    const double a = std::pow(max, 1 / o.rho), b = std::pow(min, 1 / o.rho);
    for (const double position : positions) {
        sigmas.push_back(std::pow(a + position / static_cast<double>(train - 1) * (b - a), o.rho));
        times.push_back(250 * std::log(sigmas.back()));
    }
    for (double& sigma : sigmas) sigma = single(sigma);
    sigmas.push_back(single(min));
    Steps steps = exploding_steps(times, sigmas, true);  // custom timesteps may go below sigma_min by rounding
    steps.initial_scale = max;
    return steps;
}

/// sigma_max^2 (sigma_min / sigma_max)^(2 i / (N - 1)), as released, and then zero.
inline Steps karras_ve_steps(const SchedulerOptions& o, const StepRequest& request) {
    const double min = o.sigma_min.value_or(0), max = o.sigma_max.value_or(0);
    require_sigmas(min, max, request.count);
    if (request.count < 2) throw ArgumentError(o.class_name + " takes at least two steps");
    std::vector<double> times, sigmas;
    for (Index i = 0; i < request.count; ++i) {
        times.push_back(static_cast<double>(request.count - 1 - i));
        sigmas.push_back(single(max * max * std::pow(min * min / (max * max), ramp(i, request.count))));
    }
    sigmas.push_back(0);
    Steps steps = exploding_steps(times, sigmas);
    steps.initial_scale = max;
    return steps;
}

/// Equally spaced times of the continuous VP schedule from 1 to sampling_eps.
inline Steps sde_vp_steps(const SchedulerOptions& o, const StepRequest& request) {
    const ContinuousVp schedule{o.beta_min, o.beta_max, 1};
    std::vector<NoiseLevel> levels;
    for (const float t : equally_spaced<float>(1, o.sampling_eps, request.count)) levels.push_back(level_at(schedule, static_cast<double>(t)));
    levels.push_back({0, 1, 0});
    return unit_steps(levels);
}

}  // namespace ito::detail
