// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/scheduler_options.hpp"
#include "ito/sampler/repaint.hpp"
#include "ito/schedule/sigmas.hpp"

namespace ito {

/// What set_timesteps of a diffusers scheduler is asked: a number of steps, or the times or sigmas themselves (Euler's with
/// the final one), and what some classes are asked besides.
struct StepRequest {
    Index count = 0;
    std::vector<double> timesteps{};
    std::vector<double> sigmas{};
    std::optional<double> mu{};                       // log of the shift, with use_dynamic_shifting
    std::optional<Index> image_seq_len{};             // in place of mu: FlowMatch classes derive it (see resolution_shift)
    std::optional<Index> original_inference_steps{};  // LCM, TCD: in place of the option
    double strength = 1;                              // LCM, TCD
    Index jump_length = 10, jump_n_sample = 10;       // RePaint
    double max_timesteps = 1.5708;                    // SCM, with the second of two steps
    std::optional<double> intermediate_timesteps = 1.3;
};

namespace detail {

inline double single(double v) { return static_cast<double>(static_cast<float>(v)); }

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

/// What follows the schedule at time -1: no noise, or the first level again.
inline NoiseLevel final_level(const SchedulerOptions& o, const DiscreteSchedule& schedule) {
    return o.set_alpha_to_one ? NoiseLevel{0, 1, 0} : schedule.level(0);
}

/// Steps of levels that are scaled to unit variance.
inline Steps unit_steps(const std::vector<NoiseLevel>& levels) {
    Steps steps = steps_between(levels);
    steps.initial_scale = 1;
    return steps;
}

inline std::vector<NoiseLevel> levels_at(const DiscreteSchedule& schedule, const std::vector<double>& times) {
    std::vector<NoiseLevel> levels;
    for (const double t : times) levels.push_back(schedule.level(static_cast<Index>(t)));
    return levels;
}

/// Numbers the intervals.
inline Steps counted(Steps steps) {
    for (std::size_t i = 0; i < steps.intervals.size(); ++i) {
        steps.intervals[i].index = static_cast<Index>(i);
        steps.intervals[i].count = steps.count();
    }
    validate(steps);
    return steps;
}

/// The ancestral classes' intervals end without noise.
inline Steps ddpm_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    auto levels = levels_at(schedule, request.timesteps.empty() ? spaced_times(o, request.count, true) : request.timesteps);
    levels.push_back({0, 1, 0});
    return unit_steps(levels);
}

inline Steps unclip_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    if (request.count < 2) throw ArgumentError(o.class_name + " takes at least two steps");
    auto levels = levels_at(schedule, linspace_times(o.num_train_timesteps, request.count));
    levels.push_back({0, 1, 0});
    return unit_steps(levels);
}

/// DDIM goes back by floor(T / N) whatever the spacing, so its intervals need not meet.
inline Steps ddim_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const Index back = o.num_train_timesteps / request.count;
    Steps steps;
    for (const double time : spaced_times(o, request.count, true)) {
        const auto t = static_cast<Index>(time);
        steps.intervals.push_back({schedule.level(t), t - back >= 0 ? schedule.level(t - back) : final_level(o, schedule)});
    }
    return counted(std::move(steps));
}

/// CogVideoX's solver takes its last step at first order only where the schedule ends there: a last interval to a time of the
/// schedule is numbered as if another one followed.
inline Steps cogvideox_dpm_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    Steps steps = ddim_steps(o, schedule, request);
    if (steps.intervals.back().from.time >= static_cast<double>(o.num_train_timesteps / request.count))
        for (Interval& i : steps.intervals) ++i.count;
    return steps;
}

/// Inversion goes up to each time from floor(T / N) below it, where the network is told the time to which it goes.
inline Steps ddim_inverse_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    if (o.timestep_spacing == "linspace") throw ConfigError(o.class_name + ": option 'timestep_spacing' cannot be \"linspace\"");
    auto times = spaced_times(o, request.count, true);
    std::reverse(times.begin(), times.end());
    Steps steps;
    steps.may_rise = true;
    for (const double time : times) {
        const auto t = static_cast<Index>(time);
        const Index before = std::min(t - o.num_train_timesteps / request.count, o.num_train_timesteps - 1);
        NoiseLevel from = before >= 0 ? schedule.level(before) : final_level(o, schedule);
        from.time = time;
        steps.intervals.push_back({from, schedule.level(t)});
    }
    return counted(std::move(steps));
}

/// One interval an evaluation: see ReleasedPndm.
inline Steps pndm_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const Index count = request.count, back = o.num_train_timesteps / count, half = back / 2;
    const auto times = spaced_times(o, count, true);  // falling
    const auto at = [&](Index t) { return t >= 0 ? schedule.level(t) : final_level(o, schedule); };
    Steps steps;
    const auto evaluate = [&](Index told, Index begin, Index end) {
        NoiseLevel from = at(begin);
        from.time = static_cast<double>(told);
        steps.intervals.push_back({from, at(end)});
    };
    const auto time = [&](std::size_t i) { return static_cast<Index>(times[i]); };
    std::size_t first = 0;
    if (o.skip_prk_steps) {
        evaluate(time(0), time(0), time(0) - back);
        if (count > 1) evaluate(time(1), time(1) + back, time(1));
        first = 1;
    } else {
        if (count < 4) throw ArgumentError(o.class_name + " begins with three Runge-Kutta steps: it takes at least 4 steps, or skip_prk_steps");
        for (; first < 3; ++first) {
            const Index t = time(first), next = time(first + 1), middle = next + half;
            evaluate(t, t, t - half);
            evaluate(middle, t, middle);
            evaluate(middle, t, middle - half);
            evaluate(next, t, next);
        }
    }
    for (; first < times.size(); ++first) evaluate(time(first), time(first), time(first) - back);
    steps.may_rise = true;  // where the spacing is not floor(T / N), some evaluations lead back
    return counted(std::move(steps));
}

