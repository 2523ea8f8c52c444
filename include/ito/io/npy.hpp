// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"
#include "ito/io/atomic_file.hpp"
#include "ito/io/dtype.hpp"
#include "ito/io/gzip.hpp"

namespace ito {

namespace detail {

/// NumPy's names of the element types, without the byte order.
inline constexpr std::array<std::pair<std::string_view, DType>, 12> npy_types{{{"b1", DType::boolean},
                                                                               {"u1", DType::u8},
                                                                               {"i1", DType::i8},
                                                                               {"u2", DType::u16},
                                                                               {"i2", DType::i16},
                                                                               {"f2", DType::f16},
                                                                               {"u4", DType::u32},
                                                                               {"i4", DType::i32},
                                                                               {"f4", DType::f32},
                                                                               {"u8", DType::u64},
                                                                               {"i8", DType::i64},
                                                                               {"f8", DType::f64}}};

struct NpyHeader {
    DType dtype{};
    bool fortran_order = false;
    Shape shape;
    std::size_t data_offset = 0;
};

/// Reads the dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, which may hold nothing else.
class NpyDictionary {
  public:
    NpyDictionary(const std::filesystem::path& path, std::string_view text, std::size_t offset)
        : path_(path), text_(text), offset_(offset) {}

    NpyHeader parse() {
        NpyHeader header;
        bool has_descr = false, has_order = false, has_shape = false;
        expect('{');
        while (!accept('}')) {
            const std::string_view key = quoted();
            expect(':');
            bool* has = key == "descr"           ? &has_descr
                        : key == "fortran_order" ? &has_order
                        : key == "shape"         ? &has_shape
                                                 : nullptr;
            if (!has || std::exchange(*has, true)) fail("unknown or repeated key '" + printable(key) + "'");
            if (key == "descr")
                header.dtype = descr();
            else if (key == "fortran_order")
                header.fortran_order = truth();
            else
                header.shape = shape();
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip_space();
        if (position_ != text_.size()) fail("text after the dictionary");
        if (!has_descr || !has_order || !has_shape) fail("descr, fortran_order or shape is missing");
        return header;
    }

  private:
    [[noreturn]] void fail(const std::string& reason) const {
        throw file_error(path_, offset_ + position_, "npy header: " + reason);
    }

    void skip_space() {
        while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos)
            ++position_;
    }
    bool accept(char c) {
        skip_space();
        if (position_ == text_.size() || text_[position_] != c) return false;
        ++position_;
        return true;
    }
    void expect(char c) {
        if (!accept(c)) fail(std::string("'") + c + "' expected");
    }
    bool accept(std::string_view word) {
        skip_space();
        if (text_.substr(position_, word.size()) != word) return false;
        position_ += word.size();
        return true;
    }

    std::string_view quoted() {
        const char quote = accept('"') ? '"' : '\'';
        if (quote == '\'') expect('\'');
        const std::size_t end = text_.find(quote, position_);
        if (end == std::string_view::npos) fail("a quote is not closed");
        const std::size_t begin = std::exchange(position_, end + 1);
        return text_.substr(begin, end - begin);
    }

    DType descr() {
        if (accept('[')) fail("records are not read");
        const std::string_view name = quoted();
        if (!name.empty() && name[0] == '>' && name.substr(1) != "u1" && name.substr(1) != "i1")
            fail("big-endian elements are not read");
        for (const auto& [type, dtype] : npy_types)
            if (name.size() == 3 && std::string_view("<|=>").find(name[0]) != std::string_view::npos &&
                name.substr(1) == type)
                return dtype;
        fail("element type '" + printable(name) + "' is not read");
    }

    bool truth() {
        if (accept("True")) return true;
        if (accept("False")) return false;
        fail("True or False expected");
    }

    Shape shape() {
        std::vector<Index> extents;
        expect('(');
        while (!accept(')')) {
            skip_space();
            const std::size_t begin = position_;
            Index extent = 0;
            for (; position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9'; ++position_) {
                extent = extent * 10 + (text_[position_] - '0');
                if (position_ - begin >= 17) fail("an extent has too many digits");
            }
            if (position_ == begin) fail("a number expected");
            accept('L');
            if (extents.size() == static_cast<std::size_t>(Shape::max_rank)) fail("more than 6 axes");
            extents.push_back(extent);
            if (!accept(',')) {
                expect(')');
                break;
            }
        }
        try {
            return Shape(std::span<const Index>(extents));
        } catch (const ShapeError& impossible) {
            fail(impossible.what());
        }
    }

