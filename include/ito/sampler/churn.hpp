// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ito/sampler/sampler.hpp"
#include "ito/schedule/schedule.hpp"

namespace ito {

/// Adding noise before a step and taking more away in it: Karras et al. (2022), algorithm 2. All in ratios sigma/alpha.
struct Churn {
    double amount = 0;  // S_churn; 0 is deterministic
    double min = 0;     // S_tmin
    double max = std::numeric_limits<double>::infinity();  // S_tmax
    double noise = 1;   // S_noise

    /// gamma_i: how much the ratio is raised, relatively.
    double gamma(const Interval& interval) const {
        if (amount <= 0) return 0;
        const double ratio = variance_exploding(interval.from).sigma;
        if (ratio < min || ratio > max) return 0;
        return std::min(amount / static_cast<double>(interval.count), std::sqrt(2.0) - 1);
    }

    /// x at interval.from to x at the raised level, which keeps its time: a network that must be told another one
    /// finds it from the level's ratio (see TimedBy).
    template <class T, NoiseOf<T> Z>
    std::pair<Tensor<T>, NoiseLevel> raise(const Tensor<T>& x, const Interval& interval, double gamma, Z& noise_of) const {
        NoiseLevel level = interval.from;
        const double before = level.sigma;
        level.sigma *= 1 + gamma;
        std::pair<Tensor<T>, NoiseLevel> raised{Tensor<T>(x.shape()), level};
        noise_of(raised.first, interval);
        const T scale = static_cast<T>(noise * std::sqrt(level.sigma * level.sigma - before * before));
        raised.first.array() = x.array() + scale * raised.first.array();
        return raised;
    }
};

/// A network that is told the time at which its schedule has the ratio sigma / alpha of the level, in place of the
/// level's own time: for samplers that go to levels of their own.
template <class ScheduleType, class NetworkType>
struct TimedBy {
    ScheduleType schedule;
    NetworkType network;

    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, NoiseLevel level) {
        level.time = level_at(schedule, time_of_ratio(schedule, level.sigma / level.alpha)).time;
        return network(x, std::as_const(level));
    }
};

template <class ScheduleType, class NetworkType>
TimedBy(ScheduleType, NetworkType&&) -> TimedBy<ScheduleType, NetworkType>;

}  // namespace ito
