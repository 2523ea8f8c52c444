// SPDX-License-Identifier: MIT
#pragma once

// What operations on float compute with: the kernels compiled into them, or those of ito::simd where it is linked.
#if defined(ITO_SIMD_DISPATCH)
#include "ito/ops/attention_kernels.hpp"
#include "ito/ops/conv_kernels.hpp"
#include "ito/ops/dispatched_kernels.hpp"
#include "ito/ops/matmul.hpp"
#include "ito/simd/group_norm.hpp"
#include "ito/simd/layer_norm.hpp"

namespace ito::ops::detail {

/// Floats in a register of the kernels that operations use.
inline int kernel_lanes() { return dispatched_kernels().lanes; }

template <>
inline void convolve<float>(const ConvShape& s, const float* x, const Parameter<float>& weight, bool transposed,
                            const Addends<float>& addends, float* y, const Arithmetic& how) {
    dispatched_kernels().convolve(s, x, weight, transposed, addends, y, how);
}

template <>
inline Tensor<float> weight_gradient<float>(const ConvShape& s, const float* x, const Tensor<float>& dy, const Shape& shape,
                                            const Arithmetic& how) {
    return dispatched_kernels().weight_gradient(s, x, dy, shape, how);
}

template <>
inline void product<float>(const MatrixMap<const float>& x, const Parameter<float>& weight, bool transposed,
                           const simd::Addends<float>& addends, MatrixMap<float> y, Precision precision) {
    dispatched_kernels().product(x, weight, transposed, addends, y, precision);
}

template <>
inline Tensor<float> transposed_product<float>(const MatrixMap<const float>& a, const MatrixMap<const float>& b, const Shape& shape) {
    return dispatched_kernels().transposed_product(a, b, shape);
}

template <>
inline void attend<float>(const AttentionShape& s, const float* q, const float* k, const float* v, float* y, Precision precision) {
    dispatched_kernels().attend(s, q, k, v, y, precision);
}

template <>
inline void attend_gradient<float>(const AttentionShape& s, const float* q, const float* k, const float* v, const float* dy,
                                   float* dq, float* dk, float* dv) {
    dispatched_kernels().attend_gradient(s, q, k, v, dy, dq, dk, dv);
}

}  // namespace ito::ops::detail

namespace ito::simd {

template <>
inline void activate<float>(Activation kind, const float* x, Index count, float* y) {
    ops::detail::dispatched_kernels().activate(kind, x, count, y);
}

template <>
inline void multiply_by_slope<float>(Activation kind, const float* x, Index count, float* g) {
    ops::detail::dispatched_kernels().multiply_by_slope(kind, x, count, g);
}

template <>
inline void gate_rows<float>(Activation kind, const float* x, Index rows, Index channels, float* y) {
    ops::detail::dispatched_kernels().gate_rows(kind, x, rows, channels, y);
}

template <>
inline void gate_gradient_rows<float>(Activation kind, const float* x, const float* dy, Index rows, Index channels, float* dx) {
    ops::detail::dispatched_kernels().gate_gradient_rows(kind, x, dy, rows, channels, dx);
}

template <>
inline void layer_norm_rows<float>(const float* x, Index rows, Index channels, double epsilon, const float* gamma,
                                   const float* beta, float* y) {
    ops::detail::dispatched_kernels().layer_norm_rows(x, rows, channels, epsilon, gamma, beta, y);
}

template <>
inline void layer_norm_gradient_rows<float>(const float* x, Index rows, Index channels, double epsilon, const float* gamma,
                                            float* dy, float* dgamma, float* dbeta) {
    ops::detail::dispatched_kernels().layer_norm_gradient_rows(x, rows, channels, epsilon, gamma, dy, dgamma, dbeta);
}

template <>
inline void strip_moments<float>(const float* x, Index rows, Index channels, float* mean, float* squares) {
    ops::detail::dispatched_kernels().strip_moments(x, rows, channels, mean, squares);
}

template <>
inline void affine_rows<float>(Activation activation, const float* x, Index rows, Index channels, const float* slope,
                               const float* shift, float* y) {
    ops::detail::dispatched_kernels().affine_rows(activation, x, rows, channels, slope, shift, y);
}

template <>
inline void affine_gradient_sums<float>(Activation activation, const float* x, Index rows, Index channels, const float* slope,
                                        const float* shift, const float* mean, float* dy, float* plain, float* weighted) {
    ops::detail::dispatched_kernels().affine_gradient_sums(activation, x, rows, channels, slope, shift, mean, dy, plain, weighted);
}

template <>
inline void affine_gradient_rows<float>(const float* x, Index rows, Index channels, const float* slope, const float* constant,
                                        const float* by_x, float* da) {
    ops::detail::dispatched_kernels().affine_gradient_rows(x, rows, channels, slope, constant, by_x, da);
}

}  // namespace ito::simd
#else
#include "ito/simd/lanes.hpp"

namespace ito::ops::detail {

inline int kernel_lanes() { return simd::lanes; }

}  // namespace ito::ops::detail
#endif
