# The three shapes a target can have here: a folder's library, a test, a fuzz entry point.

add_library(sluice_flags INTERFACE)
target_include_directories(sluice_flags INTERFACE ${PROJECT_SOURCE_DIR})
# -Wno-missing-field-initializers: it fires on designated initialisers that leave out a member whose
# default is meant. The other three: GCC 12 finds impossible overlaps and overruns where it inlines
# std::string (its bugs 105651, 105329); ASan and the clang builds keep that watch.
target_compile_options(sluice_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-array-bounds -Wno-stringop-overread>
  -fno-omit-frame-pointer -fPIC)
target_compile_definitions(sluice_flags INTERFACE
  SLUICE_VERSION="${PROJECT_VERSION}" BOOST_ENABLE_ASSERT_HANDLER $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
if(SLUICE_SANITIZE)
  # -g1: what a report's stack needs; CMake's -g takes a fifth longer to compile. A debugger wants
  # CMAKE_CXX_FLAGS_DEBUG=-g3.
  if(CMAKE_CXX_FLAGS_DEBUG STREQUAL "-g")
    set(CMAKE_CXX_FLAGS_DEBUG -g1)
  endif()
  # null and vptr are a third of what UBSan adds to a file's compile time; a null pointer that is
  # used ends in ASan's report all the same.
  target_compile_options(sluice_flags INTERFACE
    -fsanitize=${SLUICE_SANITIZE} -fno-sanitize=null,vptr -fno-sanitize-recover=all)
  target_link_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE})
  if(SLUICE_SANITIZE STREQUAL "thread")
    # Asio's fences, which TSan does not see: no report has come of them.
    target_compile_options(sluice_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  endif()
  # Recycled coroutine frames would hide use-after-free from ASan.
  target_compile_definitions(sluice_flags INTERFACE BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING)
endif()
if(SLUICE_FUZZ)
  target_compile_options(sluice_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# -O0: tests' own code is half of a whole build, and what it tests keeps its own flags.
add_library(sluice_test_flags INTERFACE)
target_compile_definitions(sluice_test_flags INTERFACE SLUICE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_compile_options(sluice_test_flags INTERFACE $<$<CONFIG:Release>:-O0>)

# sluice_precompile(TARGET HEADER...): what nearly every file includes, half of its compile time. The
# fuzz preset builds without, so that a missing #include is found.
function(sluice_precompile name)
  add_library(${name} OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cc)
  target_precompile_headers(${name} PRIVATE <algorithm> <array> <chrono> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <vector> ${PROJECT_SOURCE_DIR}/src/base/result.h ${ARGN})
endfunction()

sluice_precompile(sluice_precompiled)
target_link_libraries(sluice_precompiled PRIVATE sluice_flags Boost::headers fmt::fmt)
if(SLUICE_TESTS)
  sluice_precompile(sluice_test_precompiled <filesystem> <fstream> <thread> <gtest/gtest.h>)
  target_link_libraries(sluice_test_precompiled PRIVATE
    sluice_flags sluice_test_flags Boost::headers fmt::fmt GTest::gtest)
endif()

# sluice_optimise_sanitized(TARGET): -O1 under sanitizers, where -O0 compiles in half the time but
# property tests of this target would take minutes. A header precompiled at -O0 does not fit.
function(sluice_optimise_sanitized name)
  if(SLUICE_SANITIZE)
    target_compile_options(${name} PRIVATE -O1)
    set_target_properties(${name} PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# sluice_program(NAME SOURCE...): an executable that is no test.
function(sluice_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE sluice_flags)
  target_precompile_headers(${name} REUSE_FROM sluice_precompiled)
endfunction()

# sluice_library(NAME SOURCES ... LINK ...): the static library of the current folder.
function(sluice_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC sluice_flags ${arg_LINK})
  target_precompile_headers(${name} REUSE_FROM sluice_precompiled)
endfunction()

# sluice_test(NAME SOURCES ... LINK ... LABELS ...): one GoogleTest program, one ctest entry.
function(sluice_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE sluice_flags sluice_test_flags ${arg_LINK} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM sluice_test_precompiled)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()

# sluice_fuzz(NAME SOURCE LINK ...): one property. Under SLUICE_FUZZ a libFuzzer program; always a
# ctest entry that runs the corpus folder tests/fuzz/corpus/NAME and seeded mutations of it.
function(sluice_fuzz name source)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(SLUICE_FUZZ)
    sluice_program(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK} -fsanitize=fuzzer)
  else()
    sluice_program(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK} fuzz_replay)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${corpus})
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 300)
  endif()
endfunction()
