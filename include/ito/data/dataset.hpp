// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"

namespace ito {

/// Images of one size, all in memory as bytes, and what they show.
struct Dataset {
    Tensor<std::uint8_t> images;           // [N, H, W, C]
    std::vector<Index> labels;             // N of them, each below classes(); or none
    std::vector<std::string> class_names;  // empty where there are no labels

    Index size() const { return images.empty() ? 0 : images.dim(0); }
    bool labelled() const { return !labels.empty(); }
    Index classes() const { return static_cast<Index>(class_names.size()); }

    /// The shape of one image, [H, W, C].
    Shape image_shape() const { return {images.dim(1), images.dim(2), images.dim(3)}; }
};

/// Throws ConfigError unless every image has a label. `why` completes "labels are needed ..".
inline void require_labels(const Dataset& data, const std::string& why) {
    if (!data.labelled()) throw ConfigError("labels are needed " + why + ", and this data set has none");
}

namespace detail {

/// Puts a data set together and names the classes by their numbers where they have no names.
/// Throws an error of type E, its text after `where`, if images and labels do not fit.
template <class E>
Dataset make_dataset(const std::string& where, Tensor<std::uint8_t> images, std::vector<Index> labels = {},
                     std::vector<std::string> class_names = {}) {
    if (images.rank() != 4) throw E(where + ": expected images [N, H, W, C], got " + images.shape().str());
    if (images.empty()) throw E(where + ": no images, shape " + images.shape().str());
    if (!labels.empty()) {
        if (static_cast<Index>(labels.size()) != images.dim(0))
            throw E(where + ": " + std::to_string(images.dim(0)) + " images and " + std::to_string(labels.size()) +
                    " labels");
        const auto [least, greatest] = std::minmax_element(labels.begin(), labels.end());
        if (*least < 0) throw E(where + ": negative label " + std::to_string(*least));
        if (class_names.empty() && *greatest >= static_cast<Index>(labels.size()))
            throw E(where + ": label " + std::to_string(*greatest) + " among only " + std::to_string(labels.size()) +
                    " images");
        if (class_names.empty())
            for (Index label = 0; label <= *greatest; ++label) class_names.push_back(std::to_string(label));
        if (*greatest >= static_cast<Index>(class_names.size()))
            throw E(where + ": label " + std::to_string(*greatest) + " and only " + std::to_string(class_names.size()) +
                    " classes");
    }
    return {std::move(images), std::move(labels), std::move(class_names)};
}

}  // namespace detail

/// A data set of images [N, H, W, C] that are already in memory. Throws ArgumentError if the parts do not fit.
inline Dataset make_dataset(Tensor<std::uint8_t> images, std::vector<Index> labels = {},
                            std::vector<std::string> class_names = {}) {
    return detail::make_dataset<ArgumentError>("data set", std::move(images), std::move(labels),
                                               std::move(class_names));
}

/// Images first to last (without it), with their labels. Throws ArgumentError for an empty or impossible range.
inline Dataset slice(const Dataset& data, Index first, Index last) {
    if (first < 0 || first >= last || last > data.size())
        throw ArgumentError("images " + std::to_string(first) + " to " + std::to_string(last) + " of " +
                            std::to_string(data.size()));
    const Index size = data.images.size() / data.size();
    Tensor<std::uint8_t> images(data.images.shape().with(0, last - first));
    std::copy(data.images.data() + first * size, data.images.data() + last * size, images.data());
    std::vector<Index> labels;
    if (data.labelled()) labels.assign(data.labels.begin() + first, data.labels.begin() + last);
    return {std::move(images), std::move(labels), data.class_names};
}

}  // namespace ito
