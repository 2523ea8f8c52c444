// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

namespace ito {

/// How a convolution is computed: as the sum of its products, by Winograd's F(2x2, 3x3) or F(4x4, 3x3) (Lavin and Gray
/// 2016), or as the sum of products of bfloat16 numbers, which Precision::bf16 asks for.
enum class ConvAlgorithm { direct, winograd2, winograd4, bf16 };

/// A 3x3 convolution of stride 1 as far as its algorithm goes: pixels and channels of the image that it reads, channels of
/// that which it makes. The number of images is left out, so that a sample has the same bits in any batch.
struct ConvLayer {
    Index height, width, in, out;

    friend bool operator==(const ConvLayer&, const ConvLayer&) = default;
};

/// Which of direct, winograd2 and winograd4 the 3x3 convolutions of stride 1 get; those that are not listed get what the cost
/// model says. Made by nn::tuned or read from a file. Meant for Precision::fast without gradients: others do not look.
class ConvAlgorithms {
  public:
    struct Choice {
        ConvLayer layer;
        ConvAlgorithm algorithm;

        friend bool operator==(const Choice&, const Choice&) = default;
    };

    /// Chooses for a layer, or anew. Throws ArgumentError for extents that are not positive and for bf16.
    void choose(const ConvLayer& layer, ConvAlgorithm algorithm) {
        if (std::min({layer.height, layer.width, layer.in, layer.out}) < 1 || algorithm == ConvAlgorithm::bf16)
            throw ArgumentError("a layer's algorithm is direct, winograd2 or winograd4, its extents are positive");
        if (Choice* known = lookup(layer)) known->algorithm = algorithm;
        else choices_.push_back({layer, algorithm});
    }

    /// Nothing for a layer that is not listed.
    std::optional<ConvAlgorithm> of(const ConvLayer& layer) const {
        const Choice* known = const_cast<ConvAlgorithms*>(this)->lookup(layer);
        return known ? std::optional(known->algorithm) : std::nullopt;
    }

    /// In the order in which they were chosen.
    const std::vector<Choice>& choices() const { return choices_; }

    friend bool operator==(const ConvAlgorithms&, const ConvAlgorithms&) = default;

  private:
    Choice* lookup(const ConvLayer& layer) {
        const auto same = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& c) { return c.layer == layer; });
        return same == choices_.end() ? nullptr : &*same;
    }

    std::vector<Choice> choices_;
};

}  // namespace ito
