// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/data/dataset.hpp"
#include "ito/data/folder.hpp"
#include "ito/data/idx.hpp"
#include "ito/io/npy.hpp"

namespace ito {

/// Which part of a data set that comes in two.
enum class Split { train, test };

namespace detail {

/// The first of the names, plain or gzipped, that is in the folder.
inline std::optional<std::filesystem::path> find_file(const std::filesystem::path& folder,
                                                      const std::vector<std::string>& names) {
    for (const auto& name : names)
        for (const char* ending : {"", ".gz"})
            if (std::filesystem::is_regular_file(folder / (name + ending))) return folder / (name + ending);
    return std::nullopt;
}

inline bool has_npy_name(std::string name) {
    if (name.size() > 3 && name.substr(name.size() - 3) == ".gz") name.resize(name.size() - 3);
    return name.size() > 4 && name.substr(name.size() - 4) == ".npy";
}

inline Dataset open_idx(const std::filesystem::path& images, const std::optional<std::filesystem::path>& labels) {
    std::vector<Index> numbers;
    if (labels) numbers = read_idx_labels(*labels);
    if (labels && numbers.empty()) throw file_error(*labels, "holds no labels");
    return make_dataset<FileError>(images.string(), read_idx_images(images), std::move(numbers));
}

inline Dataset open_npy(const std::filesystem::path& path, const std::optional<std::filesystem::path>& labels) {
    auto images = read_npy<std::uint8_t>(path);
    if (images.rank() == 3) {
        const Shape shape{images.dim(0), images.dim(1), images.dim(2), 1};
        images = std::move(images).reshaped(shape);
    }
    std::vector<Index> numbers;
    if (labels) {
        const auto read = read_npy<Index>(*labels);
        if (read.rank() != 1) throw file_error(*labels, "expected labels [N], got " + read.shape().str());
        if (read.empty()) throw file_error(*labels, "holds no labels");
        numbers.assign(read.begin(), read.end());
    }
    return make_dataset<FileError>(path.string(), std::move(images), std::move(numbers));
}

/// "train-images-idx3-ubyte.gz" -> "train-labels-idx1-ubyte.gz", if that is there.
inline std::optional<std::filesystem::path> labels_beside(const std::filesystem::path& images) {
    std::string name = images.filename().string();
    const auto place = name.find("images"), axes = name.find("idx3");
    if (place == std::string::npos) return std::nullopt;
    if (axes != std::string::npos) name.replace(axes, 4, "idx1");
    name.replace(place, 6, "labels");
    const auto labels = images.parent_path() / name;
    if (!std::filesystem::is_regular_file(labels)) return std::nullopt;
    return labels;
}

}  // namespace detail

/// Opens whatever is at the path, a data set of images with or without labels:
///   - a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte (Split::test: t10k-..), gzipped or not;
///   - a folder with images.npy and, if there are labels, labels.npy, gzipped or not;
///   - any other folder: see read_image_folder, to which the options go;
///   - one .npy file [N, H, W, C] or [N, H, W] of bytes; or one IDX file of images, labels beside it if there are any.
/// Throws FileError.
inline Dataset open_dataset(const std::filesystem::path& path, Split split = Split::train,
                            const ImageFolder& options = {}) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) throw detail::file_error(path, "there is no such file or folder");
    const auto require_whole = [&] {
        if (split == Split::test) throw detail::file_error(path, "has no held-out part (t10k-images-idx3-ubyte)");
    };
    if (!std::filesystem::is_directory(status)) {
        require_whole();
        if (detail::has_npy_name(path.filename().string())) return detail::open_npy(path, std::nullopt);
        if (detail::has_image_name(path))
            throw detail::file_error(path, "is one picture, not a data set: name the folder that it is in");
        return detail::open_idx(path, detail::labels_beside(path));
    }
    const std::string part = split == Split::train ? "train" : "t10k";
    if (const auto images = detail::find_file(path, {part + "-images-idx3-ubyte", part + "-images.idx3-ubyte"})) {
        const auto labels = detail::find_file(path, {part + "-labels-idx1-ubyte", part + "-labels.idx1-ubyte"});
        return detail::open_idx(*images, labels);
    }
    require_whole();
    if (const auto images = detail::find_file(path, {"images.npy"}))
        return detail::open_npy(*images, detail::find_file(path, {"labels.npy"}));
    return read_image_folder(path, options);
}

}  // namespace ito
