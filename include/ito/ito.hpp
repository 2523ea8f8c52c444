// SPDX-License-Identifier: MIT
// Everything. A program that wants to compile quickly includes what it uses.
#pragma once

#include "ito/core/eigen.hpp"
#include "ito/core/error.hpp"
#include "ito/core/pool.hpp"
#include "ito/core/shape.hpp"
#include "ito/core/tensor.hpp"
#include "ito/version.hpp"
