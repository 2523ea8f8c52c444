// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>

#include "ito/ops/attention_plain.hpp"
#include "ito/simd/attention.hpp"
#include "ito/simd/bf16_attention.hpp"
#include "ito/simd/precision.hpp"

// Which kernel computes attention: the one place where that is chosen.
namespace ito::ops::detail {

/// y = softmax(scale q k^T) v for every head.
template <class T>
void attend(const AttentionShape& s, const T* q, const T* k, const T* v, T* y, [[maybe_unused]] Precision precision) {
    if constexpr (!std::is_same_v<T, float>) attend_plainly(s, q, k, v, y);
    else if (precision == Precision::bf16) simd::bf16_attention(s, q, k, v, y);
    else simd::attention(s, q, k, v, y);
}

/// Adds the gradients with respect to q, k and v from dy to dq, dk and dv.
template <class T>
void attend_gradient(const AttentionShape& s, const T* q, const T* k, const T* v, const T* dy, T* dq, T* dk, T* dv) {
    if constexpr (std::is_same_v<T, float>) simd::attention_gradient(s, q, k, v, dy, dq, dk, dv);
    else attend_plainly_gradient(s, q, k, v, dy, dq, dk, dv);
}

}  // namespace ito::ops::detail
