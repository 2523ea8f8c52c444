// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ito/io/scheduler_options.hpp"
#include "ito/schedule/sigmas.hpp"

namespace ito {

/// What set_timesteps of a diffusers scheduler is asked: a number of steps, or the times themselves, or (Euler) the
/// sigmas themselves with the final one; mu for DPM-Solver with dynamic shifting.
struct StepRequest {
    Index count = 0;
    std::vector<double> timesteps{};
    std::vector<double> sigmas{};
    std::optional<double> mu{};
};

namespace detail {

/// The schedule's sigma / alpha at integer times, in single precision as diffusers tabulates it.
struct RatioTable {
    std::vector<float> ratios, logs;

    explicit RatioTable(const DiscreteSchedule& schedule) {
        for (const double alpha_bar : schedule.alphas_cumprod()) {
            const auto a = static_cast<float>(alpha_bar);
            ratios.push_back(std::sqrt((1 - a) / a));
            logs.push_back(std::log(ratios.back()));
        }
    }

    /// Linear between integer times, constant outside of them.
    double at(double t) const {
        const auto last = static_cast<double>(ratios.size() - 1);
        if (t <= 0) return ratios.front();
        if (t >= last) return ratios.back();
        const auto below = static_cast<std::size_t>(t);
        const double slope = static_cast<double>(ratios[below + 1]) - static_cast<double>(ratios[below]);
        return slope * (t - static_cast<double>(below)) + static_cast<double>(ratios[below]);
    }

    /// The time at which the table, linear in log, has the ratio.
    double time_of(double ratio) const {
        const double log_ratio = std::log(std::max(ratio, 1e-10));
        // The last entry that is not above; a table rescaled to zero terminal SNR may fall at its end.
        std::size_t low = logs.size() - 1;
        while (low > 0 && static_cast<double>(logs[low]) > log_ratio) --low;
        low = std::min(low, logs.size() - 2);
        const double w = std::clamp((static_cast<double>(logs[low]) - log_ratio) / static_cast<double>(logs[low] - logs[low + 1]), 0.0, 1.0);
        return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
    }

    std::vector<double> times_of(const std::vector<double>& sigmas) const {
        std::vector<double> times;
        for (const double sigma : sigmas) times.push_back(time_of(sigma));
        return times;
    }
};

inline std::vector<double> spaced_times(const SchedulerOptions& o, Index count, bool rounded) {
    if (o.timestep_spacing == "leading") return leading_times(o.num_train_timesteps, count, o.steps_offset);
    if (o.timestep_spacing == "linspace") return linspace_times(o.num_train_timesteps, count, rounded);
    if (o.timestep_spacing == "trailing") return trailing_times(o.num_train_timesteps, count);
    throw ConfigError(o.class_name + ": option 'timestep_spacing' cannot be \"" + o.timestep_spacing + "\"");
}

/// Intervals of the ancestral classes; the last one ends at `end`.
inline Steps ddpm_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const auto times = request.timesteps.empty() ? spaced_times(o, request.count, true) : request.timesteps;
    std::vector<NoiseLevel> levels;
    for (const double t : times) levels.push_back(schedule.level(static_cast<Index>(t)));
    levels.push_back({0, 1, 0});
    Steps steps = steps_between(levels);
    steps.initial_scale = 1;
    return steps;
}

/// DDIM goes back by floor(T / N) whatever the spacing, so its intervals need not meet.
inline Steps ddim_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const auto times = spaced_times(o, request.count, true);
    const Index back = o.num_train_timesteps / request.count;
    NoiseLevel last = schedule.level(0);
    if (o.set_alpha_to_one) last = {0, 1, 0};
    Steps steps;
    const auto count = static_cast<Index>(times.size());
    for (Index i = 0; i < count; ++i) {
        const auto t = static_cast<Index>(times[static_cast<std::size_t>(i)]);
        steps.intervals.push_back({schedule.level(t), t - back >= 0 ? schedule.level(t - back) : last, i, count});
    }
    validate(steps);
    return steps;
}

/// Karras, exponential or beta sigmas between the ends, if one is asked for.
inline std::optional<std::vector<double>> converted_sigmas(const SchedulerOptions& o, double max, double min, Index count) {
    if (o.sigma_min) min = *o.sigma_min;
    if (o.sigma_max) max = *o.sigma_max;
    if (o.use_karras_sigmas) return karras_sigmas(min, max, count);
    if (o.use_exponential_sigmas) return exponential_sigmas(min, max, count);
    if (o.use_beta_sigmas) return beta_sigmas(min, max, count);
    return std::nullopt;
}

inline double final_ratio(const SchedulerOptions& o, const RatioTable& table) {
    if (o.final_sigmas_type == "zero") return 0;
    if (o.final_sigmas_type == "sigma_min") return static_cast<double>(table.ratios.front());
    throw ConfigError(o.class_name + ": option 'final_sigmas_type' cannot be \"" + o.final_sigmas_type + "\"");
}

