// SPDX-License-Identifier: MIT
#include "ito/data/preprocess.hpp"

#include <limits>

#include "catch.hpp"

using namespace ito;

namespace {

Tensor<std::uint8_t> all_bytes(const Shape& shape) {
    Tensor<std::uint8_t> images(shape);
    for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i * 7);
    return images;
}

bool same(const Tensor<std::uint8_t>& a, const Tensor<std::uint8_t>& b) {
    return a.shape() == b.shape() && std::equal(a.begin(), a.end(), b.begin());
}

std::vector<Pick> picks_of(Index count) {
    std::vector<Pick> picks;
    for (Index i = 0; i < count; ++i) picks.push_back({i, 3});
    return picks;
}

}  // namespace

TEMPLATE_TEST_CASE("every step alone and all together come back to the same bytes", "", float, double) {
    const auto images = all_bytes({16, 5, 7, 3});
    const auto picks = picks_of(16);
    const auto back = [&](const auto& pipeline) {
        return pipeline.inverse(pipeline.template apply<TestType>(images, picks), picks);
    };
    CHECK(same(back(Pipeline()), images));
    CHECK(same(back(Pipeline(ScaleToSymmetric{})), images));
    CHECK(same(back(Pipeline(Standardize::of(images))), images));
    CHECK(same(back(Pipeline(Pad{1, 2, 3, 4, 9})), images));
    CHECK(same(back(Pipeline(Flip{5})), images));
    CHECK(same(back(Pipeline(Flip{5}, Pad::to(5, 7, 8, 8), Standardize::of(images))), images));
    CHECK(same(back(Pipeline(Pad::to(5, 7, 8, 8, 255), Flip{5}, ScaleToSymmetric{})), images));
}

TEST_CASE("scaling") {
    const auto x = Pipeline(ScaleToSymmetric{}).apply<float>(Tensor<std::uint8_t>::from({1, 1, 2, 1}, {0, 255}));
    CHECK(x[0] == -1.0f);
    CHECK(x[1] == 1.0f);
    const auto wild = Tensor<float>::from({1, 1, 3, 1}, {-7, 7, std::numeric_limits<float>::quiet_NaN()});
    const auto bytes = Pipeline(ScaleToSymmetric{}).inverse(wild);
    CHECK(bytes[0] == 0);
    CHECK(bytes[1] == 255);
    CHECK(bytes[2] == 0);
}

TEST_CASE("standardised images have mean 0 and deviation 1 in every channel") {
    auto images = all_bytes({16, 5, 7, 3});
    for (Index i = 2; i < images.size(); i += 3) images[i] = 77;
    const auto x = Pipeline(Standardize::of(images)).apply<double>(images);
    for (int c = 0; c < 2; ++c) {
        const auto channel = x.matrix().col(c).array();
        CHECK(channel.mean() == Approx(0).margin(1e-12));
        CHECK((channel * channel).mean() == Approx(1));
    }
    CHECK(x.matrix().col(2).array().abs().maxCoeff() < 1e-12);
    CHECK_THROWS_AS(Standardize::of(Tensor<std::uint8_t>({2, 2, 2})), ShapeError);
    CHECK_THROWS_AS(Pipeline(Standardize{{0}, {1}}).apply<float>(images), ShapeError);
}

TEST_CASE("padding") {
    const auto x = Pipeline(Pad::to(2, 3, 4, 4, 50)).apply<float>(all_bytes({1, 2, 3, 1}));
    REQUIRE(x.shape() == Shape{1, 4, 4, 1});
    CHECK(x(0, 0, 0, 0) == 50);
    CHECK(x(0, 1, 0, 0) == 0);
    CHECK(x(0, 2, 2, 0) == 35);
    CHECK(x(0, 2, 3, 0) == 50);
    CHECK_THROWS_AS(Pad::to(4, 4, 3, 4), ArgumentError);
    CHECK_THROWS_AS(Pipeline(Pad{-1, 0, 0, 0}).apply<float>(all_bytes({1, 2, 3, 1})), ArgumentError);
    CHECK_THROWS_AS(Pipeline(Pad{2, 2, 0, 0}).inverse(Tensor<float>({1, 3, 3, 1})), ShapeError);
}

TEST_CASE("flipping depends on seed, sample and epoch, and on nothing else") {
    const auto images = all_bytes({64, 2, 3, 2});
    const Pipeline flip(Flip{1});
    const auto picks = picks_of(64);
    const auto x = flip.apply<float>(images, picks);
    Index flipped = 0;
    for (Index n = 0; n < 64; ++n) {
        const bool is = Flip{1}.flips(picks[static_cast<std::size_t>(n)]);
        flipped += is;
        CHECK(x(n, 1, 0, 1) == images(n, 1, is ? 2 : 0, 1));
        CHECK(x(n, 1, 1, 0) == images(n, 1, 1, 0));
    }
    CHECK(flipped > 16);
    CHECK(flipped < 48);
    Index other_seed = 0, other_epoch = 0;
    for (const Pick& pick : picks) {
        other_seed += Flip{1}.flips(pick) != Flip{2}.flips(pick);
        other_epoch += Flip{1}.flips(pick) != Flip{1}.flips({pick.sample, pick.epoch + 1});
    }
    CHECK(other_seed > 16);
    CHECK(other_epoch > 16);
    CHECK(same(flip.inverse(images.cast<float>()), images));  // made by a model: nothing to undo
    CHECK_FALSE(Flip{1, 0.0}.flips({0, 0}));
    CHECK(Flip{1, 1.0}.flips({0, 0}));
    CHECK_THROWS_AS(flip.apply<float>(images, std::span<const Pick>(picks).first(3)), ShapeError);
}