/// sigma = sin^2(t pi / 2), alpha = sqrt(1 - sigma^2), in single precision.
inline Steps ipndm_steps(const SchedulerOptions& o, const StepRequest& request) {
    std::vector<float> sigmas;
    if (o.trained_betas) {
        sigmas.assign(o.trained_betas->begin(), o.trained_betas->end());
    } else {
        for (const float t : equally_spaced<float>(1, 0, request.count + 1)) {
            const float root = std::sin(t * static_cast<float>(3.14159265358979323846) / 2);
            sigmas.push_back(root * root);
        }
    }
    std::vector<NoiseLevel> levels;
    for (const float sigma : sigmas) {
        const float alpha = std::sqrt(1 - sigma * sigma);
        const float time = std::atan2(sigma, alpha) / static_cast<float>(3.14159265358979323846) * 2;
        levels.push_back({static_cast<double>(time), static_cast<double>(alpha), static_cast<double>(sigma)});
    }
    return unit_steps(levels);
}

/// Times of the model that was distilled, of `original` steps, that LCM and TCD visit. Of given times strength below 1
/// leaves the last ones. There diffusers' LCMScheduler does not know its last step any more and adds noise to the
/// sample; its pipelines decode the step's `denoised`, and that is what a run of ito ends with.
inline std::vector<double> latent_consistency_times(const SchedulerOptions& o, const StepRequest& request) {
    const Index original = request.original_inference_steps.value_or(o.original_inference_steps), train = o.num_train_timesteps;
    // TCD that is asked for another number of original steps takes all times.
    const bool every = o.class_name == "TCDScheduler" && request.original_inference_steps;
    if (original < 1 || (original > train && !every)) throw ArgumentError(std::to_string(original) + " original steps on a schedule of " + std::to_string(train));
    if (!request.timesteps.empty()) {
        const auto size = static_cast<double>(request.timesteps.size());
        const auto skipped = static_cast<std::ptrdiff_t>(size - std::min(std::floor(size * request.strength), size));
        return {request.timesteps.begin() + skipped, request.timesteps.end()};
    }
    const Index stride = every ? 1 : train / original;
    const auto known = static_cast<Index>(std::floor(static_cast<double>(every ? train : original) * request.strength));
    if (request.count > known || request.count > original)
        throw ArgumentError(std::to_string(request.count) + " steps of " + std::to_string(std::min(known, original)) + " original ones");
    std::vector<double> times;
    for (Index i = 0; i < request.count; ++i) {
        const auto index = static_cast<Index>(std::floor(static_cast<double>(i) * (static_cast<double>(known) / static_cast<double>(request.count))));
        times.push_back(static_cast<double>((known - index) * stride - 1));
    }
    return times;
}

inline Steps latent_consistency_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    auto levels = levels_at(schedule, latent_consistency_times(o, request));
    levels.push_back(o.class_name == "TCDScheduler" ? schedule.level(0) : NoiseLevel{0, 1, 0});
    return unit_steps(levels);
}

/// RePaint's way down and up; up it goes by the table's own betas, one interval each.
inline Steps repaint_steps(const SchedulerOptions& o, const DiscreteSchedule& schedule, const StepRequest& request) {
    const Index count = std::min(request.count, o.num_train_timesteps), back = o.num_train_timesteps / count;
    const auto at = [&](Index t) { return t >= 0 ? schedule.level(t) : NoiseLevel{0, 1, 0}; };
    Steps steps;
    steps.may_rise = true;
    Index last = count;
    for (const Index k : repaint_times(count, request.jump_length, request.jump_n_sample)) {
        if (k < last) steps.intervals.push_back({at(k * back), at((k - 1) * back)});
        else
            for (Index t = last * back; t < (last + 1) * back; ++t) steps.intervals.push_back({at(t - 1), at(t)});
        last = k;
    }
    return counted(std::move(steps));
}

/// Nichol and Dhariwal's cosine with offset s, on t in [0, 1] bent by the scaler; abar stays within 1e-4 of the ends.
/// A time given twice is a step that changes nothing, and the next one goes on from there; diffusers, which finds its
/// place by the first time that is equal, stands still twice and leaves out the step after it.
inline Steps wuerstchen_steps(const SchedulerOptions& o, const StepRequest& request) {
    std::vector<double> times = request.timesteps;
    if (times.empty())
        for (const float t : equally_spaced<float>(1, 0, request.count + 1)) times.push_back(static_cast<double>(t));
    const auto squared_cosine = [&](double t) {
        const double root = std::cos((t + o.s) / (1 + o.s) * 1.57079632679489661923);
        return root * root;
    };
    std::vector<NoiseLevel> levels;
    for (const double t : times) {
        const double bent = o.scaler > 1 ? 1 - std::pow(1 - t, o.scaler) : std::pow(t, o.scaler);
        const double alpha_bar = std::clamp(squared_cosine(bent) / squared_cosine(0), 1e-4, 0.9999);
        levels.push_back({t, std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar)});
    }
    return unit_steps(levels);
}

}  // namespace detail

}  // namespace ito
