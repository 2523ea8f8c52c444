// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>

#include "ito/io/atomic_file.hpp"
#include "ito/io/file_error.hpp"

namespace ito {

/// Reads a JSON file. Throws FileError, with the offset of what is not JSON.
inline nlohmann::json read_json(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw detail::file_error(path, "cannot be opened");
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    try {
        return nlohmann::json::parse(text);
    } catch (const nlohmann::json::parse_error& error) {
        throw detail::file_error(path, error.byte, "not valid JSON");
    }
}

/// Replaces a JSON file in one step. Throws FileError.
inline void write_json(const std::filesystem::path& path, const nlohmann::json& json) {
    AtomicFile file(path);
    file.write(json.dump(2) + "\n");
    file.commit();
}

}  // namespace ito
