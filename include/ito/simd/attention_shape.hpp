// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/core/shape.hpp"

namespace ito::simd {

/// q [N, queries, heads * width], k [N, keys, heads * width], v [N, keys, heads * value_width], heads side by side.
struct AttentionShape {
    Index samples, heads, queries, keys, width, value_width;
    double scale() const { return 1 / std::sqrt(static_cast<double>(width)); }
};

}  // namespace ito::simd
