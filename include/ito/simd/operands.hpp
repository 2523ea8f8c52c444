// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/shape.hpp"

namespace ito::simd {

/// Weights [taps, in, out] wherever they lie: element (t, c, k) is at first[t * tap_stride + c * in_stride + k * out_stride].
struct WeightView {
    const float* first;
    Index taps, in, out;
    Index tap_stride, in_stride, out_stride;

    /// [in, out] with element (c, k) at first[c * in_stride + k * out_stride].
    static WeightView matrix(const float* first, Index in, Index out, Index in_stride, Index out_stride) {
        return {first, 1, in, out, 0, in_stride, out_stride};
    }

    /// [taps, in, out] in memory.
    static WeightView kernel(const float* first, Index taps, Index in, Index out) {
        return {first, taps, in, out, in * out, out, 1};
    }

    /// What carries gradients of results back to inputs: in and out exchanged, taps in reverse order.
    WeightView transposed() const { return {first + (taps - 1) * tap_stride, taps, out, in, -tap_stride, out_stride, in_stride}; }
};

/// What is added to a product of `columns` numbers a row in the same pass; null where nothing is.
template <class T>
struct Addends {
    const T* bias = nullptr;        // [columns]
    const T* per_sample = nullptr;  // [samples, columns], a sample being as many rows as every other
    const T* residual = nullptr;    // [rows, columns]
};

}  // namespace ito::simd
