// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/data/dataset.hpp"
#include "ito/data/preprocess.hpp"

namespace ito {

/// Which images step k of a training run sees: epochs are laid end to end, each in an order of its own that depends on
/// (seed, epoch) only, and cut into batches. So a run resumes at any step from (seed, step) alone, and every image
/// comes once an epoch, also where the batch size does not divide their number.
class BatchOrder {
  public:
    /// Throws ArgumentError unless count and batch are positive.
    BatchOrder(Index count, Index batch, std::uint64_t seed) : count_(count), batch_(batch), seed_(seed) {
        if (count < 1 || batch < 1)
            throw ArgumentError("batches of " + std::to_string(batch) + " out of " + std::to_string(count) + " images");
    }

    /// The order of the images in one epoch: a permutation of 0 .. count-1.
    std::vector<Index> epoch(Index epoch) const {
        std::vector<Index> order(static_cast<std::size_t>(count_));
        std::iota(order.begin(), order.end(), Index{0});
        Random{{seed_, 0, static_cast<std::uint32_t>(epoch), Stream::data}}.shuffle(std::span<Index>(order));
        return order;
    }

    /// The images of a step, from 0. Cheap when steps are asked for in order. Throws ArgumentError for a negative step.
    std::vector<Pick> step(Index step) {
        if (step < 0) throw ArgumentError("batch of step " + std::to_string(step));
        std::vector<Pick> picks;
        for (Index position = step * batch_; position < (step + 1) * batch_; ++position) {
            const Index current = position / count_;
            if (current != epoch_) {
                order_ = epoch(current);
                epoch_ = current;
            }
            picks.push_back({order_[static_cast<std::size_t>(position % count_)], current});
        }
        return picks;
    }

  private:
    Index count_, batch_;
    std::uint64_t seed_;
    Index epoch_ = -1;
    std::vector<Index> order_;
};

/// The picked images, as stored [B, H, W, C].
inline Tensor<std::uint8_t> gather_images(const Dataset& data, std::span<const Pick> picks) {
    const Index size = data.images.size() / std::max<Index>(data.size(), 1);
    Tensor<std::uint8_t> images(data.images.shape().with(0, static_cast<Index>(picks.size())));
    for (std::size_t i = 0; i < picks.size(); ++i) {
        if (picks[i].sample < 0 || picks[i].sample >= data.size())
            throw ArgumentError("image " + std::to_string(picks[i].sample) + " of " + std::to_string(data.size()));
        std::copy_n(data.images.data() + picks[i].sample * size, size, images.data() + static_cast<Index>(i) * size);
    }
    return images;
}

/// The picked labels, [B]; none if the data set has none.
inline std::vector<Index> gather_labels(const Dataset& data, std::span<const Pick> picks) {
    std::vector<Index> labels;
    if (data.labelled())
        for (const Pick& pick : picks) labels.push_back(data.labels.at(static_cast<std::size_t>(pick.sample)));
    return labels;
}

/// Images and labels of one step of training.
template <class T>
struct Batch {
    Tensor<T> images;         // [B, H, W, C], as the pipeline leaves them
    std::vector<Index> labels;  // [B], or none
};

/// The picked images through a pipeline, and their labels. Throws ArgumentError for a pick outside of the data set.
template <class T, class... Steps>
Batch<T> assemble(const Dataset& data, std::span<const Pick> picks, const Pipeline<Steps...>& prepare) {
    return {prepare.template apply<T>(gather_images(data, picks), picks), gather_labels(data, picks)};
}

}  // namespace ito
