// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

#if defined(__linux__)
#include <fcntl.h>
#include <unistd.h>
#endif

#include "ito/core/error.hpp"

namespace ito {

/// Bytes that the system can still give without swapping: what Linux calls MemAvailable. Infinity where it does not say.
inline double available_memory() {
#if defined(__linux__)
    char text[512] = {};
    const int file = ::open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        [[maybe_unused]] const auto length = ::read(file, text, sizeof text - 1);
        ::close(file);
        if (const char* line = std::strstr(text, "MemAvailable:")) return std::strtod(line + 13, nullptr) * 1024;
    }
#endif
    return std::numeric_limits<double>::infinity();
}

/// Whether the system, with what can be used again, has so many bytes. Less than 64 MB is not asked about.
inline bool memory_holds(double bytes, double reusable = 0) { return bytes < 64e6 || bytes <= available_memory() + reusable; }

/// Throws MemoryError "WHAT needs about 123.4 GB of memory, 5.6 GB are available" unless memory_holds. Systems that promise
/// more memory than they have would end the program later, in the middle of its work.
inline void require_memory(const std::string& what, double bytes, double reusable = 0) {
    if (memory_holds(bytes, reusable)) return;
    char text[96];
    std::snprintf(text, sizeof text, " needs about %.1f GB of memory, %.1f GB are available", bytes * 1e-9,
                  (available_memory() + reusable) * 1e-9);
    throw MemoryError(what + text);
}

}  // namespace ito
