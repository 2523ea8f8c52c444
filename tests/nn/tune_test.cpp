// SPDX-License-Identifier: MIT
#include "ito/nn/tune.hpp"

#include "catch.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/unet2d.hpp"

using namespace ito;

namespace {

nn::UNet2D<float> two_levels() {
    nn::UNet2DConfig config;
    config.in_channels = config.out_channels = 1;
    config.block_out_channels = {16, 32};
    config.down_block_types = {"DownBlock2D", "DownBlock2D"};
    config.up_block_types = {"UpBlock2D", "UpBlock2D"};
    config.layers_per_block = 1;
    config.norm_num_groups = 4;
    nn::UNet2D<float> unet(config);
    nn::initialize(unet, 1);
    return unet;
}

const std::vector<float> at_500{500};

Tensor<float> picture() {
    Tensor<float> x({1, 16, 16, 1});
    fill_normal(x, 1);
    return x;
}

bool equal(const Tensor<float>& a, const Tensor<float>& b) { return (a.array() == b.array()).all(); }

ConvAlgorithms all(ConvAlgorithm algorithm) {
    ConvAlgorithms table;
    for (Index side : {16, 8})
        for (Index in : {1, 16, 32, 48, 64})
            for (Index out : {1, 16, 32}) table.choose({side, side, in, out}, algorithm);
    return table;
}

/// Made once for each state of a parameter's packed forms.
struct Packed {};

}  // namespace

TEST_CASE("a network's own algorithms serve where no scope names others, and each gives the same result") {
    nn::UNet2D<float> unet = two_levels();
    const Tensor<float> x = picture(), by_model = *unet(x, at_500);
    const Tensor<float> exact = [&] {
        const PrecisionScope scope(Precision::exact);
        return *unet(x, at_500);
    }();
    std::array<Tensor<float>, 3> results;
    for (const ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd2, ConvAlgorithm::winograd4}) {
        Tensor<float>& result = results[static_cast<std::size_t>(algorithm)];
        unet.set_algorithms(all(algorithm));
        result = *unet(x, at_500);
        CHECK((result.array() - exact.array()).abs().maxCoeff() < 1e-4f * exact.array().abs().maxCoeff());
        CHECK(equal(*nn::UNet2D<float>(unet)(x, at_500), result));
        const PrecisionScope scope(Precision::exact);
        CHECK(equal(*unet(x, at_500), exact));
    }
    CHECK(equal(results[0], exact));
    CHECK_FALSE(equal(results[1], results[0]));
    CHECK_FALSE(equal(results[2], results[1]));

    const ConvAlgorithms outer = all(ConvAlgorithm::winograd2), none;
    {
        const PrecisionScope scope(&outer);
        CHECK(equal(*unet(x, at_500), results[1]));
    }
    const PrecisionScope scope(&none);
    CHECK(equal(*unet(x, at_500), by_model));
}

TEST_CASE("timing finds an algorithm for every layer shape and leaves no packed form behind") {
    nn::UNet2D<float> unet = two_levels();
    const Tensor<float> x = picture();
    unet.set_algorithms(all(ConvAlgorithm::winograd4));
    Index passes = 0, made = 0;
    const auto probe = [&] {
        nn::for_each_parameter(unet, [&](const std::string&, const Parameter<float>& p) { p.derived<Packed>([&] { ++made; return Packed(); }); });
    };
    probe();
    const Index parameters = made;
    const auto pass = [&] {
        ++passes;
        unet(x, at_500);
    };
    std::vector<Index> seen;
    const nn::Tuned tuned = nn::tuned(unet, pass, {.turns = 2, .passes = 3}, [&](const Progress& p) {
        seen.push_back(p.done);
        CHECK(p.total == 5 * 2 * (1 + 3));
    });
    CHECK(seen.size() == 40);
    CHECK(seen.back() == 40);
    CHECK(passes == 41);
    CHECK(tuned.cost_model_seconds > 0);
    CHECK(tuned.timed_seconds > 0);
    CHECK(tuned.algorithms.choices().empty() == !(tuned.timed_seconds < tuned.cost_model_seconds));
    for (const ConvLayer& layer : {ConvLayer{16, 16, 1, 16}, ConvLayer{16, 16, 16, 16}, ConvLayer{8, 8, 32, 32}})
        CHECK(tuned.algorithms.of(layer).has_value() != tuned.algorithms.choices().empty());
    CHECK(unet.algorithms() == all(ConvAlgorithm::winograd4));
    CHECK(PrecisionScope::algorithms() == nullptr);
    probe();
    CHECK(made == 2 * parameters);

    CHECK_THROWS_AS(nn::tuned(unet, pass, {.turns = 0}), ArgumentError);
    CHECK_THROWS_AS(nn::tuned(unet, pass, {.passes = 0}), ArgumentError);
    CHECK_THROWS_AS(nn::tuned(unet, pass, {}, [](const Progress& p) { if (p.done == 7) throw Cancelled("enough"); }), Cancelled);
    probe();
    CHECK(made == 3 * parameters);
    const PrecisionScope scope(Precision::bf16);
    CHECK_THROWS_AS(nn::tuned(unet, pass), ArgumentError);
}
