// SPDX-License-Identifier: MIT
#include "ito/io/model_folder.hpp"

#include "catch.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

nn::UNet2D<float> labelled_unet() {
    nn::UNet2DConfig config;
    config.sample_size = {8, 8};
    config.in_channels = config.out_channels = 1;
    config.down_block_types = {"DownBlock2D"};
    config.up_block_types = {"UpBlock2D"};
    config.block_out_channels = {8};
    config.layers_per_block = 1;
    config.norm_num_groups = 4;
    config.num_class_embeds = 3;
    nn::UNet2D<float> unet(config);
    float value = 0;
    nn::for_each_parameter(unet, [&](const std::string&, auto& parameter) {
        for (float& v : parameter.change()) v = (value += 1) / 1024;
    });
    return unet;
}

SchedulerConfig small_scheduler() {
    return SchedulerConfig::from_json({{"_class_name", "DDPMScheduler"}, {"beta_schedule", "squaredcos_cap_v2"}});
}

template <class E>
std::string refusal(const std::filesystem::path& folder) {
    try {
        load_model(folder);
    } catch (const E& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a model folder is written and opened") {
    TempFolder folder;
    const auto unet = labelled_unet();
    save_model(folder / "deep/model", unet, small_scheduler(), {"cat", "dog"});
    const Model model = load_model(folder / "deep/model");
    CHECK(model.unet.config() == unet.config());
    CHECK(model.class_names == std::vector<std::string>{"cat", "dog"});
    CHECK(model.null_class == 2);
    CHECK(model.classes() == 2);
    CHECK(model.scheduler.json() == small_scheduler().json());
    std::vector<float> left, right;
    nn::for_each_parameter(
        unet, [&](const std::string&, const auto& p) { left.insert(left.end(), p.value.begin(), p.value.end()); });
    nn::for_each_parameter(model.unet, [&](const std::string&, const auto& p) {
        right.insert(right.end(), p.value.begin(), p.value.end());
    });
    CHECK(left == right);
    const auto index = read_json(folder / "deep/model/model_index.json");
    CHECK(index.at("unet") == nlohmann::json({"diffusers", "UNet2DModel"}));
    CHECK(index.at("scheduler") == nlohmann::json({"diffusers", "DDPMScheduler"}));
    // Written again over itself, as half precision.
    save_model(folder / "deep/model", unet, small_scheduler(), {}, DType::f16);
    CHECK(load_model(folder / "deep/model").null_class == -1);
}

TEST_CASE("a damaged model folder is refused with the file and the reason") {
    TempFolder folder;
    const auto root = folder / "model";
    save_model(root, labelled_unet(), small_scheduler(), {"cat", "dog"});
    const auto index = root / "model_index.json", config = root / "unet/config.json",
               weights = root / "unet/diffusion_pytorch_model.safetensors",
               scheduler = root / "scheduler/scheduler_config.json";
    const auto changed = [](const std::filesystem::path& path, const std::string& key, const nlohmann::json& value) {
        auto json = read_json(path);
        json[key] = value;
        write_json(path, json);
    };

    CHECK_THAT(refusal<FileError>(folder / "absent"), ContainsSubstring("model_index.json: cannot be opened"));
    for (const auto& path : {index, config, scheduler}) {
        CAPTURE(path);
        const std::string whole = read_text(path);
        for (std::size_t length = 0; length + 3 < whole.size(); length += 7) {
            write_text(path, whole.substr(0, length));
            CHECK_THAT(refusal<FileError>(root), ContainsSubstring("not valid JSON"));
        }
        write_text(path, std::string(1'000'000, '['));
        CHECK_THAT(refusal<FileError>(root), ContainsSubstring("nested"));
        write_text(path, "{\"sample_size\": 1e999}");
        CHECK_FALSE(refusal<Error>(root).empty());
        write_text(path, "[]");
        CHECK_FALSE(refusal<Error>(root).empty());
        write_text(path, "\xff");
        CHECK_FALSE(refusal<FileError>(root).empty());
        std::filesystem::remove(path);
        CHECK_FALSE(refusal<FileError>(root).empty());
        write_text(path, whole);
    }
    REQUIRE(refusal<Error>(root).empty());

    SECTION("an index that asks for what ito does not have") {
        changed(index, "unet", {"diffusers", "UNet7DModel"});
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("UNet7DModel"));
    }
    SECTION("classes that the network does not have") {
        changed(index, "_null_class", 3);
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("no class 3"));
        changed(index, "_null_class", "none");
        CHECK_FALSE(refusal<ConfigError>(root).empty());
    }
    SECTION("a block that ito does not have") {
        changed(config, "down_block_types", {"SpiralBlock2D"});
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("SpiralBlock2D"));
    }
    SECTION("an entry of another type, shown on one line") {
        for (const auto& [key, value] : {std::pair<std::string, nlohmann::json>{"attention_head_dim", 12.9},
                                         {"norm_num_groups", 4.5},
                                         {"block_out_channels", nlohmann::json{8.5}},
                                         {"layers_per_block", true},
                                         {"norm_eps", true},
                                         {"act_fn", "si\nlu\x1b"},
                                         {"down_block_types", nlohmann::json{"Down\nBlock2D"}}}) {
            const std::string whole = read_text(config);
            changed(config, key, value);
            const std::string text = refusal<ConfigError>(root);
            CHECK_THAT(text, ContainsSubstring("'" + key + "' cannot be"));
            CHECK(text.find_first_of("\n\x1b") == std::string::npos);
            write_text(config, whole);
        }
        changed(config, "entry\nof\nlines", 1);
        CHECK(refusal<ConfigError>(root).find('\n') == std::string::npos);
    }
    SECTION("a config that contradicts itself") {
        changed(config, "block_out_channels", {8, 8});
        CHECK_FALSE(refusal<ConfigError>(root).empty());
    }
    SECTION("a config that contradicts the weights") {
        changed(config, "block_out_channels", {16});
        CHECK_THAT(refusal<ShapeError>(root), ContainsSubstring("expected ["));
        changed(config, "block_out_channels", {8});
        changed(config, "layers_per_block", 2);
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("missing parameters"));
    }
    SECTION("a config that asks for more memory than there is") {
        changed(config, "block_out_channels", {10'000'000});
        CHECK_THAT(refusal<ShapeError>(root), ContainsSubstring("expected [10000000]"));
        changed(config, "block_out_channels", {-1});
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("positive"));
        changed(config, "block_out_channels", {8});
        changed(config, "in_channels", 100'000'000);
        CHECK_THAT(refusal<ShapeError>(root), ContainsSubstring("conv_in.weight"));
        changed(config, "in_channels", labelled_unet().config().in_channels);
        changed(config, "block_out_channels", {8});
        changed(config, "layers_per_block", 1'000'000'000'000);
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("missing parameters"));
    }
    SECTION("a scheduler that ito does not have") {
        changed(scheduler, "_class_name", "CrystalBallScheduler");
        CHECK_THAT(refusal<ConfigError>(root), ContainsSubstring("CrystalBallScheduler"));
    }
    SECTION("no weights, or half of them") {
        const std::string whole = read_text(weights);
        write_text(weights, whole.substr(0, whole.size() / 2));
        CHECK_THAT(refusal<FileError>(root), ContainsSubstring("diffusion_pytorch_model.safetensors"));
        std::filesystem::remove(weights);
        CHECK_FALSE(refusal<FileError>(root).empty());
    }
}

TEST_CASE("a model that cannot be saved says so") {
    TempFolder folder;
    write_text(folder / "file", "in the way");
    CHECK_THROWS_AS(save_model(folder / "file", labelled_unet(), small_scheduler()), FileError);
    CHECK_THROWS_AS(save_model(folder / "model", labelled_unet(), small_scheduler(), {"\xff"}), ArgumentError);
    CHECK_THROWS_AS(read_json(folder.path()), FileError);
}
