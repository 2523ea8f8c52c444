// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "ito/core/shape.hpp"

namespace ito {

/// Where the time of a computation goes. Operations report to the profile whose Scope is open in the thread that calls
/// them; where none is, a report costs one look at a pointer.
///   Profile profile;
///   {
///       const Profile::Scope scope(profile);
///       unet(x, times);
///   }
///   for (const Profile::Row& row : profile.rows()) ...
class Profile {
  public:
    /// All calls of one operation on the same shapes.
    struct Row {
        std::string_view operation;  // "conv2d", "conv2d backward"
        Shape input, weight;         // weight: what the input is multiplied with, if anything
        Index calls = 0;
        double seconds = 0;
        double multiply_adds = 0;    // of the direct algorithm, in all calls
    };

    /// In the order in which they were first called.
    const std::vector<Row>& rows() const { return rows_; }

    /// While it lives, operations that this thread calls report to the given profile.
    class Scope {
      public:
        explicit Scope(Profile& profile) : previous_(scoped_) { scoped_ = &profile; }
        ~Scope() { scoped_ = previous_; }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        Profile* previous_;
    };

    /// Reports the time between its beginning and its end. The operation's name must be a literal.
    class Timer {
      public:
        explicit Timer(const char* operation, const Shape& input = {}, const Shape& weight = {}, Index multiply_adds = 0)
            : profile_(scoped_) {
            if (!profile_) return;
            row_ = {operation, input, weight, 1, 0, static_cast<double>(multiply_adds)};
            begun_ = std::chrono::steady_clock::now();
        }
        ~Timer() {
            if (!profile_) return;
            row_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
            profile_->add(row_);
        }
        Timer(const Timer&) = delete;
        Timer& operator=(const Timer&) = delete;

      private:
        Profile* profile_;
        Row row_;
        std::chrono::steady_clock::time_point begun_;
    };

  private:
    void add(const Row& row) {
        const auto same = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) {
            return r.operation == row.operation && r.input == row.input && r.weight == row.weight;
        });
        if (same == rows_.end()) {
            rows_.push_back(row);
            return;
        }
        same->calls += row.calls;
        same->seconds += row.seconds;
        same->multiply_adds += row.multiply_adds;
    }

    static inline thread_local Profile* scoped_ = nullptr;

    std::vector<Row> rows_;
};

}  // namespace ito
