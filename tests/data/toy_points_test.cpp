// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "catch.hpp"
#include "ito/data/toy_points.hpp"

using namespace ito;

TEST_CASE("the diamond has nine modes and its points are each their own") {
    const Tensor<double> points = diamond<double>(900, 1);
    std::set<std::pair<int, int>> modes;
    for (Index k = 0; k < points.dim(0); ++k) {
        const double a = (points(k, 0) - points(k, 1)) / std::sqrt(2.0), b = (points(k, 0) + points(k, 1)) / std::sqrt(2.0);
        const double i = std::round(2 * a), j = std::round(2 * b);
        CHECK(std::hypot(a - i / 2, b - j / 2) < 0.25);
        modes.emplace(static_cast<int>(i), static_cast<int>(j));
    }
    CHECK(modes.size() == 9);
    CHECK(diamond<double>(1, 1, 7)(0, 1) == points(7, 1));
}

TEST_CASE("swiss rolls lie where they should") {
    const Tensor<double> one = swiss_roll<double>(1000, 1), five = swiss_rolls<double>(1000, 1);
    CHECK(one.array().abs().maxCoeff() < 1.6);
    CHECK(one.array().abs().maxCoeff() > 1.2);
    int centre = 0;
    for (Index k = 0; k < 1000; ++k) centre += std::hypot(five(k, 0), five(k, 1)) < 0.2;
    CHECK(centre > 140);
    CHECK(centre < 260);
    CHECK(five.array().abs().maxCoeff() < 1);
}
