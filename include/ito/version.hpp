// SPDX-License-Identifier: MIT
#pragma once

namespace ito {

/// The version of these headers; CMake reads it from here.
inline constexpr char version[] = "0.1.0";

}  // namespace ito
