// SPDX-License-Identifier: MIT
#include "ito/core/pool.hpp"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>

#include "catch.hpp"
#include "ito/core/tensor.hpp"

using ito::Index;
using ito::Tensor;
using ito::detail::MemoryPool;

TEST_CASE("tensor memory is 64-byte aligned at any size") {
    for (Index size : {1, 3, 16, 127, 129, 1000, 4097, 100000, 1 << 20}) {
        CAPTURE(size);
        Tensor<float> x({size});
        CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
        x.array().setConstant(1);  // all of it can be written
        CHECK(x[size - 1] == 1);
    }
}

TEST_CASE("released memory serves the next tensor of about the same size") {
    ito::release_cached_memory();
    CHECK(MemoryPool::instance().cached() == 0);
    const float* first = nullptr;
    {
        Tensor<float> x({1000, 100});
        first = x.data();
    }
    if (ito::detail::pool_caches) {
        CHECK(MemoryPool::instance().cached() >= 400000);
        CHECK(MemoryPool::instance().cached() <= 400000 * 9 / 8);
        Tensor<float> other({500});
        Tensor<float> y({100, 999});
        CHECK(y.data() == first);
        CHECK(MemoryPool::instance().cached() == 0);
    } else {
        CHECK(MemoryPool::instance().cached() == 0);
    }
    ito::release_cached_memory();
    CHECK(MemoryPool::instance().cached() == 0);
}

TEST_CASE("every size around a power of two gets a block that holds it") {
    for (std::size_t exponent = 8; exponent < 22; ++exponent)
        for (std::size_t eighth = 0; eighth < 8; ++eighth)
            for (int off = -1; off <= 1; ++off) {
                const std::size_t bytes = (std::size_t{1} << exponent) + eighth * (std::size_t{1} << exponent) / 8 +
                                          static_cast<std::size_t>(off);
                auto* block = static_cast<unsigned char*>(MemoryPool::instance().take(bytes));
                block[0] = block[bytes - 1] = 7;  // the address sanitizer sees a block that is too small
                MemoryPool::instance().give(block, bytes);
            }
    ito::release_cached_memory();
}

TEST_CASE("large blocks share memory, do not overlap and are joined again") {
    ito::release_cached_memory();
    MemoryPool& pool = MemoryPool::instance();
    struct Held {
        unsigned char* bytes;
        std::size_t size;
        unsigned char mark;
    };
    std::vector<Held> held;
    const auto release = [&](std::size_t i) {
        for (const std::size_t at : {std::size_t{0}, held[i].size / 2, held[i].size - 1}) CHECK(held[i].bytes[at] == held[i].mark);
        pool.give(held[i].bytes, held[i].size);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
    };
    std::uint32_t state = 1;
    const auto below = [&](std::size_t n) {
        state = state * 1664525u + 1013904223u;
        return static_cast<std::size_t>(state >> 8) % n;
    };
    for (int round = 0; round < 3000; ++round) {
        if (held.size() == 40 || (!held.empty() && below(2))) {
            release(below(held.size()));
            continue;
        }
        const std::size_t size = (std::size_t{1} << 16) + 1 + below(below(8) ? 1 << 18 : 1 << 22);
        auto* bytes = static_cast<unsigned char*>(pool.take(size));
        REQUIRE(reinterpret_cast<std::uintptr_t>(bytes) % 64 == 0);
        held.push_back({bytes, size, static_cast<unsigned char>(round)});
        std::memset(bytes, held.back().mark, size);
    }
    while (!held.empty()) release(0);
    ito::release_cached_memory();
    CHECK(pool.cached() == 0);
    if (!ito::detail::pool_caches) return;

    // A chunk whose first block had to join its reserve is given back as well.
    void* const small_part = pool.take(1 << 17);
    pool.give(small_part, 1 << 17);
    void* const larger = pool.take(1 << 18);
    pool.give(larger, 1 << 18);
    ito::release_cached_memory();
    CHECK(pool.cached() == 0);

    // One that was large holds two that are small, side by side, and again the large one when they have come back.
    void* const large = pool.take(1 << 22);
    pool.give(large, 1 << 22);
    void* const left = pool.take(1 << 20);
    void* const right = pool.take(1 << 21);
    CHECK(left == large);
    CHECK(right == static_cast<unsigned char*>(left) + (1 << 20) + 64);
    pool.give(left, 1 << 20);
    pool.give(right, 1 << 21);
    CHECK(pool.take(1 << 22) == large);
    pool.give(large, 1 << 22);
    ito::release_cached_memory();
    CHECK(pool.cached() == 0);
}

TEST_CASE("threads share the pool") {
    std::vector<std::thread> threads;
    std::vector<char> good(4, 1);
    for (int k = 0; k < 4; ++k)
        threads.emplace_back([k, &good] {
            for (Index i = 1; i < 300; ++i) {
                const auto x = Tensor<int>::full({i, 40}, k);
                const Tensor<int> y = x;
                for (int v : y) good[static_cast<std::size_t>(k)] &= v == k;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(good == std::vector<char>(4, 1));
}

TEST_CASE("a loop has memory for all its threads at once after one in which they took turns") {
    if (!ito::detail::pool_caches) return;
    ito::ThreadPool four(4);
    const ito::ThreadPool::Scope scope(four);
    ito::release_cached_memory();
    std::mutex alone;
    // Takes as many blocks as three at a time and more in all; pieces are different in how many.
    const auto work = [](Index piece) {
        const Tensor<float> first({100 + piece});
        for (int i = 0; i < 5; ++i) const Tensor<float> one({1000}), two({1001});
        if (piece == 3) const Tensor<float> one({1000}), two({1000}), three({1000});
    };
    ito::parallel_for(8, 1, [&](Index begin, Index) {
        const std::lock_guard lock(alone);
        work(begin);
    });
    const std::size_t cached = ito::cached_memory();
    for (int round = 0; round < 3; ++round) {
        std::atomic<int> here{0};
        ito::parallel_for(4, 1, [&](Index, Index) {
            const Tensor<float> one({1000}), two({1000}), three({1000});
            for (++here; here < 4;) std::this_thread::yield();
        });
        CHECK(ito::cached_memory() == cached);
    }
    ito::release_cached_memory();
    CHECK(ito::cached_memory() == 0);
}

TEST_CASE("more memory than there is is refused with what is needed") {
    CHECK_THROWS_AS(ito::require_memory("a batch", 1e18), ito::MemoryError);
    CHECK_THROWS_WITH(ito::require_memory("a batch", 1e18),
                      ContainsSubstring("a batch needs about 1000000000.0 GB of memory") && ContainsSubstring("are available"));
    CHECK_NOTHROW(ito::require_memory("a batch", 1e6));
    CHECK_THROWS_AS(Tensor<float>({Index{1} << 20, Index{1} << 24}), ito::MemoryError);
}
