// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/grad/tape.hpp"

namespace ito::ops {

/// Mean over all elements of weight_n * (prediction - target)^2: [N, ..], [N, ..], weights [N] or empty -> [1].
/// Sums are kept in double per sample. Throws ShapeError if the shapes differ.
template <class T>
Var<T> squared_error(const Var<T>& prediction, const Tensor<T>& target, std::span<const T> weights = {}) {
    require_shape("squared error: target", prediction.shape(), target.shape());
    const Index n = target.dim(0), row = n ? target.size() / n : 0;
    if (!weights.empty()) require_shape("squared error: weights", {n}, {static_cast<Index>(weights.size())});
    auto weight = [w = std::vector<T>(weights.begin(), weights.end())](Index i) {
        return w.empty() ? T(1) : w[static_cast<std::size_t>(i)];
    };
    Tensor<T> difference(target.shape());
    std::vector<double> sums(static_cast<std::size_t>(n));
    parallel_for(n, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            auto d = difference.array().segment(i * row, row);
            d = prediction->array().segment(i * row, row) - target.array().segment(i * row, row);
            sums[static_cast<std::size_t>(i)] = d.template cast<double>().square().sum() * static_cast<double>(weight(i));
        }
    });
    double total = 0;
    for (double sum : sums) total += sum;
    Tape<T>* tape = prediction.tape();
    auto pullback = [=, difference = std::move(difference)](Tensor<T>& dy) {
        Tensor<T> g(prediction.shape());
        for (Index i = 0; i < n; ++i)
            g.array().segment(i * row, row) =
                difference.array().segment(i * row, row) * (T(2) * weight(i) * dy[0] / static_cast<T>(g.size()));
        tape->add(prediction, std::move(g));
    };
    return result_of(Tensor<T>::full({1}, static_cast<T>(total / static_cast<double>(target.size()))), tape, std::move(pullback),
                     prediction);
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
        auto row = probability.matrix().row(i).array();
        row = logits->matrix().row(i).array() - logits->matrix().row(i).maxCoeff();
        total += std::log(static_cast<double>(row.exp().sum())) - static_cast<double>(row[label]);
        row = row.exp();
        row /= row.sum();
    }
    Tape<T>* tape = logits.tape();
    auto pullback = [=, probability = std::move(probability), labels = std::vector<Index>(labels.begin(), labels.end())](Tensor<T>& dy) {
        Tensor<T> g = probability;
        for (Index i = 0; i < n; ++i) g(i, labels[static_cast<std::size_t>(i)]) -= T(1);
        g.array() *= dy[0] / static_cast<T>(n);
        tape->add(logits, std::move(g));
    };
    return result_of(Tensor<T>::full({1}, static_cast<T>(total / static_cast<double>(n))), tape, std::move(pullback), logits);
}

}  // namespace ito::ops
