// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

namespace ito {

namespace detail {
inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}
}  // namespace detail

/// Threads that share loops with the thread that calls them. Idle workers spin for some microseconds, then sleep.
/// A thread begins with its own part of a loop and helps others when that is done: of loops over the same rows it gets
/// about the same rows each time, and finds in its cache what it left there.
/// A loop started inside another one, or while the pool is busy for another caller, runs in its own thread alone;
/// the results are the same, because how a loop is cut never depends on who runs the pieces.
class ThreadPool {
  public:
    /// threads = 0 takes every hardware thread. Throws ArgumentError outside [0, 1024], Error if the system has no more.
    explicit ThreadPool(int threads = 0) {
        if (threads < 0 || threads > 1024)
            throw ArgumentError("number of threads must be from 0 (all) to 1024, got " + std::to_string(threads));
        if (threads == 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
        try {
            shares_ = std::vector<Share>(static_cast<std::size_t>(std::min(threads, 64)));
            for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
        } catch (const std::exception& error) {
            join();
            throw Error("cannot start " + std::to_string(threads) + " threads: " + error.what());
        }
    }

    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    ~ThreadPool() { join(); }

    /// Threads that take part in a loop, the caller among them.
    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Calls f(i) once for each i in [0, chunks), from any thread of the pool and in any order; returns when all are
    /// done. The first exception that a call throws is rethrown here, after the others have ended.
    template <class F>
    void run(Index chunks, F& f) {
        run(chunks, [](void* context, Index i) { (*static_cast<F*>(context))(i); },
            const_cast<std::remove_const_t<F>*>(&f));
    }

    /// Threads that may be at work beside each other in the loop whose piece this thread is doing; 1 outside of loops.
    static int sharing() { return sharing_; }

    /// A number that this thread has for the piece that it is doing and for no other one.
    static std::uint64_t piece() { return piece_; }

    /// The pool that loops of this thread use: the innermost Scope's, else one for the whole process.
    static ThreadPool& current() {
        if (scoped_) return *scoped_;
        static ThreadPool shared;
        return shared;
    }

    /// While it lives, loops of this thread use the given pool.
    class Scope {
      public:
        explicit Scope(ThreadPool& pool) : previous_(scoped_) { scoped_ = &pool; }
        ~Scope() { scoped_ = previous_; }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        ThreadPool* previous_;
    };

  private:
    /// Pieces of a loop that are begun by one thread, in order. Each in a cache line of its own.
    struct alignas(64) Share {
        std::atomic<std::uint64_t> ticket{0};
    };

    using Call = void (*)(void* context, Index i);

    /// run() for all loops: compiled once, whatever they do.
    void run(Index chunks, Call call, void* context) {
        if (chunks <= 0) return;
        if (chunks == 1 || workers_.empty() || chunks >= Index{1} << 31 || busy_.exchange(true)) {
            for (Index i = 0; i < chunks; ++i) call(context, i);
            return;
        }
        // A ticket is (generation of the loop, pieces left of a share). Whoever lowers it by one owns that piece, and the
        // loop cannot end before an owned piece is done, so what was read of a loop before its ticket was won belongs to
        // it. The tickets of a loop that has ended have no pieces left and are never won, whatever was stored for the next.
        const std::uint64_t generation = (shares_[0].ticket.load(std::memory_order_relaxed) >> 32) + 1;
        call_.store(call, std::memory_order_relaxed);
        context_.store(context, std::memory_order_relaxed);
        chunks_.store(chunks, std::memory_order_relaxed);
        done_.store(0, std::memory_order_relaxed);
        for (Index i = 0; i < shares(); ++i) {
            const auto pieces = static_cast<std::uint64_t>(first_of(i + 1, chunks) - first_of(i, chunks));
            shares_[static_cast<std::size_t>(i)].ticket.store(generation << 32 | pieces, std::memory_order_release);
        }
        epoch_.fetch_add(1);
        epoch_.notify_all();
        take_pieces(0, static_cast<std::uint32_t>(generation));
        for (int spins = 0; done_.load(std::memory_order_acquire) != chunks; ++spins) {
            if (spins < 4096) detail::spin_pause();
            else std::this_thread::yield();
        }
        std::exception_ptr error;
        {
            const std::lock_guard lock(error_mutex_);
            std::swap(error, error_);
        }
        busy_.store(false);
        if (error) std::rethrow_exception(error);
    }

    Index shares() const { return static_cast<Index>(shares_.size()); }
    Index first_of(Index share, Index chunks) const { return share * chunks / shares(); }

    void work(int thread) {
        scoped_ = this;
        const Index own = thread % shares();
        int seen = 0;
        while (true) {
            int epoch = epoch_.load(std::memory_order_acquire);
            for (int spins = 0; epoch == seen && spins < 2000; ++spins) {
                detail::spin_pause();
                epoch = epoch_.load(std::memory_order_acquire);
            }
            if (epoch == seen) {
                epoch_.wait(seen);
                continue;
            }
            seen = epoch;
            if (stopping_.load()) return;
            take_pieces(own, static_cast<std::uint32_t>(shares_[0].ticket.load(std::memory_order_acquire) >> 32));
        }
    }

    void join() {
        stopping_.store(true);
        epoch_.fetch_add(1);
        epoch_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

    void take_pieces(Index own, std::uint32_t generation) {
        const int before = std::exchange(sharing_, threads());
        for (Index i = 0; i < shares(); ++i) {
            const Index share = (own + i) % shares();
            if (const Index taken = take_pieces_of(share, generation)) done_.fetch_add(taken, std::memory_order_acq_rel);
        }
        sharing_ = before;
    }

    /// The number of pieces that this thread did.
    Index take_pieces_of(Index share, std::uint32_t generation) {
        std::atomic<std::uint64_t>& shared = shares_[static_cast<std::size_t>(share)].ticket;
        Index taken = 0;
        std::uint64_t ticket = shared.load(std::memory_order_acquire);
        while (static_cast<std::uint32_t>(ticket >> 32) == generation) {
            const auto left = static_cast<Index>(ticket & 0xffffffffu);
            if (left == 0) break;
            const auto call = call_.load(std::memory_order_relaxed);
            void* const context = context_.load(std::memory_order_relaxed);
            const Index end = first_of(share + 1, chunks_.load(std::memory_order_relaxed));
            if (!shared.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
            ++piece_;
            try {
                call(context, end - left);
            } catch (...) {
                const std::lock_guard lock(error_mutex_);
                if (!error_) error_ = std::current_exception();
            }
            ++taken;
            ticket = shared.load(std::memory_order_acquire);
        }
        return taken;
    }

    static inline thread_local ThreadPool* scoped_ = nullptr;
    static inline thread_local int sharing_ = 1;
    static inline thread_local std::uint64_t piece_ = 0;

    std::vector<std::thread> workers_;
    std::atomic<bool> stopping_{false}, busy_{false};
    std::atomic<int> epoch_{0};
    std::vector<Share> shares_;
    std::atomic<Call> call_{nullptr};
    std::atomic<void*> context_{nullptr};
    std::atomic<Index> chunks_{0}, done_{0};
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

/// f(begin, end) for consecutive pieces of [0, count), each of `grain` elements but the last, on the current pool.
/// How the range is cut depends on count and grain alone, so a sum kept per piece is the same for any number of threads.
template <class F>
void parallel_for(Index count, Index grain, F&& f) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    if (count <= grain) {
        f(Index{0}, count);
        return;
    }
    auto piece = [&](Index i) { f(i * grain, std::min(count, (i + 1) * grain)); };
    ThreadPool::current().run((count + grain - 1) / grain, piece);
}

}  // namespace ito
