// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "ito/core/memory.hpp"

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

/// Keeps released tensor memory for the next tensor of about the same size: a fresh block of a few
/// megabytes costs a page fault every 4 KiB, on every layer of every step. Blocks are 64-byte aligned;
/// sizes are rounded up to an eighth of a power of two, so at most an eighth is wasted.
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
        const Bucket bucket = bucket_of(bytes);
        if (pool_caches && !keeping_) {
            const std::lock_guard lock(mutex_);
            auto& free = free_[bucket.index];
            if (!free.empty()) {
                void* block = free.back();
                free.pop_back();
                cached_ -= bucket.bytes;
                return block;
            }
        }
        if (bytes >= large && !memory_holds(static_cast<double>(bytes))) {
            trim();
            require_memory("a tensor", static_cast<double>(bytes));
        }
        try {
            return new_block(bucket.bytes);
        } catch (const std::bad_alloc&) {  // what is kept for other sizes may be what is missing
            trim();
            return new_block(bucket.bytes);
        }
    }

    void give(void* block, std::size_t bytes) noexcept {
        const Bucket bucket = bucket_of(bytes);
        if (pool_caches) {
            try {
                const std::lock_guard lock(mutex_);
                free_[bucket.index].push_back(block);
                cached_ += bucket.bytes;
                return;
            } catch (...) {  // no room to remember the block: let it go
            }
        }
        delete_block(block, bucket.bytes);
    }

    /// Returns every cached block to the system.
    void trim() noexcept {
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < free_.size(); ++i) {
            for (void* block : free_[i]) delete_block(block, bytes_of(i));
            free_[i].clear();
        }
        cached_ = 0;
    }

    /// Bytes held for reuse.
    std::size_t cached() const {
        const std::lock_guard lock(mutex_);
        return cached_;
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
    static constexpr std::size_t large = std::size_t{1} << 28;

    struct Bucket {
        std::size_t index, bytes;
    };

    /// Larger blocks ask for huge pages: weights are read once in a pass, and a page table that is searched every 4 KiB
    /// takes up to a seventh of the memory's speed.
    static constexpr std::size_t huge_page = std::size_t{1} << 21;

    static std::align_val_t alignment_of(std::size_t bytes) {
        return std::align_val_t(bytes >= huge_page ? huge_page : alignment);
    }
    static void* new_block(std::size_t bytes) {
        void* const block = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
        if (bytes >= huge_page) ::madvise(block, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish, it may fail
#endif
        return block;
    }
    static void delete_block(void* block, std::size_t bytes) noexcept { ::operator delete(block, alignment_of(bytes)); }

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
    std::array<std::vector<void*>, 55 * 8 + 1> free_;
    std::size_t cached_ = 0;
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
