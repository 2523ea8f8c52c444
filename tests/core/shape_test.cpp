// SPDX-License-Identifier: MIT
#include "ito/core/shape.hpp"

#include "catch.hpp"

using ito::Index;
using ito::Shape;

TEST_CASE("a shape tells its extents") {
    const Shape shape{2, 32, 16, 3};
    CHECK(shape.rank() == 4);
    CHECK(shape.size() == 2 * 32 * 16 * 3);
    CHECK(shape[1] == 32);
    CHECK(shape[-1] == 3);
    CHECK(shape.str() == "[2, 32, 16, 3]");
    CHECK(shape.with(-1, 7) == Shape{2, 32, 16, 7});
    CHECK(shape.with(0, 1) == Shape{1, 32, 16, 3});
    CHECK(std::vector<Index>(shape.begin(), shape.end()) == std::vector<Index>{2, 32, 16, 3});
}

TEST_CASE("a shape without axes has one element, with a zero extent none") {
    CHECK(Shape{}.size() == 1);
    CHECK(Shape{}.str() == "[]");
    CHECK(Shape{4, 0, 2}.size() == 0);
}

TEST_CASE("shapes are equal when rank and extents are") {
    CHECK(Shape{2, 3} == Shape{2, 3});
    CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
    CHECK_FALSE(Shape{2, 3} == Shape{2, 3, 1});
    CHECK_FALSE(Shape{} == Shape{1});
}

TEST_CASE("an impossible shape is refused by name") {
    CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5, 6, 7}), ito::ShapeError);
    CHECK_THROWS_WITH((Shape{1, 2, 3, 4, 5, 6, 7}), "a shape has at most 6 axes, got 7");
    CHECK_THROWS_WITH((Shape{2, -3}), "negative extent in shape [2, -3]");
    const Index huge = Index{1} << 40;
    CHECK_THROWS_WITH((Shape{huge, huge}), "shape [1099511627776, 1099511627776] has too many elements");
    CHECK_THROWS_AS((Shape{2, 3}.with(0, -1)), ito::ShapeError);
}

TEST_CASE("require_shape names the tensor and both shapes") {
    CHECK_NOTHROW(ito::require_shape("conv.weight", {3, 3}, {3, 3}));
    CHECK_THROWS_AS(ito::require_shape("conv.weight", {3, 3}, {3, 4}), ito::ShapeError);
    CHECK_THROWS_WITH(ito::require_shape("conv.weight", {3, 3}, {3, 4}), "conv.weight: expected [3, 3], got [3, 4]");
}
