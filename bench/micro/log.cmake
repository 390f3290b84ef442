find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
sluice_program(log_bench log_bench.cc)
target_link_libraries(log_bench PRIVATE sluice_store CLI11::CLI11 nlohmann_json::nlohmann_json)
add_test(NAME log_bench
  COMMAND log_bench --folder ${CMAKE_CURRENT_BINARY_DIR}/log_bench_folder --gib 1 --rounds 1 --no-fio)
set_tests_properties(log_bench PROPERTIES LABELS bench TIMEOUT 300)
