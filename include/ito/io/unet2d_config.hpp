// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/io/file_error.hpp"
#include "ito/io/json_file.hpp"
#include "ito/nn/unet2d.hpp"

namespace ito {

namespace detail {

/// Fills or writes one entry of a config; an absent entry keeps its default.
struct ReadConfig {
    const nlohmann::json& json;
    std::set<std::string> known;

    template <class T>
    void operator()(const char* key, T& value) {
        known.insert(key);
        if (!json.contains(key)) return;
        try {
            read(json.at(key), value);
        } catch (const nlohmann::json::exception&) {
            throw ConfigError("config: '" + std::string(key) + "' cannot be " + printable(json.at(key).dump()));
        }
    }

    [[noreturn]] static void refuse() {
        throw nlohmann::json::type_error::create(302, "another type", static_cast<const nlohmann::json*>(nullptr));
    }
    template <class T>
    static void read(const nlohmann::json& from, std::optional<T>& value) {
        if (from.is_null()) value.reset();
        else read(from, value.emplace());
    }
    template <class T>
    static void read(const nlohmann::json& from, std::vector<T>& value) {
        if (!from.is_array()) refuse();
        value.assign(from.size(), T());
        for (std::size_t i = 0; i < from.size(); ++i) read(from[i], value[i]);
    }
    static void read(const nlohmann::json& from, bool& value) {
        if (!from.is_boolean()) refuse();
        value = from.get<bool>();
    }
    static void read(const nlohmann::json& from, Index& value) {
        if (!from.is_number_integer()) refuse();
        value = from.get<Index>();
    }
    static void read(const nlohmann::json& from, double& value) {
        if (!from.is_number()) refuse();
        value = from.get<double>();
    }
    /// No name has a control character, so that every error is one line.
    static void read(const nlohmann::json& from, std::string& value) {
        value = from.get<std::string>();
        if (printable(value) != value) refuse();
    }
};

struct WriteConfig {
    nlohmann::json& json;

    template <class T>
    void operator()(const char* key, const T& value) {
        json[key] = value;
    }
    template <class T>
    void operator()(const char* key, const std::optional<T>& value) {
        if (value) json[key] = *value;
        else json[key] = nullptr;
    }
};

/// Every entry of a UNet2DModel's config but sample_size, which has three forms.
template <class Config, class Visit>
void visit_unet2d_config(Config& c, Visit& visit) {
    visit("in_channels", c.in_channels);
    visit("out_channels", c.out_channels);
    visit("center_input_sample", c.center_input_sample);
    visit("time_embedding_type", c.time_embedding_type);
    visit("time_embedding_dim", c.time_embedding_dim);
    visit("freq_shift", c.freq_shift);
    visit("flip_sin_to_cos", c.flip_sin_to_cos);
    visit("down_block_types", c.down_block_types);
    visit("mid_block_type", c.mid_block_type);
    visit("up_block_types", c.up_block_types);
    visit("block_out_channels", c.block_out_channels);
    visit("layers_per_block", c.layers_per_block);
    visit("mid_block_scale_factor", c.mid_block_scale_factor);
    visit("downsample_padding", c.downsample_padding);
    visit("downsample_type", c.downsample_type);
    visit("upsample_type", c.upsample_type);
    visit("dropout", c.dropout);
    visit("act_fn", c.act_fn);
    visit("attention_head_dim", c.attention_head_dim);
    visit("norm_num_groups", c.norm_num_groups);
    visit("attn_norm_num_groups", c.attn_norm_num_groups);
    visit("norm_eps", c.norm_eps);
    visit("resnet_time_scale_shift", c.resnet_time_scale_shift);
    visit("add_attention", c.add_attention);
    visit("class_embed_type", c.class_embed_type);
    visit("num_class_embeds", c.num_class_embeds);
    visit("num_train_timesteps", c.num_train_timesteps);
}

}  // namespace detail

/// The config of a diffusers UNet2DModel from its config.json; absent entries keep diffusers' defaults.
/// Throws ConfigError for another class, an entry of the wrong type or one that ito does not know.
inline nn::UNet2DConfig unet2d_config_from_json(const nlohmann::json& json) {
    if (!json.is_object()) throw ConfigError("config: not a JSON object");
    const auto name = json.find("_class_name");
    if (name != json.end() && !detail::is_text(*name, "UNet2DModel")) throw ConfigError("config: " + detail::printable(name->dump()) + " is not a UNet2DModel");

    nn::UNet2DConfig config;
    detail::ReadConfig read{json, {"sample_size"}};
    detail::visit_unet2d_config(config, read);
    for (const auto& [key, value] : json.items())
        if (!read.known.count(key) && !key.starts_with("_"))
            throw ConfigError("config: ito does not know the entry '" + detail::printable(key) + "' of a UNet2DModel");

    const nlohmann::json size = json.value("sample_size", nlohmann::json());
    if (size.is_number_integer()) config.sample_size = {size.get<Index>(), size.get<Index>()};
    else if (size.is_array() && size.size() == 2 && size[0].is_number_integer() && size[1].is_number_integer())
        config.sample_size = {size[0].get<Index>(), size[1].get<Index>()};
    else if (!size.is_null()) throw ConfigError("config: 'sample_size' cannot be " + detail::printable(size.dump()));
    for (Index extent : config.sample_size)
        if (extent < 1) throw ConfigError("config: 'sample_size' must be positive");
    return config;
}

/// The config.json that diffusers opens as a UNet2DModel.
inline nlohmann::json to_json(const nn::UNet2DConfig& config) {
    nlohmann::json json = {{"_class_name", "UNet2DModel"}};
    if (config.sample_size.empty()) json["sample_size"] = nullptr;
    else if (config.sample_size[0] == config.sample_size[1]) json["sample_size"] = config.sample_size[0];
    else json["sample_size"] = config.sample_size;
    detail::WriteConfig write{json};
    detail::visit_unet2d_config(config, write);
    return json;
}

}  // namespace ito
