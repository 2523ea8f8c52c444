// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/nn/skip_blocks.hpp"
#include "ito/nn/unet2d_config.hpp"
#include "ito/simd/precision.hpp"

namespace ito::nn {

/// The U-Net of DDPM (Ho et al. 2020) with the options of Dhariwal and Nichol 2021 and the blocks of NCSN++ (Song et al.
/// 2021): diffusers' UNet2DModel. Its parameters have that model's names.
template <class T>
class UNet2D {
  public:
    UNet2D() = default;

    /// Every parameter zero but for the norms; see initialize. Throws ConfigError for a config that contradicts itself or
    /// names a block that ito does not have.
    explicit UNet2D(const UNet2DConfig& config);

    const UNet2DConfig& config() const { return config_; }

    /// What its convolutions are computed by where no PrecisionScope around the call names algorithms; empty at first: the
    /// cost model chooses. See tuned.
    const ConvAlgorithms& algorithms() const { return algorithms_; }
    void set_algorithms(ConvAlgorithms algorithms) { algorithms_ = std::move(algorithms); }

    /// x [N, H, W, in_channels], times [N], labels [N] where the network has classes, else none -> [N, H, W, out_channels].
    /// H and W must be multiples of 2^(levels - 1). Recorded on the tape of x if it has one.
    /// Throws ShapeError or ArgumentError for input that does not fit.
    Var<T> operator()(const Var<T>& x, std::span<const T> times, std::span<const Index> labels = {}) const;

    /// The same with numbers in place of labels: times [N] for class_embed_type timestep, embeddings
    /// [N, time_embedding_dim] for identity.
    Var<T> operator()(const Var<T>& x, std::span<const T> times, const Tensor<T>& condition) const;

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

    static ops::Activation activation_named(const std::string& name);
    ResnetStyle style() const;
    Index groups_of(const std::string& block) const;
    Index head_width(const std::string& block, Index channels) const;
    DownBlock<T> down_block(const std::string& type, Index in, Index out, bool halve) const;
    UpBlock<T> up_block(const std::string& type, Index from_below, Index out, Index above, bool twice) const;
    MidBlock<T> mid_block() const;
    Var<T> project_times(std::span<const T> times, Tape<T>* tape) const;
    double bytes_needed(const Var<T>& x) const;
    Var<T> forward(const Var<T>& x, std::span<const T> times, const Var<T>& class_embedding) const;

