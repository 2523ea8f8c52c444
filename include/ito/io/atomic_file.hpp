// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "ito/io/file_error.hpp"

namespace ito {

/// Writes a file so that at every moment, also after a full disk, a crash or a kill, the path holds either
/// the old contents or all of the new: bytes go to "PATH.part" beside it, which is synced and then renamed.
/// Without commit() the destructor removes what was written. After a kill a ".part" may stay behind; the next
/// save of the same path replaces it. Two processes must not save the same path at the same time.
class AtomicFile {
  public:
    /// Throws FileError if the file beside it cannot be created or the path is there but is no regular file.
    explicit AtomicFile(const std::filesystem::path& path) : path_(path), part_(path.string() + ".part") {
        struct stat status {};
        // A rename would put a file in the place of the device or link target's name.
        if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
            throw detail::file_error(path, "cannot be written: not a regular file");
        if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
            path_ = std::filesystem::weakly_canonical(path);
            part_ = path_.string() + ".part";
        }
        file_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (file_ < 0) throw detail::file_error(path, std::string("cannot be written: ") + std::strerror(errno));
    }

    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile() { discard(); }

    /// Appends. Throws FileError if the system does not take all of it.
    void write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const ::ssize_t count = ::write(file_, bytes.data(), bytes.size());
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) fail(count < 0 ? errno : EIO);
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
    }
    void write(std::string_view text) { write(std::as_bytes(std::span<const char>(text.data(), text.size()))); }

    /// Makes the new contents durable and visible under the path. Throws FileError; the old contents then stay.
    void commit() {
        if (::fsync(file_) != 0) fail(errno);
        if (::close(std::exchange(file_, -1)) != 0) fail(errno);
        if (::rename(part_.c_str(), path_.c_str()) != 0) fail(errno);
        part_.clear();
        const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
        const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory >= 0) {  // the rename itself becomes durable; not every file system can do this
            ::fsync(directory);
            ::close(directory);
        }
    }

  private:
    [[noreturn]] void fail(int error) {
        discard();
        throw detail::file_error(path_, std::string("cannot be written: ") + std::strerror(error));
    }

    void discard() noexcept {
        if (file_ >= 0) ::close(std::exchange(file_, -1));
        if (!part_.empty()) ::unlink(part_.c_str());
        part_.clear();
    }

    std::filesystem::path path_, part_;
    int file_ = -1;
};

/// Replaces the contents of a file in one step (see AtomicFile). Throws FileError.
inline void write_file(const std::filesystem::path& path, std::string_view contents) {
    AtomicFile file(path);
    file.write(contents);
    file.commit();
}

}  // namespace ito
