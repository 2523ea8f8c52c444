// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <vector>

#include "ito/nn/layers.hpp"
#include "ito/ops/attention.hpp"
#include "ito/ops/dropout.hpp"
#include "ito/ops/elementwise.hpp"
#include "ito/ops/fir.hpp"
#include "ito/ops/resample.hpp"

namespace ito::nn {

/// Two linear maps with SiLU between: what the network makes of a time embedding. [N, in] -> [N, width].
template <class T>
struct TimestepEmbedding {
    Linear<T> linear_1, linear_2;

    TimestepEmbedding() = default;
    TimestepEmbedding(Index in, Index width) : linear_1(in, width), linear_2(width, width) {}

    Var<T> operator()(const Var<T>& x) const { return linear_2(ops::silu(linear_1(x))); }

    static void fields(auto& self, auto&& visit) {
        visit("linear_1", self.linear_1);
        visit("linear_2", self.linear_2);
    }
};

/// What the residual blocks of one network have in common.
struct ResnetStyle {
    Index time_width = 0;
    Index groups = 32;
    std::optional<Index> groups_out = {};  ///< of the second norm; empty: as the first
    double epsilon = 1e-5;
    ops::Activation activation = ops::Activation::silu;
    bool scale_shift = false;       ///< time conditions by scale and shift after the second norm, not by a sum before it
    double dropout = 0;
    double output_divisor = 1;
};

enum class Resampling { none, down, up, fir_down, fir_up };

/// Residual block with time conditioning (Ho et al. 2020, appendix B; resampling and scale-shift: Dhariwal and Nichol
/// 2021). With FIR resampling (Song et al. 2021, appendix H) the shortcut is convolved, too.
/// x [N, H, W, in], activated time embedding [N, time_width] -> [N, H', W', out].
template <class T>
struct ResnetBlock {
    GroupNorm<T> norm1, norm2;
    Conv2d<T> conv1, conv2;
    Linear<T> time_emb_proj;
    std::optional<Conv2d<T>> conv_shortcut;
    ResnetStyle style;
    Resampling resampling = Resampling::none;

    ResnetBlock() = default;
    ResnetBlock(Index in, Index out, const ResnetStyle& style, Resampling resampling = Resampling::none)
        : norm1(in, style.groups, style.epsilon),
          norm2(out, style.groups_out.value_or(style.groups), style.epsilon),
          conv1(conv3x3<T>(in, out)),
          conv2(conv3x3<T>(out, out)),
          time_emb_proj(style.time_width, style.scale_shift ? 2 * out : out),
          style(style),
          resampling(resampling) {
        if (in != out || resampling == Resampling::fir_down || resampling == Resampling::fir_up) conv_shortcut.emplace(in, out, 1);
    }

    Var<T> operator()(Var<T> input, const Var<T>& time) const {
        Var<T> x = resample(input);
        if (conv_shortcut) x = (*conv_shortcut)(x);
        const Var<T> embedding = time_emb_proj(time);
        Var<T> h = resample(norm1(std::move(input), style.activation));
        if (style.scale_shift) h = norm2(conv1(h), style.activation, embedding);
        else h = norm2(conv1(h, embedding), style.activation);
        h = conv2(ops::dropout(h, style.dropout), {}, x);
        return style.output_divisor == 1 ? h : ops::scale(h, static_cast<T>(1 / style.output_divisor));
    }

    static void fields(auto& self, auto&& visit) {
        visit("norm1", self.norm1);
        visit("conv1", self.conv1);
        visit("time_emb_proj", self.time_emb_proj);
        visit("norm2", self.norm2);
        visit("conv2", self.conv2);
        visit("conv_shortcut", self.conv_shortcut);
    }

  private:
    Var<T> resample(const Var<T>& x) const {
        switch (resampling) {
            case Resampling::none: return x;
            case Resampling::down: return ops::average_pool(x);
            case Resampling::up: return ops::upsample_nearest(x);
            case Resampling::fir_down: return ops::fir_downsample(x);
            case Resampling::fir_up: return ops::fir_upsample(x);
        }
        return x;
    }
};

/// Self-attention over the pixels of an image, with its residual: [N, H, W, C] -> [N, H, W, C].
template <class T>
struct AttentionBlock {
    std::optional<GroupNorm<T>> group_norm;
    Linear<T> to_q, to_k, to_v;
    std::vector<Linear<T>> to_out;
    Index heads = 1;
    double output_divisor = 1;

    AttentionBlock() = default;

    /// As many heads as fit into the channels. groups = 0 leaves the norm out. Throws ConfigError if no head fits.
    AttentionBlock(Index channels, Index head_width, Index groups, double epsilon, double output_divisor = 1)
        : heads(head_width > 0 ? channels / head_width : 0), output_divisor(output_divisor) {
        if (heads < 1)
            throw ConfigError("attention heads of width " + std::to_string(head_width) + " on " + std::to_string(channels) +
                              " channels");
        const Index inner = heads * head_width;
        to_q = to_k = to_v = Linear<T>(channels, inner);
        to_out.push_back(Linear<T>(inner, channels));
        if (groups > 0) group_norm.emplace(channels, groups, epsilon);
    }

