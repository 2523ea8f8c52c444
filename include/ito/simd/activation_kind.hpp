// SPDX-License-Identifier: MIT
#pragma once

namespace ito::simd {

enum class Activation { none, silu, relu, gelu, mish, tanh, sine };

}  // namespace ito::simd
