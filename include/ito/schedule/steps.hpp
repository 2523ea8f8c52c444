// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "ito/schedule/schedule.hpp"

namespace ito {

namespace detail {
inline void require_steps(Index count) {
    if (count < 1) throw ArgumentError("the number of steps must be at least 1, got " + std::to_string(count));
}
/// To the nearest integer, halves to even, whatever the rounding mode.
inline double round_half_even(double v) {
    const double down = std::floor(v), rest = v - down;
    if (rest != 0.5) return rest < 0.5 ? down : down + 1;
    return std::fmod(down, 2) == 0 ? down : down + 1;
}
}  // namespace detail

// Integer times at which a schedule of `train` steps is visited, highest first; Lin et al. (2023), table 2, compare them.

/// 0, r, 2r, ... with r = floor(train / count), each plus offset.
inline std::vector<double> leading_times(Index train, Index count, Index offset = 0) {
    detail::require_steps(count);
    if (count > train) throw ArgumentError(std::to_string(count) + " steps on a schedule of " + std::to_string(train));
    std::vector<double> times;
    for (Index i = count; i-- > 0;) times.push_back(static_cast<double>(i * (train / count) + offset));
    return times;
}

/// `count` numbers from 0 to train - 1, both included (a single one is 0).
inline std::vector<double> linspace_times(Index train, Index count, bool rounded = true) {
    detail::require_steps(count);
    if (count > train) throw ArgumentError(std::to_string(count) + " steps on a schedule of " + std::to_string(train));
    std::vector<double> times;
    const double step = count > 1 ? static_cast<double>(train - 1) / static_cast<double>(count - 1) : 0;
    for (Index i = count; i-- > 0;) {
        const double t = i == count - 1 && count > 1 ? static_cast<double>(train - 1) : static_cast<double>(i) * step;
        times.push_back(rounded ? detail::round_half_even(t) : t);
    }
    return times;
}

/// Squares of equally spaced numbers from 0 to 0.8 train, dense near the picture: the quadratic tau of Song et al., "Denoising
/// diffusion implicit models" (2021), appendix D.2. Throws ArgumentError where two would be the same.
inline std::vector<double> quadratic_times(Index train, Index count) {
    detail::require_steps(count);
    std::vector<double> times;
    for (Index i = count; i-- > 0;) {
        const double root = count > 1 ? std::sqrt(0.8 * static_cast<double>(train)) * static_cast<double>(i) / static_cast<double>(count - 1) : 0;
        times.push_back(std::floor(root * root));
        if (times.size() > 1 && times.back() == times[times.size() - 2])
            throw ArgumentError(std::to_string(count) + " quadratic steps on a schedule of " + std::to_string(train) + " repeat a time");
    }
    return times;
}

/// train - 1, train - 1 - r, ... with r = train / count: starts from pure noise. `start` in place of train begins lower.
inline std::vector<double> trailing_times(Index train, Index count, Index start = -1) {
    detail::require_steps(count);
    if (count > train) throw ArgumentError(std::to_string(count) + " steps on a schedule of " + std::to_string(train));
    const double ratio = static_cast<double>(train) / static_cast<double>(count);
    const auto first = static_cast<double>(start < 0 ? train : start);
    // ceil(first / ratio) in integers: in floating point it can come out one too many, ending at time -1.
    const Index length = (static_cast<Index>(first) * count + train - 1) / train;
    std::vector<double> times;
    // The difference as numpy.arange takes it, so that what lies halfway is rounded as there.
    const double difference = (first - ratio) - first;
    for (Index i = 0; i < length; ++i) times.push_back(detail::round_half_even(first + static_cast<double>(i) * difference) - 1);
    return times;
}

/// Where the last step ends.
enum class End { zero, first_level };

/// Steps through the given times (falling), ending without noise or at the schedule's first level.
/// Throws ArgumentError unless the noise falls.
template <Schedule S>
Steps steps_at(const S& schedule, const std::vector<double>& times, End end = End::zero) {
    std::vector<NoiseLevel> levels;
    for (const double t : times) levels.push_back(level_at(schedule, t));
    levels.push_back(end == End::zero ? NoiseLevel{level_at(schedule, 0).time, 1, 0} : level_at(schedule, 0));
    return steps_between(levels);
}

inline Steps leading(const DiscreteSchedule& schedule, Index count, Index offset = 0) {
    return steps_at(schedule, leading_times(schedule.size(), count, offset));
}

/// Times equally spaced; at least two steps, since one step from time 0 would go nowhere.
inline Steps linspace(const DiscreteSchedule& schedule, Index count) {
    if (count == 1) throw ArgumentError("linspace needs at least two steps, or its only time would be 0");
    return steps_at(schedule, linspace_times(schedule.size(), count));
}

inline Steps trailing(const DiscreteSchedule& schedule, Index count) {
    return steps_at(schedule, trailing_times(schedule.size(), count));
}

/// `count` equal steps in time from last_time() down to `epsilon`, then the rest of the noise in the last one: for
/// continuous schedules.
template <Schedule S>
Steps uniform_steps(const S& schedule, Index count, double epsilon = 1e-3) {
    detail::require_steps(count);
    std::vector<double> times;
    for (Index i = 0; i < count; ++i) {
        const double w = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
        times.push_back(schedule.last_time() + w * (epsilon - schedule.last_time()));
    }
    return steps_at(schedule, times);
}

}  // namespace ito
