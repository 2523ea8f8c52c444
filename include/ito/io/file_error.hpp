// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "ito/core/error.hpp"

namespace ito::detail {

/// Text out of a file, fit for a one-line message: control characters escaped, cut after 100 characters.
inline std::string printable(std::string_view text) {
    constexpr std::size_t limit = 100;
    constexpr char digits[] = "0123456789abcdef";
    std::string result;
    for (const char c : text.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            result += "\\x";
            result += digits[byte >> 4];
            result += digits[byte & 15];
        } else {
            result += c;
        }
    }
    return text.size() > limit ? result + "..." : result;
}

inline FileError file_error(const std::filesystem::path& path, const std::string& reason) {
    return FileError(path.string() + ": " + reason);
}

inline FileError file_error(const std::filesystem::path& path, std::uint64_t offset, const std::string& reason) {
    return FileError(path.string() + ": at byte " + std::to_string(offset) + ": " + reason);
}

}  // namespace ito::detail
