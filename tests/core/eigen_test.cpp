// SPDX-License-Identifier: MIT
#include "ito/core/eigen.hpp"

#include <numeric>

#include "catch.hpp"

using ito::Index;
using ito::Shape;
using ito::Tensor;

namespace {

Tensor<float> counted(const Shape& shape) {
    Tensor<float> x(shape);
    std::iota(x.begin(), x.end(), 0.0f);
    return x;
}

template <int Layout>
using Eigen3 = Eigen::Tensor<float, 3, Layout, Index>;

template <class A, class B>
bool same_elements(const A& a, const B& b) {
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j)
            for (int k = 0; k < 4; ++k)
                if (a(i, j, k) != b(i, j, k)) return false;
    return true;
}

}  // namespace

TEST_CASE("as_eigen is a view with the same indices") {
    auto x = counted({2, 3, 4});
    auto view = ito::as_eigen<3>(x);
    CHECK(view.data() == x.data());
    CHECK(view.dimension(0) == 2);
    CHECK(view.dimension(2) == 4);
    CHECK(same_elements(x, view));
    view(1, 1, 1) = -5;
    CHECK(x(1, 1, 1) == -5);
    const auto& fixed = x;
    CHECK(ito::as_eigen<3>(fixed)(1, 1, 1) == -5);
}

TEST_CASE("another rank is refused by name") {
    auto x = counted({2, 3});
    CHECK_THROWS_AS(ito::as_eigen<3>(x), ito::ShapeError);
    CHECK_THROWS_WITH(ito::as_eigen<3>(x), "an Eigen tensor of rank 3 asked of shape [2, 3]");
    CHECK_THROWS_AS(ito::to_eigen<1>(x), ito::ShapeError);
}

TEST_CASE("a tensor goes to either layout of Eigen and back with the same indices") {
    const auto x = counted({2, 3, 4});
    const auto columns = ito::to_eigen<3>(x);
    static_assert(int(decltype(columns)::Layout) == int(Eigen::ColMajor));
    CHECK(columns.dimension(0) == 2);
    CHECK(columns.dimension(2) == 4);
    CHECK(same_elements(x, columns));
    const auto rows = ito::to_eigen<3, Eigen::RowMajor>(x);
    CHECK(same_elements(x, rows));
    CHECK(rows.data() != x.data());
    for (const auto& back : {ito::from_eigen(columns), ito::from_eigen(rows)}) {
        CHECK(back.shape() == Shape{2, 3, 4});
        CHECK(std::equal(back.begin(), back.end(), x.begin(), x.end()));
    }
}

TEMPLATE_TEST_CASE("every rank makes the round trip", "", (std::integral_constant<int, 1>),
                   (std::integral_constant<int, 2>), (std::integral_constant<int, 4>), (std::integral_constant<int, 5>),
                   (std::integral_constant<int, 6>)) {
    constexpr int rank = TestType::value;
    const std::vector<Index> extents{2, 3, 1, 4, 2, 3};
    const auto x = counted(Shape(std::span<const Index>(extents.data(), rank)));
    const auto back = ito::from_eigen(ito::to_eigen<rank>(x));
    CHECK(back.shape() == x.shape());
    CHECK(std::equal(back.begin(), back.end(), x.begin(), x.end()));
}

TEST_CASE("maps of foreign memory are read in their own layout") {
    std::vector<float> memory(24);
    std::iota(memory.begin(), memory.end(), 0.0f);
    const Eigen::TensorMap<Eigen3<Eigen::ColMajor>> columns(memory.data(), 2, 3, 4);
    const Eigen::TensorMap<const Eigen3<Eigen::RowMajor>> rows(memory.data(), 2, 3, 4);
    CHECK(same_elements(ito::from_eigen(columns), columns));
    CHECK(same_elements(ito::from_eigen(rows), rows));
    CHECK(ito::from_eigen(columns)(1, 0, 0) == 1);
    CHECK(ito::from_eigen(rows)(0, 0, 1) == 1);
}

TEST_CASE("Eigen's default index type is understood") {
    Eigen::Tensor<double, 2> source(2, 3);
    source.setValues({{1, 2, 3}, {4, 5, 6}});
    const Tensor<double> x = ito::from_eigen(source);
    CHECK(x.shape() == Shape{2, 3});
    CHECK(std::vector<double>(x.begin(), x.end()) == std::vector<double>{1, 2, 3, 4, 5, 6});

    Eigen::Tensor<float, 2, Eigen::RowMajor, int> small(2, 2);
    small.setZero();
    small(1, 0) = 3;
    CHECK(ito::from_eigen(small)(1, 0) == 3);
}

TEST_CASE("empty and scalar tensors make the round trip") {
    const auto empty = ito::from_eigen(ito::to_eigen<2>(Tensor<float>({0, 3})));
    CHECK(empty.shape() == Shape{0, 3});
    const auto scalar = ito::from_eigen(ito::to_eigen<0>(Tensor<float>::full({}, 4)));
    CHECK(scalar.rank() == 0);
    CHECK(scalar() == 4);
    CHECK_THROWS_AS(ito::to_eigen<0>(Tensor<float>({1})), ito::ShapeError);
    const Eigen::Tensor<float, 0> sum = ito::to_eigen<2>(counted({2, 3})).sum();
    CHECK(ito::from_eigen(sum)() == 15);
}
