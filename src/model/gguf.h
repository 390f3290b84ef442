// Reads the front of a GGUF file, versions 2 and 3: metadata and tensor infos, never the weights.
// Source: the GGUF specification, ggml docs/gguf.md. Every length is checked before it is used.
// Any thread. Input is untrusted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice {

// A metadata value. Integers of all widths are widened, arrays of bool are integers; arrays of
// strings (vocabularies) and arrays longer than kGgufArrayMax keep nothing but their place in the
// file.
struct GgufSkipped {
  bool operator==(const GgufSkipped&) const = default;
};

using GgufValue = std::variant<uint64_t,
                               int64_t,
                               double,
                               bool,
                               std::string,
                               std::vector<uint64_t>,
                               std::vector<int64_t>,
                               std::vector<double>,
                               GgufSkipped>;

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;  // fastest first
  uint32_t ggml_type = 0;
  uint64_t offset = 0;  // from Gguf::data_offset
};

struct Gguf {
  uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;
  uint64_t data_offset = 0;                                      // from the file's first byte
  std::map<std::string, std::vector<float>, std::less<>> small;  // f32 tensors that were read

  // The value of a key. Errors: not_found (no such key), bad_value (of another type, negative).
  Result<uint64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;
  Result<std::string> text(std::string_view key) const;
  // A number per layer: an array of `count`, or one number for all.
  Result<std::vector<uint64_t>> integers(std::string_view key, size_t count) const;

  bool has(std::string_view key) const { return metadata.find(key) != metadata.end(); }
};

inline constexpr uint64_t kGgufArrayMax = 65536;          // elements of an array that are kept
inline constexpr uint64_t kGgufFrontBytesMax = 1u << 28;  // metadata and tensor infos
inline constexpr uint64_t kGgufKeysMax = 1u << 16;
inline constexpr uint64_t kGgufTensorsMax = 1u << 20;

// Parses the bytes at the front of a GGUF file. Errors: truncated (the front goes on behind the
// bytes), bad_magic, bad_version, too_large, bad_value.
Result<Gguf> parse_gguf(ByteSpan front);

// Reads as much of a file's front as it takes, and its rope_* tensors into Gguf::small.
// Errors: io_error, as parse_gguf.
Result<Gguf> read_gguf(const std::string& path);

}  // namespace sluice
