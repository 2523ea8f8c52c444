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

TEST_CASE("algorithms beside the weights are used if they were timed with such registers") {
    TempFolder folder;
    const auto root = folder / "model", path = root / "unet" / conv_algorithms_file;
    save_model(root, labelled_unet(), small_scheduler());
    CHECK(load_model(root).unet.algorithms() == ConvAlgorithms());
    ConvAlgorithms algorithms;
    write_conv_algorithms(path, algorithms);
    CHECK(read_conv_algorithms(path) == algorithms);
    algorithms.choose({8, 8, 1, 8}, ConvAlgorithm::direct);
    algorithms.choose({8, 8, 8, 8}, ConvAlgorithm::winograd4);
    algorithms.choose({4, 2, 16, 8}, ConvAlgorithm::winograd2);
    write_conv_algorithms(path, algorithms);
    CHECK(read_conv_algorithms(path) == algorithms);
    CHECK(load_model(root).unet.algorithms() == algorithms);
    CHECK(read_json(path).at("threads") == ThreadPool::current().threads());

    auto json = read_json(path);
    json["lanes"] = 2 * json["lanes"].get<int>();
    write_json(path, json);
    CHECK(load_model(root).unet.algorithms() == ConvAlgorithms());
}

TEST_CASE("a damaged file of algorithms is refused with its name and the reason, on one line") {
    TempFolder folder;
    const auto root = folder / "model", path = root / "unet" / conv_algorithms_file;
    save_model(root, labelled_unet(), small_scheduler());
    ConvAlgorithms algorithms;
    algorithms.choose({8, 8, 1, 8}, ConvAlgorithm::direct);
    algorithms.choose({8, 8, 8, 8}, ConvAlgorithm::winograd4);
    write_conv_algorithms(path, algorithms);
    const std::string whole = read_text(path);
    const auto json = nlohmann::json::parse(whole);
    const auto refused = [&](const std::string& why) {
        const std::string text = refusal<FileError>(root);
        CHECK_THAT(text, ContainsSubstring(conv_algorithms_file));
        CHECK_THAT(text, ContainsSubstring(why));
        CHECK(text.find_first_of("\n\x1b") == std::string::npos);
    };
    for (std::size_t length = 0; length + 3 < whole.size(); ++length) {
        write_text(path, whole.substr(0, length));
        refused("not valid JSON");
    }
    write_text(path, std::string(1'000'000, '['));
    refused("nested");
    for (const char* text : {"[]", "7", "null", "\"a\\nb\""}) {
        write_text(path, text);
        refused("not a JSON object");
    }
    const auto with = [&](const std::string& pointer, const nlohmann::json& value, const std::string& why) {
        CAPTURE(pointer, value);
        auto changed = json;
        changed[nlohmann::json::json_pointer(pointer)] = value;
        write_json(path, changed);
        refused(why);
    };
    for (const nlohmann::json& value : {nlohmann::json("16"), nlohmann::json(0), nlohmann::json(-1), nlohmann::json(16.5), nlohmann::json(1e300),
                                        nlohmann::json(18446744073709551615u), nlohmann::json(), nlohmann::json::array({1})})
        for (const char* key : {"lanes", "threads", "layers/0/height", "layers/0/width", "layers/1/in", "layers/1/out"})
            with(std::string("/") + key, value, "must be a number from 1 to 2^24");
    for (const nlohmann::json& value : {nlohmann::json("bf16"), nlohmann::json("win\nograd4"), nlohmann::json(4), nlohmann::json()})
        with("/layers/1/algorithm", value, "must be direct, winograd2 or winograd4");
    with("/layers", "all", "'layers' must be a list");
    with("/layers", nlohmann::json::array({7}), "a layer has height");
    with("/layers/1/dept\nh", 3, "a layer has height");
    with("/layers/1", json["layers"][0], "already");
    with("/layers", nlohmann::json(nlohmann::json::array_t(4097, json["layers"][0])), "at most 4096");
    with("/op\ntion", 1, "does not know");
    for (const char* key : {"lanes", "threads", "layers"}) {
        auto changed = json;
        changed.erase(key);
        write_json(path, changed);
        refused(key);
    }
    Bits bits;
    for (int i = 0; i < 1000; ++i) {  // whatever it says, it is read or refused
        std::string text = whole;
        for (std::size_t k = 0; k <= bits.below(3); ++k) text[bits.below(text.size())] = static_cast<char>(bits());
        write_text(path, text);
        const std::string why = refusal<FileError>(root);
        if (!why.empty()) CHECK_THAT(why, ContainsSubstring(conv_algorithms_file));
    }
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    refused("");
}

TEST_CASE("a model that cannot be saved says so") {
    TempFolder folder;
    write_text(folder / "file", "in the way");
    CHECK_THROWS_AS(save_model(folder / "file", labelled_unet(), small_scheduler()), FileError);
    CHECK_THROWS_AS(save_model(folder / "model", labelled_unet(), small_scheduler(), {"\xff"}), ArgumentError);
    CHECK_THROWS_AS(read_json(folder.path()), FileError);
}
