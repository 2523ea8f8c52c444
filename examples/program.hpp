// SPDX-License-Identifier: MIT
// What the example programs share: one line for an error, a progress bar, and stopping on Ctrl-C.
#pragma once

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <string>

#include <CLI/CLI.hpp>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"
#include "ito/simd/precision.hpp"

namespace program {

/// A line on stderr such as "train  [#####.....]  512/1024  50%  37.1 steps/s  00:14 left  loss 0.031", redrawn in place on a
/// terminal and written now and then elsewhere.
class ProgressBar {
  public:
    ProgressBar(std::string title, std::string unit, ito::Index total, ito::Index start = 0)
        : title_(std::move(title)), unit_(std::move(unit)), total_(total), start_(start), begun_(Clock::now()), shown_(begun_) {}

    ~ProgressBar() {
        if (drawn_ && terminal_) std::fputc('\n', stderr);
    }

    void show(ito::Index done, const std::string& note = "") {
        const auto now = Clock::now();
        const double since = std::chrono::duration<double>(now - shown_).count();
        if (since < (terminal_ ? 0.1 : 20) && !(done >= total_ && drawn_)) return;
        shown_ = now;
        drawn_ = true;
        const double elapsed = std::chrono::duration<double>(now - begun_).count();
        const double rate = elapsed > 0 ? static_cast<double>(done - start_) / elapsed : 0;
        const double share = total_ > 0 ? static_cast<double>(done) / static_cast<double>(total_) : 1;
        std::string bar(24, '.');
        for (std::size_t i = 0; i < bar.size() && static_cast<double>(i) < share * 24; ++i) bar[i] = '#';
        std::fprintf(stderr, "%s%s  [%s]  %lld/%lld  %3.0f%%  %.*f %s/s  %s left%s%s%s", terminal_ ? "\r" : "", title_.c_str(),
                     bar.c_str(), static_cast<long long>(done), static_cast<long long>(total_), 100 * share, rate < 10 ? 2 : 1, rate,
                     unit_.c_str(), clock_text(rate > 0 ? static_cast<double>(total_ - done) / rate : 0).c_str(),
                     note.empty() ? "" : "  ", note.c_str(), terminal_ ? "\033[K" : "\n");
        std::fflush(stderr);
    }

    static std::string clock_text(double seconds) {
        const auto s = static_cast<long>(seconds + 0.5);
        char text[32];
        if (s >= 3600) std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
        else std::snprintf(text, sizeof text, "%02ld:%02ld", s / 60, s % 60);
        return text;
    }

  private:
    using Clock = std::chrono::steady_clock;
    std::string title_, unit_;
    ito::Index total_, start_;
    Clock::time_point begun_, shown_;
    bool terminal_ = ::isatty(2), drawn_ = false;
};

/// Set by Ctrl-C or a polite kill; programs look at it between steps and save what they have.
inline volatile std::sig_atomic_t interrupted = 0;

inline void catch_interrupts() {
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
}

/// For an option that names a file to write: of that ending, in a folder that is there, so that a mistake costs no work.
inline CLI::Validator path_to_write(const std::string& ending = ".png") {
    return {[ending](const std::string& path) -> std::string {
                std::string own = std::filesystem::path(path).extension().string();
                for (char& c : own)
                    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
                if (std::filesystem::path(path).filename() == ending) return path + " has no name before its ending";
                if (own != ending) return path + " does not end in " + ending;
                if (std::filesystem::is_directory(path)) return path + " is a folder";
                const auto folder = std::filesystem::absolute(path).parent_path();
                if (!std::filesystem::is_directory(folder)) return path + ": there is no folder " + folder.string();
                return ::access(folder.c_str(), W_OK) == 0 ? "" : path + ": the folder " + folder.string() + " cannot be written";
            },
            ""};
}

/// Throws ArgumentError for a file that path_to_write would refuse.
inline void require_writable(const std::string& path) {
    const std::string refusal = path_to_write(std::filesystem::path(path).extension().string())(path);
    if (!refusal.empty()) throw ito::ArgumentError(refusal);
}

/// For a seed: CLI11's own message for a negative one names the largest number there is.
inline CLI::Validator not_negative() {
    return {[](const std::string& text) { return text.rfind('-', 0) == 0 ? text + " is negative" : std::string(); }, ""};
}

/// Throws ArgumentError, naming the option, unless the value is a number from least to most.
inline void require_between(const char* option, double value, double least, double most) {
    if (value >= least && value <= most) return;
    char text[128];
    std::snprintf(text, sizeof text, "%s must be from %g to %g, got %g", option, least, most, value);
    throw ito::ArgumentError(text);
}

/// Throws ArgumentError for a precision that ito does not have.
inline ito::Precision precision_named(const std::string& name) {
    if (name == "fp32") return ito::Precision::fast;
    if (name == "exact") return ito::Precision::exact;
    if (name == "bf16") return ito::Precision::bf16;
    throw ito::ArgumentError("--precision " + name + ": ito computes in fp32, exact and bf16");
}

/// Runs a program's body after its options are parsed: an error is one line on stderr and status 1, an interruption 130.
/// What was printed but could not be written is such an error too.
template <class Body>
int run(CLI::App& app, int argc, char** argv, Body&& body) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            const int status = app.exit(error);
            std::cout.flush();
            if (std::cout && std::fflush(stdout) == 0) return status;
            std::fprintf(stderr, "%s: what it prints cannot be written\n", app.get_name().c_str());
            return 1;
        }
        std::fprintf(stderr, "%s: %s (see --help)\n", app.get_name().c_str(), error.what());
        return 2;
    }
    try {
        const int status = body();
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw std::runtime_error("what it prints cannot be written");
        return status;
    } catch (const ito::Cancelled& error) {
        std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
        return 130;
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "%s: there is not enough memory\n", app.get_name().c_str());
        return 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
        return 1;
    }
}

}  // namespace program
