// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "ito/grad/tape.hpp"

namespace ito::test {

/// Reproducible numbers in [-1, 1).
inline Tensor<double> numbers(const Shape& shape, unsigned seed) {
    std::mt19937 generator(seed);
    Tensor<double> x(shape);
    for (double& v : x) v = static_cast<double>(generator()) / 2147483648.0 - 1;
    return x;
}

/// Compares the gradients of sum(f(inputs) * seed) with central differences, for every element of every input and
/// parameter. f takes the inputs as values on a tape, or without one.
template <class F>
void check_gradients(F&& f, std::vector<Tensor<double>> inputs, std::vector<Parameter<double>*> parameters = {}) {
    const Tensor<double> seed = numbers(f(std::vector<Var<double>>(inputs.begin(), inputs.end())).shape(), 99);
    auto value = [&] {
        const Var<double> y = f(std::vector<Var<double>>(inputs.begin(), inputs.end()));
        return (y->array() * seed.array()).sum();
    };

    Tape<double> tape;
    std::vector<Var<double>> values;
    for (const auto& input : inputs) values.push_back(tape.input(input));
    const Var<double> result = f(values);
    REQUIRE(((*result).array() * seed.array()).sum() == Approx(value()).epsilon(1e-12));
    tape.backward(result, seed);

    auto compare = [&](auto&& changed, const Tensor<double>* gradient, const std::string& name) {
        INFO(name);
        REQUIRE(gradient != nullptr);
        REQUIRE(gradient->shape() == changed().shape());
        double worst = 0, largest = gradient->array().abs().maxCoeff();
        for (Index i = 0; i < gradient->size(); ++i) {
            const double step = 1e-5, old = changed()[i];
            changed()[i] = old + step;
            const double above = value();
            changed()[i] = old - step;
            const double below = value();
            changed()[i] = old;
            worst = std::max(worst, std::abs((above - below) / (2 * step) - (*gradient)[i]));
        }
        CAPTURE(worst, largest);
        CHECK(worst <= 1e-7 * std::max(1.0, largest));
    };
    for (std::size_t i = 0; i < inputs.size(); ++i)
        compare([&]() -> auto& { return inputs[i]; }, tape.gradient(values[i]), "input " + std::to_string(i));
    for (std::size_t i = 0; i < parameters.size(); ++i)
        compare([&]() -> auto& { return parameters[i]->change(); }, tape.gradient(*parameters[i]), "parameter " + std::to_string(i));
}

}  // namespace ito::test
