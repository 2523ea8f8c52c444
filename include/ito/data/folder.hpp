// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ito/data/dataset.hpp"
#include "ito/io/file_error.hpp"
#include "ito/io/image.hpp"
#include "ito/io/resize.hpp"

namespace ito {

/// What the images of a folder are brought to.
struct ImageFolder {
    int channels = 3;             // 1 grey, 3 colour, 4 with alpha
    Index height = 0, width = 0;  // 0: as they are, and then all must agree; else scaled to cover it and cropped
};

namespace detail {

inline bool has_image_name(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    constexpr std::array<std::string_view, 8> known{".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tga", ".ppm", ".pgm"};
    return std::find(known.begin(), known.end(), extension) != known.end();
}

/// The folder's visible images and subfolders, each in the order of their names. Throws FileError.
inline std::pair<std::vector<std::filesystem::path>, std::vector<std::filesystem::path>> list_folder(
    const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> images, folders;
    try {
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            if (name.empty() || name[0] == '.') continue;
            if (entry.is_directory())
                folders.push_back(entry.path());
            else if (has_image_name(entry.path()))
                images.push_back(entry.path());
        }
    } catch (const std::filesystem::filesystem_error& error) {
        throw file_error(folder, "cannot be listed: " + error.code().message());
    }
    std::sort(images.begin(), images.end());
    std::sort(folders.begin(), folders.end());
    return {std::move(images), std::move(folders)};
}

}  // namespace detail

/// Reads a folder of images: with subfolders, each is a class, named by it and numbered in the order of the names;
/// without, the images have no labels. Files that are not named like images are left alone, those that are must be
/// readable. Throws FileError for an unreadable image, images of different sizes (unless a size is asked for), a folder
/// or subfolder without images, images both beside and inside of subfolders; ArgumentError for an impossible size.
inline Dataset read_image_folder(const std::filesystem::path& folder, const ImageFolder& options = {}) {
    if (options.height < 0 || options.width < 0 || (options.height == 0) != (options.width == 0))
        throw ArgumentError("images of size " + std::to_string(options.height) + " x " + std::to_string(options.width) +
                            " asked for");
    if (options.channels != 1 && options.channels != 3 && options.channels != 4)
        throw ArgumentError("images of " + std::to_string(options.channels) + " channels asked for, not 1, 3 or 4");
    auto [files, folders] = detail::list_folder(folder);
    std::vector<Index> labels;
    std::vector<std::string> class_names;
    if (!files.empty() && !folders.empty())
        throw detail::file_error(folder,
                                 "has images both beside and in subfolders, so what the classes are is unclear");
    for (const auto& subfolder : folders) {
        const auto inside = detail::list_folder(subfolder).first;
        if (inside.empty()) throw detail::file_error(subfolder, "no images in this folder");
        labels.insert(labels.end(), inside.size(), static_cast<Index>(class_names.size()));
        class_names.push_back(subfolder.filename().string());
        files.insert(files.end(), inside.begin(), inside.end());
    }
    if (files.empty()) throw detail::file_error(folder, "no images in this folder");

    Tensor<std::uint8_t> images;
    Shape shape;
    for (std::size_t i = 0; i < files.size(); ++i) {
        auto image = read_image(files[i], options.channels);
        if (options.height > 0) image = resize_and_crop(image, options.height, options.width);
        if (i == 0) {
            shape = image.shape();
            images = Tensor<std::uint8_t>({static_cast<Index>(files.size()), shape[0], shape[1], shape[2]});
        }
        if (image.shape() != shape)
            throw detail::file_error(files[i], "has shape " + image.shape().str() + ", the images before it have " +
                                                   shape.str() + "; a size brings them together (ImageFolder::height and"
                                                   " width, train --resize)");
        std::copy_n(image.data(), image.size(), images.data() + static_cast<Index>(i) * image.size());
    }
    return detail::make_dataset<FileError>(folder.string(), std::move(images), std::move(labels),
                                           std::move(class_names));
}

}  // namespace ito
