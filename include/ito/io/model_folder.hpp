// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ito/io/conv_algorithms_file.hpp"
#include "ito/io/json_file.hpp"
#include "ito/io/parameters.hpp"
#include "ito/io/scheduler_config.hpp"
#include "ito/io/unet2d_config.hpp"

namespace ito {

/// A model folder in the layout of diffusers: a network, the schedule that it was trained with, and its classes.
struct Model {
    nn::UNet2D<float> unet;
    SchedulerConfig scheduler;
    std::vector<std::string> class_names;  ///< empty where the folder does not say
    Index null_class = -1;                 ///< the class that stands for none, which guidance needs; -1: there is none

    /// Classes that can be asked for: [0, classes()), without the null class. 0 for a network without classes.
    Index classes() const {
        const Index count = unet.config().num_class_embeds.value_or(0);
        return null_class >= 0 ? std::min(count, null_class) : count;
    }
};

namespace detail {

/// Compares the numbers of a config that decide how large a network is with its weights, before one of that size is made.
inline void require_sizes(const nn::UNet2DConfig& config, const SafeTensors& weights) {
    const auto& sizes = config.block_out_channels;
    if (config.in_channels < 1 || config.out_channels < 1 || config.layers_per_block < 1 || config.time_embedding_dim.value_or(1) < 1 ||
        config.num_class_embeds.value_or(1) < 1 || config.num_train_timesteps.value_or(1) < 1 ||
        std::any_of(sizes.begin(), sizes.end(), [](Index size) { return size < 1 || size > 1 << 24; }))
        throw ConfigError("config: channels, layers and classes must be positive, and channels at most 2^24");
    const auto require = [&](const std::string& name, Index extent) {
        if (!weights.contains(name)) throw ConfigError(weights.path().string() + ": missing parameters: " + name);
        const Shape& shape = weights.shape(name);
        if (shape.rank() == 0) throw ShapeError(weights.path().string() + ": parameter '" + name + "' has no axes");
        require_shape(weights.path().string() + ": parameter '" + name + "'", shape.with(0, extent), shape);
    };
    for (std::size_t level = 0; level < sizes.size(); ++level)
        require("down_blocks." + std::to_string(level) + ".resnets." + std::to_string(config.layers_per_block - 1) + ".conv2.bias",
                sizes[level]);
    if (weights.contains("conv_in.weight") && weights.shape("conv_in.weight").rank() == 4)
        require_shape(weights.path().string() + ": parameter 'conv_in.weight'", weights.shape("conv_in.weight").with(1, config.in_channels),
                      weights.shape("conv_in.weight"));
    require("conv_out.bias", config.out_channels);
    if (config.time_embedding_dim) require("time_embedding.linear_1.bias", *config.time_embedding_dim);
    if (config.num_class_embeds && !config.class_embed_type) require("class_embedding.weight", *config.num_class_embeds);
    if (config.num_train_timesteps && config.time_embedding_type == "learned")
        require("time_proj.weight", *config.num_train_timesteps);
}

}  // namespace detail

/// A UNet2D from a folder with config.json and diffusion_pytorch_model.safetensors (or its .fp16 variant); the algorithms of
/// its convolutions from ito_algorithms.json if that is there.
/// Throws FileError, ConfigError or ShapeError with the file's name.
inline nn::UNet2D<float> load_unet2d(const std::filesystem::path& folder) {
    const auto config_path = folder / "config.json";
    try {
        const nn::UNet2DConfig config = unet2d_config_from_json(read_json(config_path));
        auto weights = folder / "diffusion_pytorch_model.safetensors";
        const auto half = folder / "diffusion_pytorch_model.fp16.safetensors";
        if (!std::filesystem::exists(weights) && std::filesystem::exists(half)) weights = half;
        const SafeTensors file = SafeTensors::open(weights);
        detail::require_sizes(config, file);
        nn::UNet2D<float> unet(config);
        load_parameters(unet, file);
        if (const auto algorithms = folder / conv_algorithms_file; std::filesystem::exists(algorithms))
            unet.set_algorithms(read_conv_algorithms(algorithms));
        return unet;
    } catch (const ConfigError& error) {
        const std::string text = error.what();
        throw text.find(folder.string()) != std::string::npos ? error : ConfigError(config_path.string() + ": " + text);
    }
}

/// Opens a folder with model_index.json, unet/ and scheduler/, as diffusers and save_model write it.
/// Throws FileError, ConfigError or ShapeError with the file's name.
inline Model load_model(const std::filesystem::path& folder) {
    const auto index_path = folder / "model_index.json";
    if (folder.filename() == "model_index.json")
        throw detail::file_error(folder, "is a file of the model; name its folder");
    if (!std::filesystem::exists(index_path) && std::filesystem::exists(folder / "model" / "model_index.json"))
        throw detail::file_error(folder, "is no model; the one in it is " + (folder / "model").string());
    const nlohmann::json index = read_json(index_path);
    const auto bad = [&](const std::string& why) { return ConfigError(index_path.string() + ": " + why); };
    const auto unet = index.find("unet");
    if (unet == index.end() || !unet->is_array() || unet->size() != 2) throw bad("names no unet");
    if (!detail::is_text((*unet)[1], "UNet2DModel")) throw bad("the unet is a " + (*unet)[1].dump() + ", ito has UNet2DModel");

    Model model{
        load_unet2d(folder / "unet"), SchedulerConfig::load(folder / "scheduler" / "scheduler_config.json"), {}, -1};
    try {
        model.class_names = index.value("_class_names", model.class_names);
        model.null_class = index.value("_null_class", model.null_class);
    } catch (const nlohmann::json::exception&) {
        throw bad("'_class_names' must be a list of names and '_null_class' a number");
    }
    if (model.null_class < -1 || model.null_class >= model.unet.config().num_class_embeds.value_or(0))
        if (model.null_class != -1)
            throw bad("the network has no class " + std::to_string(model.null_class) + " for '_null_class'");
    return model;
}

/// Writes a folder that load_model and diffusers open. With class names, the network's last class is the null class if
/// it has one more than there are names. Each file is replaced in one step. Throws FileError.
inline void save_model(const std::filesystem::path& folder, const nn::UNet2D<float>& unet,
                       const SchedulerConfig& scheduler, const std::vector<std::string>& class_names = {},
                       DType dtype = DType::f32) {
    for (const char* part : {"unet", "scheduler"}) {
        std::error_code error;
        std::filesystem::create_directories(folder / part, error);
        if (error) throw detail::file_error(folder / part, "cannot be made: " + error.message());
    }
    save_parameters(unet, folder / "unet" / "diffusion_pytorch_model.safetensors", dtype);
    write_json(folder / "unet" / "config.json", to_json(unet.config()));
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler.json());
    nlohmann::json index = {{"_class_name", "DDPMPipeline"},
                            {"unet", {"diffusers", "UNet2DModel"}},
                            {"scheduler", {"diffusers", scheduler.options().class_name}}};
    if (!class_names.empty()) {
        index["_class_names"] = class_names;
        const auto named = static_cast<Index>(class_names.size());
        if (unet.config().num_class_embeds == named + 1) index["_null_class"] = named;
    }
    write_json(folder / "model_index.json", index);
}

}  // namespace ito
