// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include "ito/nn/unet_blocks.hpp"

namespace ito::nn {

/// A denoiser for points: waves of the input at learned frequencies, as sharp shapes in few dimensions need (Sitzmann et
/// al. 2020), then residual layers with the time added in each.
/// x [N, dimensions], times [N] of the order of 0 to 1000 -> [N, dimensions]. Every weight is zero until initialize.
template <class T>
struct Mlp {
    Index time_width = 0;
    TimestepEmbedding<T> time_embedding;
    Linear<T> in, out;
    std::vector<Linear<T>> hidden, time_emb_proj;

    Mlp() = default;
    /// For points of `dimensions` coordinates; `layers` residual layers of `width` features.
    Mlp(Index dimensions, Index width, Index layers)
        : time_width(width), time_embedding(width, width), in(dimensions, width), out(width, dimensions) {
        for (Index i = 0; i < layers; ++i) {
            hidden.emplace_back(width, width);
            time_emb_proj.emplace_back(width, width);
        }
    }

    Var<T> operator()(const Var<T>& x, std::span<const T> times) const {
        if (x->rank() != 2 || static_cast<Index>(times.size()) != x->dim(0))
            throw ShapeError("Mlp: input " + x.shape().str() + " with " + std::to_string(times.size()) + " times");
        Tensor<T> waves = ops::sinusoidal_embedding(times, time_width, true, 0.0);
        const Var<T> time = ops::silu(time_embedding(x.tape() ? x.tape()->constant(std::move(waves)) : Var<T>(std::move(waves))));
        Var<T> h = ops::activate(ops::scale(in(x), T(5)), ops::Activation::sine);
        for (std::size_t i = 0; i < hidden.size(); ++i)
            h = ops::add(h, hidden[i](ops::silu(ops::add(h, time_emb_proj[i](time)))));
        return out(ops::silu(h));
    }

    static void fields(auto& self, auto&& visit) {
        visit("time_embedding", self.time_embedding);
        visit("in", self.in);
        visit("hidden", self.hidden);
        visit("time_emb_proj", self.time_emb_proj);
        visit("out", self.out);
    }
};

}  // namespace ito::nn
