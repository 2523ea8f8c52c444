// SPDX-License-Identifier: MIT
#include "ito/data/batches.hpp"

#include <set>

#include "catch.hpp"

using namespace ito;

TEST_CASE("every image comes once an epoch, in an order of its own") {
    BatchOrder order(10, 4, 7);
    std::vector<Pick> all;
    for (Index step = 0; step < 10; ++step) {
        const auto picks = order.step(step);
        CHECK(picks.size() == 4);
        all.insert(all.end(), picks.begin(), picks.end());
    }
    for (Index epoch = 0; epoch < 4; ++epoch) {
        std::set<Index> seen;
        for (Index i = 10 * epoch; i < 10 * epoch + 10; ++i) {
            const Pick& pick = all[static_cast<std::size_t>(i)];
            CHECK(pick.epoch == epoch);
            CHECK(pick.sample >= 0);
            CHECK(pick.sample < 10);
            seen.insert(pick.sample);
        }
        CHECK(seen.size() == 10);
    }
    CHECK(order.epoch(0) != order.epoch(1));
    CHECK(order.epoch(0) != BatchOrder(10, 4, 8).epoch(0));
}

TEST_CASE("a run resumes at any step from the seed and the step alone") {
    BatchOrder whole(10, 4, 7);
    for (Index step = 0; step < 10; ++step) {
        const auto expected = whole.step(step), resumed = BatchOrder(10, 4, 7).step(step);
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(expected[i].sample == resumed[i].sample);
            CHECK(expected[i].epoch == resumed[i].epoch);
        }
    }
    // More than the data set has, in one batch.
    CHECK(BatchOrder(3, 8, 1).step(0).size() == 8);
    CHECK_THROWS_AS(BatchOrder(0, 4, 7), ArgumentError);
    CHECK_THROWS_AS(BatchOrder(4, 0, 7), ArgumentError);
    CHECK_THROWS_AS(BatchOrder(4, -1, 7), ArgumentError);
    CHECK_THROWS_AS(whole.step(-1), ArgumentError);
}

TEMPLATE_TEST_CASE("a batch holds what was picked", "", float, double) {
    Tensor<std::uint8_t> images({5, 2, 2, 1});
    for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i);
    const auto data = make_dataset(images, {0, 1, 2, 1, 0});
    const std::vector<Pick> picks = {{4, 0}, {1, 0}};
    const auto batch = assemble<TestType>(data, picks, Pipeline(Pad{1, 1, 1, 1}));
    CHECK(batch.images.shape() == Shape{2, 4, 4, 1});
    CHECK(batch.images(0, 1, 1, 0) == 16);
    CHECK(batch.images(1, 2, 2, 0) == 7);
    CHECK(batch.labels == std::vector<Index>{0, 1});
    CHECK(assemble<TestType>(make_dataset(images), picks, Pipeline()).labels.empty());
    const std::vector<Pick> outside = {{5, 0}};
    CHECK_THROWS_AS(assemble<TestType>(data, outside, Pipeline()), ArgumentError);
}
