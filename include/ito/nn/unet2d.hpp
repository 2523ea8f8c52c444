// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/nn/unet_blocks.hpp"

namespace ito::nn {

/// What a UNet2D is made of. Field names, values and defaults are those of a diffusers UNet2DModel's config.json;
/// io/unet2d_config.hpp reads and writes that file.
struct UNet2DConfig {
    std::vector<Index> sample_size;         ///< height and width it was trained at; empty: any
    Index in_channels = 3;
    Index out_channels = 3;
    bool center_input_sample = false;       ///< input is in [0, 1] and is moved to [-1, 1] first
    std::string time_embedding_type = "positional";  ///< positional, fourier or learned
    std::optional<Index> time_embedding_dim;         ///< 4 * block_out_channels[0] if empty
    double freq_shift = 0;
    bool flip_sin_to_cos = true;
    std::vector<std::string> down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"};
    std::optional<std::string> mid_block_type = "UNetMidBlock2D";
    std::vector<std::string> up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
    std::vector<Index> block_out_channels = {224, 448, 672, 896};
    Index layers_per_block = 2;
    double mid_block_scale_factor = 1;
    Index downsample_padding = 1;
    std::string downsample_type = "conv";   ///< conv or resnet; what blocks with attention use
    std::string upsample_type = "conv";
    double dropout = 0;
    std::string act_fn = "silu";
    std::optional<Index> attention_head_dim = 8;  ///< one head if empty
    Index norm_num_groups = 32;
    std::optional<Index> attn_norm_num_groups;
    double norm_eps = 1e-5;
    std::string resnet_time_scale_shift = "default";  ///< default or scale_shift
    bool add_attention = true;
    std::optional<std::string> class_embed_type;      ///< empty or timestep
    std::optional<Index> num_class_embeds;
    std::optional<Index> num_train_timesteps;         ///< for the learned time embedding

    bool operator==(const UNet2DConfig&) const = default;
};

/// The U-Net of DDPM (Ho et al. 2020) with the options of Dhariwal and Nichol 2021: diffusers' UNet2DModel.
/// Its parameters have that model's names.
template <class T>
class UNet2D {
  public:
    UNet2D() = default;

    /// Every parameter zero but for the norms; see initialize. Throws ConfigError for a config that contradicts itself or
    /// names a block that ito does not have.
    explicit UNet2D(const UNet2DConfig& config);

    const UNet2DConfig& config() const { return config_; }

    /// x [N, H, W, in_channels], times [N], labels [N] where the network has classes, else none -> [N, H, W, out_channels].
    /// H and W must be multiples of 2^(levels - 1). Recorded on the tape of x if it has one.
    /// Throws ShapeError or ArgumentError for input that does not fit.
    Var<T> operator()(const Var<T>& x, std::span<const T> times, std::span<const Index> labels = {}) const;

    static void fields(auto& self, auto&& visit) {
        visit("time_proj", self.time_table_);
        visit("time_proj", self.time_frequencies_);
        visit("time_embedding", self.time_embedding_);
        visit("class_embedding", self.class_table_);
        visit("class_embedding", self.class_embedding_);
        visit("conv_in", self.conv_in_);
        visit("down_blocks", self.down_blocks_);
        visit("mid_block", self.mid_block_);
        visit("up_blocks", self.up_blocks_);
        visit("conv_norm_out", self.conv_norm_out_);
        visit("conv_out", self.conv_out_);
    }

  private:
    /// Frequencies of the Fourier time embedding. They are drawn once and never trained.
    struct TimeFrequencies {
        Parameter<T> weight;
        static void fields(auto& self, auto&& visit) { visit("weight", self.weight); }
    };

    static ConfigError bad(const std::string& what) { return ConfigError("UNet2DModel config: " + what); }
    static ops::Activation activation_named(const std::string& name);
    ResnetStyle style() const;
    AttentionBlock<T> attention(Index channels) const;
    Var<T> project_times(std::span<const T> times, Tape<T>* tape) const;
    Var<T> embed(const Var<T>& x, std::span<const T> times, std::span<const Index> labels) const;

