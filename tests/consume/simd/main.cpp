// SPDX-License-Identifier: MIT
// One program for every processor: what this one can run gives the same results, within 1e-5 of their size, and operations
// take the best.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ito/core/random.hpp"
#include "ito/ops/attention.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/gate.hpp"
#include "ito/ops/group_norm.hpp"
#include "ito/ops/layer_norm.hpp"
#include "ito/ops/linear.hpp"

using namespace ito;

namespace {

bool failed = false;

void check(bool holds, const char* what) {
    if (holds) return;
    std::printf("not so: %s\n", what);
    failed = true;
}

Tensor<float> random_tensor(const Shape& shape, std::uint64_t seed) {
    Tensor<float> x(shape);
    fill_normal(x, seed);
    return x;
}

/// Largest difference, by the root mean square of what is expected.
double difference(const Tensor<float>& got, const Tensor<float>& expected) {
    double worst = 0, squares = 0;
    for (Index i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
        squares += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
    }
    return worst / std::sqrt(squares / static_cast<double>(got.size()));
}

}  // namespace

int main() {
    const auto runnable = ops::detail::runnable_kernels();
    double worst = 0;
    for (const Index side : {4, 8, 17, 32})
        for (const Index kernel : {1, 3}) {
            const Index in = 24, out = 40;
            const Tensor<float> x = random_tensor({2, side, side, in}, 1), dy = random_tensor({2, side, side, out}, 2);
            const Parameter<float> weight{random_tensor({kernel, kernel, in, out}, 3)};
            const simd::ConvShape shape{2, side, side, in, side, side, kernel, kernel, kernel / 2, kernel / 2};
            const Parameter<float>* no_bias = nullptr;
            const Tensor<float> expected = *ops::conv2d(Var<float>(x), weight, no_bias, {1, ops::Padding::same(kernel / 2)});
            Tensor<float> gradient;
            for (const auto& kernels : runnable) {
                Tensor<float> y({2, side, side, out});
                kernels.convolve(shape, x.data(), weight, false, {}, y.data(), Precision::fast);
                worst = std::max(worst, difference(y, expected));
                const Tensor<float> dw = kernels.weight_gradient(shape, x.data(), dy, weight.value.shape(), Precision::fast);
                if (gradient.empty()) gradient = dw;
                worst = std::max(worst, difference(dw, gradient));
                if (&kernels == &runnable.front()) check(std::equal(y.begin(), y.end(), expected.begin()), "operations take the best kernels");
            }
        }
    const Tensor<float> x = random_tensor({50, 100}, 4);
    const Parameter<float> weight{random_tensor({70, 100}, 5)}, bias{random_tensor({70}, 6)};
    const Tensor<float> expected = *ops::linear(Var<float>(x), weight, &bias);
    const Tensor<float> q = random_tensor({1, 70, 32}, 7), k = random_tensor({1, 90, 32}, 8), v = random_tensor({1, 90, 32}, 9);
    const Tensor<float> mixed = *ops::attention(Var<float>(q), Var<float>(k), Var<float>(v), 2);
    const Parameter<float> gamma{random_tensor({24}, 10)}, beta{random_tensor({24}, 11)};
    const Tensor<float> pictures = random_tensor({1, 9, 9, 24}, 12);
    const Tensor<float> normal = *ops::group_norm(Var<float>(pictures), gamma, beta, {24, 0, ops::Activation::silu});
    const Tensor<float> gated = *ops::gate(Var<float>(pictures)), level = *ops::layer_norm(Var<float>(pictures), gamma, beta);
    for (const auto& kernels : runnable) {
        Tensor<float> halves(gated.shape()), rows(level.shape());
        kernels.gate_rows(ops::Activation::gelu, pictures.data(), 81, 12, halves.data());
        worst = std::max(worst, difference(halves, gated));
        kernels.layer_norm_rows(pictures.data(), 81, 24, 1e-5, gamma.value.data(), beta.value.data(), rows.data());
        worst = std::max(worst, difference(rows, level));
        Tensor<float> y({50, 70});
        kernels.product(x.matrix(), weight, false, {bias.value.data()}, y.matrix(), Precision::fast);
        worst = std::max(worst, difference(y, expected));
        Tensor<float> m(mixed.shape());
        kernels.attend({1, 2, 70, 90, 16, 16}, q.data(), k.data(), v.data(), m.data(), Precision::fast);
        worst = std::max(worst, difference(m, mixed));
        // A group norm with a channel in each group, by its parts.
        Tensor<float> mean({24}), squares({24}), slope({24}), shift({24}), n(normal.shape());
        kernels.strip_moments(pictures.data(), 81, 24, mean.data(), squares.data());
        for (Index c = 0; c < 24; ++c) {
            slope[c] = gamma.value[c] / std::sqrt(squares[c] / 81);
            shift[c] = beta.value[c] - mean[c] * slope[c];
        }
        kernels.affine_rows(ops::Activation::silu, pictures.data(), 81, 24, slope.data(), shift.data(), n.data());
        worst = std::max(worst, difference(n, normal));
        std::printf("%s: %d floats a register\n", kernels.name, kernels.lanes);
    }
    std::printf("largest difference %.1e\n", worst);
    check(worst < 1e-5, "instruction sets agree within 1e-5");
    return failed;
}
