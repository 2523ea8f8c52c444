// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>

#include "ito/core/tensor.hpp"

namespace ito {

/// The numbers that PyTorch's CPU generator gives after torch.manual_seed(seed), call after call, for float32 tensors:
/// so that a picture drawn there from a seed can be drawn here. Only the order of elements in memory counts; fill an
/// NCHW tensor where PyTorch would. rand is bit-exact; randn agrees to about an ulp of float, since PyTorch's own
/// vectorised logarithm and sine differ in the last place from one machine to another.
class TorchRandom {
  public:
    explicit TorchRandom(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

    /// torch.rand(shape): uniform in [0, 1), 24 random bits.
    Tensor<float> rand(const Shape& shape) {
        Tensor<float> x(shape);
        for (float& v : x) v = uniform24();
        return x;
    }

    /// torch.randn(shape). Up to 15 elements are drawn one by one in double precision, and the second normal of a pair
    /// is kept for the next such call; from 16 on, in blocks of 16 uniforms, whose first eight are the radii and whose
    /// last eight the angles; a ragged end redraws the last 16.
    Tensor<float> randn(const Shape& shape) {
        Tensor<float> x(shape);
        const Index n = x.size();
        if (n < 16) {
            for (float& v : x) v = static_cast<float>(single_normal());
            return x;
        }
        for (float& v : x) v = uniform24();
        for (Index i = 0; i + 16 <= n; i += 16) to_normals(x.data() + i);
        if (n % 16 != 0) {
            float* last = x.data() + n - 16;
            for (int i = 0; i < 16; ++i) last[i] = uniform24();
            to_normals(last);
        }
        return x;
    }

  private:
    static constexpr double two_pi = 6.283185307179586476925;

    float uniform24() { return static_cast<float>(engine_() & 0xFFFFFF) * 0x1p-24f; }

    double uniform53() {
        const std::uint64_t high = engine_(), low = engine_();
        return static_cast<double>((high << 32 | low) & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
    }

    double single_normal() {
        if (kept_) {
            const double value = *kept_;
            kept_.reset();
            return value;
        }
        const double u1 = uniform53(), u2 = uniform53();
        const double r = std::sqrt(-2 * std::log1p(-u2)), theta = two_pi * u1;
        kept_ = r * std::sin(theta);
        return r * std::cos(theta);
    }

    static void to_normals(float* block) {
        for (int i = 0; i < 8; ++i) {
            const float u1 = 1 - block[i], u2 = block[i + 8];
            const float r = std::sqrt(-2 * std::log(u1)), theta = static_cast<float>(two_pi) * u2;
            block[i] = r * std::cos(theta);
            block[i + 8] = r * std::sin(theta);
        }
    }

    std::mt19937 engine_;
    std::optional<double> kept_;
};

}  // namespace ito
