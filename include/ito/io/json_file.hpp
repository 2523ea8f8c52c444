// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "ito/io/atomic_file.hpp"
#include "ito/io/file_error.hpp"
#include "ito/io/mapped_file.hpp"

namespace ito {

/// The JSON in a text out of that file. Throws FileError, with the offset of what is not JSON, or if it is nested
/// deeper than any config is: printing or copying a value walks it recursively.
inline nlohmann::json parse_json(const std::filesystem::path& path, std::string_view text) {
    constexpr int deepest = 64;
    const auto check = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        if (depth > deepest) throw detail::file_error(path, "JSON nested deeper than " + std::to_string(deepest));
        return true;
    };
    try {
        return nlohmann::json::parse(text, check);
    } catch (const nlohmann::json::parse_error& error) {
        throw detail::file_error(path, error.byte, "not valid JSON");
    } catch (const nlohmann::json::exception&) {
        throw detail::file_error(path, "JSON with a number beyond all bounds");
    }
}

/// Reads a JSON file. Throws FileError.
inline nlohmann::json read_json(const std::filesystem::path& path) {
    const MappedFile file(path);
    return parse_json(path, {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

/// Replaces a JSON file in one step. Throws FileError, ArgumentError for text that is not UTF-8.
inline void write_json(const std::filesystem::path& path, const nlohmann::json& json) {
    std::string text;
    try {
        text = json.dump(2) + "\n";
    } catch (const nlohmann::json::exception&) {
        throw ArgumentError(path.string() + ": text to be written is not UTF-8");
    }
    write_file(path, text);
}

}  // namespace ito
