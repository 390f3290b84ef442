# The three shapes a target can have here: a folder's library, a test, a fuzz entry point.

add_library(sluice_flags INTERFACE)
target_include_directories(sluice_flags INTERFACE ${PROJECT_SOURCE_DIR})
# -Wno-missing-field-initializers: it fires on designated initialisers that leave out a member whose
# default is meant. -Wno-restrict: GCC 12 finds impossible overlaps in std::string + (its bug 105651).
target_compile_options(sluice_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -fno-omit-frame-pointer)
target_compile_definitions(sluice_flags INTERFACE
  SLUICE_VERSION="${PROJECT_VERSION}" BOOST_ENABLE_ASSERT_HANDLER $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
if(SLUICE_SANITIZE)
  # -O1: the page codec's property tests take minutes at -O0 under ASan.
  target_compile_options(sluice_flags INTERFACE
    -fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all -O1)
  target_link_options(sluice_flags INTERFACE -fsanitize=${SLUICE_SANITIZE})
  # Recycled coroutine frames would hide use-after-free from ASan.
  target_compile_definitions(sluice_flags INTERFACE BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING)
endif()
if(SLUICE_FUZZ)
  target_compile_options(sluice_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# sluice_library(NAME SOURCES ... LINK ...): the static library of the current folder.
function(sluice_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC sluice_flags ${arg_LINK})
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
  target_link_libraries(${name} PRIVATE sluice_flags ${arg_LINK} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SLUICE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()

# sluice_fuzz(NAME SOURCE LINK ...): one property. Under SLUICE_FUZZ a libFuzzer program; always a
# ctest entry that runs the corpus folder tests/fuzz/corpus/NAME and seeded mutations of it.
function(sluice_fuzz name source)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(SLUICE_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE sluice_flags ${arg_LINK} -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    target_link_libraries(fuzz_${name} PRIVATE sluice_flags ${arg_LINK})
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${corpus})
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
endfunction()
