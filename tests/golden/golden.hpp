// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "ito/io/safetensors.hpp"
#include "ito/io/unet2d_config.hpp"

namespace ito::test {

/// The folder with the golden results: ITO_GOLDENS, or the copy beside the tests.
inline std::filesystem::path goldens() {
    const char* folder = std::getenv("ITO_GOLDENS");
    return folder && *folder ? folder : ITO_TEST_GOLDENS;
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
    std::ifstream file(path);
    return nlohmann::json::parse(file);
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

/// A parameter as ito holds it: convolutions [O, I, kh, kw] -> [kh, kw, I, O].
template <class T>
Tensor<T> as_held(const Tensor<T>& x) {
    if (x.rank() != 4) return x;
    Tensor<T> y({x.dim(2), x.dim(3), x.dim(1), x.dim(0)});
    for (Index o = 0; o < x.dim(0); ++o)
        for (Index i = 0; i < x.dim(1); ++i)
            for (Index h = 0; h < x.dim(2); ++h)
                for (Index w = 0; w < x.dim(3); ++w) y(h, w, i, o) = x(o, i, h, w);
    return y;
}

/// Largest difference, relative to the largest expected magnitude.
template <class T>
double relative_error(const Tensor<T>& got, const Tensor<T>& expected) {
    require_shape("result", expected.shape(), got.shape());
    return static_cast<double>((got.array() - expected.array()).abs().maxCoeff() / expected.array().abs().maxCoeff());
}

/// The network of a golden folder with its weights; every stored tensor must have its place.
inline nn::UNet2D<float> load_unet2d(const std::filesystem::path& folder) {
    nn::UNet2D<float> unet(unet2d_config_from_json(read_json(folder / "config.json")));
    const auto weights = SafeTensors::open(folder / "diffusion_pytorch_model.safetensors");
    std::size_t loaded = 0;
    nn::for_each_parameter(unet, [&](const std::string& name, Parameter<float>& p) {
        Tensor<float> stored = as_held(weights.load<float>(name));
        require_shape(name, p.value.shape(), stored.shape());
        p.value = std::move(stored);
        ++loaded;
    });
    REQUIRE(loaded == weights.names().size());
    return unet;
}

}  // namespace ito::test
