// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "ito/core/memory.hpp"
#include "ito/core/parallel.hpp"

namespace ito::detail {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool pool_caches = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool pool_caches = false;
#else
inline constexpr bool pool_caches = true;
#endif
#else
inline constexpr bool pool_caches = true;
#endif

/// Blocks of memory for large tensors. What was given back is cut for smaller blocks and joins its neighbours again, so
/// that layers of different sizes take turns with the same memory. The memory comes in chunks; each of a chunk's blocks
/// begins with a header of one cache line, and the last one may be the heap's reserve, which nobody has had yet.
/// Not for several threads at once.
class BlockHeap {
  public:
    struct alignas(64) Block {
        std::size_t bytes;  ///< with this header
        Block* before = nullptr;
        bool last = true, kept = false;  ///< the chunk's last one; in the list
        bool of_loop = false;            ///< for its user
        Block *previous = nullptr, *next = nullptr;  ///< in the list of kept blocks

        void* memory() { return this + 1; }
        static Block* of(void* memory) { return static_cast<Block*>(memory) - 1; }
        Block* after() {
            if (last) return nullptr;
            return std::launder(reinterpret_cast<Block*>(reinterpret_cast<std::byte*>(this) + bytes));
        }
    };

    /// Less than that is not cut off.
    static constexpr std::size_t smallest = std::size_t{1} << 16;

    /// A block of at least that many bytes: the smallest one that was given back, else a part of the reserve, else none.
    Block* take(std::size_t bytes) {
        Block* best = nullptr;
        for (Block* block = first_; block; block = block->next)
            if (block->bytes >= bytes && (!best || block->bytes < best->bytes)) best = block;
        if (best) {
            leave(best);
            if (Block* rest = cut(best, bytes)) enter(rest);
            return best;
        }
        if (!reserve_) return nullptr;
        if (Block* before = reserve_->before; before && before->kept) {
            leave(before);
            join(before, std::exchange(reserve_, before));
        }
        if (reserve_->bytes < bytes) return nullptr;
        best = reserve_;
        reserve_ = cut(best, bytes);
        return best;
    }

    /// A block of at least `bytes` out of a new chunk, whose rest is the new reserve.
    Block* add(void* chunk, std::size_t chunk_bytes, std::size_t bytes) {
        chunks_ += chunk_bytes;
        Block* const block = new (chunk) Block{chunk_bytes};
        if (Block* rest = cut(block, bytes)) {
            if (reserve_) enter(reserve_);
            reserve_ = rest;
        }
        return block;
    }

    void give(Block* block) noexcept {
        if (Block* after = block->after(); after && after->kept) {
            leave(after);
            join(block, after);
        }
        if (Block* before = block->before; before && before->kept) {
            leave(before);
            join(before, block);
            block = before;
        }
        enter(block);
    }

    /// A chunk of which nothing is in use, no longer the heap's; none if there is none.
    Block* release_chunk() noexcept {
        if (reserve_ && !reserve_->before) {
            chunks_ -= reserve_->bytes;
            return std::exchange(reserve_, nullptr);
        }
        for (Block* block = first_; block; block = block->next) {
            if (block->before || (!block->last && block->after() != reserve_)) continue;
            leave(block);
            if (!block->last) join(block, std::exchange(reserve_, nullptr));
            chunks_ -= block->bytes;
            return block;
        }
        return nullptr;
    }

    /// Bytes of all chunks, of the blocks that were given back, and of the reserve.
    std::size_t chunks() const { return chunks_; }
    std::size_t kept() const { return kept_; }
    std::size_t reserve() const { return reserve_ ? reserve_->bytes : 0; }

