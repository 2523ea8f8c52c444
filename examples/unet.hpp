// SPDX-License-Identifier: MIT
// The network of these programs, which is compiled once for all of them (in generate.cpp).
#pragma once

#include "ito/nn/unet2d.hpp"

extern template class ito::nn::UNet2D<float>;
