// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

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
    std::optional<Index> norm_num_groups = 32;   ///< where empty (a network of Skip blocks): a quarter of the channels, up to 32
    std::optional<Index> attn_norm_num_groups;
    double norm_eps = 1e-5;
    std::string resnet_time_scale_shift = "default";  ///< default or scale_shift
    bool add_attention = true;
    std::optional<std::string> class_embed_type;      ///< empty, timestep or identity
    std::optional<Index> num_class_embeds;
    std::optional<Index> num_train_timesteps;         ///< for the learned time embedding

    bool operator==(const UNet2DConfig&) const = default;
};

namespace detail {

inline constexpr Index skip_image_channels = 3;  // of the image beside the features, in networks of Skip blocks

inline ConfigError bad_unet2d(const std::string& what) { return ConfigError("UNet2DModel config: " + what); }

/// The image beside the features of Skip blocks must have the size of the features wherever the two are added.
inline void require_skip_image(const UNet2DConfig& c) {
    const auto is_skip = [](const std::string& type) { return type.find("Skip") != std::string::npos; };
    for (std::size_t level = 0; level + 1 < c.block_out_channels.size(); ++level) {
        const std::string &down = c.down_block_types[level], &up = c.up_block_types[level];
        if (is_skip(down) && c.in_channels != skip_image_channels) throw bad_unet2d("'" + down + "' needs 3 in_channels");
        if (is_skip(down) && level > 0 && !is_skip(c.down_block_types[level - 1]))
            throw bad_unet2d("'" + down + "' needs Skip blocks before it");
        if (is_skip(up) && c.out_channels != skip_image_channels) throw bad_unet2d("'" + up + "' needs 3 out_channels");
        if (is_skip(up) && !is_skip(c.up_block_types[level + 1])) throw bad_unet2d("'" + up + "' needs Skip blocks after it");
    }
}

}  // namespace detail

/// Throws ConfigError for a config that contradicts itself or that ito does not have. The names of the blocks are left
/// to UNet2D.
inline void validate(const UNet2DConfig& c) {
    using detail::bad_unet2d;
    const std::size_t levels = c.block_out_channels.size();
    if (levels == 0) throw bad_unet2d("block_out_channels is empty");
    if (c.down_block_types.size() != levels || c.up_block_types.size() != levels)
        throw bad_unet2d(std::to_string(levels) + " block_out_channels, " + std::to_string(c.down_block_types.size()) +
                         " down_block_types and " + std::to_string(c.up_block_types.size()) + " up_block_types do not agree");
    if (*std::min_element(c.block_out_channels.begin(), c.block_out_channels.end()) < 1 || c.in_channels < 1 ||
        c.out_channels < 1 || c.layers_per_block < 1 || c.norm_num_groups.value_or(1) < 1 ||
        c.time_embedding_dim.value_or(1) < 1 || c.attn_norm_num_groups.value_or(1) < 1 ||
        c.attention_head_dim.value_or(1) < 1 || c.num_class_embeds.value_or(1) < 1 || c.downsample_padding < 0)
        throw bad_unet2d("channels, layers, groups, head width and classes must be positive");
    if (!(c.norm_eps > 0) || !(c.mid_block_scale_factor > 0) || !(c.dropout >= 0 && c.dropout < 1))
        throw bad_unet2d("norm_eps and mid_block_scale_factor must be positive, dropout in [0, 1)");
    if (c.resnet_time_scale_shift != "default" && c.resnet_time_scale_shift != "scale_shift")
        throw bad_unet2d("unknown resnet_time_scale_shift '" + c.resnet_time_scale_shift + "'");
    if (c.time_embedding_type != "positional" && c.time_embedding_type != "fourier" && c.time_embedding_type != "learned")
        throw bad_unet2d("unknown time_embedding_type '" + c.time_embedding_type + "'");
    if (c.time_embedding_type == "learned" && c.num_train_timesteps.value_or(0) < 1)
        throw bad_unet2d("a learned time embedding needs num_train_timesteps");
    if (c.class_embed_type && *c.class_embed_type != "timestep" && *c.class_embed_type != "identity")
        throw bad_unet2d("class_embed_type '" + *c.class_embed_type + "' is not supported");
    if (c.mid_block_type.value_or("UNetMidBlock2D") != "UNetMidBlock2D")
        throw bad_unet2d("mid block '" + *c.mid_block_type + "' is not supported");
    detail::require_skip_image(c);
}

}  // namespace ito::nn
