# SPDX-License-Identifier: MIT
# Fails unless ito.hpp includes every header. After adding one: cmake -DWRITE=ON -P tests/umbrella/umbrella.cmake
cmake_minimum_required(VERSION 3.22)
get_filename_component(include ${CMAKE_CURRENT_LIST_DIR}/../../include ABSOLUTE)
file(GLOB_RECURSE headers RELATIVE ${include} ${include}/ito/*.hpp)
list(REMOVE_ITEM headers ito/ito.hpp)
list(SORT headers)
set(expected "// SPDX-License-Identifier: MIT
// Everything. A program that wants to compile quickly includes what it uses.
#pragma once

")
foreach(header ${headers})
    string(APPEND expected "#include \"${header}\"\n")
endforeach()
if(WRITE)
    file(WRITE ${include}/ito/ito.hpp "${expected}")
    return()
endif()
file(READ ${include}/ito/ito.hpp found)
foreach(header ${headers})
    string(FIND "${found}" "#include \"${header}\"\n" position)
    if(position EQUAL -1)
        message(SEND_ERROR "ito.hpp does not include ${header}: cmake -DWRITE=ON -P tests/umbrella/umbrella.cmake")
    endif()
endforeach()
