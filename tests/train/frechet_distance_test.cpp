// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <limits>

#include "ito/core/random.hpp"
#include "ito/train/frechet_distance.hpp"

using namespace ito;

namespace {

Tensor<float> normals(const Shape& shape, std::uint64_t seed) {
    Tensor<float> x(shape);
    fill_normal(x, seed);
    return x;
}

/// Rows of x times the matrix [D, D'].
Tensor<float> mapped(const Tensor<float>& x, const Tensor<float>& by) {
    Tensor<float> y = Tensor<float>::zeros({x.dim(0), by.dim(1)});
    for (Index n = 0; n < x.dim(0); ++n)
        for (Index i = 0; i < x.dim(1); ++i)
            for (Index j = 0; j < by.dim(1); ++j) y(n, j) += x(n, i) * by(i, j);
    return y;
}

}  // namespace

TEST_CASE("the Frechet distance of numbers is that of their means and deviations") {
    const auto x = Tensor<float>::from({2, 1}, {1, 3}), y = Tensor<float>::from({4, 1}, {0, 10, 0, 10});
    const double sx = std::sqrt(2.0), sy = std::sqrt(100.0 / 3);
    CHECK(frechet_distance(x, y) == Approx(9 + (sx - sy) * (sx - sy)));
}

TEST_CASE("the Frechet distance of a set to its multiple and its shift is known") {
    const Tensor<float> x = mapped(normals({400, 12}, 1), normals({12, 12}, 2));
    Tensor<float> twice = x, moved = x;
    double traces = 0;
    for (float& v : twice) v *= 2;
    for (float& v : moved) v += 3;
    for (Index i = 0; i < 12; ++i) {
        double sum = 0, squares = 0;
        for (Index n = 0; n < 400; ++n) sum += x(n, i), squares += double(x(n, i)) * x(n, i);
        traces += (squares - sum * sum / 400) / 399 + sum * sum / (400.0 * 400);  // (2 - 1)^2 tr C + |m|^2
    }
    CHECK(frechet_distance(x, x) == Approx(0).margin(1e-9 * traces));
    CHECK(frechet_distance(x, moved) == Approx(9 * 12).epsilon(1e-5));
    CHECK(frechet_distance(x, twice) == Approx(traces).epsilon(1e-6));
}

TEST_CASE("the Frechet distance is symmetric and does not change with the axes") {
    const Index d = 30;
    const Tensor<float> x = mapped(normals({500, d}, 1), normals({d, d}, 2)), y = mapped(normals({300, d}, 3), normals({d, d}, 4));
    const double distance = frechet_distance(x, y);
    CHECK(distance > 0);
    CHECK(frechet_distance(y, x) == Approx(distance).epsilon(1e-9));
    Tensor<float> rotation = Tensor<float>::zeros({d, d});  // plane rotations of the axes 2k and 2k + 1
    for (Index i = 0; i < d; i += 2) {
        const float angle = 0.3f * static_cast<float>(i + 1);
        rotation(i, i) = rotation(i + 1, i + 1) = std::cos(angle);
        rotation(i, i + 1) = -(rotation(i + 1, i) = std::sin(angle));
    }
    CHECK(frechet_distance(mapped(x, rotation), mapped(y, rotation)) == Approx(distance).epsilon(1e-5));
}

TEST_CASE("the Frechet distance bears features that are constant or depend on each other") {
    const Tensor<float> few = mapped(normals({200, 3}, 1), normals({3, 8}, 2)), more = mapped(normals({200, 3}, 3), normals({3, 8}, 2));
    CHECK(frechet_distance(few, few) == Approx(0).margin(1e-5));
    // Their covariances live in three dimensions; there the distance is that of the same sets mapped back.
    CHECK(std::isfinite(frechet_distance(few, more)));
    const Tensor<float> constant = Tensor<float>::full({5, 8}, 1.0f);
    CHECK(frechet_distance(constant, constant) == 0);
    CHECK(frechet_distance(constant, Tensor<float>::full({5, 8}, 3.0f)) == Approx(4 * 8));
}

TEST_CASE("the Frechet distance refuses sets that do not fit and lets what is not finite be seen") {
    CHECK_THROWS_AS(frechet_distance(Tensor<float>({3, 2}), Tensor<float>({3, 4})), ShapeError);
    CHECK_THROWS_AS(frechet_distance(Tensor<float>::zeros({1, 2}), Tensor<float>::zeros({3, 2})), ShapeError);
    Tensor<float> bad = normals({10, 3}, 1);
    bad(4, 1) = std::numeric_limits<float>::quiet_NaN();
    CHECK_FALSE(std::isfinite(frechet_distance(bad, normals({10, 3}, 2))));
    CHECK_FALSE(std::isfinite(frechet_distance(normals({10, 3}, 2), bad)));
}
