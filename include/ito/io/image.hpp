// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "ito/core/tensor.hpp"
#include "ito/io/atomic_file.hpp"
#include "ito/io/file_error.hpp"
#include "ito/io/mapped_file.hpp"
#include "ito/io/stb.hpp"

namespace ito {

/// Reads a PNG, JPEG, BMP, GIF, TGA or PNM file as [H, W, C]. channels: 1 grey, 3 colour, 4 colour with alpha,
/// 0 as the file has it; alpha that is not asked for is dropped. Throws FileError with the reason of stb_image,
/// ArgumentError for another number of channels.
inline Tensor<std::uint8_t> read_image(const std::filesystem::path& path, int channels = 3) {
    namespace stb = detail::stb;
    if (channels != 0 && channels != 1 && channels != 3 && channels != 4)
        throw ArgumentError("an image has 1, 3 or 4 channels, not " + std::to_string(channels));
    const MappedFile file(path);
    const auto bytes = file.bytes();
    if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
        throw detail::file_error(path, "not an image: larger than 2 GiB");
    const auto* data = reinterpret_cast<const stb::stbi_uc*>(bytes.data());
    const int size = static_cast<int>(bytes.size());
    const auto fail = [&] {
        const char* reason = stb::ito_stbi_failure_reason();
        throw detail::file_error(path,
                                 std::string("cannot be read as an image: ") + (reason ? reason : "unknown reason"));
    };

    int height = 0, width = 0, stored = 0;
    if (bytes.empty()) throw detail::file_error(path, "cannot be read as an image: the file is empty");
    if (!stb::ito_stbi_info_from_memory(data, size, &width, &height, &stored)) fail();
    // No format packs better than this; a small file that claims more lies, and gets no memory.
    if (Index{width} * height > Index{4096} * size + (1 << 20))
        throw detail::file_error(path, "cannot be read as an image: claims " + std::to_string(width) + " x " +
                                           std::to_string(height) + " pixels in " + std::to_string(size) + " bytes");
    stb::stbi_uc* pixels = stb::ito_stbi_load_from_memory(data, size, &width, &height, &stored, channels);
    if (!pixels) fail();
    const struct Free {
        stb::stbi_uc* pixels;
        ~Free() { stb::ito_stbi_image_free(pixels); }
    } free{pixels};
    Tensor<std::uint8_t> image({height, width, channels ? channels : stored});
    std::memcpy(image.data(), pixels, static_cast<std::size_t>(image.size()));
    return image;
}

/// Writes [H, W], or [H, W, C] with C from 1 to 4, as a PNG, whatever the name ends in, in one step (see AtomicFile).
/// Throws ShapeError for another shape, FileError.
inline void write_png(const std::filesystem::path& path, const Tensor<std::uint8_t>& image) {
    const Index channels = image.rank() == 3 ? image.dim(2) : 1;
    if ((image.rank() != 2 && image.rank() != 3) || image.empty() || channels > 4 || image.size() > (1 << 30))
        throw ShapeError(path.string() + ": cannot write shape " + image.shape().str() +
                         " as PNG, expected [H, W, 1 to 4]");
    std::string png;
    const auto append = [](void* target, void* data, int size) {
        static_cast<std::string*>(target)->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
    };
    const int height = static_cast<int>(image.dim(0)), width = static_cast<int>(image.dim(1));
    if (!detail::stb::stbi_write_png_to_func(append, &png, width, height, static_cast<int>(channels), image.data(),
                                             width * static_cast<int>(channels)))
        throw detail::file_error(path, "the image cannot be packed as PNG");
    write_file(path, png);
}

}  // namespace ito
