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

/// An estimate as arithmetic on one sample's x and the network's output.
template <class T>
struct Decoded {
    T x0_of_x, x0_of_out, eps_of_x, eps_of_out, limit, gain = 1;

    T x0(T x, T out) const {
        const T raw = x0_of_x * x + x0_of_out * out;
        const T above = -limit > raw ? -limit : raw;  // lets NaN through
        return (limit < above ? limit : above) * gain;
    }
    T eps(T x, T out) const { return eps_of_x * x + eps_of_out * out; }
};

/// Calls f(sample, first, last, decoded) for consecutive runs [first, last) of elements that make up x, each in one
/// sample and of at most 2048, in parallel. Samples are cut at the same places whatever the batch.
template <class T, class F>
void for_each_run(const Tensor<T>& x, const Estimate<T>& estimate, F&& f) {
    constexpr Index piece = 1 << 14, run = 1 << 11;
    require_shape("network output", x.shape(), estimate.output.shape());
    const Index samples = x.rank() ? x.dim(0) : 1, size = samples ? x.size() / samples : 0;
    const Index pieces = (size + piece - 1) / piece;
    const Index grain = std::max<Index>(1, piece / std::max<Index>(1, size));
    if (!estimate.decodes.empty() && static_cast<Index>(estimate.decodes.size()) != samples)
        throw ShapeError(std::to_string(estimate.decodes.size()) + " decodings for a batch of shape " + x.shape().str());
    parallel_for(samples * pieces, grain, [&](Index begin, Index end) {
        for (Index p = begin; p < end; ++p) {
            const Index sample = p / pieces, start = p % pieces * piece;
            const Decoding& decode = estimate.decodes.empty() ? estimate.decode : estimate.decodes[static_cast<std::size_t>(sample)];
            Decoded<T> decoded{static_cast<T>(decode.x0_of_x), static_cast<T>(decode.x0_of_out), static_cast<T>(decode.eps_of_x),
                               static_cast<T>(decode.eps_of_out), static_cast<T>(estimate.limit)};
            if (!estimate.limits.empty()) {
                decoded.limit = estimate.limits[sample];
                decoded.gain = 1 / decoded.limit;
            }
            const Index last = sample * size + std::min(size, start + piece);
            for (Index i = sample * size + start; i < last; i += run) f(sample, i, std::min(last, i + run), std::as_const(decoded));
        }
    });
}

// Of a loop over elements that touches element i of any array in turn i only, so that arrays may be the same. Clang would
// warn where it cannot vectorise what f does.
#if defined(__GNUC__) && !defined(__clang__)
#define ITO_ELEMENTWISE _Pragma("GCC ivdep")
#else
#define ITO_ELEMENTWISE
#endif

/// Calls f(i, x0, eps) once for every element i of x, in parallel; f may touch element i of any tensors. An element's
/// result depends on its own sample alone.
template <class T, class F>
void for_each_element(const Tensor<T>& x, const Estimate<T>& estimate, F&& f) {
    const T *xs = x.data(), *outs = estimate.output.data();
    for_each_run(x, estimate, [&](Index, Index first, Index last, const Decoded<T>& decoded) {
        auto each = f;  // of this thread, so that nothing it holds may change under the loop
        const Decoded<T> own = decoded;
        ITO_ELEMENTWISE
        for (Index i = first; i < last; ++i) each(i, own.x0(xs[i], outs[i]), own.eps(xs[i], outs[i]));
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
