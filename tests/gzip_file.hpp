// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <zlib.h>

namespace ito::test {

inline void write_gzip(const std::filesystem::path& path, const std::string& text) {
    const gzFile file = ::gzopen(path.c_str(), "wb");
    ::gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    ::gzclose(file);
}

}  // namespace ito::test
