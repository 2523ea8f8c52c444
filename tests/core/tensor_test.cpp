// SPDX-License-Identifier: MIT
#include "ito/core/tensor.hpp"

#include <cstdint>
#include <numeric>

#include "catch.hpp"

using ito::Shape;
using ito::Tensor;

namespace {

template <class T>
Tensor<T> counted(const Shape& shape) {
    Tensor<T> x(shape);
    std::iota(x.begin(), x.end(), T(0));
    return x;
}

template <class T>
std::vector<T> values(const Tensor<T>& x) {
    return {x.begin(), x.end()};
}

}  // namespace

TEMPLATE_TEST_CASE("a tensor is indexed row by row", "", float, double, std::int32_t, std::uint8_t) {
    auto x = counted<TestType>({2, 3, 4});
    CHECK(x.shape() == Shape{2, 3, 4});
    CHECK(x.rank() == 3);
    CHECK(x.dim(1) == 3);
    CHECK(x.dim(-1) == 4);
    CHECK(x.size() == 24);
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j)
            for (int k = 0; k < 4; ++k) CHECK(x(i, j, k) == TestType((i * 3 + j) * 4 + k));
    x(1, 2, 3) = 99;
    CHECK(x[23] == TestType(99));
    CHECK(x.span().back() == TestType(99));
    CHECK(std::as_const(x)(1, 2, 3) == TestType(99));
    CHECK(std::as_const(x)[23] == TestType(99));
    CHECK(std::as_const(x).span().size() == 24);
}

TEST_CASE("tensors are made from values") {
    CHECK(values(Tensor<float>::zeros({2, 2})) == std::vector<float>{0, 0, 0, 0});
    CHECK(values(Tensor<int>::full({3}, 7)) == std::vector<int>{7, 7, 7});
    CHECK(values(Tensor<float>::from({2, 1}, {3, 4})) == std::vector<float>{3, 4});
    const std::vector<double> source{1, 2, 3, 4};
    CHECK(values(Tensor<double>::from({2, 2}, source)) == source);
    CHECK(Tensor<float>::from({}, {5})() == 5);
    CHECK_THROWS_WITH((Tensor<float>::from({2, 2}, {1, 2, 3})), "tensor of shape [2, 2] from 3 values");
}

TEST_CASE("an empty tensor can be used like any other") {
    Tensor<float> x;
    CHECK(x.empty());
    CHECK(x.shape() == Shape{0});
    Tensor<float> y({4, 0, 2});
    CHECK(y.empty());
    CHECK(y.matrix().rows() == 0);
    CHECK(y.matrix().cols() == 2);
    CHECK(Tensor<float>({3, 0}).matrix().rows() == 3);
    CHECK(y.array().sum() == 0);
    const Tensor<float> z = y;
    CHECK(z.shape() == Shape{4, 0, 2});
    CHECK(z.cast<double>().shape() == Shape{4, 0, 2});
    CHECK(Tensor<float>(z).reshaped({0, 7}).shape() == Shape{0, 7});
}

TEST_CASE("a copy is deep") {
    auto x = counted<float>({2, 3});
    Tensor<float> y = x;
    y(0, 0) = 42;
    CHECK(x(0, 0) == 0);

    auto same_size = Tensor<float>::zeros({3, 2});
    const float* memory = same_size.data();
    same_size = x;
    CHECK(same_size.data() == memory);  // written into, not replaced
    CHECK(same_size.shape() == Shape{2, 3});
    CHECK(values(same_size) == values(x));

    auto other_size = Tensor<float>::zeros({7});
    other_size = x;
    CHECK(values(other_size) == values(x));
    CHECK(other_size.data() != x.data());

    auto& self = x;
    x = self;
    CHECK(x(1, 2) == 5);
}

TEST_CASE("a move takes the memory and leaves an empty tensor") {
    auto x = counted<float>({2, 3});
    const float* memory = x.data();
    Tensor<float> y = std::move(x);
    CHECK(y.data() == memory);
    CHECK(x.empty());
    CHECK(x.shape() == Shape{0});

    auto z = counted<float>({5});
    z = std::move(y);
    CHECK(z.data() == memory);
    CHECK(z.shape() == Shape{2, 3});
    CHECK(y.shape() == Shape{0});

    auto& self = z;
    z = std::move(self);
    CHECK(z.data() == memory);
    CHECK(values(z) == std::vector<float>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("reshaping keeps the elements, and the memory of an rvalue") {
    auto x = counted<float>({2, 6});
    const auto y = x.reshaped({3, 4});
    CHECK(y(1, 0) == 4);
    CHECK(y.data() != x.data());
    const float* memory = x.data();
    const auto z = std::move(x).reshaped({12});
    CHECK(z.data() == memory);

    CHECK_THROWS_AS(y.reshaped({5}), ito::ShapeError);
    CHECK_THROWS_WITH(y.reshaped({5}), "cannot reshape [3, 4] to [5]");
    auto kept = counted<float>({4});
    CHECK_THROWS_AS(std::move(kept).reshaped({5}), ito::ShapeError);
    CHECK(kept.size() == 4);  // a failed reshape loses nothing
}

TEST_CASE("array and matrix are views of the same memory") {
    auto x = counted<float>({2, 3, 4});
    CHECK(x.array().sum() == 276);
    CHECK(x.matrix().rows() == 6);
    CHECK(x.matrix().cols() == 4);
    CHECK(x.matrix()(5, 1) == x(1, 2, 1));
    x.matrix()(0, 1) = -1;
    x.array() *= 2;
    CHECK(x(0, 0, 1) == -2);
    const auto& fixed = x;
    CHECK(fixed.matrix()(5, 3) == 46);
    CHECK(fixed.array()(23) == 46);
    CHECK(counted<float>({5}).matrix().rows() == 1);
    CHECK(Tensor<float>::full({}, 3).matrix()(0, 0) == 3);
}

TEST_CASE("cast converts every element") {
    const auto x = Tensor<double>::from({2, 2}, {1.5, -2.5, 3, 0});
    CHECK(values(x.cast<float>()) == std::vector<float>{1.5f, -2.5f, 3, 0});
    CHECK(values(x.cast<int>()) == std::vector<int>{1, -2, 3, 0});
    CHECK(x.cast<float>().shape() == Shape{2, 2});
}

TEST_CASE("swap exchanges everything") {
    auto x = counted<float>({2}), y = counted<float>({3, 1});
    x.swap(y);
    CHECK(x.shape() == Shape{3, 1});
    CHECK(y.shape() == Shape{2});
}
