// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "ito/grad/tape.hpp"
#include "ito/simd/math.hpp"

namespace ito::ops {

/// Mean squared difference in each sample: prediction, target [N, ..] -> [N]. Sums are kept in double.
/// Throws ShapeError if the shapes differ.
template <class T>
Var<T> squared_errors(const Var<T>& prediction, const Tensor<T>& target) {
    require_shape("squared error: target", prediction.shape(), target.shape());
    const Index n = target.dim(0), row = n ? target.size() / n : 0;
    Tensor<T> difference(target.shape()), errors({n});
    parallel_for(n, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            T* d = difference.data() + i * row;
            simd::map(row, d, [](auto u, auto v) { return simd::subtract(u, v); }, prediction->data() + i * row, target.data() + i * row);
            const double sum = simd::sum_of(row, [](auto v) { return simd::multiply(v, v); }, static_cast<const T*>(d));
            errors[i] = static_cast<T>(sum / static_cast<double>(row));
        }
    });
    Tape<T>* tape = prediction.tape();
    auto pullback = [=, difference = std::move(difference)](Tensor<T>& dy) mutable {
        parallel_for(n, 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) {
                T* d = difference.data() + i * row;
                const T factor = T(2) * dy[i] / static_cast<T>(row);
                simd::map(row, d, [=](auto v) { return simd::multiply(v, simd::broadcast(factor)); }, static_cast<const T*>(d));
            }
        });
        tape->add(prediction, std::move(difference));
    };
    return result_of(std::move(errors), tape, std::move(pullback), prediction);
}

/// (1 / N) sum of weight_n x_n: [N], weights [N] or empty -> [1]. Weights do not divide the sum, so importance weights
/// leave its mean as it is. Throws ShapeError if there are not as many weights.
template <class T>
Var<T> weighted_mean(const Var<T>& x, std::span<const T> weights = {}) {
    const Index n = x->size();
    if (!weights.empty()) require_shape("weighted mean: weights", {n}, {static_cast<Index>(weights.size())});
    Tensor<T> share = Tensor<T>::full({n}, T(1) / static_cast<T>(n));
    double sum = 0;
    for (Index i = 0; i < n; ++i) {
        if (!weights.empty()) share[i] *= weights[static_cast<std::size_t>(i)];
        sum += static_cast<double>((*x)[i]) * static_cast<double>(share[i]);
    }
    Tape<T>* tape = x.tape();
    auto pullback = [=](Tensor<T>& dy) {
        Tensor<T> g = share;
        for (T& v : g) v *= dy[0];
        tape->add(x, std::move(g).reshaped(x.shape()));
    };
    return result_of(Tensor<T>::full({1}, static_cast<T>(sum)), tape, std::move(pullback), x);
}

/// Mean over all elements of weight_n * (prediction - target)^2: [N, ..], [N, ..], weights [N] or empty -> [1].
/// Throws ShapeError if they do not fit.
template <class T>
Var<T> squared_error(const Var<T>& prediction, const Tensor<T>& target, std::span<const T> weights = {}) {
    return weighted_mean(squared_errors(prediction, target), weights);
}

/// Mean of -log softmax(logits)[label]: logits [N, K], labels [N] in [0, K) -> [1]. Throws ArgumentError for another label.
template <class T>
Var<T> cross_entropy(const Var<T>& logits, std::span<const Index> labels) {
    const Index n = logits->dim(0), classes = logits->dim(1);
    require_shape("cross entropy: labels", {n}, {static_cast<Index>(labels.size())});
    Tensor<T> probability(logits.shape());
    double total = 0;
    for (Index i = 0; i < n; ++i) {
        const Index label = labels[static_cast<std::size_t>(i)];
        if (label < 0 || label >= classes)
            throw ArgumentError("class " + std::to_string(label) + " is outside [0, " + std::to_string(classes) + ")");
        const T* from = logits->data() + i * classes;
        T* row = probability.data() + i * classes;
        const T most = *std::max_element(from, from + classes);
        double sum = 0;
        for (Index k = 0; k < classes; ++k) sum += static_cast<double>(row[k] = std::exp(from[k] - most));
        total += std::log(sum) - static_cast<double>(from[label] - most);
        for (Index k = 0; k < classes; ++k) row[k] = static_cast<T>(row[k] / sum);
    }
    Tape<T>* tape = logits.tape();
    auto pullback = [=, probability = std::move(probability), labels = std::vector<Index>(labels.begin(), labels.end())](Tensor<T>& dy) {
        Tensor<T> g = probability;
        for (Index i = 0; i < n; ++i) g(i, labels[static_cast<std::size_t>(i)]) -= T(1);
        for (T& v : g) v *= dy[0] / static_cast<T>(n);
        tape->add(logits, std::move(g));
    };
    return result_of(Tensor<T>::full({1}, static_cast<T>(total / static_cast<double>(n))), tape, std::move(pullback), logits);
}

}  // namespace ito::ops