  private:
    static Block* cut(Block* block, std::size_t bytes) {
        if (block->bytes - bytes < smallest) return nullptr;
        auto* rest = new (reinterpret_cast<std::byte*>(block) + bytes) Block{block->bytes - bytes, block, block->last};
        if (Block* after = rest->after()) after->before = rest;
        block->bytes = bytes;
        block->last = false;
        return rest;
    }
    static void join(Block* block, Block* after) noexcept {
        block->bytes += after->bytes;
        block->last = after->last;
        if (Block* beyond = block->after()) beyond->before = block;
    }
    void enter(Block* block) noexcept {
        block->kept = true;
        block->previous = nullptr;
        block->next = first_;
        if (first_) first_->previous = block;
        first_ = block;
        kept_ += block->bytes;
    }
    void leave(Block* block) noexcept {
        block->kept = false;
        (block->previous ? block->previous->next : first_) = block->next;
        if (block->next) block->next->previous = block->previous;
        kept_ -= block->bytes;
    }

    Block *first_ = nullptr, *reserve_ = nullptr;
    std::size_t chunks_ = 0, kept_ = 0;
};

/// Sizes that small blocks of a MemoryPool are rounded up to.
inline constexpr std::size_t small_sizes = 7 * 8 + 1;

/// What the piece of a loop that a thread does has taken and not given back.
class HeldByPiece {
  public:
    /// Small blocks of a size, and bytes of large ones; to be written.
    std::size_t& small(std::size_t size) { return now().small_[size]; }
    std::size_t& large() { return now().large_; }

    /// What another piece took has not been counted in this one.
    static void remove(std::size_t& held, std::size_t given) { held -= std::min(held, given); }

  private:
    HeldByPiece& now() {
        if (const std::uint64_t piece = ThreadPool::piece(); piece_ != piece) {
            piece_ = piece;
            large_ = 0;
            small_ = {};
        }
        return *this;
    }

    std::uint64_t piece_ = 0;
    std::size_t large_ = 0;
    std::array<std::size_t, small_sizes> small_{};
};

/// Keeps released tensor memory for the next tensor: fresh memory costs a page fault every 4 KiB, on every layer of every
/// step. Blocks are 64-byte aligned; sizes are rounded up to an eighth of a power of two. Up to 64 KiB a block serves what
/// has the same rounded size, beyond that (BlockHeap) whatever fits. There is as much for loops as all threads need if each
/// does the piece that holds most at a time: which pieces are done beside each other is chance, and nothing may be missing
/// when they are. What a piece leaves behind, for after the loop, is not counted.
/// Under address sanitizer nothing is kept, so that use after release is seen.
class MemoryPool {
  public:
    static constexpr std::size_t alignment = 64;

    static MemoryPool& instance() {
        // Never destroyed: tensors with static lifetime may be released after it.
        static MemoryPool* pool = new MemoryPool;
        return *pool;
    }

    /// Throws MemoryError for more than the system has left, std::bad_alloc where it gives nothing.
    void* take(std::size_t bytes) {
        if (!pool_caches) {  // no more than asked for: what lies around it is seen, too
            look_for_memory(bytes);
            return from_system(bytes);
        }
        const Bucket bucket = bucket_of(bytes);
        if (bytes > BlockHeap::smallest) return take_large(bytes, bucket.bytes + sizeof(BlockHeap::Block));
        return take_small(bucket);
    }

    void give(void* memory, std::size_t bytes) noexcept {
        if (!pool_caches) return to_system(memory, bytes);
        if (bytes > BlockHeap::smallest) {
            BlockHeap::Block* const block = BlockHeap::Block::of(memory);
            if (block->of_loop) HeldByPiece::remove(held_.large(), block->bytes);
            const std::lock_guard lock(mutex_);
            if (block->of_loop) held_by_loops_ -= block->bytes;
            return heap_.give(block);
        }
        const Bucket bucket = bucket_of(bytes);
        Small* const block = static_cast<Small*>(memory) - 1;
        if (block->of_loop) HeldByPiece::remove(held_.small(bucket.index), 1);
        keep(block, bucket);
    }

