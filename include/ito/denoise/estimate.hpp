// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/denoise/prediction.hpp"

namespace ito {

/// What a network says about one batch x [N, ...] at one level, not yet worked out: x0 and eps are linear in x and the
/// output, x0 then clamped to [-limit, limit] and multiplied by a gain. A sampler computes both in registers, in the
/// one pass that makes its step, so an estimate costs no memory but the network's own output.
template <class T>
struct Estimate {
    Tensor<T> output;    // as x
    Tensor<T> variance;  // as x, from networks that learned it; else empty
    Decoding decode{};
    std::vector<Decoding> decodes;  // [N] where every sample is at a level of its own, in place of decode; else empty
    double limit = std::numeric_limits<double>::infinity();  // of |x0|, for all samples
    Tensor<T> limits;                                        // [N], from dynamic thresholding: x0 is divided by it, too
};

/// Calls f(i, x0, eps) once for every element i of x, in parallel. An element's result depends on its own sample
/// alone, and samples are cut at the same places whatever the batch.
template <class T, class F>
void for_each_element(const Tensor<T>& x, const Estimate<T>& estimate, F&& f) {
    constexpr Index piece = 1 << 14;
    require_shape("network output", x.shape(), estimate.output.shape());
    const Index samples = x.rank() ? x.dim(0) : 1, size = samples ? x.size() / samples : 0;
    const Index pieces = (size + piece - 1) / piece;
    const Index grain = std::max<Index>(1, piece / std::max<Index>(1, size));
    if (!estimate.decodes.empty() && static_cast<Index>(estimate.decodes.size()) != samples)
        throw ShapeError(std::to_string(estimate.decodes.size()) + " decodings for a batch of shape " + x.shape().str());
    const T *xs = x.data(), *outs = estimate.output.data();
    parallel_for(samples * pieces, grain, [&](Index begin, Index end) {
        for (Index p = begin; p < end; ++p) {
            const Index sample = p / pieces, start = p % pieces * piece;
            const Decoding& decode = estimate.decodes.empty() ? estimate.decode : estimate.decodes[static_cast<std::size_t>(sample)];
            const T a = static_cast<T>(decode.x0_of_x), b = static_cast<T>(decode.x0_of_out);
            const T c = static_cast<T>(decode.eps_of_x), d = static_cast<T>(decode.eps_of_out);
            T limit = static_cast<T>(estimate.limit), gain = 1;
            if (!estimate.limits.empty()) {
                limit = estimate.limits[sample];
                gain = 1 / limit;
            }
            const Index first = sample * size + start, last = sample * size + std::min(size, start + piece);
            for (Index i = first; i < last; ++i) {
                const T raw = a * xs[i] + b * outs[i];
                const T x0 = (raw < -limit ? -limit : raw > limit ? limit : raw) * gain;  // lets NaN through
                f(i, x0, c * xs[i] + d * outs[i]);
            }
        }
    });
}

/// The estimated pictures x0, as x.
template <class T>
Tensor<T> estimated_x0(const Tensor<T>& x, const Estimate<T>& estimate) {
    Tensor<T> result(x.shape());
    T* out = result.data();
    for_each_element(x, estimate, [=](Index i, T x0, T) { out[i] = x0; });
    return result;
}

/// The estimated noise eps, as x: the network's own, not changed by clamping x0.
template <class T>
Tensor<T> estimated_eps(const Tensor<T>& x, const Estimate<T>& estimate) {
    Tensor<T> result(x.shape());
    T* out = result.data();
    for_each_element(x, estimate, [=](Index i, T, T eps) { out[i] = eps; });
    return result;
}

}  // namespace ito
