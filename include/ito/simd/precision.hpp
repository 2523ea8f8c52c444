// SPDX-License-Identifier: MIT
#pragma once

namespace ito {

/// How operations on float multiply. Those on double always do in double.
enum class Precision {
    fast,   ///< float; 3x3 convolutions by Winograd's algorithm where that is faster: errors up to some 1e-5 of the rms
    exact,  ///< float; every convolution as the sum of its products
    /// Linear maps, convolutions of 16 or more channels and attention multiply numbers rounded to bfloat16 and sum in float;
    /// their weights take half the memory; errors about 1e-2 of the rms. For inference: operations whose gradients are
    /// recorded compute as with fast. Quick on processors that have AMX, right on all.
    bf16,
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

    /// That of an operation, which may be one whose gradients are recorded.
    static Precision of_operation(bool recorded) { return recorded && current_ == Precision::bf16 ? Precision::fast : current_; }

  private:
    static inline thread_local Precision current_ = Precision::fast;
    Precision previous_;
};

}  // namespace ito
