// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/simd/math.hpp"

namespace ito::ops {

/// a + b, equal shapes. Throws ShapeError otherwise.
template <class T>
Var<T> add(const Var<T>& a, const Var<T>& b) {
    require_shape("add: second summand", a.shape(), b.shape());
    const Profile::Timer timer("add", a.shape());
    Tensor<T> y(a.shape());
    simd::map_all(y, [](auto u, auto v) { return simd::add(u, v); }, a->data(), b->data());
    Tape<T>* tape = common_tape(a, b);
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        if (a.tracked()) tape->add(a, b.tracked() ? Tensor<T>(dy) : std::move(dy));
        if (b.tracked()) tape->add(b, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), a, b);
}

/// factor * x + offset.
template <class T>
Var<T> scale(const Var<T>& x, T factor, T offset = T(0)) {
    const Profile::Timer timer("scale", x.shape());
    Tensor<T> y(x.shape());
    simd::map_all(y, [=](auto v) { return simd::multiply_add(v, simd::broadcast(factor), simd::broadcast(offset)); }, x->data());
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        simd::map_all(dy, [=](auto v) { return simd::multiply(v, simd::broadcast(factor)); }, std::as_const(dy).data());
        tape->add(x, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

/// Row i of x [N, ..] times factors[i], which has no gradient. Throws ShapeError unless factors is [N].
template <class T>
Var<T> scale_samples(const Var<T>& x, const Tensor<T>& factors) {
    require_shape("scale samples: factors", {x->dim(0)}, factors.shape());
    auto multiplied = [](const Tensor<T>& factors, const Tensor<T>& from, Tensor<T>& to) {
        const Index row = to.size() / std::max<Index>(1, to.dim(0));
        for (Index i = 0; i < to.dim(0); ++i)
            simd::map(row, to.data() + i * row, [f = factors[i]](auto v) { return simd::multiply(v, simd::broadcast(f)); },
                      from.data() + i * row);
    };
    Tensor<T> y(x.shape());
    multiplied(factors, *x, y);
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        multiplied(factors, dy, dy);
        tape->add(x, std::move(dy));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

/// The same elements under another shape.
template <class T>
Var<T> reshape(const Var<T>& x, const Shape& shape) {
    const Profile::Timer timer("reshape", x.shape());
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(x->reshaped(shape));
    return result_of(
        x->reshaped(shape), tape, [=](Tensor<T>& dy) { tape->add(x, std::move(dy).reshaped(x.shape())); }, x);
}

/// Side by side on the last axis: [.., A], [.., B] -> [.., A + B]. Throws ShapeError if the leading axes differ.
template <class T>
Var<T> concat(const Var<T>& a, const Var<T>& b) {
    const Index ca = a->dim(-1), cb = b->dim(-1);
    require_shape("concat: second part", a.shape().with(-1, cb), b.shape());
    const Profile::Timer timer("concat", a.shape(), b.shape());
    Tensor<T> y(a.shape().with(-1, ca + cb));
    const Index rows = a->size() / std::max<Index>(1, ca), grain = simd::map_grain / std::max<Index>(1, ca + cb) + 1;
    parallel_for(rows, grain, [&](Index begin, Index end) {
        for (Index row = begin; row < end; ++row) {
            T* to = std::copy_n(a->data() + row * ca, ca, y.data() + row * (ca + cb));
            std::copy_n(b->data() + row * cb, cb, to);
        }
    });
    Tape<T>* tape = common_tape(a, b);
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("concat backward", a.shape(), b.shape());
        Tensor<T> da(a.shape()), db(b.shape());
        parallel_for(rows, grain, [&](Index begin, Index end) {
            for (Index row = begin; row < end; ++row) {
                const T* from = dy.data() + row * (ca + cb);
                std::copy_n(from, ca, da.data() + row * ca);
                std::copy_n(from + ca, cb, db.data() + row * cb);
            }
        });
        tape->add(a, std::move(da));
        tape->add(b, std::move(db));
    };
    return result_of(std::move(y), tape, std::move(pullback), a, b);
}

/// The first `count` channels: [.., C] -> [.., count]. Throws ShapeError if there are not as many.
template <class T>
Var<T> leading_channels(const Var<T>& x, Index count) {
    const Index channels = x->dim(-1);
    if (count < 0 || count > channels) throw ShapeError(std::to_string(count) + " channels of " + x.shape().str());
    Tensor<T> y(x.shape().with(-1, count));
    y.matrix() = x->matrix().leftCols(count);
    Tape<T>* tape = x.tape();
    auto pullback = [=](Tensor<T>& dy) {
        Tensor<T> dx = Tensor<T>::zeros(x.shape());
        dx.matrix().leftCols(count) = dy.matrix();
        tape->add(x, std::move(dx));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

}  // namespace ito::ops
