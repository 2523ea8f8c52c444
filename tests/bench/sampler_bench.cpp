// SPDX-License-Identifier: MIT
// The arithmetic of sampler steps (all but the network) with its noise, in GB/s of what a step must read and write, beside
// a copy of the same memory with the same threads, taking turns. Also the heap allocations of a step.
//   sampler_bench [threads]        0: all
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/sampler.hpp"
#include "measure.hpp"

using namespace ito;

namespace {

/// A sampler whose network hands out an estimate made before.
template <class S>
struct Timed {
    S sampler;
    Tensor<float> x;
    typename S::template State<float> state{};
    Estimate<float> estimate;
    Index steps = 0;

    /// Milliseconds of a step without the network's.
    double step() {
        auto denoise = [&](const Tensor<float>&, const NoiseLevel&) { return std::move(estimate); };
        Estimate<float> next;  // made outside of the clock
        next.output = Tensor<float>(x.shape());
        next.output.array() = x.array() * 0.1f;
        next.decode = {0, 1, 0.3, -0.2};
        estimate = std::move(next);
        WhiteNoise noise{1, 0};
        const double lambda = 0.01 * static_cast<double>(steps);
        const Interval interval{level_of_ratio(1, std::exp(-lambda)), level_of_ratio(1, std::exp(-lambda - 0.01)), steps++, 1000000};
        return bench::milliseconds([&] { sampler.step(x, state, interval, denoise, noise); });
    }
};

template <class S>
void measure(const char* name, const S& sampler, const Shape& shape, int moved) {
    Timed<S> timed{sampler, Tensor<float>(shape), {}, {}};
    fill_normal(timed.x, 1);
    Tensor<float> from = timed.x, to = timed.x;
    std::vector<double> steps, copies;
    for (int i = 0; i < 4; ++i) timed.step();
    const Index piece = 1 << 14;
    const auto before = bench::allocations.load();
    for (int i = 0; i < 20; ++i) timed.step();
    const double allocations = static_cast<double>(bench::allocations.load() - before) / 20;
    for (int i = 0; i < 40; ++i) {
        steps.push_back(timed.step());
        copies.push_back(bench::milliseconds([&] {
            parallel_for(from.size(), piece, [&](Index begin, Index end) {
                std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
            });
        }));
    }
    const double elements = static_cast<double>(from.size());
    const double step_rate = elements * 4 * moved / bench::best(steps) * 1e-6, copy_rate = elements * 8 / bench::best(copies) * 1e-6;
    std::printf("%-28s %9.0f KB  %6.2f ns an element  %6.1f GB/s  copy %6.1f GB/s  ratio %.2f  allocations a step %.1f\n", name,
                elements * 4e-3, bench::best(steps) / elements * 1e6, step_rate, copy_rate, step_rate / copy_rate, allocations);
}

}  // namespace

int main(int argc, char** argv) {
    ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 0);
    ThreadPool::Scope scope(pool);
    std::printf("%d threads; a step counts what it must move: x in and out, the network's output, the 2M method's history\n", pool.threads());
    for (const Shape& shape : {Shape{64, 32, 32, 3}, Shape{64, 256, 256, 3}}) {
        measure("DDIM", Ddim{}, shape, 3);
        measure("DDIM with noise", Ddim{.eta = 1}, shape, 3);
        measure("Euler ancestral", EulerAncestral{}, shape, 3);
        measure("DPM-Solver++ 2M", DpmSolverMultistep{.lower_order_final = false}, shape, 5);
        measure("DPM-Solver++ 2M SDE", DpmSolverMultistep{.stochastic = true, .lower_order_final = false}, shape, 5);
    }
}
