// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/safetensors.hpp"
#include "ito/io/safetensors_writer.hpp"
#include "ito/nn/module.hpp"

namespace ito {

namespace detail {

/// Convolution kernels are [out, in, kh, kw] in files and [kh, kw, in, out] in memory; all else is the same in both.
inline Shape shape_in_file(const Shape& held) {
    return held.rank() == 4 ? Shape{held[3], held[2], held[0], held[1]} : held;
}

/// Into a tensor of the shape in memory, which is not made anew: what it would leave is too small for most of what follows.
template <class T>
void kernel_to_memory(const Tensor<T>& stored, Tensor<T>& held) {
    if (stored.rank() != 4) {
        std::copy(stored.begin(), stored.end(), held.begin());
        return;
    }
    const Index out = stored.dim(0), in = stored.dim(1), taps = stored.dim(2) * stored.dim(3);
    for (Index o = 0; o < out; ++o)
        for (Index i = 0; i < in; ++i)
            for (Index tap = 0; tap < taps; ++tap) held[(tap * in + i) * out + o] = stored[(o * in + i) * taps + tap];
}

template <class T>
Tensor<T> kernel_to_file(const Tensor<T>& held) {
    if (held.rank() != 4) return held;
    const Index taps = held.dim(0) * held.dim(1), in = held.dim(2), out = held.dim(3);
    Tensor<T> stored(shape_in_file(held.shape()));
    for (Index o = 0; o < out; ++o)
        for (Index i = 0; i < in; ++i)
            for (Index tap = 0; tap < taps; ++tap) stored[(o * in + i) * taps + tap] = held[(tap * in + i) * out + o];
    return stored;
}

/// "a, b, c and 4 more"
inline std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 8); ++i)
        text += (i ? ", " : "") + printable(names[i]);
    if (names.size() > 8) text += " and " + std::to_string(names.size() - 8) + " more";
    return text;
}

}  // namespace detail

/// Fills every parameter of a module from a file whose tensors have the parameters' names (convolutions stored as
/// PyTorch has them). Throws ConfigError that names what is missing or unexpected, ShapeError that names a tensor and
/// both shapes; the module is then unchanged. No second copy of the weights is held: a MemoryError leaves some of them old.
template <class M>
void load_parameters(M& module, const SafeTensors& file) {
    std::set<std::string> unexpected;
    for (const std::string& name : file.names()) unexpected.insert(name);
    std::vector<std::string> missing;
    nn::for_each_parameter(module, [&](const std::string& name, const auto& parameter) {
        if (!file.contains(name)) {
            missing.push_back(name);
            return;
        }
        unexpected.erase(name);
        require_shape(file.path().string() + ": parameter '" + name + "'",
                      detail::shape_in_file(parameter.value.shape()), file.shape(name));
    });
    std::string wrong;
    if (!missing.empty()) wrong += ": missing parameters: " + detail::listed(missing);
    if (!unexpected.empty())
        wrong += ": unexpected parameters: " + detail::listed({unexpected.begin(), unexpected.end()});
    if (!wrong.empty()) throw ConfigError(file.path().string() + wrong);

    nn::for_each_parameter(module, [&](const std::string& name, auto& parameter) {
        using T = typename std::remove_cvref_t<decltype(parameter.value)>::value_type;
        detail::kernel_to_memory(file.load<T>(name), parameter.change());
    });
}

/// Writes every parameter under its name, convolutions as PyTorch has them. The file that was there survives a failure.
/// Throws FileError.
template <class M>
void save_parameters(const M& module, const std::filesystem::path& path, DType dtype) {
    SafeTensorsWriter file;
    nn::for_each_parameter(module, [&](const std::string& name, const auto& parameter) {
        file.add(name, detail::kernel_to_file(parameter.value), dtype);
    });
    file.save(path, {{"format", "pt"}});
}

}  // namespace ito