    UNet2DConfig config_;
    ConvAlgorithms algorithms_;
    std::optional<Embedding<T>> time_table_;
    std::optional<TimeFrequencies> time_frequencies_;
    TimestepEmbedding<T> time_embedding_;
    std::optional<Embedding<T>> class_table_;
    std::optional<TimestepEmbedding<T>> class_embedding_;
    Conv2d<T> conv_in_;
    std::vector<std::variant<DownBlock<T>, SkipDownBlock<T>>> down_blocks_;
    std::optional<MidBlock<T>> mid_block_;
    std::vector<std::variant<UpBlock<T>, SkipUpBlock<T>>> up_blocks_;
    GroupNorm<T> conv_norm_out_;
    Conv2d<T> conv_out_;
};

template <class T>
ops::Activation UNet2D<T>::activation_named(const std::string& name) {
    if (name == "silu" || name == "swish") return ops::Activation::silu;
    if (name == "relu") return ops::Activation::relu;
    if (name == "gelu") return ops::Activation::gelu;
    if (name == "mish") return ops::Activation::mish;
    throw detail::bad_unet2d("unknown act_fn '" + name + "'");
}

template <class T>
ResnetStyle UNet2D<T>::style() const {
    return {.time_width = config_.time_embedding_dim.value_or(4 * config_.block_out_channels[0]),
            .groups = config_.norm_num_groups.value_or(0),
            .epsilon = config_.norm_eps,
            .activation = activation_named(config_.act_fn),
            .scale_shift = config_.resnet_time_scale_shift == "scale_shift",
            .dropout = config_.dropout};
}

template <class T>
Index UNet2D<T>::groups_of(const std::string& block) const {
    if (!config_.norm_num_groups) throw detail::bad_unet2d("'" + block + "' needs norm_num_groups");
    return *config_.norm_num_groups;
}

/// Of attention in this block; 0 where it has none.
template <class T>
Index UNet2D<T>::head_width(const std::string& block, Index channels) const {
    return block.starts_with("Attn") ? config_.attention_head_dim.value_or(channels) : 0;
}

template <class T>
DownBlock<T> UNet2D<T>::down_block(const std::string& type, Index in, Index out, bool halve) const {
    const bool with_attention = type == "AttnDownBlock2D", always_resnet = type == "ResnetDownsampleBlock2D";
    if (!with_attention && !always_resnet && type != "DownBlock2D") throw detail::bad_unet2d("down block '" + type + "' is not supported");
    const Index groups = groups_of(type);
    DownBlock<T> block;
    for (Index i = 0; i < config_.layers_per_block; ++i) {
        block.resnets.push_back(ResnetBlock<T>(i == 0 ? in : out, out, style()));
        if (with_attention) block.attentions.push_back(AttentionBlock<T>(out, head_width(type, out), groups, config_.norm_eps));
    }
    if (!halve) return block;
    if (always_resnet || (with_attention && config_.downsample_type == "resnet"))
        block.resnet_downsample.emplace(out, out, style(), Resampling::down);
    else if (!with_attention || config_.downsample_type == "conv")
        block.downsample.emplace(out, config_.downsample_padding);
    else
        throw detail::bad_unet2d("unknown downsample_type '" + config_.downsample_type + "'");
    return block;
}

template <class T>
UpBlock<T> UNet2D<T>::up_block(const std::string& type, Index from_below, Index out, Index above, bool twice) const {
    const bool with_attention = type == "AttnUpBlock2D", always_resnet = type == "ResnetUpsampleBlock2D";
    if (!with_attention && !always_resnet && type != "UpBlock2D") throw detail::bad_unet2d("up block '" + type + "' is not supported");
    const Index groups = groups_of(type);
    UpBlock<T> block;
    for (Index i = 0; i <= config_.layers_per_block; ++i) {
        block.resnets.push_back(ResnetBlock<T>((i == 0 ? from_below : out) + (i == config_.layers_per_block ? above : out), out, style()));
        if (with_attention) block.attentions.push_back(AttentionBlock<T>(out, head_width(type, out), groups, config_.norm_eps));
    }
    if (!twice) return block;
    if (always_resnet || (with_attention && config_.upsample_type == "resnet"))
        block.resnet_upsample.emplace(out, out, style(), Resampling::up);
    else if (!with_attention || config_.upsample_type == "conv")
        block.upsample.emplace(out);
    else
        throw detail::bad_unet2d("unknown upsample_type '" + config_.upsample_type + "'");
    return block;
}

template <class T>
MidBlock<T> UNet2D<T>::mid_block() const {
    const Index width = config_.block_out_channels.back();
    ResnetStyle style = this->style();
    style.groups = config_.norm_num_groups.value_or(detail::skip_groups(width));
    style.output_divisor = config_.mid_block_scale_factor;
    MidBlock<T> block;
    for (int i = 0; i < 2; ++i) block.resnets.push_back(ResnetBlock<T>(width, width, style));
    // Scale-shift networks norm this attention's input only if attn_norm_num_groups says so.
    const Index groups = config_.attn_norm_num_groups.value_or(style.scale_shift ? 0 : style.groups);
    if (config_.add_attention)
        block.attentions.push_back(AttentionBlock<T>(width, config_.attention_head_dim.value_or(width), groups, config_.norm_eps, style.output_divisor));
    return block;
}

template <class T>
UNet2D<T>::UNet2D(const UNet2DConfig& config) : config_(config) {
    validate(config);
    const auto& channels = config.block_out_channels;
    const std::size_t levels = channels.size();
    const ResnetStyle style = this->style();

    Index time_in = channels[0];
    if (config.time_embedding_type == "fourier") {
        time_frequencies_.emplace();
        time_frequencies_->weight.change() = Tensor<T>({channels[0]});
        fill_normal(time_frequencies_->weight.change().span(), RandomKey{0, 0, 0, Stream::parameter});
        time_frequencies_->weight.change().array() *= T(16);
        time_in = 2 * channels[0];
    } else if (config.time_embedding_type == "learned") {
        time_table_.emplace(*config.num_train_timesteps, channels[0]);
    }
    time_embedding_ = {time_in, style.time_width};

    if (config.class_embed_type == "timestep") class_embedding_.emplace(time_in, style.time_width);
    else if (!config.class_embed_type && config.num_class_embeds) class_table_.emplace(*config.num_class_embeds, style.time_width);

    // Names of old checkpoints start with UNetRes.
    const auto plain = [](const std::string& type) { return type.starts_with("UNetRes") ? type.substr(7) : type; };
    const Index layers = config.layers_per_block;
    conv_in_ = conv3x3<T>(config.in_channels, channels[0]);
    for (std::size_t level = 0; level < levels; ++level) {
        const std::string type = plain(config.down_block_types[level]);
        const Index in = channels[level ? level - 1 : 0], out = channels[level];
        const bool halve = level + 1 < levels;
        if (type == "SkipDownBlock2D" || type == "AttnSkipDownBlock2D")
            down_blocks_.push_back(SkipDownBlock<T>(in, out, layers, style, head_width(type, out), halve));
        else
            down_blocks_.push_back(down_block(type, in, out, halve));
    }
    if (config.mid_block_type) mid_block_ = mid_block();
    for (std::size_t level = 0; level < levels; ++level) {
        const std::string type = plain(config.up_block_types[level]);
        const std::size_t at = levels - 1 - level;
        const Index from_below = channels[std::min(at + 1, levels - 1)], out = channels[at], above = channels[at ? at - 1 : 0];
        const bool twice = level + 1 < levels;
        if (type == "SkipUpBlock2D" || type == "AttnSkipUpBlock2D")
            up_blocks_.push_back(SkipUpBlock<T>(from_below, out, above, layers + 1, style, head_width(type, out), twice));
        else
            up_blocks_.push_back(up_block(type, from_below, out, above, twice));
    }
    conv_norm_out_ = {channels[0], config.norm_num_groups.value_or(detail::skip_groups(channels[0])), config.norm_eps};
    conv_out_ = conv3x3<T>(channels[0], config.out_channels);
}

template <class T>
Var<T> UNet2D<T>::project_times(std::span<const T> times, Tape<T>* tape) const {
    auto constant = [tape](Tensor<T> x) { return tape ? tape->constant(std::move(x)) : Var<T>(std::move(x)); };
    if (config_.time_embedding_type == "positional")
        return constant(ops::sinusoidal_embedding(times, config_.block_out_channels[0], config_.flip_sin_to_cos, config_.freq_shift));
    if (config_.time_embedding_type == "fourier") return constant(ops::fourier_embedding(times, time_frequencies_->weight.value, false));
    PooledVector<Index> indices(times.size());
    std::transform(times.begin(), times.end(), indices.begin(), [](T t) { return static_cast<Index>(t); });
    return (*time_table_)(indices, tape);
}

template <class T>
Var<T> UNet2D<T>::operator()(const Var<T>& x, std::span<const T> times, std::span<const Index> labels) const {
    const std::size_t n = static_cast<std::size_t>(x->dim(0));
    if (config_.class_embed_type == "identity") throw ArgumentError("this network takes class embeddings, not labels");
    const bool has_classes = class_table_ || class_embedding_;
    if (has_classes && labels.size() != n)
        throw ArgumentError(std::to_string(labels.size()) + " class labels for " + std::to_string(n) + " samples");
    if (!has_classes && !labels.empty()) throw ArgumentError("class labels for a network without classes");
    if (class_table_) return forward(x, times, (*class_table_)(labels, x.tape()));
    if (!class_embedding_) return forward(x, times, {});
    const PooledVector<T> label_times(labels.begin(), labels.end());
    return forward(x, times, (*class_embedding_)(project_times(label_times, x.tape())));
}

template <class T>
Var<T> UNet2D<T>::operator()(const Var<T>& x, std::span<const T> times, const Tensor<T>& condition) const {
    if (class_embedding_) {
        require_shape("times that stand for classes", {x->dim(0)}, condition.shape());
        return forward(x, times, (*class_embedding_)(project_times(condition.span(), x.tape())));
    }
    if (config_.class_embed_type != "identity") throw ArgumentError("class embeddings for a network that takes none");
    require_shape("class embeddings", {x->dim(0), style().time_width}, condition.shape());
    return forward(x, times, x.tape() ? x.tape()->constant(condition) : Var<T>(condition));
}

/// What the results of the levels take: on the way down they are kept for the way up, and beside them there are a few of
/// the first level. A tape keeps what every layer was given, some six results a residual block both ways.
template <class T>
double UNet2D<T>::bytes_needed(const Var<T>& x) const {
    double kept = 0, largest = 0, pixels = static_cast<double>(x->dim(0) * x->dim(1) * x->dim(2));
    for (const Index channels : config_.block_out_channels) {
        const double result = pixels * static_cast<double>(channels) * sizeof(T);
        kept += result * static_cast<double>(config_.layers_per_block);
        largest = std::max(largest, result);
        pixels /= 4;
    }
    return x.tape() ? 12 * kept : kept + 3 * largest;
}

template <class T>
Var<T> UNet2D<T>::forward(const Var<T>& x, std::span<const T> times, const Var<T>& class_embedding) const {
    if (down_blocks_.empty()) throw ArgumentError("a UNet2D without a config");
    const Index multiple = Index{1} << (down_blocks_.size() - 1);
    if (x->rank() != 4 || x->dim(3) != config_.in_channels || x->dim(1) % multiple != 0 || x->dim(2) % multiple != 0)
        throw ShapeError("UNet2D: needs [N, H, W, " + std::to_string(config_.in_channels) + "] with H and W multiples of " +
                         std::to_string(multiple) + ", got " + x.shape().str());
    if (static_cast<Index>(times.size()) != x->dim(0))
        throw ArgumentError(std::to_string(times.size()) + " times for " + std::to_string(x->dim(0)) + " samples");
    const double bytes = bytes_needed(x), reusable = static_cast<double>(cached_memory());
    // Asked first because the text for the error would be a heap allocation in every step.
    if (!memory_holds(bytes, reusable)) require_memory("UNet2D: a batch of " + x.shape().str(), bytes, reusable);
    const PrecisionScope own(PrecisionScope::algorithms() ? nullptr : &algorithms_);
    // Every residual block starts by activating the embedding; once is enough.
    Var<T> time = time_embedding_(project_times(times, x.tape()));
    if (class_embedding) time = ops::add(time, class_embedding);
    time = ops::activate(time, activation_named(config_.act_fn));

    PooledVector<Var<T>> skips;
    Var<T> image = config_.center_input_sample ? ops::scale(x, T(2), T(-1)) : x, h = conv_in_(image);
    const auto run = [&](const auto& block) {
        if constexpr (requires { block.skip_conv; }) h = block(std::move(h), time, skips, image);
        else h = block(std::move(h), time, skips);
    };
    skips.push_back(h);
    for (const auto& block : down_blocks_) std::visit(run, block);
    if (mid_block_) h = (*mid_block_)(h, time);
    image = {};
    for (const auto& block : up_blocks_) std::visit(run, block);
    h = conv_out_(conv_norm_out_(std::move(h), ops::Activation::silu), {}, image);
    if (config_.time_embedding_type != "fourier") return h;
    // Trained as a score: the noise level divides what the network says (Song et al. 2021, appendix G).
    Tensor<T> inverse({static_cast<Index>(times.size())});
    std::transform(times.begin(), times.end(), inverse.begin(), [](T t) { return T(1) / t; });
    return ops::scale_samples(h, inverse);
}

}  // namespace ito::nn
