// Speed of the page codec on one core, memcpy and zstd -1 on the same tensors first.
//
//   codec_bench [--profile=FILE] [--kv=FILE ...] [--benchmark_...]
//
// Without --kv: made-up pages of 64 tokens, 30 layers, 3 heads of 64, f16 and bf16, and f16 pages
// with a profile. With it: files of bench/quality/capture_kv.py (FILE without .bin; its sidecar
// FILE.json says the shape); those behind --profile, of its shape, are coded with it too.
// bytes_per_second counts source bytes, bits_per_element all bytes of a page.
#include <benchmark/benchmark.h>
#include <zstd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "codec/codec.h"
#include "src/base/checksum.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

struct Input {
  std::string name;
  PageGeometry geometry;
  std::vector<Bytes> pages;                // tensors
  std::shared_ptr<const Profile> profile;  // for the progressive encoding, or none
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
  Input input{.name = "profiled_f16", .geometry = kv_geometry(DType::f16, 30, 64, 3, 64)};
  Profile profile = parsed(sample_profile(input.geometry, RopePairing::neox, 1), RopePairing::neox);
  for (uint64_t seed = 0; seed < 8; ++seed) {
    input.pages.push_back(tensors_of(profile, input.geometry, 64 * (1 + seed), seed));
  }
  input.profile = std::make_shared<Profile>(std::move(profile));
  return input;
}

Input captured(const std::string& path, std::shared_ptr<const Profile> profile) {
  std::ifstream sidecar(path + ".json");
  nlohmann::json shape = nlohmann::json::parse(sidecar);
  DType dtype = shape.at("dtype") == "bf16" ? DType::bf16 : DType::f16;
  Input input{.name = shape.at("name").get<std::string>() + "_" + std::string(dtype_name(dtype)),
              .geometry = kv_geometry(dtype,
                                      static_cast<uint32_t>(shape.at("layers").size()),
                                      shape.at("page_tokens").get<uint32_t>(),
                                      shape.at("heads").get<uint32_t>(),
                                      shape.at("dim").get<uint32_t>()),
              .profile = std::move(profile)};
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

PageSpec spec_of(const Input& input, Encoding encoding, size_t page) {
  return {.encoding = encoding,
          .first_position = (1 + page) * input.geometry.n_tokens,
          .geometry = input.geometry,
          .profile = input.profile.get()};
}

std::vector<Bytes> encode_all(const Input& input, Encoding encoding) {
  std::vector<Bytes> pages;
  for (const Bytes& tensors : input.pages) {
    pages.push_back(encoded(spec_of(input, encoding, pages.size()), tensors));
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

void bench_encode(benchmark::State& state, const Input& input, Encoding encoding) {
  Bytes out(encode_bound(input.geometry).value());
  Workspace workspace;
  measure(state, input, [&](size_t page) {
    PageSpec spec = spec_of(input, encoding, page);
    benchmark::DoNotOptimize(encode_page(spec, input.pages[page], out, workspace).has_value());
  });
  report_size(state, input, total(encode_all(input, encoding)));
}

// As a client does: header, checksums, sections.
void bench_decode(benchmark::State& state, const Input& input, Encoding encoding) {
  std::vector<Bytes> pages = encode_all(input, encoding);
  Bytes out(input.geometry.bytes());
  Workspace workspace;
  measure(state, input, [&](size_t page) {
    Result<PageHeader> header = parse_page_header(pages[page]);
    if (!header.has_value() ||
        decode_page(*header, pages[page], out, workspace, input.profile.get()).has_error()) {
      state.SkipWithError("a page of ours does not decode");
    }
  });
  report_size(state, input, total(pages));
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
  add("raw_encode", input, [](State& s, const Input& i) { bench_encode(s, i, Encoding::raw); });
  add("raw_decode", input, [](State& s, const Input& i) { bench_decode(s, i, Encoding::raw); });
  add("direct_encode", input, [](State& s, const Input& i) {
    bench_encode(s, i, Encoding::direct);
  });
  add("direct_decode", input, [](State& s, const Input& i) {
    bench_decode(s, i, Encoding::direct);
  });
  if (input.profile != nullptr) {
    add("progressive_encode", input, [](State& s, const Input& i) {
      bench_encode(s, i, Encoding::progressive);
    });
    add("progressive_decode", input, [](State& s, const Input& i) {
      bench_decode(s, i, Encoding::progressive);
    });
  }
}

std::shared_ptr<const Profile> read_profile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Bytes bytes(std::istreambuf_iterator<char>(file), {});
  return std::make_shared<Profile>(parse_profile(bytes, RopePairing::neox).value());
}

}  // namespace
}  // namespace sluice::codec

int main(int argc, char** argv) {
  using namespace sluice::codec;
  std::vector<Input> inputs;
  std::vector<char*> rest;
  std::shared_ptr<const Profile> profile;
  for (int i = 0; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument.starts_with("--profile=")) {
      profile = read_profile(std::string(argument.substr(10)));
    } else if (argument.starts_with("--kv=")) {
      inputs.push_back(captured(std::string(argument.substr(5)), profile));
    } else {
      rest.push_back(argv[i]);
    }
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
