// SPDX-License-Identifier: MIT
#pragma once

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/activation.hpp"

namespace ito::ops {

/// The first half of the channels times the activation of the second: x [.., 2 C] -> [.., C]. With GELU this is GEGLU, with
/// SiLU SwiGLU (Shazeer 2020). Throws ShapeError if the channels are odd in number.
template <class T>
Var<T> gate(const Var<T>& x, Activation kind = Activation::gelu) {
    const Index twice = x->dim(-1), channels = twice / 2, rows = x->size() / std::max<Index>(1, twice);
    if (twice % 2 != 0) throw ShapeError("gate: " + x.shape().str() + " has no two halves of channels");
    const Profile::Timer timer("gate", x.shape());
    const Index grain = simd::map_grain / std::max<Index>(1, twice) + 1;
    Tensor<T> y(x.shape().with(-1, channels));
    parallel_for(rows, grain, [&](Index begin, Index end) {
        simd::gate_rows(kind, x->data() + begin * twice, end - begin, channels, y.data() + begin * channels);
    });
    Tape<T>* tape = x.tape();
    if (!tape) return Var<T>(std::move(y));
    auto pullback = [=](Tensor<T>& dy) {
        const Profile::Timer timer("gate backward", x.shape());
        Tensor<T> dx(x.shape());
        parallel_for(rows, grain, [&](Index begin, Index end) {
            simd::gate_gradient_rows(kind, x->data() + begin * twice, dy.data() + begin * channels, end - begin, channels,
                                     dx.data() + begin * twice);
        });
        tape->add(x, std::move(dx));
    };
    return result_of(std::move(y), tape, std::move(pullback), x);
}

}  // namespace ito::ops
