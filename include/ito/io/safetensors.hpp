// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"
#include "ito/io/dtype.hpp"
#include "ito/io/mapped_file.hpp"
#include "ito/io/safetensors_header.hpp"

namespace ito {

/// A safetensors file, opened for reading: named tensors, loaded one by one and converted to the scalar asked
/// for. The format is 8 bytes of header length, a JSON header, and the elements, little-endian and row-major
/// (https://github.com/huggingface/safetensors). Opening checks all of it against the size of the file, so
/// that a damaged file is a FileError here and loading can only fail on a wrong name or scalar.
class SafeTensors {
  public:
    /// Throws FileError with the file, the offset where it applies, and the reason.
    static SafeTensors open(const std::filesystem::path& path) {
        SafeTensors result;
        result.path_ = path;
        result.file_ = MappedFile(path);
        result.header_ = detail::read_safetensors_header(path, result.file_.bytes());
        for (std::size_t i = 0; i < result.header_.entries.size(); ++i)
            result.by_name_.emplace(result.header_.entries[i].name, i);
        return result;
    }

    const std::filesystem::path& path() const { return path_; }

    /// Names in the order of the header.
    std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const auto& entry : header_.entries) result.push_back(entry.name);
        return result;
    }

    bool contains(std::string_view name) const { return by_name_.find(name) != by_name_.end(); }

    /// Shape as stored. This and the functions below throw FileError for a name that is not in the file.
    const Shape& shape(std::string_view name) const { return entry(name).shape; }
    DType dtype(std::string_view name) const { return entry(name).dtype; }

    /// The elements as they lie in the file, unaligned; valid as long as this object lives.
    std::span<const std::byte> bytes(std::string_view name) const {
        const auto& found = entry(name);
        return file_.bytes().subspan(header_.data_offset + found.begin, found.end - found.begin);
    }

    /// The tensor in stored axis order. Floating T takes every dtype; integral T takes integers that fit,
    /// and FileError is thrown for others.
    template <class T>
    Tensor<T> load(std::string_view name) const {
        const auto& found = entry(name);
        if (std::is_integral_v<T> && dtype_is_floating(found.dtype))
            throw detail::file_error(path_, "tensor '" + detail::printable(name) + "' is " +
                                                std::string(dtype_name(found.dtype)) + ", integers were asked for");
        Tensor<T> result(found.shape);
        const Index done = decode(found.dtype, bytes(name).data(), result.data(), result.size());
        if (done != result.size())
            throw detail::file_error(
                path_, header_.data_offset + found.begin + static_cast<std::uint64_t>(done * dtype_bytes(found.dtype)),
                "tensor '" + detail::printable(name) + "' holds an integer that does not fit");
        return result;
    }

    /// The file's "__metadata__".
    const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  private:
    const detail::SafeTensorsEntry& entry(std::string_view name) const {
        const auto found = by_name_.find(name);
        if (found == by_name_.end())
            throw detail::file_error(path_, "there is no tensor '" + detail::printable(name) + "'");
        return header_.entries[found->second];
    }

    std::filesystem::path path_;
    MappedFile file_;
    detail::SafeTensorsHeader header_;
    std::map<std::string, std::size_t, std::less<>> by_name_;
};

}  // namespace ito
