// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <numbers>
#include <optional>
#include <vector>

#include "ito/nn/unet2d_config.hpp"
#include "ito/nn/unet_blocks.hpp"
#include "ito/ops/fir.hpp"

// The blocks of NCSN++: Song et al., "Score-based generative modeling through stochastic differential equations" (2021),
// section 4.4 and appendix H, as diffusers' (Attn)SkipDownBlock2D and (Attn)SkipUpBlock2D have them. Beside the features
// goes a small image: the input, halved from level to level and added to the features on the way down, and on the way up
// an output that every level adds to. Residuals are divided by sqrt 2.
namespace ito::nn {

namespace detail {

inline Index skip_groups(Index channels) { return std::min<Index>(channels / 4, 32); }

inline ResnetStyle skip_style(ResnetStyle style, Index groups, Index groups_out) {
    style.groups = groups;
    style.groups_out = groups_out;
    style.output_divisor = std::numbers::sqrt2;
    return style;
}

template <class T>
AttentionBlock<T> skip_attention(Index channels, Index head_width, double epsilon) {
    return {channels, head_width, 32, epsilon, std::numbers::sqrt2};
}

}  // namespace detail

/// One level on the way down: residual blocks, each with attention if the level has it, and a halving, to which the
/// halved image is added.
template <class T>
struct SkipDownBlock {
    std::vector<ResnetBlock<T>> resnets;
    std::vector<AttentionBlock<T>> attentions;
    std::optional<ResnetBlock<T>> resnet_down;
    std::optional<Conv2d<T>> skip_conv;

    SkipDownBlock() = default;

    /// head_width = 0: no attention. Throws ConfigError if groups do not divide the channels.
    SkipDownBlock(Index in, Index out, Index layers, const ResnetStyle& style, Index head_width, bool halve) {
        for (Index i = 0; i < layers; ++i) {
            const Index channels = i == 0 ? in : out;
            resnets.push_back(ResnetBlock<T>(channels, out, detail::skip_style(style, detail::skip_groups(channels), detail::skip_groups(out))));
            if (head_width > 0) attentions.push_back(detail::skip_attention<T>(out, head_width, style.epsilon));
        }
        if (!halve) return;
        resnet_down.emplace(out, out, detail::skip_style(style, detail::skip_groups(out), detail::skip_groups(out)), Resampling::fir_down);
        skip_conv.emplace(detail::skip_image_channels, out, 1);
    }

    /// image [N, H, W, 3] is halved where the level halves.
    Var<T> operator()(Var<T> x, const Var<T>& time, PooledVector<Var<T>>& skips, Var<T>& image) const {
        for (std::size_t i = 0; i < resnets.size(); ++i) {
            x = resnets[i](x, time);
            if (!attentions.empty()) x = attentions[i](x);
            skips.push_back(x);
        }
        if (!resnet_down) return x;
        image = ops::fir_downsample(image);
        skips.push_back(x = (*skip_conv)(image, {}, (*resnet_down)(x, time)));
        return x;
    }

    static void fields(auto& self, auto&& visit) {
        visit("resnets", self.resnets);
        visit("attentions", self.attentions);
        visit("resnet_down", self.resnet_down);
        visit("skip_conv", self.skip_conv);
    }
};

/// One level on the way up: residual blocks on what was kept on the way down, then attention if the level has it; the
/// level adds to the image, and both are doubled unless it is the last.
template <class T>
struct SkipUpBlock {
    std::vector<ResnetBlock<T>> resnets;
    std::vector<AttentionBlock<T>> attentions;
    std::optional<ResnetBlock<T>> resnet_up;
    std::optional<Conv2d<T>> skip_conv;
    std::optional<GroupNorm<T>> skip_norm;

    SkipUpBlock() = default;

    /// `above` are the channels of the next level. head_width = 0: no attention.
    /// Throws ConfigError if groups do not divide the channels.
    SkipUpBlock(Index from_below, Index out, Index above, Index layers, const ResnetStyle& style, Index head_width, bool twice) {
        for (Index i = 0; i < layers; ++i) {
            const Index in = i == 0 ? from_below : out, kept = i + 1 == layers ? above : out;
            // The reference's blocks with attention divide only the second summand by 4.
            const Index groups = head_width > 0 ? std::min<Index>(in + kept / 4, 32) : detail::skip_groups(in + kept);
            resnets.push_back(ResnetBlock<T>(in + kept, out, detail::skip_style(style, groups, detail::skip_groups(out))));
        }
        if (head_width > 0) attentions.push_back(detail::skip_attention<T>(out, head_width, style.epsilon));
        if (!twice) return;
        resnet_up.emplace(out, out, detail::skip_style(style, detail::skip_groups(out), detail::skip_groups(out)), Resampling::fir_up);
        skip_conv = conv3x3<T>(out, detail::skip_image_channels);
        skip_norm.emplace(out, detail::skip_groups(out), style.epsilon);
    }

    /// image [N, H / 2, W / 2, 3], or empty before the first level that adds to it, becomes [N, H, W, 3].
    Var<T> operator()(Var<T> x, const Var<T>& time, PooledVector<Var<T>>& skips, Var<T>& image) const {
        for (const auto& resnet : resnets) {
            x = ops::concat(x, skips.back());
            skips.pop_back();
            x = resnet(std::move(x), time);
        }
        if (!attentions.empty()) x = attentions[0](x);
        if (image) image = ops::fir_upsample(image);
        if (!resnet_up) return x;
        image = (*skip_conv)((*skip_norm)(x, ops::Activation::silu), {}, image);
        return (*resnet_up)(x, time);
    }

    static void fields(auto& self, auto&& visit) {
        visit("resnets", self.resnets);
        visit("attentions", self.attentions);
        visit("resnet_up", self.resnet_up);
        visit("skip_conv", self.skip_conv);
        visit("skip_norm", self.skip_norm);
    }
};

}  // namespace ito::nn
