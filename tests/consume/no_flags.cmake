# SPDX-License-Identifier: MIT
# Using ito brings neither compiler flags nor its own tests and examples.
foreach(property INTERFACE_COMPILE_OPTIONS INTERFACE_LINK_OPTIONS INTERFACE_COMPILE_DEFINITIONS)
    get_target_property(value ito::ito ${property})
    if(value)
        message(FATAL_ERROR "ito::ito carries ${property} ${value}")
    endif()
endforeach()
if(ITO_BUILD_TESTS OR ITO_BUILD_EXAMPLES OR ITO_BUILD_BENCHMARKS)
    message(FATAL_ERROR "ito builds its own programs inside another project")
endif()
