// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/scheduler_sigmas.hpp"

// Steps of the classes of rectified flow, and of those with a fixed number of steps.
namespace ito::detail {

/// Steps through the noise shares s of rectified flow, x = (1 - s) x0 + s eps; with `inverted`, s is the picture's share.
inline Steps flow_steps_through(const std::vector<double>& times, const std::vector<double>& shares, bool inverted = false, bool rise = false) {
    Steps steps;
    steps.may_rise = rise;
    const auto level = [&](std::size_t i) {
        const double time = i < times.size() ? times[i] : 0, s = shares[i];
        return inverted ? NoiseLevel{time, s, 1 - s} : NoiseLevel{time, 1 - s, s};
    };
    for (std::size_t i = 0; i < times.size(); ++i) steps.intervals.push_back({level(i), level(i + 1)});
    return counted(std::move(steps));
}

/// FlowMatch classes: T s equally spaced between the ends of a table that is shifted already, and shifted again.
inline Steps flow_match_steps(const SchedulerOptions& o, const StepRequest& request) {
    const auto train = static_cast<double>(o.num_train_timesteps);
    std::vector<double> times = request.timesteps, sigmas = request.sigmas;
    if (!times.empty() && !sigmas.empty() && times.size() != sigmas.size())
        throw ArgumentError(o.class_name + ": as many sigmas as timesteps");
    for (auto* given : {&times, &sigmas})
        for (double& v : *given) v = single(v);
    const bool times_given = !times.empty(), given = times_given || !sigmas.empty();
    if (sigmas.empty()) {
        if (times.empty()) {
            const auto shift = static_cast<float>(o.shift);
            const auto end = [&](float s) { return static_cast<double>(o.use_dynamic_shifting ? s : shift * s / (1 + (shift - 1) * s)); };
            const double high = end(1) * train, low = end(1 / static_cast<float>(train)) * train;
            for (Index i = 0; i < request.count; ++i) times.push_back(high + ramp(i, request.count) * (low - high));
        }
        for (const double t : times) sigmas.push_back(given ? single(t / train) : t / train);
    }
    sigmas = given ? shifted_sigmas<float>(o, std::move(sigmas), o.shift, request) : shifted_sigmas(o, std::move(sigmas), o.shift, request);
    if (auto converted = converted_sigmas(o, sigmas.front(), sigmas.back(), static_cast<Index>(sigmas.size()))) sigmas = *converted;
    for (double& sigma : sigmas) {
        sigma = single(sigma);
        if (o.invert_sigmas) sigma = single(1 - sigma);
    }
    if (!times_given || o.invert_sigmas) {
        times.clear();
        for (const double sigma : sigmas) times.push_back(single(sigma * train));
    }
    sigmas.push_back(o.invert_sigmas ? 1 : 0);
    const bool inverted = reads_inverted(o);
    return flow_steps_through(times, sigmas, inverted, o.invert_sigmas && !inverted);
}

inline Steps flow_map_steps(const SchedulerOptions& o, const StepRequest& request) {
    const auto train = static_cast<double>(o.num_train_timesteps);
    std::vector<double> sigmas = request.sigmas, times;
    for (const double t : request.timesteps) sigmas.push_back(t / train);
    if (sigmas.empty())
        for (Index i = 0; i < request.count; ++i) sigmas.push_back(1 - static_cast<double>(i) / static_cast<double>(request.count));
    for (double& s : sigmas) {
        s = shift_flow(s, o.shift);
        times.push_back(s * train);
    }
    sigmas.push_back(0);
    return flow_steps_through(times, sigmas);
}

/// Two steps, from the times 1008 and 512.
inline Steps consistency_decoder_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    if (request.count != 2 || schedule.size() <= 1008) throw ArgumentError(o.class_name + " takes two steps, on a schedule of more than 1008");
    Steps steps = steps_between({schedule.level(1008), schedule.level(512), {0, 1, 0}});
    steps.initial_scale = schedule.level(1008).sigma;
    return steps;
}

/// Angles of TrigFlow (Lu and Song, "Simplifying, stabilizing and scaling continuous-time consistency models", 2025):
/// x = cos(t) x0 + sin(t) z.
inline Steps trigflow_steps(const SchedulerOptions& o, const StepRequest& request) {
    std::vector<double> times = request.timesteps;
    if (!times.empty()) {
        if (times.size() < 2) throw ArgumentError(o.class_name + ": timesteps are one more than steps");
    } else if (request.count == 2 && request.intermediate_timesteps) {
        times = {request.max_timesteps, *request.intermediate_timesteps, 0};
    } else {
        for (const float t : equally_spaced<float>(request.max_timesteps, 0, request.count + 1)) times.push_back(static_cast<double>(t));
    }
    std::vector<NoiseLevel> levels;
    for (const double t : times) levels.push_back({single(t), std::cos(single(t)), std::sin(single(t))});
    if (std::abs(levels.front().alpha) < 1e-4) levels.front().alpha = std::abs(levels.front().alpha);  // pi / 2, rounded up
    return unit_steps(levels);
}

}  // namespace ito::detail
