// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/io/dtype.hpp"
#include "ito/io/file_error.hpp"
#include "ito/io/json_file.hpp"

namespace ito::detail {

struct SafeTensorsEntry {
    std::string name;
    DType dtype{};
    Shape shape;
    std::uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

struct SafeTensorsHeader {
    std::vector<SafeTensorsEntry> entries;
    std::map<std::string, std::string> metadata;
    std::uint64_t data_offset = 0;
};

/// Takes the header's JSON event by event and accepts nothing but the one form it may have,
///   {"__metadata__": {key: text, ...}, NAME: {"dtype": text, "shape": [..], "data_offsets": [begin, end]}, ...}
/// so that neither nesting nor repetition in a hostile header costs memory.
class SafeTensorsParser : public nlohmann::json_sax<nlohmann::json> {
  public:
    SafeTensorsHeader header;
    std::string error, culprit;  // reason, and the text in the header it is about
    std::size_t position = 0;    // where the JSON itself is wrong

    bool null() override { return unexpected("null"); }
    bool boolean(bool) override { return unexpected("a boolean"); }
    bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
    bool number_float(number_float_t, const string_t&) override { return unexpected("not a whole 64-bit number"); }
    bool binary(binary_t&) override { return unexpected("binary data"); }

    bool number_unsigned(number_unsigned_t value) override {
        if (state_ != State::numbers) return unexpected("a number");
        if (numbers_.size() == static_cast<std::size_t>(Shape::max_rank))
            return fail(about() + " has a list of more than 6 numbers");
        if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
            return fail(about() + " has a number beyond 63 bits");
        numbers_.push_back(static_cast<Index>(value));
        return true;
    }

    bool string(string_t& text) override {
        if (state_ == State::metadata) {
            if (!header.metadata.emplace(key_, text).second)
                return fail("duplicate metadata '" + printable(key_) + "'");
            return true;
        }
        if (state_ != State::tensor || key_ != "dtype") return unexpected("a text");
        const auto dtype = dtype_named(text);
        if (!dtype) return fail(about() + " has the unknown dtype '" + printable(text) + "'");
        entry_.dtype = *dtype;
        return true;
    }

    bool start_object(std::size_t) override {
        if (state_ == State::start) {
            state_ = State::names;
        } else if (state_ == State::names) {
            state_ = key_ == "__metadata__" ? State::metadata : State::tensor;
            entry_ = {};
            entry_.name = key_;
            has_dtype_ = has_shape_ = has_offsets_ = false;
        } else {
            return unexpected("an object");
        }
        return true;
    }

    bool key(string_t& text) override {
        key_ = text;
        if (state_ == State::names) {
            culprit = text;
            if (!names_.insert(text).second) return fail("duplicate tensor '" + printable(text) + "'");
        } else if (state_ == State::tensor) {
            bool* has = text == "dtype"          ? &has_dtype_
                        : text == "shape"        ? &has_shape_
                        : text == "data_offsets" ? &has_offsets_
                                                 : nullptr;
            if (!has) return fail(about() + " has the unknown key '" + printable(text) + "'");
            if (*has) return fail(about() + " has '" + printable(text) + "' twice");
            *has = true;
        }
        return true;
    }

    bool end_object() override {
        if (state_ == State::tensor) {
            if (!has_dtype_ || !has_shape_ || !has_offsets_)
                return fail(about() + " lacks " + (!has_dtype_ ? "dtype" : !has_shape_ ? "shape" : "data_offsets"));
            header.entries.push_back(std::move(entry_));
        }
        state_ = state_ == State::names ? State::end : State::names;
        return true;
    }

    bool start_array(std::size_t) override {
        if (state_ != State::tensor || (key_ != "shape" && key_ != "data_offsets")) return unexpected("a list");
        state_ = State::numbers;
        numbers_.clear();
        return true;
    }

    bool end_array() override {
        state_ = State::tensor;
        if (key_ == "shape") {
            try {
                entry_.shape = Shape(std::span<const Index>(numbers_));
            } catch (const ShapeError& impossible) {
                return fail(about() + ": " + impossible.what());
            }
            return true;
        }
        if (numbers_.size() != 2) return fail(about() + " needs two data_offsets");
        entry_.begin = static_cast<std::uint64_t>(numbers_[0]);
        entry_.end = static_cast<std::uint64_t>(numbers_[1]);
        return true;
    }

