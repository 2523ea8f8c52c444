// SPDX-License-Identifier: MIT
#include "golden.hpp"

#include "ito/nn/initialize.hpp"

using namespace ito;
using namespace ito::test;
namespace fs = std::filesystem;

namespace {

void check_unet2d(const fs::path& folder) {
    const nn::UNet2D<float> unet = load_unet2d(folder);
    const auto io = SafeTensors::open(folder / "io.safetensors");
    const Tensor<float> times = io.load<float>("timestep");
    const bool with_gradients = io.contains("grad_output");

    Tape<float> tape;
    const Var<float> x = tape.input(channels_last(io.load<float>("sample")));
    const bool numbers = unet.config().class_embed_type.has_value();
    Tensor<Index> labels;
    if (io.contains("class_labels") && !numbers) labels = io.load<Index>("class_labels");
    const Var<float> y = numbers ? unet(x, times.span(), io.load<float>("class_labels")) : unet(x, times.span(), labels.span());
    CHECK(relative_error(*y, channels_last(io.load<float>("output"))) < 1e-4);
    if (!with_gradients) return;

    tape.backward(y, channels_last(io.load<float>("grad_output")));
    CHECK(relative_error(*tape.gradient(x), channels_last(io.load<float>("grad_sample"))) < 1e-3);
    double largest = 0;
    nn::for_each_parameter(unet, [&](const std::string& name, const Parameter<float>&) {
        if (io.contains("grad." + name))
            largest = std::max(largest, static_cast<double>(io.load<float>("grad." + name).array().abs().maxCoeff()));
    });
    nn::for_each_parameter(unet, [&](const std::string& name, const Parameter<float>& p) {
        INFO(name);
        if (!io.contains("grad." + name)) return;
        const Tensor<float> expected = as_held(io.load<float>("grad." + name));
        const Tensor<float>* got = tape.gradient(p);
        REQUIRE(got != nullptr);
        // A gradient that is zero in exact arithmetic (a key's bias) is rounding in both: measured against the largest.
        const double scale = std::max(static_cast<double>(expected.array().abs().maxCoeff()), 1e-4 * largest);
        CHECK(static_cast<double>((got->array() - expected.array()).abs().maxCoeff()) / scale < 1e-3);
    });
}

}  // namespace

TEST_CASE("UNet2D agrees with diffusers' UNet2DModel") {
    std::size_t ran = 0;
    std::string unsupported;
    for (const auto& entry : fs::directory_iterator(goldens() / "models")) {
        const auto json = read_json(entry.path() / "config.json");
        if (json.value("_class_name", "") != "UNet2DModel") continue;
        const std::string name = entry.path().filename().string();
        try {
            nn::UNet2D<float>{unet2d_config_from_json(json)};
        } catch (const ConfigError& error) {
            unsupported += "\n  " + name + ": " + error.what();
            continue;
        }
        ++ran;
        SECTION(name) { check_unet2d(entry.path()); }
    }
    INFO(unsupported);
    CHECK(unsupported.empty());
    CHECK(ran > 0);
}

TEST_CASE("a UNet2DModel that ito does not have is refused by name") {
    using nlohmann::json;
    const auto refused = [](const json& changed) {
        json config = {{"_class_name", "UNet2DModel"}, {"block_out_channels", {32, 32}}, {"layers_per_block", 1},
                       {"norm_num_groups", 8}, {"down_block_types", {"SkipDownBlock2D", "AttnSkipDownBlock2D"}},
                       {"up_block_types", {"AttnSkipUpBlock2D", "SkipUpBlock2D"}}};
        config.update(changed);
        try {
            nn::UNet2D<float>{unet2d_config_from_json(config)};
        } catch (const ConfigError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK(refused(json::object()).empty());
    CHECK(refused({{"norm_num_groups", nullptr}}).empty());
    CHECK(refused({{"down_block_types", {"UNetResDownBlock2D", "SkipDownBlock2D"}}}).empty());
    CHECK_THAT(refused({{"down_block_types", {"KDownBlock2D", "DownBlock2D"}}}), ContainsSubstring("KDownBlock2D"));
    CHECK_THAT(refused({{"up_block_types", {"UpBlock2D", "KUpBlock2D"}}}), ContainsSubstring("KUpBlock2D"));
    CHECK_THAT(refused({{"up_block_types", {"SkipUpBlock2D", "UpBlock2D"}}}), ContainsSubstring("after it"));
    CHECK_THAT(refused({{"in_channels", 1}}), ContainsSubstring("in_channels"));
    CHECK_THAT(refused({{"out_channels", 1}}), ContainsSubstring("out_channels"));
    CHECK_THAT(refused({{"norm_num_groups", nullptr}, {"up_block_types", {"UpBlock2D", "UpBlock2D"}}}), ContainsSubstring("norm_num_groups"));
    CHECK_THAT(refused({{"block_out_channels", {16, 16}}}), ContainsSubstring("groups"));
    CHECK_THAT(refused({{"attention_head_dim", 33}}), ContainsSubstring("33"));
    CHECK_THAT(refused({{"class_embed_type", "projection"}}), ContainsSubstring("projection"));
    CHECK_THAT(refused({{"mid_block_type", "UNetMidBlock2DCrossAttn"}}), ContainsSubstring("UNetMidBlock2DCrossAttn"));
    CHECK_THAT(refused({{"time_embedding_type", "learned"}}), ContainsSubstring("num_train_timesteps"));
    CHECK_THAT(refused({{"resnet_time_scale_shift", "spatial"}}), ContainsSubstring("spatial"));
}

TEST_CASE("class embeddings given as numbers are those of the labels' table") {
    nn::UNet2DConfig config;
    config.in_channels = config.out_channels = 2;
    config.time_embedding_dim = 12;
    config.down_block_types = {"DownBlock2D"};
    config.up_block_types = {"UpBlock2D"};
    config.block_out_channels = {8};
    config.layers_per_block = 1;
    config.norm_num_groups = 4;
    config.num_class_embeds = 5;
    nn::UNet2D<float> labelled(config);
    nn::initialize(labelled, 1);
    config.num_class_embeds.reset();
    config.class_embed_type = "identity";
    nn::UNet2D<float> numbers(config);
    nn::initialize(numbers, 1);  // numbers depend on names alone
    Tensor<float> table, x({3, 4, 4, 2}), chosen({3, 12});
    nn::for_each_parameter(labelled, [&](const std::string& name, const Parameter<float>& p) {
        if (name == "class_embedding.weight") table = p.value;
    });
    fill_normal(x, 2);
    const std::vector<float> times{1, 20, 300};
    const std::vector<Index> labels{4, 0, 2};
    for (Index i = 0; i < 3; ++i) chosen.matrix().row(i) = table.matrix().row(labels[static_cast<std::size_t>(i)]);
    CHECK(relative_error(*numbers(x, times, chosen), *labelled(x, times, labels)) < 1e-6);
    CHECK_THROWS_AS(numbers(x, times, labels), ArgumentError);
    CHECK_THROWS_AS(labelled(x, times, chosen), ArgumentError);
    CHECK_THROWS_AS(numbers(x, times, x), ShapeError);
}
