// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

namespace bench {

/// What this program has asked the heap for: operator new in any form, and malloc where the linker wraps it for us.
/// Tensor memory that the pool has not got yet comes from operator new, so it is counted too.
extern std::atomic<std::int64_t> allocations;

}  // namespace bench
