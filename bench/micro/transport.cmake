find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
sluice_program(transport_bench transport_bench.cc)
target_link_libraries(transport_bench PRIVATE
  sluice_daemon bench_support CLI11::CLI11 nlohmann_json::nlohmann_json)
add_test(NAME transport_bench COMMAND transport_bench --pages 8 --rounds 1)
set_tests_properties(transport_bench PROPERTIES LABELS bench TIMEOUT 300)