    /// Returns every cached block to the system; of large ones, the chunks of which nothing is in use.
    void trim() noexcept {
        const std::lock_guard lock(mutex_);
        for (auto& lists : small_)
            for (std::size_t i = 0; i < lists.size(); ++i)
                while (Small* block = lists[i]) {
                    lists[i] = block->next;
                    made_for_loops_[i] -= block->of_loop;
                    delete_small(block, bytes_of(i));
                }
        cached_ = 0;
        release_chunks();
    }

    /// Bytes held for reuse.
    std::size_t cached() const {
        const std::lock_guard lock(mutex_);
        return cached_ + heap_.kept();
    }

    /// While it lives, what this thread takes is new. For what is made once and stays, in between work that is
    /// repeated: the memory which that released is left for the next time. Other threads that help are not meant.
    class KeepingScope {
      public:
        KeepingScope() { keeping_ = true; }
        ~KeepingScope() { keeping_ = previous_; }
        KeepingScope(const KeepingScope&) = delete;
        KeepingScope& operator=(const KeepingScope&) = delete;

      private:
        bool previous_ = keeping_;
    };

  private:
    static inline thread_local bool keeping_ = false;

    struct Bucket {
        std::size_t index, bytes;
    };

    /// The header of a small block.
    struct alignas(alignment) Small {
        Small* next;
        bool of_loop;
    };

    static inline thread_local HeldByPiece held_;

    void* take_small(const Bucket& bucket) {
        const bool of_loop = !keeping_ && ThreadPool::sharing() > 1;
        Small* block = nullptr;
        std::size_t missing = 0;
        {
            const std::lock_guard lock(mutex_);
            if (!keeping_) block = small_[of_loop][bucket.index];
            if (block) {
                small_[of_loop][bucket.index] = block->next;
                cached_ -= bucket.bytes;
            }
            if (of_loop) {
                const std::size_t wanted = ++held_.small(bucket.index) * static_cast<std::size_t>(ThreadPool::sharing());
                missing = std::max(wanted, made_for_loops_[bucket.index]) - made_for_loops_[bucket.index];
                if (!block) missing = std::max<std::size_t>(missing, 1);
                made_for_loops_[bucket.index] += missing;
            }
        }
        if (!of_loop) return (block ? block : new_small(bucket.bytes, false)) + 1;
        for (; missing > 0; --missing) {
            Small* const made = new_small(bucket.bytes, true);
            if (!block) block = made;
            else keep(made, bucket);
        }
        return block + 1;
    }

    void keep(Small* block, const Bucket& bucket) noexcept {
        const std::lock_guard lock(mutex_);
        block->next = std::exchange(small_[block->of_loop][bucket.index], block);
        cached_ += bucket.bytes;
    }

    Small* new_small(std::size_t bytes, bool of_loop) { return new (from_system(sizeof(Small) + bytes)) Small{nullptr, of_loop}; }
    static void delete_small(Small* block, std::size_t bytes) noexcept { to_system(block, sizeof(Small) + bytes); }

    /// A block of `whole` bytes with memory for `bytes`. A chunk is as large as all that are there, so that a small program
    /// takes little and a large one rarely asks. While a loop runs, what all its threads may want is there: in the reserve
    /// or theirs already. A chunk's pages cost nothing before they are written.
    void* take_large(std::size_t bytes, std::size_t whole) {
        constexpr std::size_t largest_chunk = std::size_t{1} << 26, largest_of_loop = std::size_t{1} << 30;
        const bool of_loop = !keeping_ && ThreadPool::sharing() > 1;
        const auto taken = [&](BlockHeap::Block* block) {
            block->of_loop = of_loop;
            if (of_loop) {
                held_.large() += block->bytes;
                held_by_loops_ += block->bytes;
            }
            return block->memory();
        };
        std::size_t chunk = whole;
        if (!keeping_) {
            std::size_t wanted = whole;
            if (of_loop) {
                const auto threads = static_cast<std::size_t>(ThreadPool::sharing());
                wanted = std::min((held_.large() + whole) * threads, largest_of_loop);
            }
            const std::lock_guard lock(mutex_);
            if (!of_loop || heap_.reserve() + held_by_loops_ + whole >= wanted)
                if (BlockHeap::Block* block = heap_.take(whole)) return taken(block);
            chunk = std::max({whole, wanted, std::min(heap_.chunks(), largest_chunk)});
        }
        look_for_memory(bytes);
        void* const memory = from_system(chunk);
        const std::lock_guard lock(mutex_);
        return taken(heap_.add(memory, chunk, whole));
    }

