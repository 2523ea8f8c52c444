// SPDX-License-Identifier: MIT
#include "ito/ito.hpp"

const char* version_seen_by_two();

int main() { return ito::version == version_seen_by_two() ? 0 : 1; }
