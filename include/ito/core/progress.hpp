// SPDX-License-Identifier: MIT
#pragma once

#include <stop_token>
#include <string>

#include "ito/core/error.hpp"
#include "ito/core/shape.hpp"

namespace ito {

/// How far a call has come.
struct Progress {
    Index done = 0;
    Index total = 0;
};

/// The observer that looks at nothing.
struct Unobserved {
    template <class... Seen>
    void operator()(const Seen&...) const {}
};

/// Throws Cancelled "WHAT cancelled after 3 of 20 steps" if a stop was requested.
inline void stop_if_requested(const std::stop_token& stop, const std::string& what, const Progress& progress) {
    if (stop.stop_requested())
        throw Cancelled(what + " cancelled after " + std::to_string(progress.done) + " of " + std::to_string(progress.total) +
                        " steps");
}

}  // namespace ito