    Var<T> operator()(const Var<T>& x) const {
        const Var<T> h = group_norm ? (*group_norm)(x) : x;
        const Var<T> y = to_out[0](ops::attention(to_q(h), to_k(h), to_v(h), heads), x);
        return output_divisor == 1 ? y : ops::scale(y, static_cast<T>(1 / output_divisor));
    }

    static void fields(auto& self, auto&& visit) {
        visit("group_norm", self.group_norm);
        visit("to_q", self.to_q);
        visit("to_k", self.to_k);
        visit("to_v", self.to_v);
        visit("to_out", self.to_out);
    }
};

/// Halving by a convolution of stride 2. padding 0 pads one pixel at the bottom and right only, as Ho et al. 2020 do.
template <class T>
struct Downsample {
    Conv2d<T> conv;

    Downsample() = default;
    Downsample(Index channels, Index padding)
        : conv(channels, channels, 3,
               {2, padding == 0 ? ops::Padding{0, 0, 1, 1} : ops::Padding::same(padding)}) {}

    Var<T> operator()(const Var<T>& x) const { return conv(x); }

    static void fields(auto& self, auto&& visit) { visit("conv", self.conv); }
};

/// Nearest-neighbour doubling, then a convolution.
template <class T>
struct Upsample {
    Conv2d<T> conv;

    Upsample() = default;
    explicit Upsample(Index channels) : conv(conv3x3<T>(channels, channels)) {}

    Var<T> operator()(const Var<T>& x) const { return conv(ops::upsample_nearest(x)); }

    static void fields(auto& self, auto&& visit) { visit("conv", self.conv); }
};

/// One level on the way down: residual blocks, each with attention if the level has it, and a halving unless it is the
/// last. Every result is kept for the way up.
template <class T>
struct DownBlock {
    std::vector<ResnetBlock<T>> resnets;
    std::vector<AttentionBlock<T>> attentions;
    std::optional<Downsample<T>> downsample;
    std::optional<ResnetBlock<T>> resnet_downsample;

    Var<T> operator()(Var<T> x, const Var<T>& time, PooledVector<Var<T>>& skips) const {
        for (std::size_t i = 0; i < resnets.size(); ++i) {
            x = resnets[i](x, time);
            if (!attentions.empty()) x = attentions[i](x);
            skips.push_back(x);
        }
        if (downsample) skips.push_back(x = (*downsample)(x));
        if (resnet_downsample) skips.push_back(x = (*resnet_downsample)(x, time));
        return x;
    }

    static void fields(auto& self, auto&& visit) {
        visit("resnets", self.resnets);
        visit("attentions", self.attentions);
        visit("downsamplers.0", self.downsample);
        visit("downsamplers.0", self.resnet_downsample);
    }
};

/// The lowest level: residual block, attention if asked, residual block.
template <class T>
struct MidBlock {
    std::vector<ResnetBlock<T>> resnets;
    std::vector<AttentionBlock<T>> attentions;

    Var<T> operator()(const Var<T>& input, const Var<T>& time) const {
        Var<T> x = resnets[0](input, time);
        if (!attentions.empty()) x = attentions[0](x);
        return resnets[1](x, time);
    }

    static void fields(auto& self, auto&& visit) {
        visit("resnets", self.resnets);
        visit("attentions", self.attentions);
    }
};

/// One level on the way up: before each residual block the last kept result of the way down is put beside the channels;
/// a doubling ends the level unless it is the last.
template <class T>
struct UpBlock {
    std::vector<ResnetBlock<T>> resnets;
    std::vector<AttentionBlock<T>> attentions;
    std::optional<Upsample<T>> upsample;
    std::optional<ResnetBlock<T>> resnet_upsample;

    Var<T> operator()(Var<T> x, const Var<T>& time, PooledVector<Var<T>>& skips) const {
        for (std::size_t i = 0; i < resnets.size(); ++i) {
            x = ops::concat(x, skips.back());  // what it was made of is not kept while the block runs
            skips.pop_back();
            x = resnets[i](std::move(x), time);
            if (!attentions.empty()) x = attentions[i](x);
        }
        if (upsample) x = (*upsample)(x);
        if (resnet_upsample) x = (*resnet_upsample)(x, time);
        return x;
    }

    static void fields(auto& self, auto&& visit) {
        visit("resnets", self.resnets);
        visit("attentions", self.attentions);
        visit("upsamplers.0", self.upsample);
        visit("upsamplers.0", self.resnet_upsample);
    }
};

}  // namespace ito::nn
