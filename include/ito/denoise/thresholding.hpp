// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "ito/denoise/estimate.hpp"

namespace ito {

/// Dynamic thresholding of Saharia et al., "Photorealistic text-to-image diffusion models" (2022), section 2.3: x0 is
/// clamped to [-s, s] and divided by s, the given quantile of |x0| in its own sample, kept within [1, max].
/// With max = 1 that is plain clipping.
struct DynamicThreshold {
    double ratio = 0.995;
    double max = 1;
};

/// The q-quantile, q in [0, 1], interpolated linearly between neighbours as torch.quantile does. Reorders the values.
/// Throws ArgumentError without values or outside of the range.
template <class T>
T quantile_of(std::span<T> values, double q) {
    if (values.empty()) throw ArgumentError("a quantile of no values");
    if (!(q >= 0 && q <= 1)) throw ArgumentError("quantile " + std::to_string(q) + " is outside [0, 1]");
    const T position = static_cast<T>(q) * static_cast<T>(values.size() - 1);
    // Beyond 2^24 values a float rounds the position, at the end to one that is not there.
    const auto below = std::min(static_cast<std::ptrdiff_t>(std::floor(position)), static_cast<std::ptrdiff_t>(values.size()) - 1);
    const auto low = values.begin() + below;
    std::nth_element(values.begin(), low, values.end());
    if (low + 1 == values.end()) return *low;
    const T high = *std::min_element(low + 1, values.end());
    return *low + (position - static_cast<T>(below)) * (high - *low);
}

/// Sets the estimate's limits from its own x0, sample by sample.
template <class T>
void apply(const DynamicThreshold& threshold, const Tensor<T>& x, Estimate<T>& estimate) {
    const Index samples = x.rank() ? x.dim(0) : 1, size = samples ? x.size() / samples : 0;
    Tensor<T> magnitudes = estimated_x0(x, estimate), limits({samples});
    magnitudes.array() = magnitudes.array().abs();
    parallel_for(samples, 1, [&](Index begin, Index end) {
        for (Index k = begin; k < end; ++k) {
            const auto row = std::span<T>(magnitudes.data() + k * size, static_cast<std::size_t>(size));
            const T s = quantile_of(row, threshold.ratio);
            limits[k] = std::min(std::max(s, T(1)), static_cast<T>(threshold.max));
        }
    });
    estimate.limits = std::move(limits);
}

}  // namespace ito
