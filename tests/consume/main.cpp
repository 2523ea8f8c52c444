// SPDX-License-Identifier: MIT
#include <cstdio>

#include "ito/core/eigen.hpp"

int main() {
    auto x = ito::Tensor<float>::full({2, 3}, 1.5f);
    x(1, 2) = 4;
    const auto copy = ito::from_eigen(ito::to_eigen<2>(x));
    std::printf("sum %g\n", static_cast<double>(copy.array().sum()));
    return copy.array().sum() == 11.5f ? 0 : 1;
}
