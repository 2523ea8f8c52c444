// SPDX-License-Identifier: MIT
#include <atomic>
#include <stdexcept>
#include <vector>

#include "catch.hpp"
#include "ito/core/parallel.hpp"

using namespace ito;

TEST_CASE("every piece of every loop runs once, with more threads than cores and loops of changing length") {
    ThreadPool pool(7);
    const ThreadPool::Scope scope(pool);
    std::vector<std::atomic<int>> hits(40);
    Index wrong = 0;
    for (int round = 0; round < 20000; ++round) {
        const Index count = round % 2 ? 3 : 40;
        for (auto& hit : hits) hit.store(0, std::memory_order_relaxed);
        parallel_for(count, 1, [&](Index begin, Index) { hits[static_cast<std::size_t>(begin)].fetch_add(1); });
        for (Index i = 0; i < 40; ++i) wrong += hits[static_cast<std::size_t>(i)].load() != (i < count ? 1 : 0);
    }
    CHECK(wrong == 0);
}

TEST_CASE("more threads than shares of a loop do each piece once") {
    ThreadPool pool(70);
    const ThreadPool::Scope scope(pool);
    for (int round = 0; round < 200; ++round) {
        std::atomic<Index> sum{0};
        parallel_for(100, 1, [&](Index begin, Index) { sum += begin; });
        CHECK(sum == 4950);
    }
}

TEST_CASE("a loop is cut by its length and grain alone") {
    for (int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        const ThreadPool::Scope scope(pool);
        std::vector<Index> ends(4, -1);
        parallel_for(10, 3, [&](Index begin, Index end) { ends[static_cast<std::size_t>(begin / 3)] = end; });
        CHECK(ends == std::vector<Index>{3, 6, 9, 10});
    }
}

TEST_CASE("an exception in a piece reaches the caller and the pool goes on") {
    ThreadPool pool(4);
    const ThreadPool::Scope scope(pool);
    const auto fails = [](Index begin, Index) {
        if (begin == 7) throw std::runtime_error("seven");
    };
    for (int round = 0; round < 100; ++round) {
        CHECK_THROWS_AS(parallel_for(20, 1, fails), std::runtime_error);
        std::atomic<Index> sum{0};
        parallel_for(20, 1, [&](Index begin, Index) { sum += begin; });
        CHECK(sum == 190);
    }
}

TEST_CASE("loops nest, and threads may share a pool or have one each") {
    ThreadPool pool(3), other(2);
    std::atomic<Index> sum{0};
    const auto work = [&](ThreadPool& used) {
        const ThreadPool::Scope scope(used);
        for (int round = 0; round < 200; ++round)
            parallel_for(8, 1, [&](Index, Index) { parallel_for(8, 1, [&](Index begin, Index) { sum += begin; }); });
    };
    std::thread second([&] { work(pool); }), third([&] { work(other); });
    work(pool);
    second.join();
    third.join();
    CHECK(sum == 3 * 200 * 8 * 28);
}

TEST_CASE("absurd numbers of threads are refused") {
    CHECK_THROWS_AS(ThreadPool(-1), ArgumentError);
    CHECK_THROWS_AS(ThreadPool(100000), ArgumentError);
    CHECK(ThreadPool(3).threads() == 3);
}
