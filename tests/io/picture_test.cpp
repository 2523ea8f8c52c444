// SPDX-License-Identifier: MIT
#include "ito/io/picture.hpp"

#include <limits>

#include "catch.hpp"

using namespace ito;

TEMPLATE_TEST_CASE("values become bytes", "", float, double) {
    const auto inf = std::numeric_limits<TestType>::infinity(), nan = std::numeric_limits<TestType>::quiet_NaN();
    const auto bytes = to_bytes(Tensor<TestType>::from({8}, {-1, 1, 0, -2, 2, inf, -inf, nan}));
    const int expected[] = {0, 255, 128, 0, 255, 255, 0, 0};
    for (Index i = 0; i < 8; ++i) CHECK(bytes[i] == expected[i]);
    for (int byte = 0; byte < 256; ++byte)
        CHECK(to_bytes(Tensor<TestType>::full({1}, static_cast<TestType>(byte) / TestType(127.5) - 1))[0] == byte);
}

TEST_CASE("a grid of images") {
    Tensor<std::uint8_t> images({5, 2, 3, 1});
    for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i);
    const auto grid = image_grid(images, 2, 1, 99);
    REQUIRE(grid.shape() == Shape{1 + 3 * 3, 1 + 2 * 4, 1});
    for (Index n = 0; n < 5; ++n)
        for (Index y = 0; y < 2; ++y)
            for (Index x = 0; x < 3; ++x) CHECK(grid(1 + n / 2 * 3 + y, 1 + n % 2 * 4 + x, 0) == images(n, y, x, 0));
    CHECK(grid(0, 0, 0) == 99);
    CHECK(grid(8, 6, 0) == 99);  // the sixth place is free
    CHECK(image_grid(images, 0, 0).shape() == Shape{2 * 2, 3 * 3, 1});
    CHECK(image_grid(Tensor<float>::full({1, 1, 1, 3}, 1), 1, 0)[0] == 255);
    CHECK(image_grid(Tensor<double>::full({1, 1, 1, 3}, -1), 1, 0)[0] == 0);
    CHECK_THROWS_AS(image_grid(Tensor<std::uint8_t>({2, 2, 3})), ShapeError);
    CHECK_THROWS_AS(image_grid(Tensor<std::uint8_t>({0, 2, 2, 3})), ShapeError);
    CHECK_THROWS_AS(image_grid(images, -1), ArgumentError);
}

TEST_CASE("a strip has a row a sample and a column a step") {
    std::vector<Tensor<std::uint8_t>> steps;
    for (int step = 0; step < 3; ++step) {
        Tensor<std::uint8_t> images({2, 1, 1, 1});
        for (Index n = 0; n < 2; ++n) images[n] = static_cast<std::uint8_t>(10 * n + step);
        steps.push_back(images);
    }
    const auto strip = image_strip(steps, 0);
    REQUIRE(strip.shape() == Shape{2, 3, 1});
    for (Index n = 0; n < 2; ++n)
        for (Index step = 0; step < 3; ++step) CHECK(strip(n, step, 0) == 10 * n + step);
    CHECK(image_strip(std::vector<Tensor<float>>{Tensor<float>::zeros({4, 8, 8, 3})}).dim(2) == 3);
    steps.back() = Tensor<std::uint8_t>({1, 1, 1, 1});
    CHECK_THROWS_AS(image_strip(steps), ShapeError);
    CHECK_THROWS_AS(image_strip(std::vector<Tensor<float>>()), ArgumentError);
}

TEST_CASE("enlarging repeats pixels") {
    const auto image = Tensor<std::uint8_t>::from({1, 2, 1}, {1, 2});
    const auto large = enlarge(image, 3);
    REQUIRE(large.shape() == Shape{3, 6, 1});
    CHECK(large(2, 2, 0) == 1);
    CHECK(large(2, 3, 0) == 2);
    CHECK_THROWS_AS(enlarge(image, 0), ArgumentError);
}
