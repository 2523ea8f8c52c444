// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/io/atomic_file.hpp"
#include "ito/io/file_error.hpp"
#include "ito/io/mapped_file.hpp"

namespace ito {

namespace detail {

/// Gives a handler what a JSON text holds, event by event; false if the handler stopped it or the text is not JSON. All
/// JSON is read here, by one instance of the parser: it takes longer to compile than all of ito's that reads files.
inline bool parse_json_events(std::string_view text, nlohmann::json_sax<nlohmann::json>& handler) {
    auto input = nlohmann::detail::input_adapter(text.data(), text.data() + text.size());
    return nlohmann::detail::parser<nlohmann::json, decltype(input)>(std::move(input)).sax_parse(&handler);
}

/// Makes a value of the events. Throws FileError for what parse_json refuses.
class JsonBuilder final : public nlohmann::json_sax<nlohmann::json> {
  public:
    nlohmann::json result;

    explicit JsonBuilder(const std::filesystem::path& path) : path_(path) {}

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(nlohmann::json::value_t::object); }
    bool key(string_t& name) override {
        key_ = std::move(name);
        return true;
    }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(nlohmann::json::value_t::array); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t where, const std::string&, const nlohmann::json::exception& error) override {
        if (dynamic_cast<const nlohmann::json::parse_error*>(&error)) throw file_error(path_, where, "not valid JSON");
        throw file_error(path_, "JSON with a number beyond all bounds");
    }

  private:
    /// Where the next value goes. What is open does not move: only the innermost of it grows.
    nlohmann::json& next() {
        if (open_.empty()) return result;
        nlohmann::json& into = *open_.back();
        if (into.is_object()) return into[key_];
        into.push_back(nullptr);
        return into.back();
    }
    bool add(nlohmann::json value) {
        next() = std::move(value);
        return true;
    }
    bool open(nlohmann::json::value_t kind) {
        constexpr std::size_t deepest = 64;
        if (open_.size() == deepest) throw file_error(path_, "JSON nested deeper than " + std::to_string(deepest));
        nlohmann::json& value = next();
        value = nlohmann::json(kind);
        open_.push_back(&value);
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    const std::filesystem::path& path_;
    std::string key_;
    std::vector<nlohmann::json*> open_;
};

/// Whether a value is that text. Comparing with == would make the compiler write out how any two values compare.
inline bool is_text(const nlohmann::json& value, std::string_view text) {
    return value.is_string() && value.get_ref<const std::string&>() == text;
}

}  // namespace detail

/// The JSON in a text out of that file. Throws FileError, with the offset of what is not JSON, or if it is nested
/// deeper than any config is: printing or copying a value walks it recursively.
inline nlohmann::json parse_json(const std::filesystem::path& path, std::string_view text) {
    detail::JsonBuilder builder(path);
    detail::parse_json_events(text, builder);
    return std::move(builder.result);
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
