// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "catch.hpp"
#include "ito/grad/tape.hpp"
#include "simd/compare.hpp"

namespace ito::test {

/// Result of f and gradients of its inputs and parameters.
template <class T, class F>
std::vector<Tensor<T>> run(F&& f, const std::vector<Tensor<float>>& inputs, const std::vector<Tensor<float>>& parameters) {
    Tape<T> tape;
    std::vector<Var<T>> values;
    std::vector<Parameter<T>> held;
    for (const auto& x : inputs) values.push_back(tape.input(x.template cast<T>()));
    for (const auto& p : parameters) held.push_back({p.template cast<T>()});
    const Var<T> y = f(values, held);
    tape.backward(y, random_floats(y.shape(), 99).template cast<T>());
    std::vector<Tensor<T>> all{*y};
    for (const auto& value : values) all.push_back(*tape.gradient(value));
    for (const auto& parameter : held) all.push_back(*tape.gradient(parameter));
    return all;
}

/// Everything agrees to 1e-5 of its root mean square.
template <class F>
void compare(F&& f, const std::vector<Tensor<float>>& inputs, const std::vector<Tensor<float>>& parameters) {
    const auto fast = run<float>(f, inputs, parameters);
    const auto plain = run<double>(f, inputs, parameters);
    for (std::size_t i = 0; i < fast.size(); ++i) {
        CAPTURE(i, fast[i].shape().str());
        REQUIRE(worst_error(fast[i], plain[i]) < 1e-5);
    }
}

}  // namespace ito::test
