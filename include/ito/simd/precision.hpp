// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/conv_algorithms.hpp"

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

/// What an operation needs to know to choose its kernel.
struct Arithmetic {
    constexpr Arithmetic(Precision precision = Precision::fast, const ConvAlgorithms* algorithms = nullptr)
        : precision(precision), algorithms(algorithms) {}

    Precision precision;
    const ConvAlgorithms* algorithms;  ///< of Precision::fast; null: the cost model chooses
};

/// While it lives, operations of this thread use the given precision; without any, Precision::fast. Gradients use that of
/// their operation.
class PrecisionScope {
  public:
    explicit PrecisionScope(Precision precision) : previous_(current_) { current_.precision = precision; }

    /// The precision stays; where it is fast, convolutions whose gradients are not recorded get these algorithms. The table
    /// must outlive the scope; null: that of the scope around it, if any.
    explicit PrecisionScope(const ConvAlgorithms* algorithms) : previous_(current_) {
        if (algorithms) current_.algorithms = algorithms;
    }

    ~PrecisionScope() { current_ = previous_; }
    PrecisionScope(const PrecisionScope&) = delete;
    PrecisionScope& operator=(const PrecisionScope&) = delete;

    static Precision current() { return current_.precision; }

    /// Null where no scope names any.
    static const ConvAlgorithms* algorithms() { return current_.algorithms; }

    /// Those of an operation, which may be one whose gradients are recorded: what was timed or is meant for inference is not
    /// for it, so that a training run does not depend on a table.
    static Arithmetic of_operation(bool recorded) {
        if (!recorded) return current_;
        return current_.precision == Precision::bf16 ? Precision::fast : current_.precision;
    }

  private:
    static inline thread_local Arithmetic current_;
    Arithmetic previous_;
};

}  // namespace ito