    UNet2DConfig config_;
    std::optional<Embedding<T>> time_table_;
    std::optional<TimeFrequencies> time_frequencies_;
    TimestepEmbedding<T> time_embedding_;
    std::optional<Embedding<T>> class_table_;
    std::optional<TimestepEmbedding<T>> class_embedding_;
    Conv2d<T> conv_in_;
    std::vector<DownBlock<T>> down_blocks_;
    std::optional<MidBlock<T>> mid_block_;
    std::vector<UpBlock<T>> up_blocks_;
    GroupNorm<T> conv_norm_out_;
    Conv2d<T> conv_out_;
};

template <class T>
ops::Activation UNet2D<T>::activation_named(const std::string& name) {
    if (name == "silu" || name == "swish") return ops::Activation::silu;
    if (name == "relu") return ops::Activation::relu;
    if (name == "gelu") return ops::Activation::gelu;
    if (name == "mish") return ops::Activation::mish;
    throw bad("unknown act_fn '" + name + "'");
}

template <class T>
ResnetStyle UNet2D<T>::style() const {
    if (config_.resnet_time_scale_shift != "default" && config_.resnet_time_scale_shift != "scale_shift")
        throw bad("unknown resnet_time_scale_shift '" + config_.resnet_time_scale_shift + "'");
    return {.time_width = config_.time_embedding_dim.value_or(4 * config_.block_out_channels[0]),
            .groups = config_.norm_num_groups,
            .epsilon = config_.norm_eps,
            .activation = activation_named(config_.act_fn),
            .scale_shift = config_.resnet_time_scale_shift == "scale_shift",
            .dropout = config_.dropout};
}

template <class T>
AttentionBlock<T> UNet2D<T>::attention(Index channels) const {
    return {channels, config_.attention_head_dim.value_or(channels), config_.norm_num_groups, config_.norm_eps};
}

template <class T>
UNet2D<T>::UNet2D(const UNet2DConfig& config) : config_(config) {
    const auto& channels = config.block_out_channels;
    const std::size_t levels = channels.size();
    if (levels == 0) throw bad("block_out_channels is empty");
    if (config.down_block_types.size() != levels || config.up_block_types.size() != levels)
        throw bad(std::to_string(levels) + " block_out_channels, " + std::to_string(config.down_block_types.size()) +
                  " down_block_types and " + std::to_string(config.up_block_types.size()) + " up_block_types do not agree");
    if (*std::min_element(channels.begin(), channels.end()) < 1 || config.in_channels < 1 || config.out_channels < 1 ||
        config.layers_per_block < 1 || config.norm_num_groups < 1 || config.time_embedding_dim.value_or(1) < 1 ||
        config.attn_norm_num_groups.value_or(1) < 1 || config.downsample_padding < 0)
        throw bad("channels, layers and groups must be positive");
    if (!(config.norm_eps > 0) || !(config.mid_block_scale_factor > 0) || !(config.dropout >= 0 && config.dropout < 1))
        throw bad("norm_eps and mid_block_scale_factor must be positive, dropout in [0, 1)");
    const ResnetStyle style = this->style();

    Index time_in = channels[0];
    if (config.time_embedding_type == "fourier") {
        time_frequencies_.emplace();
        time_frequencies_->weight.value = Tensor<T>({channels[0]});
        fill_normal(time_frequencies_->weight.value.span(), RandomKey{0, 0, 0, Stream::parameter});
        time_frequencies_->weight.value.array() *= T(16);
        time_in = 2 * channels[0];
    } else if (config.time_embedding_type == "learned") {
        if (config.num_train_timesteps.value_or(0) < 1) throw bad("a learned time embedding needs num_train_timesteps");
        time_table_.emplace(*config.num_train_timesteps, channels[0]);
    } else if (config.time_embedding_type != "positional") {
        throw bad("unknown time_embedding_type '" + config.time_embedding_type + "'");
    }
    time_embedding_ = {time_in, style.time_width};

    if (!config.class_embed_type) {
        if (config.num_class_embeds) {
            if (*config.num_class_embeds < 1) throw bad("num_class_embeds must be positive");
            class_table_.emplace(*config.num_class_embeds, style.time_width);
        }
    } else if (*config.class_embed_type == "timestep") {
        class_embedding_.emplace(time_in, style.time_width);
    } else {
        throw bad("class_embed_type '" + *config.class_embed_type + "' is not supported");
    }

    conv_in_ = conv3x3<T>(config.in_channels, channels[0]);
    for (std::size_t level = 0; level < levels; ++level) {
        const std::string& type = config.down_block_types[level];
        const bool with_attention = type == "AttnDownBlock2D";
        if (!with_attention && type != "DownBlock2D" && type != "ResnetDownsampleBlock2D")
            throw bad("down block '" + type + "' is not supported");
        const Index out = channels[level];
        DownBlock<T> block;
        for (Index i = 0; i < config.layers_per_block; ++i) {
            block.resnets.emplace_back(i == 0 ? channels[level ? level - 1 : 0] : out, out, style);
            if (with_attention) block.attentions.push_back(attention(out));
        }
        if (level + 1 < levels) {
            if (type == "ResnetDownsampleBlock2D" || (with_attention && config.downsample_type == "resnet"))
                block.resnet_downsample.emplace(out, out, style, Resampling::down);
            else if (!with_attention || config.downsample_type == "conv")
                block.downsample.emplace(out, config.downsample_padding);
            else
                throw bad("unknown downsample_type '" + config.downsample_type + "'");
        }
        down_blocks_.push_back(std::move(block));
    }

    if (config.mid_block_type) {
        if (*config.mid_block_type != "UNetMidBlock2D") throw bad("mid block '" + *config.mid_block_type + "' is not supported");
        const Index width = channels.back();
        ResnetStyle mid = style;
        mid.output_divisor = config.mid_block_scale_factor;
        mid_block_.emplace();
        mid_block_->resnets = {ResnetBlock<T>(width, width, mid), ResnetBlock<T>(width, width, mid)};
        // Scale-shift networks norm this attention's input only if attn_norm_num_groups says so.
        const Index groups = config.attn_norm_num_groups.value_or(mid.scale_shift ? 0 : config.norm_num_groups);
        if (config.add_attention)
            mid_block_->attentions.emplace_back(width, config.attention_head_dim.value_or(width), groups, config.norm_eps,
                                                config.mid_block_scale_factor);
    }

    for (std::size_t level = 0; level < levels; ++level) {
        const std::string& type = config.up_block_types[level];
        const bool with_attention = type == "AttnUpBlock2D";
        if (!with_attention && type != "UpBlock2D" && type != "ResnetUpsampleBlock2D")
            throw bad("up block '" + type + "' is not supported");
        const std::size_t at = levels - 1 - level;
        const Index out = channels[at], from_below = channels[std::min(at + 1, levels - 1)], above = channels[at ? at - 1 : 0];
        UpBlock<T> block;
        for (Index i = 0; i <= config.layers_per_block; ++i) {
            const Index skip = i == config.layers_per_block ? above : out;
            block.resnets.emplace_back((i == 0 ? from_below : out) + skip, out, style);
            if (with_attention) block.attentions.push_back(attention(out));
        }
        if (level + 1 < levels) {
            if (type == "ResnetUpsampleBlock2D" || (with_attention && config.upsample_type == "resnet"))
                block.resnet_upsample.emplace(out, out, style, Resampling::up);
            else if (!with_attention || config.upsample_type == "conv")
                block.upsample.emplace(out);
            else
                throw bad("unknown upsample_type '" + config.upsample_type + "'");
        }
        up_blocks_.push_back(std::move(block));
    }

    conv_norm_out_ = {channels[0], config.norm_num_groups, config.norm_eps};
    conv_out_ = conv3x3<T>(channels[0], config.out_channels);
}

template <class T>
Var<T> UNet2D<T>::project_times(std::span<const T> times, Tape<T>* tape) const {
    auto constant = [tape](Tensor<T> x) { return tape ? tape->constant(std::move(x)) : Var<T>(std::move(x)); };
    if (config_.time_embedding_type == "positional")
        return constant(ops::sinusoidal_embedding(times, config_.block_out_channels[0], config_.flip_sin_to_cos, config_.freq_shift));
    if (config_.time_embedding_type == "fourier") return constant(ops::fourier_embedding(times, time_frequencies_->weight.value, false));
    std::vector<Index> indices(times.size());
    std::transform(times.begin(), times.end(), indices.begin(), [](T t) { return static_cast<Index>(t); });
    return (*time_table_)(indices, tape);
}

template <class T>
Var<T> UNet2D<T>::embed(const Var<T>& x, std::span<const T> times, std::span<const Index> labels) const {
    const std::size_t n = static_cast<std::size_t>(x->dim(0));
    const bool has_classes = class_table_ || class_embedding_;
    if (times.size() != n)
        throw ArgumentError(std::to_string(times.size()) + " times for " + std::to_string(n) + " samples");
    if (has_classes && labels.size() != n)
        throw ArgumentError(std::to_string(labels.size()) + " class labels for " + std::to_string(n) + " samples");
    if (!has_classes && !labels.empty()) throw ArgumentError("class labels for a network without classes");

    Var<T> embedding = time_embedding_(project_times(times, x.tape()));
    if (class_table_) embedding = ops::add(embedding, (*class_table_)(labels, x.tape()));
    if (class_embedding_) {
        const std::vector<T> label_times(labels.begin(), labels.end());
        embedding = ops::add(embedding, (*class_embedding_)(project_times(label_times, x.tape())));
    }
    return embedding;
}

template <class T>
Var<T> UNet2D<T>::operator()(const Var<T>& x, std::span<const T> times, std::span<const Index> labels) const {
    if (down_blocks_.empty()) throw ArgumentError("a UNet2D without a config");
    const Index multiple = Index{1} << (down_blocks_.size() - 1);
    if (x->rank() != 4 || x->dim(3) != config_.in_channels || x->dim(1) % multiple != 0 || x->dim(2) % multiple != 0)
        throw ShapeError("UNet2D: needs [N, H, W, " + std::to_string(config_.in_channels) + "] with H and W multiples of " +
                         std::to_string(multiple) + ", got " + x.shape().str());
    // Every residual block starts by activating the embedding; once is enough.
    const Var<T> time = ops::activate(embed(x, times, labels), activation_named(config_.act_fn));

    std::vector<Var<T>> skips;
    Var<T> h = conv_in_(config_.center_input_sample ? ops::scale(x, T(2), T(-1)) : x);
    skips.push_back(h);
    for (const auto& block : down_blocks_) h = block(h, time, skips);
    if (mid_block_) h = (*mid_block_)(h, time);
    for (const auto& block : up_blocks_) h = block(h, time, skips);
    h = conv_out_(conv_norm_out_(h, ops::Activation::silu));
    if (config_.time_embedding_type != "fourier") return h;
    // Trained as a score: the noise level divides what the network says (Song et al. 2021, appendix G).
    Tensor<T> inverse({static_cast<Index>(times.size())});
    std::transform(times.begin(), times.end(), inverse.begin(), [](T t) { return T(1) / t; });
    return ops::scale_samples(h, inverse);
}

}  // namespace ito::nn
