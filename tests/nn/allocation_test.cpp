// SPDX-License-Identifier: MIT
// What a denoising step asks of malloc: nothing, once the pool has seen a step.
#include "catch.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>

#include "ito/nn/initialize.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/betas.hpp"
#include "ito/schedule/steps.hpp"
#include "ito/task/class_conditional.hpp"

namespace {

std::atomic<long> allocations{0};

[[maybe_unused]] void* counted(std::size_t size, std::size_t alignment) {
    ++allocations;
    void* block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (!block) throw std::bad_alloc();
    return block;
}

}  // namespace

#if defined(__has_feature)
#define ITO_HAS_FEATURE(name) __has_feature(name)
#else
#define ITO_HAS_FEATURE(name) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !ITO_HAS_FEATURE(address_sanitizer) && \
    !ITO_HAS_FEATURE(thread_sanitizer)  // sanitizers bring their own
// Not inline, or g++ takes malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) { return counted(size, static_cast<std::size_t>(alignment)); }
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
#endif

using namespace ito;

TEST_CASE("a denoising step allocates nothing after the first") {
    if (!detail::pool_caches) return;  // address sanitizer wants to see every release
    nn::UNet2DConfig config;
    config.in_channels = config.out_channels = 2;
    config.block_out_channels = {8, 16};
    config.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
    config.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
    config.norm_num_groups = 4;
    config.num_class_embeds = 4;
    nn::UNet2D<float> unet(config);
    nn::initialize(unet, 1);
    const Index batch = GENERATE(1, 3);
    const PrecisionScope precision(GENERATE(Precision::fast, Precision::bf16));
    const ClassConditional<float> network{unet, std::vector<Index>(static_cast<std::size_t>(batch), 1), 2.0, 3};
    const Steps steps = trailing(DiscreteSchedule(linear_betas<float>(100)), 20);

    // Alone: with more threads about one run in ten has been seen to ask once more. What loops take is tried below.
    ThreadPool pool(1);
    const ThreadPool::Scope scope(pool);
    long before = 0;
    std::vector<long> made;
    made.reserve(64);
    sample<float>(Denoiser{network, Reading{.clip = 1}}, Ddim{.eta = 1}, steps, {batch, 16, 16, 2}, {.seed = 1}, [&](const auto&) {
        const long now = allocations.load();
        made.push_back(now - before);
        before = now;
    });
    REQUIRE(made.size() == 20);
    for (std::size_t step = 2; step < made.size(); ++step) CHECK(made[step] == 0);
}

TEST_CASE("loops that have run once find their memory, whichever pieces are done at the same time") {
    if (!detail::pool_caches) return;
    ThreadPool pool(GENERATE(2, 3, 7));
    const ThreadPool::Scope scope(pool);
    release_cached_memory();
    const Tensor<float> beside({30000});
    std::mutex alone;
    const auto piece = [](Index i) {
        const Tensor<float> first({20000 + 7000 * i}), second({17000 + i});
        if (i % 3 == 0) const Tensor<float> small({500 + i}), other({90000});
        for (Index k = 0; k < i; ++k) const Tensor<float> one({40 + 100 * k}), two({40 + 100 * k});
    };
    parallel_for(12, 1, [&](Index i, Index) {
        const std::lock_guard lock(alone);
        piece(i);
    });
    std::atomic<int> at_work{0};
    const long before = allocations;
    for (int round = 0; round < 300; ++round) parallel_for(12, 1, [&](Index i, Index) { piece(round % 2 ? 11 - i : i); });
    // All threads at the largest piece.
    for (int round = 0; round < 20; ++round) {
        at_work = 0;
        parallel_for(pool.threads(), 1, [&](Index, Index) {
            const Tensor<float> first({20000 + 7000 * 9}), second({17000 + 9}), small({509}), other({90000});
            for (++at_work; at_work < pool.threads();) std::this_thread::yield();
        });
    }
    const long after = allocations;
    CHECK(after == before);
}
