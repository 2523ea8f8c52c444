// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "ito/core/error.hpp"

namespace ito {

using Index = std::int64_t;

/// The extents of a tensor, outermost axis first: up to six axes, none negative, held inline.
class Shape {
  public:
    static constexpr int max_rank = 6;

    Shape() = default;

    /// Throws ShapeError for more than six axes, a negative extent, or a product beyond Index.
    Shape(std::initializer_list<Index> extents) : Shape(std::span<const Index>(extents.begin(), extents.size())) {}

    explicit Shape(std::span<const Index> extents) {
        if (extents.size() > max_rank)
            throw ShapeError("a shape has at most 6 axes, got " + std::to_string(extents.size()));
        for (Index extent : extents) extents_[static_cast<std::size_t>(rank_++)] = extent;
        Index product = 1;
        for (Index extent : extents) {
            if (extent < 0) throw ShapeError("negative extent in shape " + str());
            if (extent != 0 && product > std::numeric_limits<Index>::max() / 16 / extent)
                throw ShapeError("shape " + str() + " has too many elements");
            product *= extent;
        }
    }

    int rank() const { return rank_; }

    /// Extent of axis i; negative i counts from the last axis (-1).
    Index operator[](int i) const { return extents_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }

    /// Number of elements; 1 for rank 0.
    Index size() const {
        Index product = 1;
        for (Index extent : *this) product *= extent;
        return product;
    }

    const Index* begin() const { return extents_.data(); }
    const Index* end() const { return extents_.data() + rank_; }

    /// The same shape with axis i replaced.
    Shape with(int i, Index extent) const {
        std::array<Index, max_rank> changed = extents_;
        changed[static_cast<std::size_t>(i < 0 ? i + rank_ : i)] = extent;
        return Shape(std::span<const Index>(changed.data(), static_cast<std::size_t>(rank_)));
    }

    friend bool operator==(const Shape& a, const Shape& b) {
        if (a.rank_ != b.rank_) return false;
        for (int i = 0; i < a.rank_; ++i)
            if (a[i] != b[i]) return false;
        return true;
    }

    /// "[2, 32, 32, 3]"
    std::string str() const {
        std::string text = "[";
        for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
        return text + "]";
    }

  private:
    std::array<Index, max_rank> extents_{};
    int rank_ = 0;
};

namespace detail {
[[noreturn, gnu::noinline, gnu::cold]] inline void shapes_differ(std::string_view name, const Shape& expected, const Shape& got) {
    throw ShapeError(std::string(name) + ": expected " + expected.str() + ", got " + got.str());
}
}  // namespace detail

/// Throws ShapeError "NAME: expected [..], got [..]" unless the two agree.
inline void require_shape(std::string_view name, const Shape& expected, const Shape& got) {
    if (!(expected == got)) detail::shapes_differ(name, expected, got);
}

}  // namespace ito
