// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "ito/schedule/sigmas.hpp"

namespace ito {

/// Straight paths from picture to noise, x = (1 - t) x0 + t eps: Liu et al., "Flow straight and fast" (2023), and Lipman et
/// al., "Flow matching for generative modeling" (2023). Networks say the velocity eps - x0 (Prediction::flow) and are told
/// label_scale t.
template <class T>
struct BasicRectifiedFlow {
    T label_scale = T(1000);

    constexpr T alpha(T t) const { return 1 - t; }
    constexpr T sigma(T t) const { return t; }
    constexpr T last_time() const { return 1; }
    constexpr T label(T t) const { return label_scale * t; }
};
using RectifiedFlow = BasicRectifiedFlow<double>;

/// `count` equal steps in t from 1 to 0, moved towards noise (see shift_flow; resolution_shift gives log(shift)).
/// Throws ArgumentError unless count and shift are positive.
inline Steps flow_steps(const RectifiedFlow& schedule, Index count, double shift = 1) {
    detail::require_steps(count);
    if (!(shift > 0)) throw ArgumentError("the shift of flow steps must be positive, got " + std::to_string(shift));
    std::vector<NoiseLevel> levels;
    for (Index i = count; i >= 0; --i)
        levels.push_back(level_at(schedule, shift_flow(static_cast<double>(i) / static_cast<double>(count), shift)));
    return steps_between(levels);
}

}  // namespace ito
