// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <numbers>
#include <span>

#include "ito/grad/tape.hpp"

namespace ito::ops {

/// Rows of a table: weight [K, C], indices [N] in [0, K) -> [N, C], recorded on the tape if there is one.
/// Throws ArgumentError for an index outside the table.
template <class T>
Var<T> embedding(std::span<const Index> indices, const Parameter<T>& weight, Tape<T>* tape = nullptr) {
    const Index rows = weight.value.dim(0), width = weight.value.dim(1);
    Tensor<T> y({static_cast<Index>(indices.size()), width});
    for (std::size_t i = 0; i < indices.size(); ++i) {
        if (indices[i] < 0 || indices[i] >= rows)
            throw ArgumentError("class " + std::to_string(indices[i]) + " is outside [0, " + std::to_string(rows) + ")");
        std::copy_n(weight.value.data() + indices[i] * width, width, y.data() + static_cast<Index>(i) * width);
    }
    if (!tape) return Var<T>(std::move(y));
    const Var<T> w = use(tape, weight);
    auto pullback = [tape, w, width, indices = std::vector<Index>(indices.begin(), indices.end())](Tensor<T>& dy) {
        Tensor<T> dw = Tensor<T>::zeros(w.shape());
        for (std::size_t i = 0; i < indices.size(); ++i)
            for (Index c = 0; c < width; ++c) dw(indices[i], c) += dy(static_cast<Index>(i), c);
        tape->add(w, std::move(dw));
    };
    return result_of(std::move(y), tape, std::move(pullback), w);
}

/// Sinusoids of increasing wavelength (Vaswani et al. 2017, section 3.5; Ho et al. 2020): times [N] -> [N, width].
/// The j-th of width / 2 frequencies is 10000^(-j / (width / 2 - frequency_shift)); sines come first unless flipped.
/// An odd width ends on a zero. Throws ArgumentError if no frequency is left.
template <class T>
Tensor<T> sinusoidal_embedding(std::span<const T> times, Index width, bool flip_sin_to_cos, double frequency_shift) {
    const Index half = width / 2;
    if (half < 1 || static_cast<double>(half) == frequency_shift)
        throw ArgumentError("time embedding of width " + std::to_string(width) + " has no frequencies");
    Tensor<T> y = Tensor<T>::zeros({static_cast<Index>(times.size()), width});
    for (Index j = 0; j < half; ++j) {
        const double rate =
            std::exp(-std::log(10000.0) * static_cast<double>(j) / (static_cast<double>(half) - frequency_shift));
        for (std::size_t i = 0; i < times.size(); ++i) {
            const double angle = static_cast<double>(times[i]) * rate;
            y(static_cast<Index>(i), j + (flip_sin_to_cos ? half : 0)) = static_cast<T>(std::sin(angle));
            y(static_cast<Index>(i), j + (flip_sin_to_cos ? 0 : half)) = static_cast<T>(std::cos(angle));
        }
    }
    return y;
}

/// Random Fourier features of ln t (Song et al. 2021, appendix G): times [N], frequencies [C] -> [N, 2 C],
/// sines of 2 pi f ln t first unless flipped. Throws ArgumentError for a time that is not positive.
template <class T>
Tensor<T> fourier_embedding(std::span<const T> times, const Tensor<T>& frequencies, bool flip_sin_to_cos) {
    const Index half = frequencies.size();
    Tensor<T> y({static_cast<Index>(times.size()), 2 * half});
    for (std::size_t i = 0; i < times.size(); ++i) {
        if (!(times[i] > T(0)))
            throw ArgumentError("a Fourier time embedding needs a positive noise level, got " + std::to_string(times[i]));
        for (Index j = 0; j < half; ++j) {
            // The angle is rounded as the reference rounds it: it reaches hundreds, where a rounding is visible.
            const T angle = std::log(times[i]) * frequencies[j] * T(2) * std::numbers::pi_v<T>;
            y(static_cast<Index>(i), j + (flip_sin_to_cos ? half : 0)) = std::sin(angle);
            y(static_cast<Index>(i), j + (flip_sin_to_cos ? 0 : half)) = std::cos(angle);
        }
    }
    return y;
}

}  // namespace ito::ops