    const std::filesystem::path& path_;
    std::string_view text_;
    std::size_t offset_, position_ = 0;
};

inline NpyHeader read_npy_header(const std::filesystem::path& path, std::span<const std::byte> file) {
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    if (text.substr(0, 6) != std::string_view("\x93NUMPY", 6)) throw file_error(path, 0, "not a .npy file");
    if (text.size() < 10) throw file_error(path, text.size(), "truncated inside of the npy header");
    const int version = static_cast<unsigned char>(text[6]);
    if (version < 1 || version > 3)
        throw file_error(path, 6, "npy version " + std::to_string(version) + " is not known");
    const std::size_t begin = version == 1 ? 10 : 12;
    std::size_t length = 0;
    for (std::size_t i = 8; i < begin && i < text.size(); ++i)
        length |= std::size_t{static_cast<unsigned char>(text[i])} << (8 * (i - 8));
    if (text.size() < begin || length > text.size() - begin)
        throw file_error(path, text.size(), "truncated inside of the npy header");
    NpyHeader header = NpyDictionary(path, text.substr(begin, length), begin).parse();
    header.data_offset = begin + length;
    const auto bytes =
        static_cast<std::uint64_t>(header.shape.size()) * static_cast<std::uint64_t>(dtype_bytes(header.dtype));
    if (bytes != file.size() - header.data_offset)
        throw file_error(path, std::min<std::uint64_t>(file.size(), header.data_offset + bytes),
                         "npy of shape " + header.shape.str() + " takes " + std::to_string(bytes) +
                             " bytes, the file has " + std::to_string(file.size() - header.data_offset));
    return header;
}

/// Elements that lie with the first axis fastest, brought into row-major order.
template <class T>
Tensor<T> from_column_major(const Tensor<T>& elements, const Shape& shape) {
    Tensor<T> result(shape);
    std::array<Index, Shape::max_rank> at{};
    for (Index i = 0; i < result.size(); ++i) {
        Index position = 0;
        for (int axis = shape.rank() - 1; axis >= 0; --axis)
            position = position * shape[axis] + at[static_cast<std::size_t>(axis)];
        result[i] = elements[position];
        for (int axis = shape.rank() - 1; axis >= 0 && ++at[static_cast<std::size_t>(axis)] == shape[axis]; --axis)
            at[static_cast<std::size_t>(axis)] = 0;
    }
    return result;
}

}  // namespace detail

/// Reads a NumPy array, gzipped or not (.npy, .npy.gz), versions 1 to 3, of either order, little-endian, as T:
/// floating T takes every number, integral T takes integers that fit. Throws FileError for anything else.
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
template <class T>
Tensor<T> read_npy(const std::filesystem::path& path) {
    const FileBytes file(path);
    const auto header = detail::read_npy_header(path, file.bytes());
    if (std::is_integral_v<T> && dtype_is_floating(header.dtype))
        throw detail::file_error(
            path, "npy elements are " + std::string(dtype_name(header.dtype)) + ", integers were asked for");
    Tensor<T> result(header.shape);
    const Index done = decode(header.dtype, file.bytes().data() + header.data_offset, result.data(), result.size());
    if (done != result.size())
        throw detail::file_error(path,
                                 header.data_offset + static_cast<std::uint64_t>(done * dtype_bytes(header.dtype)),
                                 "npy holds an integer that does not fit");
    if (header.fortran_order && header.shape.rank() > 1) return detail::from_column_major(result, header.shape);
    return result;
}

/// Writes a NumPy array, version 1, row-major, in one step (see AtomicFile). Throws FileError.
template <class T>
void write_npy(const std::filesystem::path& path, const Tensor<T>& tensor) {
    std::string type;
    for (const auto& [name, dtype] : detail::npy_types)
        if (dtype == dtype_of<T>()) type = (dtype_bytes(dtype) == 1 ? "|" : "<") + std::string(name);
    std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (";
    for (const Index extent : tensor.shape()) header += std::to_string(extent) + (tensor.rank() == 1 ? "," : ", ");
    if (tensor.rank() > 1) header.resize(header.size() - 2);
    header += "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');  // the data begins at a multiple of 64
    header += '\n';
    const auto length = static_cast<std::uint16_t>(header.size());

    AtomicFile file(path);
    file.write(std::string_view("\x93NUMPY\x01\x00", 8));
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    file.write(std::as_bytes(tensor.span()));
    file.commit();
}

}  // namespace ito
