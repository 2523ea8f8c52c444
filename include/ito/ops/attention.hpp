// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/core/parallel.hpp"
#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"

namespace ito::ops {

namespace detail {

/// Columns of one head in rows of one sample of a [N, L, C] tensor.
template <class T>
using HeadMap = Eigen::Map<std::conditional_t<std::is_const_v<T>, const RowMatrix<std::remove_const_t<T>>, RowMatrix<T>>, 0,
                           Eigen::OuterStride<>>;

inline constexpr Index attention_block = 64;  // queries that are scored at a time: [64, L] instead of [L, L]

template <class T>
void softmax_rows(RowMatrix<T>& scores) {
    for (Index r = 0; r < scores.rows(); ++r) {
        auto row = scores.row(r).array();
        row = (row - row.maxCoeff()).exp();
        row /= row.sum();
    }
}

}  // namespace detail

/// Scaled dot-product attention (Vaswani et al. 2017, equation 1), the heads side by side on the last axis:
/// q [N, Lq, C], k [N, Lk, C], v [N, Lk, Cv] -> [N, Lq, Cv]; head h owns columns [h C / heads, (h + 1) C / heads).
/// Scores are divided by sqrt(C / heads). Throws ShapeError if the shapes do not fit each other or the heads.
template <class T>
Var<T> attention(const Var<T>& q, const Var<T>& k, const Var<T>& v, Index heads) {
    using Head = detail::HeadMap<const T>;
    using MutableHead = detail::HeadMap<T>;
    const Index n = q->dim(0), lq = q->dim(1), lk = k->dim(1), c = q->dim(2), cv = v->dim(2);
    if (q->rank() != 3 || heads < 1 || c % heads != 0 || cv % heads != 0)
        throw ShapeError("attention: " + std::to_string(heads) + " heads on queries " + q.shape().str());
    require_shape("attention: keys", {n, lk, c}, k.shape());
    require_shape("attention: values", {n, lk, cv}, v.shape());
    const Index d = c / heads, dv = cv / heads;
    const T scale = T(1) / std::sqrt(T(d));
    auto head = [](const Tensor<T>& x, Index i, Index h, Index width) {
        return Head(x.data() + i * x.dim(1) * x.dim(2) + h * width, x.dim(1), width, Eigen::OuterStride<>(x.dim(2)));
    };
    auto mutable_head = [](Tensor<T>& x, Index i, Index h, Index width) {
        return MutableHead(x.data() + i * x.dim(1) * x.dim(2) + h * width, x.dim(1), width, Eigen::OuterStride<>(x.dim(2)));
    };

    const Index multiply_adds = n * lq * lk * (c + cv);
    const Profile::Timer timer("attention", q.shape(), k.shape(), multiply_adds);
    Tensor<T> y({n, lq, cv});
    const Index blocks = (lq + detail::attention_block - 1) / detail::attention_block;
    parallel_for(n * heads * blocks, 1, [&](Index begin, Index end) {
        for (Index piece = begin; piece < end; ++piece) {
            const Index h = piece / blocks % heads, i = piece / (blocks * heads);
            const Index row = piece % blocks * detail::attention_block, rows = std::min(detail::attention_block, lq - row);
            RowMatrix<T> scores = head(*q, i, h, d).middleRows(row, rows) * head(*k, i, h, d).transpose() * scale;
            detail::softmax_rows(scores);
            mutable_head(y, i, h, dv).middleRows(row, rows).noalias() = scores * head(*v, i, h, dv);
        }
    });

    Tape<T>* tape = common_tape(q, k, v);
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("attention backward", q.shape(), k.shape(), 2 * multiply_adds);
        Tensor<T> dq = Tensor<T>::zeros(q.shape()), dk = Tensor<T>::zeros(k.shape()), dv_ = Tensor<T>::zeros(v.shape());
        parallel_for(n * heads, 1, [&](Index begin, Index end) {
            for (Index piece = begin; piece < end; ++piece) {
                const Index h = piece % heads, i = piece / heads;
                const auto qh = head(*q, i, h, d), kh = head(*k, i, h, d), vh = head(*v, i, h, dv), gh = head(dy, i, h, dv);
                for (Index row = 0; row < lq; row += detail::attention_block) {
                    const Index rows = std::min(detail::attention_block, lq - row);
                    RowMatrix<T> p = qh.middleRows(row, rows) * kh.transpose() * scale;
                    detail::softmax_rows(p);
                    mutable_head(dv_, i, h, dv).noalias() += p.transpose() * gh.middleRows(row, rows);
                    RowMatrix<T> ds = gh.middleRows(row, rows) * vh.transpose();
                    const Eigen::Array<T, Eigen::Dynamic, 1> inner = (ds.array() * p.array()).rowwise().sum();
                    ds.array() = (ds.array().colwise() - inner) * p.array() * scale;
                    mutable_head(dq, i, h, d).middleRows(row, rows).noalias() = ds * kh;
                    mutable_head(dk, i, h, d).noalias() += ds.transpose() * qh.middleRows(row, rows);
                }
            }
        });
        tape->add(q, std::move(dq));
        tape->add(k, std::move(dk));
        tape->add(v, std::move(dv_));
    };
    return result_of(std::move(y), tape, std::move(pullback), q, k, v);
}

}  // namespace ito::ops
