// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "ito/io/model_folder.hpp"

namespace ito::test {

/// The folder with the golden results: ITO_GOLDENS, or the copy beside the tests.
inline std::filesystem::path goldens() {
    const char* folder = std::getenv("ITO_GOLDENS");
    return folder && *folder ? folder : ITO_TEST_GOLDENS;
}

/// [N, C, H, W] -> [N, H, W, C]
template <class T>
Tensor<T> channels_last(const Tensor<T>& x) {
    Tensor<T> y({x.dim(0), x.dim(2), x.dim(3), x.dim(1)});
    for (Index n = 0; n < x.dim(0); ++n)
        for (Index c = 0; c < x.dim(1); ++c)
            for (Index h = 0; h < x.dim(2); ++h)
                for (Index w = 0; w < x.dim(3); ++w) y(n, h, w, c) = x(n, c, h, w);
    return y;
}

/// A parameter as ito holds it.
template <class T>
Tensor<T> as_held(const Tensor<T>& x) {
    if (x.rank() != 4) return x;
    Tensor<T> held({x.dim(2), x.dim(3), x.dim(1), x.dim(0)});
    detail::kernel_to_memory(x, held);
    return held;
}

/// Largest difference, relative to the largest expected magnitude.
template <class T>
double relative_error(const Tensor<T>& got, const Tensor<T>& expected) {
    require_shape("result", expected.shape(), got.shape());
    return static_cast<double>((got.array() - expected.array()).abs().maxCoeff() / expected.array().abs().maxCoeff());
}

}  // namespace ito::test
