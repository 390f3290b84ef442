// Speed of the page codec on one core, memcpy and zstd -1 on the same tensors first.
//
//   codec_bench [--profile=FILE ...] [--kv=FILE ...] [--benchmark_...]
//
// Without --kv: made-up pages of 64 tokens, 30 layers, 3 heads of 64, f16 and bf16, and bf16 pages
// with a profile. With it: files of bench/quality/capture_kv.py (FILE without .bin; its sidecar
// FILE.json says the shape), coded with each profile that has their shape too: pages of one row, of
// two and so on, of `exact` behind the first, and of all.
// bytes_per_second counts source bytes, bits_per_element all bytes of a page.
#include <benchmark/benchmark.h>
#include <zstd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/micro/stage_bench.h"
#include "codec/codec.h"
#include "src/base/checksum.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

struct NamedProfile {
  std::string name;
  Profile profile;
};

struct Input {
  std::string name;
  PageGeometry geometry;
  std::vector<Bytes> pages;  // tensors
  std::vector<NamedProfile> profiles;
};

// How pages are coded.
struct Way {
  std::string name;
  Encoding encoding = Encoding::direct;
  const Profile* profile = nullptr;
  uint32_t lossy_rows = 0;
  bool exact_row = false;
};

Input made_up(DType dtype) {
  Input input{.name = "synthetic_" + std::string(dtype_name(dtype)),
              .geometry = kv_geometry(dtype, 30, 64, 3, 64)};
  for (uint64_t seed = 0; seed < 8; ++seed) {
    input.pages.push_back(sample_tensors(input.geometry, Sample::gaussian, seed));
  }
  return input;
}

Input made_up_with_profile() {
  Input input{.name = "profiled_bf16", .geometry = kv_geometry(DType::bf16, 30, 64, 3, 64)};
  Profile profile = sample_profile(input.geometry, RopePairing::neox, 1);
  add_basis(profile, profile_layout::kGivens, 1);
  profile = parsed(profile, RopePairing::neox);
  for (uint64_t seed = 0; seed < 8; ++seed) {
    input.pages.push_back(tensors_of(profile, input.geometry, 64 * (1 + seed), seed));
  }
  input.profiles.push_back({"givens", std::move(profile)});
  return input;
}

std::string basis_of(const Profile& profile) {
  for (const PlaneModel& plane : profile.layers.front().planes) {
    if (!plane.basis.is_identity()) {
      return plane.basis.pairs.empty() ? "dense" : "givens";
    }
  }
  return "identity";
}

// Adds those of the files that have the input's shape, by the names of their bases.
void add_profiles(Input& input, const std::vector<std::string>& paths, RopePairing pairing) {
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    Bytes bytes(std::istreambuf_iterator<char>(file), {});
    Profile profile = parse_profile(bytes, pairing).value();
    if (check_profile_geometry(profile, input.geometry).has_value()) {
      std::string name = basis_of(profile);
      input.profiles.push_back({std::move(name), std::move(profile)});
    }
  }
}

Input captured(const std::string& path, const std::vector<std::string>& profiles) {
  std::ifstream sidecar(path + ".json");
  nlohmann::json shape = nlohmann::json::parse(sidecar);
  DType dtype = shape.at("dtype") == "bf16" ? DType::bf16 : DType::f16;
  Input input{.name = shape.at("name").get<std::string>() + "_" + std::string(dtype_name(dtype)),
              .geometry = kv_geometry(dtype,
                                      static_cast<uint32_t>(shape.at("layers").size()),
                                      shape.at("page_tokens").get<uint32_t>(),
                                      shape.at("heads").get<uint32_t>(),
                                      shape.at("dim").get<uint32_t>())};
  // Keys that rotate; profiles that know of none do not fit.
  input.geometry.planes[0].rotated_dims = input.geometry.planes[0].dim;
  add_profiles(
      input, profiles, shape.at("rope") == "neox" ? RopePairing::neox : RopePairing::interleaved);
  std::ifstream file(path + ".bin", std::ios::binary);
  Bytes page(input.geometry.bytes());
  while (
      file.read(reinterpret_cast<char*>(page.data()), static_cast<std::streamsize>(page.size()))) {
    input.pages.push_back(page);
  }
  return input;
}

// Calls run(page number) over the pages in turn, and reports rates over source bytes.
template <class Run>
void measure(benchmark::State& state, const Input& input, Run run) {
  size_t page = 0;
  for (auto _ : state) {
    run(page);
    page = (page + 1) % input.pages.size();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(input.geometry.bytes()));
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(input.geometry.elements()));
}

void report_size(benchmark::State& state, const Input& input, size_t bytes) {
  double elements = static_cast<double>(input.geometry.elements() * input.pages.size());
  state.counters["bits_per_element"] = 8.0 * static_cast<double>(bytes) / elements;
}

PageSpec spec_of(const Input& input, const Way& way, size_t page) {
  return {.encoding = way.encoding,
          .first_position = page * input.geometry.n_tokens,
          .geometry = input.geometry,
          .profile = way.profile,
          .lossy_rows = way.lossy_rows,
          .exact_row = way.exact_row};
}

std::vector<Bytes> encode_all(const Input& input, const Way& way) {
  std::vector<Bytes> pages;
  for (const Bytes& tensors : input.pages) {
    pages.push_back(encoded(spec_of(input, way, pages.size()), tensors));
  }
  return pages;
}

