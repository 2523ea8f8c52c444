// SPDX-License-Identifier: MIT
#include "ito/io/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "catch.hpp"
#include "ito/io/safetensors.hpp"
#include "ito/io/safetensors_writer.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

/// While it lives, this process can write no file longer than that: a full disk, in effect.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &old_);
        handler_ = std::signal(SIGXFSZ, SIG_IGN);
        rlimit limit = old_;
        limit.rlim_cur = bytes;
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    rlimit old_{};
    void (*handler_)(int) = nullptr;
};

int files_in(const std::filesystem::path& folder) {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
    return count;
}

}  // namespace

TEST_CASE("a file is replaced as a whole") {
    TempFolder folder;
    write_file(folder / "a", "old");
    CHECK(read_text(folder / "a") == "old");
    {
        AtomicFile file(folder / "a");
        file.write("new");
        CHECK(read_text(folder / "a") == "old");
        file.commit();
    }
    CHECK(read_text(folder / "a") == "new");
    CHECK(files_in(folder.path()) == 1);
    {
        AtomicFile file(folder / "a");
        file.write("never committed");
    }
    CHECK(read_text(folder / "a") == "new");
    CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("the old file survives a full disk") {
    TempFolder folder;
    const auto path = folder / "model.safetensors";
    SafeTensorsWriter old;
    old.add("w", Tensor<float>::full({4}, 7));
    old.save(path);
    SafeTensorsWriter large;
    large.add("w", Tensor<float>::full({100'000}, 8));
    {
        const FileSizeLimit limit(4096);
        CHECK_THROWS_AS(large.save(path), FileError);
        CHECK_THROWS_AS(large.save(folder / "other"), FileError);
    }
    CHECK(files_in(folder.path()) == 1);
    CHECK(SafeTensors::open(path).load<float>("w")[0] == 7);
    large.save(path);
    CHECK(SafeTensors::open(path).load<float>("w")[0] == 8);
}

TEST_CASE("the old file survives a kill, and what the kill left is replaced") {
    TempFolder folder;
    write_file(folder / "a", "old");
    const pid_t child = ::fork();
    if (child == 0) {
        AtomicFile file(folder / "a");
        file.write("half of the ne");
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(read_text(folder / "a") == "old");
    CHECK(std::filesystem::exists(folder / "a.part"));
    write_file(folder / "a", "new");
    CHECK(read_text(folder / "a") == "new");
    CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("only a regular file is replaced") {
    TempFolder folder;
    std::filesystem::create_directory(folder / "directory");
    CHECK_THROWS_AS(write_file(folder / "directory", "x"), FileError);
    CHECK_THROWS_AS(write_file("/dev/full", "x"), FileError);
    CHECK(std::filesystem::is_character_file("/dev/full"));
    CHECK_THROWS_AS(write_file(folder / "absent/a", "x"), FileError);

    write_file(folder / "target", "old");
    std::filesystem::create_symlink("target", folder / "link");
    write_file(folder / "link", "new");
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(read_text(folder / "target") == "new");
}
