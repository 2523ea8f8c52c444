// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/simd/attention_shape.hpp"

// Attention one query at a time, for any type: what the kernels of simd/ are tested against.
namespace ito::ops::detail {

using simd::AttentionShape;

/// softmax(scale q k^T) of one query with the keys of its head, which are `stride` apart.
template <class T>
void plain_weights(const AttentionShape& s, const T* q, const T* k, Index stride, T* p) {
    for (Index j = 0; j < s.keys; ++j) {
        p[j] = T(0);
        for (Index c = 0; c < s.width; ++c) p[j] += q[c] * k[j * stride + c];
        p[j] *= static_cast<T>(s.scale());
    }
    const T most = *std::max_element(p, p + s.keys);
    T sum = T(0);
    for (Index j = 0; j < s.keys; ++j) sum += p[j] = std::exp(p[j] - most);
    for (Index j = 0; j < s.keys; ++j) p[j] /= sum;
}

template <class T>
void attend_plainly(const AttentionShape& s, const T* q, const T* k, const T* v, T* y) {
    const Index c = s.heads * s.width, cv = s.heads * s.value_width;
    parallel_for(s.samples * s.queries * s.heads, 16, [&](Index begin, Index end) {
        Tensor<T> p({s.keys});
        for (Index i = begin; i < end; ++i) {
            const Index head = i % s.heads, n = i / s.heads / s.queries;
            plain_weights(s, q + i * s.width, k + n * s.keys * c + head * s.width, c, p.data());
            T* to = y + i * s.value_width;
            std::fill_n(to, s.value_width, T(0));
            for (Index j = 0; j < s.keys; ++j)
                for (Index o = 0; o < s.value_width; ++o) to[o] += p[j] * v[(n * s.keys + j) * cv + head * s.value_width + o];
        }
    });
}

/// Adds the gradients to dq, dk and dv.
template <class T>
void attend_plainly_gradient(const AttentionShape& s, const T* q, const T* k, const T* v, const T* dy, T* dq, T* dk, T* dv) {
    const Index c = s.heads * s.width, cv = s.heads * s.value_width;
    parallel_for(s.samples * s.heads, 1, [&](Index begin, Index end) {
        Tensor<T> p({s.keys}), dp({s.keys});
        for (Index piece = begin; piece < end; ++piece)
            for (Index i = 0; i < s.queries; ++i) {
                const Index head = piece % s.heads, n = piece / s.heads, row = (n * s.queries + i) * s.heads + head;
                const Index keys = n * s.keys * c + head * s.width, values = n * s.keys * cv + head * s.value_width;
                const T *g = dy + row * s.value_width, *query = q + row * s.width;
                plain_weights(s, query, k + keys, c, p.data());
                T mean = T(0);
                for (Index j = 0; j < s.keys; ++j) {
                    dp[j] = T(0);
                    for (Index o = 0; o < s.value_width; ++o) {
                        dp[j] += g[o] * v[values + j * cv + o];
                        dv[values + j * cv + o] += p[j] * g[o];
                    }
                    mean += p[j] * dp[j];
                }
                for (Index j = 0; j < s.keys; ++j) {
                    const T ds = p[j] * (dp[j] - mean) * static_cast<T>(s.scale());
                    for (Index x = 0; x < s.width; ++x) {
                        dq[row * s.width + x] += ds * k[keys + j * c + x];
                        dk[keys + j * c + x] += ds * query[x];
                    }
                }
            }
    });
}

}  // namespace ito::ops::detail
