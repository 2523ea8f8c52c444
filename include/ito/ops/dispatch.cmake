# SPDX-License-Identifier: MIT
# Writes the unit behind ito::simd: the headers of the kernels, once for every instruction set, each in its own namespace.
#   ito_write_simd_unit(FOLDER)    # FOLDER/ito_simd.cpp and FOLDER/ito_simd_kernels.inl
set(ito_dispatch_include ${CMAKE_CURRENT_LIST_DIR}/../..)

# Appends to ito_kernel_headers the headers that depend on the width of a register, in the order of their inclusion, and to
# ito_plain_headers what else they include.
function(ito_sort_headers header)
    if(header IN_LIST ito_kernel_headers)
        return()
    endif()
    file(STRINGS ${ito_dispatch_include}/${header} lines REGEX "^#include")
    foreach(line ${lines})
        if(line MATCHES "/(conv_shape|attention_shape|activation_kind|operands|precision|conv_algorithms|bf16_path)\\.hpp" OR NOT line MATCHES "\"(ito/(simd|ops)/.*)\"")
            list(APPEND ito_plain_headers ${line})
        else()
            ito_sort_headers(${CMAKE_MATCH_1})
        endif()
    endforeach()
    set(ito_kernel_headers ${ito_kernel_headers} ${header} PARENT_SCOPE)
    set(ito_plain_headers ${ito_plain_headers} PARENT_SCOPE)
endfunction()

function(ito_write_simd_unit folder)
    set(ito_kernel_headers "")
    set(ito_plain_headers "")
    ito_sort_headers(ito/ops/conv_kernels.hpp)
    ito_sort_headers(ito/ops/attention_kernels.hpp)
    ito_sort_headers(ito/simd/group_norm.hpp)
    ito_sort_headers(ito/simd/layer_norm.hpp)
    list(REMOVE_DUPLICATES ito_plain_headers)
    list(FILTER ito_plain_headers EXCLUDE REGEX "hwy/")

    set(kernels "#undef ITO_SIMD_INLINE\n#undef ITO_SIMD_HIGHWAY\n#include <hwy/highway.h>\nHWY_BEFORE_NAMESPACE();\n")
    foreach(header ${ito_kernel_headers})
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ito_dispatch_include}/${header})
        file(READ ${ito_dispatch_include}/${header} text)
        string(REGEX REPLACE "#pragma once|#include [^\n]*" "" text "${text}")
        string(REGEX REPLACE "\nnamespace ito::(simd|ops::detail|ops) {"
               "\nnamespace ito::HWY_NAMESPACE::\\1 {\nusing namespace ::ito::\\1;" text "${text}")
        string(APPEND kernels "// ${header}\n${text}")
    endforeach()
    string(APPEND kernels [[
namespace ito::HWY_NAMESPACE {
inline ::ito::ops::detail::DispatchedKernels table() {
    return {hwy::TargetName(HWY_TARGET), simd::lanes, ops::detail::convolve<float>, ops::detail::weight_gradient<float>,
            ops::detail::product<float>, ops::detail::transposed_product<float>, ops::detail::attend<float>,
            ops::detail::attend_gradient<float>, simd::activate<float>, simd::multiply_by_slope<float>,
            simd::gate_rows<float>, simd::gate_gradient_rows<float>, simd::layer_norm_rows<float>,
            simd::layer_norm_gradient_rows<float>, simd::strip_moments<float>, simd::affine_rows<float>, simd::affine_gradient_sums<float>,
            simd::affine_gradient_rows<float>};
}
}  // namespace ito::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
]])
    file(CONFIGURE OUTPUT ${folder}/ito_simd_kernels.inl CONTENT "${kernels}" @ONLY)

    list(JOIN ito_plain_headers "\n" includes)
    file(CONFIGURE OUTPUT ${folder}/ito_simd.cpp @ONLY CONTENT [=[
// Written by ito's dispatch.cmake.
#undef ITO_SIMD_DISPATCH
@includes@
#include <vector>

#include "ito/ops/dispatched_kernels.hpp"

#if defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__VAES__) && !defined(HWY_WANT_AVX3_DL)
#define HWY_WANT_AVX3_DL
#endif
#if defined(__x86_64__)  // what is between these gains little and takes as long to compile
#define HWY_DISABLED_TARGETS (~(HWY_SCALAR | HWY_EMU128 | HWY_AVX2 | HWY_AVX3))
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ito_simd_kernels.inl"
#include <hwy/foreach_target.h>
#include "ito_simd_kernels.inl"

namespace ito::ops::detail {

std::span<const DispatchedKernels> runnable_kernels() {
    static const std::vector<DispatchedKernels> runnable = [] {
        std::vector<DispatchedKernels> found;
        // A table is filled by instructions of its own set.
        [[maybe_unused]] const auto add = [&](bool runs, DispatchedKernels (*table)()) {
            if (runs) found.push_back(table());
        };
#if HWY_TARGETS & HWY_AVX3 && HWY_STATIC_TARGET != HWY_AVX3
        add(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"),
            ito::N_AVX3::table);
#endif
#if HWY_TARGETS & HWY_AVX2 && HWY_STATIC_TARGET != HWY_AVX2
        add(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                __builtin_cpu_supports("bmi2"),
            ito::N_AVX2::table);
#endif
        found.push_back(ito::HWY_NAMESPACE::table());
        return found;
    }();
    return runnable;
}

}  // namespace ito::ops::detail
]=])
endfunction()
