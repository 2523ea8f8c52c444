// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/unet2d.hpp"

using namespace ito;

namespace {

nn::UNet2D<float> small_unet(const std::string& activation = "silu") {
    nn::UNet2DConfig config;
    config.in_channels = config.out_channels = 1;
    config.block_out_channels = {16, 32};
    config.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
    config.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
    config.layers_per_block = 1;
    config.norm_num_groups = 4;
    config.act_fn = activation;
    nn::UNet2D<float> unet(config);
    nn::initialize(unet, 1);
    return unet;
}

Tensor<float> noise(const Shape& shape) {
    Tensor<float> x(shape);
    fill_normal(x, 1);
    return x;
}

}  // namespace

TEST_CASE("a number that is none reaches every pixel of its sample and no other sample") {
    const PrecisionScope precision(GENERATE(Precision::fast, Precision::exact, Precision::bf16));
    for (const char* activation : {"silu", "relu", "gelu", "mish"}) {
        CAPTURE(activation);
        const auto unet = small_unet(activation);
        const std::vector<float> times{10, 500};
        const Tensor<float> clean = noise({2, 16, 16, 1});
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
            Tensor<float> x = clean;
            x(0, 7, 3, 0) = bad;
            const Var<float> expected = unet(clean, times), got = unet(x, times);
            const Index size = clean.size() / 2;
            for (Index i = 0; i < size; ++i) REQUIRE(std::isnan((*got)[i]));
            for (Index i = size; i < 2 * size; ++i) REQUIRE((*got)[i] == (*expected)[i]);
        }
    }
}

TEST_CASE("a network in bfloat16 differs from an exact one by what rounding its factors costs, the same in any batch") {
    const auto unet = small_unet();
    const std::vector<float> times{10, 500, 900};
    const Tensor<float> x = noise({3, 16, 16, 1});
    const auto with = [&](Precision precision, const Tensor<float>& input, std::span<const float> at) {
        const PrecisionScope scope(precision);
        return *unet(input, at);
    };
    const Tensor<float> exact = with(Precision::exact, x, times), got = with(Precision::bf16, x, times);
    const float error = (got.array() - exact.array()).abs().maxCoeff() / exact.array().abs().maxCoeff();
    WARN("largest error " << error << " of the largest magnitude");
    CHECK(error > 1e-4f);
    CHECK(error < 1e-2f);

    ThreadPool three(3);
    const ThreadPool::Scope scope(three);
    Tensor<float> last({1, 16, 16, 1});
    std::copy_n(&x(2, 0, 0, 0), 256, last.data());
    const Tensor<float> alone = with(Precision::bf16, last, std::span(times).last(1));
    for (Index i = 0; i < 256; ++i) REQUIRE(alone[i] == got[512 + i]);
}

TEST_CASE("a number that is none reaches the gradients") {
    const auto unet = small_unet();
    Tape<float> tape;
    Tensor<float> x = noise({1, 16, 16, 1});
    x[0] = std::numeric_limits<float>::quiet_NaN();
    tape.backward(unet(tape.constant(x), std::vector<float>{10}));
    nn::for_each_parameter(unet, [&](const std::string& name, const Parameter<float>& p) {
        CAPTURE(name);
        if (name == "conv_out.bias") return;  // the sum of the seed
        if (const Tensor<float>* gradient = tape.gradient(p)) CHECK(std::isnan((*gradient)[0]));
    });
}

TEST_CASE("a batch that memory cannot hold is refused with what it would take") {
    nn::UNet2DConfig config;
    config.in_channels = config.out_channels = 1;
    config.block_out_channels = {64, 64};
    config.down_block_types = {"DownBlock2D", "DownBlock2D"};
    config.up_block_types = {"UpBlock2D", "UpBlock2D"};
    config.layers_per_block = 16;
    const nn::UNet2D<float> unet(config);
    // Results of 5 kB a pixel are kept, twice as many as there is memory for.
    const auto side = static_cast<Index>(std::sqrt(2 * available_memory() / 5000)) / 2 * 2;
    const Var<float> x = Tensor<float>({1, side, side, 1});
    const std::vector<float> times{10};
    const std::size_t before = cached_memory();
    CHECK_THROWS_AS(unet(x, times), MemoryError);
    CHECK_THROWS_WITH(unet(x, times), ContainsSubstring("UNet2D: a batch of " + x.shape().str() + " needs about") &&
                                          ContainsSubstring("GB are available"));
    CHECK(cached_memory() == before);  // nothing was made and released
}