    /// Before more is taken than a system with little left would notice in time.
    void look_for_memory(std::size_t bytes) {
        constexpr std::size_t worth_a_look = std::size_t{1} << 28;
        if (bytes < worth_a_look || memory_holds(static_cast<double>(bytes))) return;
        trim();
        require_memory("a tensor", static_cast<double>(bytes));
    }

    void release_chunks() noexcept {
        while (BlockHeap::Block* chunk = heap_.release_chunk()) to_system(chunk, chunk->bytes);
    }

    /// Large pieces ask for huge pages: weights are read once in a pass, and a page table that is searched every 4 KiB
    /// takes up to a seventh of the memory's speed.
    static constexpr std::size_t huge_page = std::size_t{1} << 21;

    static std::align_val_t alignment_of(std::size_t bytes) {
        return std::align_val_t(bytes >= huge_page ? huge_page : alignment);
    }
    void* from_system(std::size_t bytes) {
        void* memory = ::operator new(bytes, alignment_of(bytes), std::nothrow);
        if (!memory) {  // what is kept for other sizes may be what is missing
            trim();
            memory = ::operator new(bytes, alignment_of(bytes));
        }
#if defined(__linux__)
        if (bytes >= huge_page) ::madvise(memory, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish, it may fail
#endif
        return memory;
    }
    static void to_system(void* memory, std::size_t bytes) noexcept { ::operator delete(memory, alignment_of(bytes)); }

    static Bucket bucket_of(std::size_t bytes) {
        if (bytes <= 512) return {0, 512};
        const auto exponent = static_cast<std::size_t>(std::bit_width(bytes - 1)) - 1;  // 2^e <= bytes-1 < 2^(e+1)
        const std::size_t base = std::size_t{1} << exponent, step = base / 8;
        const std::size_t eighth = (bytes - base + step - 1) / step;
        return {(exponent - 9) * 8 + eighth, base + eighth * step};
    }
    static std::size_t bytes_of(std::size_t index) {
        if (index == 0) return 512;
        const std::size_t base = std::size_t{512} << ((index - 1) / 8);
        return base + ((index - 1) % 8 + 1) * (base / 8);
    }

    mutable std::mutex mutex_;
    std::array<std::array<Small*, small_sizes>, 2> small_{};  // for outside and inside of loops, by rounded size
    std::array<std::size_t, small_sizes> made_for_loops_{};    // and not deleted
    std::size_t cached_ = 0;
    BlockHeap heap_;
    std::size_t held_by_loops_ = 0;  // bytes of large blocks
};

/// The pool as an allocator, for what a computation makes anew in every step: malloc is asked in the first one only.
template <class T>
struct PoolAllocator {
    using value_type = T;

    PoolAllocator() = default;
    template <class U>
    PoolAllocator(const PoolAllocator<U>&) {}

    T* allocate(std::size_t count) {
        if (count > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
        return static_cast<T*>(MemoryPool::instance().take(count * sizeof(T)));
    }
    void deallocate(T* block, std::size_t count) noexcept { MemoryPool::instance().give(block, count * sizeof(T)); }

    friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

}  // namespace ito::detail

namespace ito {

/// A vector whose memory comes from the pool that tensors use.
template <class T>
using PooledVector = std::vector<T, detail::PoolAllocator<T>>;

/// Bytes that released tensors left for reuse.
inline std::size_t cached_memory() { return detail::MemoryPool::instance().cached(); }

/// Gives the memory that released tensors left for reuse back to the system.
inline void release_cached_memory() { detail::MemoryPool::instance().trim(); }

}  // namespace ito
