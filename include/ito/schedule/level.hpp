// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

namespace ito {

/// How much of a picture is left: x = alpha x0 + sigma eps with eps ~ N(0, 1). `time` is what the network is told.
struct NoiseLevel {
    double time = 0;
    double alpha = 1;
    double sigma = 0;
};

/// Half the log of the signal-to-noise ratio, log(alpha / sigma): the lambda of DPM-Solver. Infinite without noise.
inline double half_log_snr(const NoiseLevel& level) {
    return level.sigma == 0 ? std::numeric_limits<double>::infinity() : std::log(level.alpha) - std::log(level.sigma);
}

/// log(alpha^2 / sigma^2), as Kingma et al., "Variational diffusion models" (2021) have it.
inline double log_snr(const NoiseLevel& level) { return 2 * half_log_snr(level); }

/// The level of x / alpha: no signal lost, noise added (Karras et al. 2022 work here). Throws ArgumentError for alpha = 0.
inline NoiseLevel variance_exploding(const NoiseLevel& level) {
    if (level.alpha == 0) throw ArgumentError("a level without signal (alpha = 0) cannot be scaled to alpha = 1");
    return {level.time, 1, level.sigma / level.alpha};
}

/// The level of x / sqrt(alpha^2 + sigma^2).
inline NoiseLevel variance_preserving(const NoiseLevel& level) {
    const double scale = std::hypot(level.alpha, level.sigma);
    return {level.time, level.alpha / scale, level.sigma / scale};
}

/// Variance-preserving level of the given noise-to-signal ratio sigma / alpha.
inline NoiseLevel level_of_ratio(double time, double ratio) { return variance_preserving({time, 1, ratio}); }

/// The level of the given ratio sigma / alpha between two others, with what they share: alpha = 1, alpha + sigma = 1 or
/// alpha^2 + sigma^2 = 1 (also where they share none of these). Its time is linear in log ratio, as far as that is finite:
/// only a guess, see TimedBy.
inline NoiseLevel level_between(const NoiseLevel& from, const NoiseLevel& to, double ratio) {
    const auto both = [&](auto measure) { return std::abs(measure(from) - 1) < 1e-5 && std::abs(measure(to) - 1) < 1e-5; };
    const double high = from.sigma / from.alpha, low = to.sigma / to.alpha;
    double time = from.time;
    if (low > 0 && std::isfinite(high) && high != low)
        time += (to.time - from.time) * std::log(ratio / high) / std::log(low / high);
    if (both([](const NoiseLevel& level) { return level.alpha; })) return {time, 1, ratio};
    if (both([](const NoiseLevel& level) { return level.alpha + level.sigma; })) return {time, 1 / (1 + ratio), ratio / (1 + ratio)};
    return level_of_ratio(time, ratio);
}

/// One step of a sampler: from more noise to less. A sampler never asks where the levels came from.
struct Interval {
    NoiseLevel from, to;
    Index index = 0;  // of `count` steps
    Index count = 1;
    /// Where only the first part of step `index` is meant, how much of the signal-to-noise ratio that the step gains
    /// lies in it: what noise needs to know to be that of one path.
    double share = 1;
    /// Which of the draws beside the step's own noise is meant (0: that noise), for correctors and the like.
    Index draw = 0;
};

/// The part of a step up to a level within it.
inline Interval first_part(const Interval& step, const NoiseLevel& level) {
    const auto snr = [](const NoiseLevel& at) { return at.alpha * at.alpha / (at.sigma * at.sigma); };
    const double gained = step.to.sigma == 0 ? std::numeric_limits<double>::infinity() : snr(step.to) - snr(step.from);
    return {step.from, level, step.index, step.count, gained > 0 ? (snr(level) - snr(step.from)) / gained : 1};
}

/// What adding noise from `to` up to `from` does: x_from = alpha x_to + sqrt(variance) eps.
struct Transition {
    double alpha = 1;
    double variance = 0;
};

inline Transition transition(const Interval& interval) {
    if (interval.to.alpha == 0) throw ArgumentError("a step to a level without signal (alpha = 0)");
    const double alpha = interval.from.alpha / interval.to.alpha;
    const double kept = alpha * interval.to.sigma;
    return {alpha, std::max(0.0, interval.from.sigma * interval.from.sigma - kept * kept)};
}

/// The steps of a whole run. Consecutive intervals usually meet, but need not (diffusers' DDIM with linspace spacing).
struct Steps {
    std::vector<Interval> intervals;
    double initial_scale = 1;  // a run starts from this times N(0, 1)
    bool may_rise = false;     // steps to more noise are meant, as in inversion; they may start without noise or end without signal

    Index count() const { return static_cast<Index>(intervals.size()); }

    /// The steps from `first` on, for starting in the middle. Throws ArgumentError outside [0, count).
    Steps starting_at(Index first) const {
        if (first < 0 || first >= count())
            throw ArgumentError("starting at step " + std::to_string(first) + " of " + std::to_string(count()));
        Steps result = *this;
        result.intervals.erase(result.intervals.begin(), result.intervals.begin() + first);
        return result;
    }
};

/// Throws ArgumentError unless every interval goes from finite, non-negative levels to such with no more noise
/// (unless it may rise).
inline void validate(const Steps& steps) {
    if (steps.intervals.empty()) throw ArgumentError("a run needs at least one step");
    for (const Interval& i : steps.intervals) {
        const std::string name = "step " + std::to_string(i.index);
        for (const NoiseLevel& level : {i.from, i.to}) {
            if (!std::isfinite(level.time) || !std::isfinite(level.alpha) || !std::isfinite(level.sigma))
                throw ArgumentError(name + ": the schedule gives a level that is not finite");
            if (level.alpha < 0 || level.sigma < 0 || (level.alpha == 0 && level.sigma == 0))
                throw ArgumentError(name + ": alpha and sigma must not be negative, nor both zero");
        }
        if (i.from.sigma == 0 && !steps.may_rise) throw ArgumentError(name + " starts without noise");
        if (i.to.alpha == 0 && !steps.may_rise) throw ArgumentError(name + " ends without signal");
        // Tables in single precision may repeat a level with an error in the last place.
        if (!steps.may_rise && i.from.alpha * i.to.sigma > i.to.alpha * i.from.sigma * (1 + 1e-6))
            throw ArgumentError(name + " goes from less noise to more: levels must fall");
    }
}

/// Intervals between consecutive levels, highest noise first. Throws ArgumentError as validate does, and for fewer
/// than two levels.
inline Steps steps_between(const std::vector<NoiseLevel>& levels) {
    if (levels.size() < 2) throw ArgumentError("a run needs at least one step");
    Steps steps;
    const auto count = static_cast<Index>(levels.size()) - 1;
    for (Index i = 0; i < count; ++i)
        steps.intervals.push_back({levels[static_cast<std::size_t>(i)], levels[static_cast<std::size_t>(i) + 1], i, count});
    validate(steps);
    steps.initial_scale = std::hypot(levels.front().alpha, levels.front().sigma);
    return steps;
}

}  // namespace ito
