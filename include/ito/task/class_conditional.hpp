// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ito/denoise/guidance.hpp"
#include "ito/nn/unet2d.hpp"

namespace ito {

/// A UNet2D as the network that a sampler asks: x [N, H, W, C] at one level, sample k of class labels[k].
/// Without labels the network has no classes. With guidance other than 1 every call also asks for the null class, in
/// one batch of 2 N, and combines the two (see guide_halves). The network must outlive this value.
template <class T>
struct ClassConditional {
    const nn::UNet2D<T>& unet;
    std::vector<Index> labels;
    double guidance = 1;
    Index null_class = -1;

    /// Throws ArgumentError for guidance without labels or a null class, or for another number of labels; ShapeError for x
    /// that does not fit the network.
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& level) const {
        return (*this)(x, PooledVector<NoiseLevel>(static_cast<std::size_t>(x.dim(0)), level));
    }

    /// The same with sample k at levels[k].
    Tensor<T> operator()(const Tensor<T>& x, std::span<const NoiseLevel> levels) const {
        const auto n = static_cast<std::size_t>(x.dim(0));
        if (!labels.empty() && labels.size() != n)
            throw ArgumentError(std::to_string(labels.size()) + " class labels for " + std::to_string(n) + " samples");
        const bool guided = guidance != 1;
        if (guided && (null_class < 0 || labels.empty()))
            throw ArgumentError("guidance needs class labels and a network that was trained with a null class");
        PooledVector<Index> classes(labels.begin(), labels.end());
        if (guided) classes.insert(classes.begin(), n, null_class);
        PooledVector<T> times;
        for (int half = 0; half < (guided ? 2 : 1); ++half)
            for (const NoiseLevel& level : levels) times.push_back(static_cast<T>(level.time));
        const Var<T> said = unet(Var<T>(guided ? twice(x) : x), times, classes);
        return guided ? guide_halves(*said, guidance) : *said;
    }
};

}  // namespace ito
