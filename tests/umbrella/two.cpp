// SPDX-License-Identifier: MIT
#include "ito/ito.hpp"

const char* version_seen_by_two() { return ito::version; }
