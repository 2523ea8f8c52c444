// SPDX-License-Identifier: MIT
#include "allocations.hpp"

#include <cstdlib>
#include <new>

namespace bench {
std::atomic<std::int64_t> allocations{0};
}

#if defined(ITO_BENCH_WRAPS_MALLOC)
extern "C" {
void* __real_malloc(std::size_t);
void* __real_calloc(std::size_t, std::size_t);
void* __real_realloc(void*, std::size_t);
void* __real_aligned_alloc(std::size_t, std::size_t);

void* __wrap_malloc(std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __real_malloc(size);
}
void* __wrap_calloc(std::size_t count, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __real_calloc(count, size);
}
void* __wrap_realloc(void* block, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __real_realloc(block, size);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    return __real_aligned_alloc(alignment, size);
}
}
#define ITO_BENCH_MALLOC __real_malloc
#define ITO_BENCH_ALIGNED_ALLOC __real_aligned_alloc
#else
#define ITO_BENCH_MALLOC std::malloc
#define ITO_BENCH_ALIGNED_ALLOC std::aligned_alloc
#endif

void* operator new(std::size_t size) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    if (void* block = ITO_BENCH_MALLOC(size ? size : 1)) return block;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    bench::allocations.fetch_add(1, std::memory_order_relaxed);
    const auto step = static_cast<std::size_t>(alignment);
    if (void* block = ITO_BENCH_ALIGNED_ALLOC(step, (size + step - 1) / step * step)) return block;
    throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