size_t total(const std::vector<Bytes>& pages) {
  size_t bytes = 0;
  for (const Bytes& page : pages) {
    bytes += page.size();
  }
  return bytes;
}

void bench_memcpy(benchmark::State& state, const Input& input) {
  Bytes out(input.geometry.bytes());
  measure(state, input, [&](size_t page) {
    std::memcpy(out.data(), input.pages[page].data(), out.size());
    benchmark::ClobberMemory();
  });
}

void bench_xxh3(benchmark::State& state, const Input& input) {
  measure(state, input, [&](size_t page) { benchmark::DoNotOptimize(xxh3_64(input.pages[page])); });
}

void bench_zstd(benchmark::State& state, const Input& input, bool decode) {
  std::vector<Bytes> pages;
  for (const Bytes& tensors : input.pages) {
    pages.emplace_back(ZSTD_compressBound(tensors.size()));
    pages.back().resize(
        ZSTD_compress(pages.back().data(), pages.back().size(), tensors.data(), tensors.size(), 1));
  }
  Bytes out(ZSTD_compressBound(input.geometry.bytes()));
  measure(state, input, [&](size_t page) {
    const Bytes& from = decode ? pages[page] : input.pages[page];
    benchmark::DoNotOptimize(
        decode ? ZSTD_decompress(out.data(), out.size(), from.data(), from.size())
               : ZSTD_compress(out.data(), out.size(), from.data(), from.size(), 1));
  });
  report_size(state, input, total(pages));
}

void bench_encode(benchmark::State& state, const Input& input, const Way& way) {
  Bytes out(encode_bound(input.geometry, kRowsMax).value());
  Workspace workspace;
  measure(state, input, [&](size_t page) {
    PageSpec spec = spec_of(input, way, page);
    benchmark::DoNotOptimize(encode_page(spec, input.pages[page], out, workspace).has_value());
  });
  report_size(state, input, total(encode_all(input, way)));
}

// As a client does: header, checksums, sections.
void bench_decode(benchmark::State& state, const Input& input, const Way& way) {
  std::vector<Bytes> pages = encode_all(input, way);
  Bytes out(input.geometry.bytes());
  Workspace workspace;
  measure(state, input, [&](size_t page) {
    Result<PageHeader> header = parse_page_header(pages[page]);
    if (!header.has_value() ||
        decode_page(*header, pages[page], out, workspace, way.profile).has_error()) {
      state.SkipWithError("a page of ours does not decode");
    }
  });
  report_size(state, input, total(pages));
}

std::vector<Way> ways_of(const Input& input) {
  std::vector<Way> ways{{.name = "raw", .encoding = Encoding::raw}, {.name = "direct"}};
  for (const NamedProfile& named : input.profiles) {
    const auto add_way = [&](const std::string& rows, size_t lossy, bool exact) {
      ways.push_back({.name = named.name + "_" + rows,
                      .encoding = Encoding::progressive,
                      .profile = &named.profile,
                      .lossy_rows = static_cast<uint32_t>(lossy),
                      .exact_row = exact});
    };
    const std::vector<Row>& rows = named.profile.rows;
    for (size_t count = 1; count <= rows.size(); ++count) {
      add_way(std::string(level_name(rows[count - 1].level)), count, false);
    }
    const std::string first(level_name(rows.front().level));
    add_way("exact_on_" + first, 1, true);
    if (rows.size() > 1) {
      add_way("exact_on_" + std::string(level_name(rows.back().level)), rows.size(), true);
    }
  }
  return ways;
}

template <class Bench>
void add(const std::string& name, const Input& input, Bench bench) {
  benchmark::RegisterBenchmark((name + "/" + input.name).c_str(),
                               [&input, bench](benchmark::State& state) { bench(state, input); });
}

void add_all(const Input& input) {
  using State = benchmark::State;
  add("memcpy", input, bench_memcpy);
  add("zstd1_encode", input, [](State& s, const Input& i) { bench_zstd(s, i, false); });
  add("zstd1_decode", input, [](State& s, const Input& i) { bench_zstd(s, i, true); });
  add("xxh3", input, bench_xxh3);
  for (const NamedProfile& named : input.profiles) {
    add_stage_benches(named.name + "_" + input.name,
                      named.profile,
                      input.geometry,
                      input.pages.back(),
                      (input.pages.size() - 1) * input.geometry.n_tokens);
  }
  for (const Way& way : ways_of(input)) {
    add(way.name + "_encode", input, [way](State& s, const Input& i) { bench_encode(s, i, way); });
    add(way.name + "_decode", input, [way](State& s, const Input& i) { bench_decode(s, i, way); });
  }
}

}  // namespace
}  // namespace sluice::codec

int main(int argc, char** argv) {
  using namespace sluice::codec;
  std::vector<Input> inputs;
  std::vector<char*> rest;
  std::vector<std::string> profiles, kv;
  for (int i = 0; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument.starts_with("--profile=")) {
      profiles.emplace_back(argument.substr(10));
    } else if (argument.starts_with("--kv=")) {
      kv.emplace_back(argument.substr(5));
    } else {
      rest.push_back(argv[i]);
    }
  }
  for (const std::string& path : kv) {
    inputs.push_back(captured(path, profiles));
  }
  if (inputs.empty()) {
    inputs.push_back(made_up(sluice::DType::f16));
    inputs.push_back(made_up(sluice::DType::bf16));
    inputs.push_back(made_up_with_profile());
  }
  for (const Input& input : inputs) {
    add_all(input);
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) {
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
