// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "ito/io/file_error.hpp"

namespace ito {

/// A whole file, mapped read-only: opening costs nothing, pages are read when they are touched.
/// The file must not be shortened while it is mapped (replacing it by a rename is fine).
class MappedFile {
  public:
    MappedFile() = default;

    /// Throws FileError if the path is not a regular file that can be read.
    explicit MappedFile(const std::filesystem::path& path) {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) throw detail::file_error(path, std::string("cannot be opened: ") + std::strerror(errno));
        struct stat status {};
        const char* reason = nullptr;
        if (::fstat(file, &status) != 0) {
            reason = std::strerror(errno);
        } else if (!S_ISREG(status.st_mode)) {
            reason = "not a regular file";
        } else if (status.st_size > 0) {
            size_ = static_cast<std::size_t>(status.st_size);
            data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
            if (data_ == MAP_FAILED) {
                reason = std::strerror(errno);
                data_ = nullptr;
                size_ = 0;
            }
        }
        ::close(file);
        if (reason) throw detail::file_error(path, std::string("cannot be read: ") + reason);
    }

    MappedFile(MappedFile&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~MappedFile() {
        if (data_) ::munmap(data_, size_);
    }

    std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

  private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ito