    bool parse_error(std::size_t where, const std::string&, const nlohmann::json::exception&) override {
        position = where;
        return fail("the header is not valid JSON in UTF-8");
    }

  private:
    enum class State { start, names, metadata, tensor, numbers, end };

    std::string about() const { return "tensor '" + printable(entry_.name) + "'"; }

    bool fail(const std::string& reason) {
        if (error.empty()) error = reason;
        return false;
    }

    bool unexpected(const char* what) {
        if (state_ == State::start) return fail("the header is not a JSON object");
        const std::string where = state_ == State::names      ? "entry '" + printable(key_) + "'"
                                  : state_ == State::metadata ? "metadata '" + printable(key_) + "'"
                                                              : about() + ": '" + printable(key_) + "'";
        return fail(where + " is or holds " + what);
    }

    State state_ = State::start;
    std::string key_;
    SafeTensorsEntry entry_;
    bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
    std::vector<Index> numbers_;
    std::set<std::string> names_;
};

/// The tensors must fill the data exactly: in range, of the size that shape and dtype say, no overlap, no hole.
inline void check_safetensors_ranges(const std::filesystem::path& path, const SafeTensorsHeader& header,
                                     std::uint64_t data_bytes) {
    std::vector<const SafeTensorsEntry*> order;
    for (const auto& entry : header.entries) {
        const std::string about = "tensor '" + printable(entry.name) + "'";
        if (entry.begin > entry.end || entry.end > data_bytes)
            throw file_error(path, header.data_offset + std::min(entry.begin, data_bytes),
                             about + ": bytes " + std::to_string(entry.begin) + " to " + std::to_string(entry.end) +
                                 " lie outside of the " + std::to_string(data_bytes) + " bytes of data");
        const auto expected =
            static_cast<std::uint64_t>(entry.shape.size()) * static_cast<std::uint64_t>(dtype_bytes(entry.dtype));
        if (entry.end - entry.begin != expected)
            throw file_error(path, header.data_offset + entry.begin,
                             about + ": shape " + entry.shape.str() + " of " + std::string(dtype_name(entry.dtype)) +
                                 " takes " + std::to_string(expected) + " bytes, the file gives it " +
                                 std::to_string(entry.end - entry.begin));
        order.push_back(&entry);
    }
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
    std::uint64_t filled = 0;
    for (const auto* entry : order) {
        if (entry->begin != filled)
            throw file_error(path, header.data_offset + std::min(entry->begin, filled),
                             "tensor '" + printable(entry->name) + "' " +
                                 (entry->begin < filled ? "overlaps another" : "leaves a hole before it"));
        filled = entry->end;
    }
    if (filled != data_bytes)
        throw file_error(path, header.data_offset + filled,
                         std::to_string(data_bytes - filled) + " bytes belong to no tensor");
}

/// Reads and checks everything but the elements themselves. Throws FileError.
inline SafeTensorsHeader read_safetensors_header(const std::filesystem::path& path, std::span<const std::byte> file) {
    constexpr std::uint64_t longest = 100'000'000;  // the limit of the reference implementation
    if (file.size() < 8)
        throw file_error(path, file.size(), "truncated: a safetensors file begins with 8 bytes of header length");
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    if (length > longest) throw file_error(path, 0, "header length " + std::to_string(length) + " is absurd");
    if (length > file.size() - 8)
        throw file_error(path, file.size(), "truncated: the header should take " + std::to_string(length) + " bytes");
    const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, static_cast<std::size_t>(length));
    if (text.empty() || text.front() != '{') throw file_error(path, 8, "the header is not a JSON object");

    SafeTensorsParser parser;
    if (!parse_json_events(text, parser) || !parser.error.empty()) {
        std::size_t offset = parser.position;
        if (offset == 0 && !parser.culprit.empty()) {
            const std::size_t found = text.find('"' + parser.culprit + '"');
            if (found != std::string_view::npos) offset = found;
        }
        throw file_error(path, 8 + std::min(offset, text.size()), parser.error);
    }
    parser.header.data_offset = 8 + length;
    check_safetensors_ranges(path, parser.header, file.size() - 8 - length);
    return std::move(parser.header);
}

}  // namespace ito::detail
