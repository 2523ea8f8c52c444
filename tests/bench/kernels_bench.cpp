// SPDX-License-Identifier: MIT
// Kernels and operations one by one, on one thread. Reported as GF/s of the direct algorithm where they multiply, else as
// bytes read and written a second. Beside them `peak` is what registers alone can do.
#include <benchmark/benchmark.h>

#include "ito/core/random.hpp"
#include "ito/ops/activation.hpp"
#include "ito/ops/attention.hpp"
#include "ito/ops/conv2d.hpp"
#include "ito/ops/group_norm.hpp"
#include "ito/ops/linear.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/betas.hpp"
#include "ito/schedule/steps.hpp"
#include "ito/train/optimizer.hpp"
#include "measure.hpp"

using namespace ito;
using benchmark::Counter;

namespace {

Tensor<float> random_tensor(const Shape& shape, std::uint64_t seed) {
    Tensor<float> x(shape);
    fill_normal(x, seed);
    return x;
}

ThreadPool& one_thread() {
    static ThreadPool pool(1);
    return pool;
}

/// Runs f in one thread until the benchmark has enough, and reports what one call multiplies and moves.
template <class F>
void measure(benchmark::State& state, double multiply_adds, double bytes, F&& f) {
    const ThreadPool::Scope scope(one_thread());
    for (auto _ : state) f();
    const auto calls = static_cast<double>(state.iterations());
    if (multiply_adds > 0) state.counters["GF/s"] = Counter(2e-9 * multiply_adds * calls, Counter::kIsRate);
    if (bytes > 0) state.counters["GB/s"] = Counter(1e-9 * bytes * calls, Counter::kIsRate);
}

void peak(benchmark::State& state) {
    const ThreadPool::Scope scope(one_thread());
    double best = 0;
    for (auto _ : state) best = std::max(best, bench::peak_gflops(0.02));
    state.counters["GF/s"] = best;
}
BENCHMARK(peak);

/// rows, in, out
void linear(benchmark::State& state) {
    const Index rows = state.range(0), in = state.range(1), out = state.range(2);
    const Var<float> x = random_tensor({rows, in}, 1);
    const Parameter<float> weight{random_tensor({out, in}, 2)}, bias{random_tensor({out}, 3)};
    measure(state, static_cast<double>(rows * in * out), 0, [&] { benchmark::DoNotOptimize(ops::linear(x, weight, &bias)); });
}
BENCHMARK(linear)->Args({1, 256, 1024})->Args({256, 128, 128})->Args({256, 256, 256})->Args({1024, 512, 512})->Args({4096, 320, 1280});

/// height = width, in, out; kernel and stride as template arguments
template <Index Kernel, Index Stride, Precision How>
void convolution(benchmark::State& state) {
    const Index side = state.range(0), in = state.range(1), out = state.range(2);
    const Var<float> x = random_tensor({1, side, side, in}, 1);
    const Parameter<float> weight{random_tensor({Kernel, Kernel, in, out}, 2)}, bias{random_tensor({out}, 3)};
    const PrecisionScope precision(How);
    const ops::Conv2d how{Stride, ops::Padding::same(Kernel / 2)};
    const Index made = (side - 1) / Stride + 1;
    measure(state, static_cast<double>(made * made * Kernel * Kernel * in * out), 0,
            [&] { benchmark::DoNotOptimize(ops::conv2d(x, weight, &bias, how)); });
}
void network_shapes(benchmark::internal::Benchmark* b) {
    b->Args({32, 64, 64})->Args({32, 128, 128})->Args({16, 256, 256})->Args({8, 256, 256})->Args({4, 256, 256})->Args({64, 320, 320});
}
BENCHMARK_TEMPLATE(convolution, 1, 1, Precision::fast)->Name("conv1x1")->Apply(network_shapes);
BENCHMARK_TEMPLATE(convolution, 3, 1, Precision::fast)->Name("conv3x3")->Apply(network_shapes);
BENCHMARK_TEMPLATE(convolution, 3, 1, Precision::exact)->Name("conv3x3_direct")->Apply(network_shapes);
BENCHMARK_TEMPLATE(convolution, 3, 2, Precision::fast)->Name("conv3x3_stride2")->Apply(network_shapes);

/// Winograd's F(M x M) whatever the shape. height = width, in, out
template <int M>
void winograd(benchmark::State& state) {
    const Index side = state.range(0), in = state.range(1), out = state.range(2);
    const Tensor<float> x = random_tensor({1, side, side, in}, 1), weight = random_tensor({3, 3, in, out}, 2);
    const simd::WinogradKernel<M> kernel(simd::WeightView::kernel(weight.data(), 9, in, out));
    const simd::ConvShape shape{1, side, side, in, side, side, 3, 3, 1, 1};
    Tensor<float> y({1, side, side, out});
    measure(state, static_cast<double>(side * side * 9 * in * out), 0,
            [&] { simd::winograd_convolve(shape, x.data(), kernel, y.data(), {}); });
}
BENCHMARK_TEMPLATE(winograd, 2)->Name("winograd_F2")->Apply(network_shapes);
BENCHMARK_TEMPLATE(winograd, 4)->Name("winograd_F4")->Apply(network_shapes);

/// height = width, channels
void group_norm_silu(benchmark::State& state) {
    const Index side = state.range(0), channels = state.range(1);
    const Var<float> x = random_tensor({1, side, side, channels}, 1);
    const Parameter<float> gamma{random_tensor({channels}, 2)}, beta{random_tensor({channels}, 3)};
    measure(state, 0, 8.0 * static_cast<double>(x->size()), [&] {
        benchmark::DoNotOptimize(ops::group_norm(x, gamma, beta, {32, 1e-5, ops::Activation::silu}));
    });
}
BENCHMARK(group_norm_silu)->Args({32, 64})->Args({32, 128})->Args({16, 256})->Args({8, 256});

void silu(benchmark::State& state) {
    const Var<float> x = random_tensor({state.range(0)}, 1);
    measure(state, 0, 8.0 * static_cast<double>(x->size()), [&] { benchmark::DoNotOptimize(ops::silu(x)); });
}
BENCHMARK(silu)->Arg(1 << 12)->Arg(1 << 17);

/// tokens, heads, width of a head
void attention(benchmark::State& state) {
    const Index tokens = state.range(0), heads = state.range(1), width = heads * state.range(2);
    const Var<float> q = random_tensor({1, tokens, width}, 1), k = random_tensor({1, tokens, width}, 2), v = random_tensor({1, tokens, width}, 3);
    measure(state, static_cast<double>(2 * tokens * tokens * width), 0,
            [&] { benchmark::DoNotOptimize(ops::attention(q, k, v, heads)); });
}
BENCHMARK(attention)->Args({64, 4, 32})->Args({256, 4, 32})->Args({256, 1, 256})->Args({1024, 8, 64})->Args({4096, 8, 64});

/// Parameters. Reads four floats of each and writes three.
void adamw(benchmark::State& state) {
    const Shape shape{state.range(0)};
    Tensor<float> parameter = random_tensor(shape, 1), mean = Tensor<float>::zeros(shape), square = Tensor<float>::zeros(shape);
    const Tensor<float> gradient = random_tensor(shape, 2);
    const AdamW how;
    measure(state, 0, 28.0 * static_cast<double>(shape[0]), [&] { how.update(parameter, gradient, mean, square, 100, 1e-4); });
}
BENCHMARK(adamw)->Arg(1 << 14)->Arg(1 << 20);

void gaussian_noise(benchmark::State& state) {
    Tensor<float> x({16, state.range(0)});
    measure(state, 0, 4.0 * static_cast<double>(x.size()), [&] { fill_normal(x, 1); });
}
BENCHMARK(gaussian_noise)->Arg(1024)->Arg(3072);

/// What a sampler adds to a network: 20 steps on pictures [16, 32, 32, 3] with one that gives back what it got.
template <class S>
void sampler_steps(benchmark::State& state) {
    const Shape shape{16, 32, 32, 3};
    const Steps steps = trailing(DiscreteSchedule(linear_betas<double>(1000)), 20);
    const auto network = [](const Tensor<float>& x, const NoiseLevel&) { return x; };
    measure(state, 0, 12.0 * 20 * static_cast<double>(shape.size()), [&] {
        benchmark::DoNotOptimize(sample<float>(Denoiser{network, Reading{.clip = 1}}, S{}, steps, shape, {.seed = 1}));
    });
}
BENCHMARK_TEMPLATE(sampler_steps, Ddim);
BENCHMARK_TEMPLATE(sampler_steps, DpmSolverMultistep);

}  // namespace

BENCHMARK_MAIN();