/// Euler's and Heun's steps: x is scaled to alpha = 1.
inline Steps variance_exploding_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const RatioTable table(schedule);
    std::vector<double> times = request.timesteps, sigmas = request.sigmas;
    const bool heun = o.class_name == "HeunDiscreteScheduler";
    if (!sigmas.empty()) {
        times = table.times_of({sigmas.begin(), sigmas.end() - 1});
    } else {
        if (times.empty()) times = spaced_times(o, request.count, false);
        for (double& t : times) t = static_cast<double>(static_cast<float>(t));
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
        }
        sigmas.push_back(heun ? 0 : final_ratio(o, table));
    }
    for (double& sigma : sigmas) sigma = static_cast<double>(static_cast<float>(sigma));
    if (!heun && o.timestep_type == "continuous" && o.prediction_type == "v_prediction") {
        times.resize(sigmas.size() - 1);
        for (std::size_t i = 0; i < times.size(); ++i) times[i] = 0.25 * std::log(sigmas[i]);
    }

    Steps steps;
    steps.may_rise = o.sigma_min.has_value();  // the table's first sigma, where some end, can be above it
    for (std::size_t i = 0; i < times.size() && i + 1 < sigmas.size(); ++i) {
        const double next_time = i + 1 < times.size() ? times[i + 1] : 0;
        steps.intervals.push_back({{static_cast<double>(static_cast<float>(times[i])), 1, sigmas[i]},
                                   {static_cast<double>(static_cast<float>(next_time)), 1, sigmas[i + 1]},
                                   static_cast<Index>(i),
                                   static_cast<Index>(sigmas.size()) - 1});
    }
    validate(steps);
    const double largest = *std::max_element(sigmas.begin(), sigmas.end());
    steps.initial_scale = o.timestep_spacing == "leading" ? std::sqrt(largest * largest + 1) : largest;
    return steps;
}

/// DPM-Solver's steps. Its own spacings take one time more than steps and leave the last one out.
inline Steps dpm_solver_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const RatioTable table(schedule);
    const Index train = o.num_train_timesteps;
    std::vector<double> times = request.timesteps;
    if (times.empty()) {
        require_steps(request.count);
        if (request.count >= train && o.timestep_spacing != "trailing")
            throw ArgumentError(std::to_string(request.count) + " steps on a schedule of " + std::to_string(train));
        // Times of less log(alpha / sigma) than lambda_min_clipped are left out.
        Index last = train;
        for (const double alpha_bar : schedule.alphas_cumprod()) {
            const auto a = static_cast<float>(alpha_bar);
            const float lambda = std::log(std::sqrt(a)) - std::log(std::sqrt(1 - a));
            last -= lambda < static_cast<float>(o.lambda_min_clipped);
        }
        if (o.timestep_spacing == "linspace") times = linspace_times(last, request.count + 1);
        else if (o.timestep_spacing == "leading") times = leading_times(last, request.count + 1);
        else times = trailing_times(train, request.count, last);
        if (o.timestep_spacing != "trailing") times.pop_back();
        if (o.timestep_spacing == "leading")
            for (double& t : times) t += static_cast<double>(o.steps_offset);
    }
    const auto count = static_cast<Index>(times.size());
    std::vector<double> sigmas;
    const double max = static_cast<double>(table.ratios.back()), min = static_cast<double>(table.ratios.front());
    bool round = o.beta_schedule != "squaredcos_cap_v2" && (o.use_karras_sigmas || o.use_lu_lambdas);
    if (o.use_lu_lambdas && !o.use_karras_sigmas) {  // uniform in lambda = -log ratio
        for (Index i = 0; i < count; ++i) {
            const double a = static_cast<double>(table.logs.back()), b = static_cast<double>(table.logs.front());
            sigmas.push_back(std::exp(a + ramp(i, count) * (b - a)));
        }
        times = table.times_of(sigmas);
    } else if (auto converted = converted_sigmas(o, max, min, count)) {
        sigmas = *converted;
        times = table.times_of(sigmas);
    } else if (o.use_flow_sigmas) {
        sigmas = flow_sigmas(train, count, request.mu ? std::exp(*request.mu) : o.flow_shift);
        times.clear();
        for (const double sigma : sigmas) times.push_back(sigma * static_cast<double>(train));
    } else {
        for (const double t : times) sigmas.push_back(table.at(t));
    }
    for (double& t : times) t = round ? round_half_even(t) : std::trunc(t);
    sigmas.push_back(final_ratio(o, table));

    std::vector<NoiseLevel> levels;
    times.push_back(0);
    for (std::size_t i = 0; i < sigmas.size(); ++i) {
        const double sigma = static_cast<double>(static_cast<float>(sigmas[i]));
        levels.push_back(o.use_flow_sigmas ? NoiseLevel{times[i], 1 - sigma, sigma} : level_of_ratio(times[i], sigma));
    }
    Steps steps = steps_between(levels);
    steps.initial_scale = 1;
    return steps;
}

}  // namespace detail

}  // namespace ito
