// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "ito/core/tensor.hpp"
#include "ito/io/gzip.hpp"

namespace ito {

/// Reads an IDX file of bytes, gzipped or not, in its own shape: the format of MNIST and its relatives. Two zero
/// bytes, the type, the number of axes, each extent as a big-endian 32-bit number, then the elements
/// (http://yann.lecun.com/exdb/mnist/). Throws FileError for anything else and for elements of another type.
inline Tensor<std::uint8_t> read_idx(const std::filesystem::path& path) {
    const FileBytes file(path);
    const auto bytes = file.bytes();
    const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
    if (bytes.size() < 4) throw detail::file_error(path, bytes.size(), "truncated: an IDX file begins with 4 bytes");
    if (byte(0) != 0 || byte(1) != 0) throw detail::file_error(path, 0, "not an IDX file");
    if (byte(2) != 8)
        throw detail::file_error(path, 2,
                                 "IDX elements of type " + std::to_string(byte(2)) + ", only bytes (8) are read");
    const std::size_t rank = byte(3), header = 4 + 4 * rank;
    if (rank < 1 || rank > static_cast<std::size_t>(Shape::max_rank))
        throw detail::file_error(path, 3, "IDX with " + std::to_string(rank) + " axes");
    if (bytes.size() < header) throw detail::file_error(path, bytes.size(), "truncated inside of the IDX header");

    std::vector<Index> extents;
    for (std::size_t i = 4; i < header; i += 4)
        extents.push_back(Index{byte(i)} << 24 | byte(i + 1) << 16 | byte(i + 2) << 8 | byte(i + 3));
    Shape shape;
    try {
        shape = Shape(std::span<const Index>(extents));
    } catch (const ShapeError& impossible) {
        throw detail::file_error(path, 4, impossible.what());
    }
    if (static_cast<std::uint64_t>(shape.size()) != bytes.size() - header)
        throw detail::file_error(
            path, std::min<std::uint64_t>(bytes.size(), header + static_cast<std::uint64_t>(shape.size())),
            "IDX of shape " + shape.str() + " takes " + std::to_string(shape.size()) + " bytes, the file has " +
                std::to_string(bytes.size() - header));
    Tensor<std::uint8_t> result(shape);
    if (!result.empty()) std::memcpy(result.data(), bytes.data() + header, bytes.size() - header);
    return result;
}

/// Images [N, H, W, 1] of an IDX file with three axes. Throws FileError.
inline Tensor<std::uint8_t> read_idx_images(const std::filesystem::path& path) {
    auto images = read_idx(path);
    if (images.rank() != 3)
        throw detail::file_error(path, 3, "IDX images have 3 axes, not shape " + images.shape().str());
    const Shape shape{images.dim(0), images.dim(1), images.dim(2), 1};
    return std::move(images).reshaped(shape);
}

/// Labels of an IDX file with one axis. Throws FileError.
inline std::vector<Index> read_idx_labels(const std::filesystem::path& path) {
    const auto labels = read_idx(path);
    if (labels.rank() != 1)
        throw detail::file_error(path, 3, "IDX labels have 1 axis, not shape " + labels.shape().str());
    return {labels.begin(), labels.end()};
}

}  // namespace ito
