find_package(nlohmann_json REQUIRED)
sluice_program(codec_bench codec_bench.cc stage_bench.cc)
target_link_libraries(codec_bench PRIVATE
  codec_test_support benchmark::benchmark PkgConfig::zstd nlohmann_json::nlohmann_json)
add_test(NAME codec_bench COMMAND codec_bench --benchmark_min_time=0.001)
set_tests_properties(codec_bench PROPERTIES LABELS bench TIMEOUT 300)
