// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include "ito/core/tensor.hpp"
#include "ito/grad/parameter.hpp"
#include "ito/simd/activation_kind.hpp"
#include "ito/simd/attention_shape.hpp"
#include "ito/simd/conv_shape.hpp"
#include "ito/simd/operands.hpp"
#include "ito/simd/precision.hpp"

// A program that links ito::simd has the kernels of its operations from one unit that holds them for several instruction
// sets; the best that the processor has is chosen when the first is asked for. The unit is made from the same headers that
// are compiled into programs otherwise: see dispatch.cmake.
namespace ito::ops::detail {

/// The functions of conv_kernels.hpp, matmul.hpp, attention_kernels.hpp and of simd/ of the same names on float, for one
/// instruction set.
struct DispatchedKernels {
    const char* name;  // Highway's, such as "AVX2"
    int lanes;
    void (*convolve)(const simd::ConvShape& shape, const float* x, const Parameter<float>& weight, bool transposed,
                     const simd::Addends<float>& addends, float* y, const Arithmetic& how);
    Tensor<float> (*weight_gradient)(const simd::ConvShape& shape, const float* x, const Tensor<float>& dy, const Shape& kernel,
                                     const Arithmetic& how);
    void (*product)(const MatrixMap<const float>& x, const Parameter<float>& weight, bool transposed,
                    const simd::Addends<float>& addends, MatrixMap<float> y, Precision precision);
    Tensor<float> (*transposed_product)(const MatrixMap<const float>& a, const MatrixMap<const float>& b, const Shape& shape);
    void (*attend)(const simd::AttentionShape& shape, const float* q, const float* k, const float* v, float* y,
                   Precision precision);
    void (*attend_gradient)(const simd::AttentionShape& shape, const float* q, const float* k, const float* v, const float* dy,
                            float* dq, float* dk, float* dv);
    void (*activate)(simd::Activation kind, const float* x, Index count, float* y);
    void (*multiply_by_slope)(simd::Activation kind, const float* x, Index count, float* g);
    void (*gate_rows)(simd::Activation kind, const float* x, Index rows, Index channels, float* y);
    void (*gate_gradient_rows)(simd::Activation kind, const float* x, const float* dy, Index rows, Index channels, float* dx);
    void (*layer_norm_rows)(const float* x, Index rows, Index channels, double epsilon, const float* gamma, const float* beta,
                            float* y);
    void (*layer_norm_gradient_rows)(const float* x, Index rows, Index channels, double epsilon, const float* gamma, float* dy,
                                     float* dgamma, float* dbeta);
    void (*strip_moments)(const float* x, Index rows, Index channels, float* mean, float* squares);
    void (*affine_rows)(simd::Activation activation, const float* x, Index rows, Index channels, const float* slope,
                        const float* shift, float* y);
    void (*affine_gradient_sums)(simd::Activation activation, const float* x, Index rows, Index channels, const float* slope,
                                 const float* shift, const float* mean, float* dy, float* plain, float* weighted);
    void (*affine_gradient_rows)(const float* x, Index rows, Index channels, const float* slope, const float* constant,
                                 const float* by_x, float* da);
};

/// Those that this processor can run, the best first. Defined by ito::simd.
std::span<const DispatchedKernels> runnable_kernels();

inline const DispatchedKernels& dispatched_kernels() { return runnable_kernels().front(); }

}  // namespace ito::ops::detail
