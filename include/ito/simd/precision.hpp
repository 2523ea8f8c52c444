// SPDX-License-Identifier: MIT
#pragma once

namespace ito {

/// How operations on float multiply.
enum class Precision {
    fast,   ///< float; 3x3 convolutions by Winograd's algorithm where that is faster: errors up to some 1e-5 of the rms
    exact,  ///< float; every convolution as the sum of its products
};

/// While it lives, operations of this thread use the given precision; without any, Precision::fast. Gradients use that of
/// their operation.
class PrecisionScope {
  public:
    explicit PrecisionScope(Precision precision) : previous_(current_) { current_ = precision; }
    ~PrecisionScope() { current_ = previous_; }
    PrecisionScope(const PrecisionScope&) = delete;
    PrecisionScope& operator=(const PrecisionScope&) = delete;

    static Precision current() { return current_; }

  private:
    static inline thread_local Precision current_ = Precision::fast;
    Precision previous_;
};

}  // namespace ito
