#include "src/model/gguf.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "src/model/file_reader.h"

namespace sluice {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kNameBytesMax = 65535;
constexpr uint32_t kDimsMax = 4;
constexpr uint32_t kGgmlF32 = 0;
constexpr uint64_t kSmallTensorMax = 4096;  // elements of a rope tensor: one a pair
constexpr uint64_t kFirstReadBytes = uint64_t{1} << 20;

enum class ValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// Bytes of a number in the file; 0 for what is none.
uint32_t number_bytes(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32:
      return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64:
      return 8;
    case ValueType::string:
    case ValueType::array:
      return 0;
  }
  return 0;
}

uint64_t load_unsigned(ValueType type, const uint8_t* p) {
  switch (number_bytes(type)) {
    case 1:
      return *p;
    case 2:
      return load_le<uint16_t>(p);
    case 4:
      return load_le<uint32_t>(p);
    default:
      return load_le<uint64_t>(p);
  }
}

int64_t load_signed(ValueType type, const uint8_t* p) {
  unsigned unused_bits = 64 - 8 * number_bytes(type);
  return static_cast<int64_t>(load_unsigned(type, p) << unused_bits) >> unused_bits;
}

double load_float(ValueType type, const uint8_t* p) {
  return type == ValueType::f32 ? double{std::bit_cast<float>(load_le<uint32_t>(p))}
                                : std::bit_cast<double>(load_le<uint64_t>(p));
}

enum class NumberKind { unsigned_integer, signed_integer, floating };

NumberKind number_kind(ValueType type) {
  switch (type) {
    case ValueType::f32:
    case ValueType::f64:
      return NumberKind::floating;
    case ValueType::i8:
    case ValueType::i16:
    case ValueType::i32:
    case ValueType::i64:
      return NumberKind::signed_integer;
    default:
      return NumberKind::unsigned_integer;
  }
}

Result<std::string> read_string(ByteReader& reader, std::string_view field) {
  SLUICE_TRY(uint64_t length, reader.read<uint64_t>(field));
  SLUICE_TRY(ByteSpan raw, reader.read_bytes(length, field));
  return std::string(raw.begin(), raw.end());
}

// Names of keys and tensors; the specification caps keys at this length.
Result<std::string> read_name(ByteReader& reader, std::string_view field) {
  SLUICE_TRY(std::string name, read_string(reader, field));
  if (name.size() > kNameBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "gguf: {} of {} bytes, at most {}", field, name.size(), kNameBytesMax);
  }
  return name;
}

GgufValue scalar(ValueType type, const uint8_t* p) {
  if (type == ValueType::boolean) {
    return *p != 0;
  }
  switch (number_kind(type)) {
    case NumberKind::floating:
      return load_float(type, p);
    case NumberKind::signed_integer:
      return load_signed(type, p);
    case NumberKind::unsigned_integer:
      return load_unsigned(type, p);
  }
  return GgufSkipped{};
}

template <class T>
GgufValue numbers(ValueType type, ByteSpan raw, T (*load)(ValueType, const uint8_t*)) {
  std::vector<T> out;
  out.reserve(raw.size() / number_bytes(type));
  for (size_t at = 0; at < raw.size(); at += number_bytes(type)) {
    out.push_back(load(type, raw.data() + at));
  }
  return out;
}

Result<GgufValue> read_array(ByteReader& reader, std::string_view key) {
  SLUICE_TRY(auto type, reader.read<uint32_t>(key));
  SLUICE_TRY(uint64_t count, reader.read<uint64_t>(key));
  auto element = static_cast<ValueType>(type);
  if (element == ValueType::string) {
    for (uint64_t i = 0; i < count; ++i) {
      SLUICE_TRY(uint64_t length, reader.read<uint64_t>(key));
      SLUICE_CHECK(reader.read_bytes(length, key));
    }
    return GgufValue(GgufSkipped{});
  }
  uint32_t width = number_bytes(element);
  if (width == 0) {
    return SLUICE_ERR(Errc::bad_value, "gguf: key {} is an array of type {}", key, type);
  }
  if (count > kGgufFrontBytesMax) {
    return SLUICE_ERR(Errc::too_large, "gguf: key {} has {} elements", key, count);
  }
  SLUICE_TRY(ByteSpan raw, reader.read_bytes(count * width, key));
  if (count > kGgufArrayMax) {
    return GgufValue(GgufSkipped{});
  }
  switch (number_kind(element)) {
    case NumberKind::floating:
      return numbers(element, raw, load_float);
    case NumberKind::signed_integer:
      return numbers(element, raw, load_signed);
    case NumberKind::unsigned_integer:
      return numbers(element, raw, load_unsigned);
  }
  return GgufValue(GgufSkipped{});
}

Result<GgufValue> read_value(ByteReader& reader, std::string_view key) {
  SLUICE_TRY(auto raw_type, reader.read<uint32_t>(key));
  auto type = static_cast<ValueType>(raw_type);
  if (type == ValueType::array) {
    return read_array(reader, key);
  }
  if (type == ValueType::string) {
    SLUICE_TRY(std::string text, read_string(reader, key));
    return GgufValue(std::move(text));
  }
  uint32_t width = number_bytes(type);
  if (width == 0) {
    return SLUICE_ERR(Errc::bad_value, "gguf: key {} has the unknown type {}", key, raw_type);
  }
  SLUICE_TRY(ByteSpan raw, reader.read_bytes(width, key));
  return scalar(type, raw.data());
}

Result<GgufTensor> read_tensor(ByteReader& reader) {
  GgufTensor tensor;
  SLUICE_TRY(tensor.name, read_name(reader, "tensor name"));
  SLUICE_TRY(uint32_t dims, reader.read<uint32_t>("tensor dimensions"));
  if (dims > kDimsMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "gguf: tensor {} has {} dimensions, at most {}",
                      tensor.name,
                      dims,
                      kDimsMax);
  }
  tensor.dims.resize(dims);
  for (uint64_t& dim : tensor.dims) {
    SLUICE_TRY(dim, reader.read<uint64_t>("tensor dimension"));
  }
  SLUICE_TRY(tensor.ggml_type, reader.read<uint32_t>("tensor type"));
  SLUICE_TRY(tensor.offset, reader.read<uint64_t>("tensor offset"));
  return tensor;
}

Status read_metadata(ByteReader& reader, uint64_t count, Gguf& out) {
  for (uint64_t i = 0; i < count; ++i) {
    SLUICE_TRY(std::string key, read_name(reader, "key"));
    SLUICE_TRY(GgufValue value, read_value(reader, key));
    auto [at, fresh] = out.metadata.emplace(std::move(key), std::move(value));
    if (!fresh) {
      return SLUICE_ERR(Errc::bad_value, "gguf: key {} stands there twice", at->first);
    }
  }
  return {};
}

Status find_data(size_t infos_end, Gguf& out) {
  uint64_t alignment = 32;
  if (out.has("general.alignment")) {
    SLUICE_TRY(alignment, out.integer("general.alignment"));
  }
  if (!std::has_single_bit(alignment) || alignment > kGgufFrontBytesMax) {
    return SLUICE_ERR(Errc::bad_value, "gguf: general.alignment {} is no power of two", alignment);
  }
  out.data_offset = (infos_end + alignment - 1) / alignment * alignment;
  return {};
}

// The value of a key as variant type T. Errors: not_found, bad_value.
template <class T>
Result<T> value_of(const Gguf& gguf, std::string_view key, std::string_view wanted) {
  auto it = gguf.metadata.find(key);
  if (it == gguf.metadata.end()) {
    return SLUICE_ERR(Errc::not_found, "gguf: there is no key {}", key);
  }
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) {
    return SLUICE_ERR(Errc::bad_value, "gguf: key {} is no {}", key, wanted);
  }
  return *value;
}

std::optional<uint64_t> as_unsigned(const GgufValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    return *number;
  }
  const auto* number = std::get_if<int64_t>(&value);
  if (number != nullptr && *number >= 0) {
    return static_cast<uint64_t>(*number);
  }
  return std::nullopt;
}

// Reads the frequency divisors of long contexts, the one thing of the weights that we need.
Status read_rope_tensors(const FileReader& file, Gguf& gguf) {
  for (const GgufTensor& tensor : gguf.tensors) {
    if (!tensor.name.starts_with("rope_")) {
      continue;
    }
    uint64_t count = tensor.dims.size() == 1 ? tensor.dims[0] : 0;
    if (tensor.ggml_type != kGgmlF32 || count == 0 || count > kSmallTensorMax ||
        tensor.offset > file.identity().bytes) {
      return SLUICE_ERR(Errc::bad_value,
                        "gguf: tensor {} is no list of up to {} f32 numbers within the file",
                        tensor.name,
                        kSmallTensorMax);
    }
    Bytes raw(count * sizeof(float));
    SLUICE_CHECK(file.read_at(gguf.data_offset + tensor.offset, raw));
    std::vector<float>& values = gguf.small[tensor.name];
    values.resize(count);
    for (size_t i = 0; i < count; ++i) {
      values[i] = std::bit_cast<float>(load_le<uint32_t>(raw.data() + 4 * i));
    }
  }
  return {};
}

}  // namespace

Result<uint64_t> Gguf::integer(std::string_view key) const {
  auto it = metadata.find(key);
  if (it == metadata.end()) {
    return SLUICE_ERR(Errc::not_found, "gguf: there is no key {}", key);
  }
  if (auto number = as_unsigned(it->second)) {
    return *number;
  }
  return SLUICE_ERR(Errc::bad_value, "gguf: key {} is no integer from 0", key);
}

Result<double> Gguf::number(std::string_view key) const {
  return value_of<double>(*this, key, "floating point number");
}

Result<std::string> Gguf::text(std::string_view key) const {
  return value_of<std::string>(*this, key, "text");
}

Result<std::vector<uint64_t>> Gguf::integers(std::string_view key, size_t count) const {
  auto it = metadata.find(key);
  if (it == metadata.end()) {
    return SLUICE_ERR(Errc::not_found, "gguf: there is no key {}", key);
  }
  if (auto number = as_unsigned(it->second)) {
    return std::vector<uint64_t>(count, *number);
  }
  std::vector<uint64_t> out;
  if (const auto* list = std::get_if<std::vector<uint64_t>>(&it->second)) {
    out = *list;
  } else if (const auto* signed_list = std::get_if<std::vector<int64_t>>(&it->second)) {
    for (int64_t value : *signed_list) {
      if (value >= 0) {
        out.push_back(static_cast<uint64_t>(value));
      }
    }
  }
  if (out.size() != count) {
    return SLUICE_ERR(Errc::bad_value,
                      "gguf: key {} has {} integers from 0, expected {}",
                      key,
                      out.size(),
                      count);
  }
  return out;
}

Result<Gguf> parse_gguf(ByteSpan front) {
  ByteReader reader(front, "gguf");
  Gguf out;
  SLUICE_TRY(uint32_t magic, reader.read<uint32_t>("magic"));
  if (magic != kMagic) {
    return SLUICE_ERR(Errc::bad_magic, "gguf: magic {:#010x}, expected {:#010x}", magic, kMagic);
  }
  SLUICE_TRY(out.version, reader.read<uint32_t>("version"));
  if (out.version != 2 && out.version != 3) {
    return SLUICE_ERR(
        Errc::bad_version, "gguf: version {}, expected 2 or 3 (little-endian)", out.version);
  }
  SLUICE_TRY(uint64_t tensors, reader.read<uint64_t>("tensor count"));
  SLUICE_TRY(uint64_t keys, reader.read<uint64_t>("key count"));
  if (tensors > kGgufTensorsMax || keys > kGgufKeysMax) {
    return SLUICE_ERR(Errc::too_large,
                      "gguf: {} tensors and {} keys, at most {} and {}",
                      tensors,
                      keys,
                      kGgufTensorsMax,
                      kGgufKeysMax);
  }
  SLUICE_CHECK(read_metadata(reader, keys, out));
  for (uint64_t i = 0; i < tensors; ++i) {
    SLUICE_TRY(GgufTensor tensor, read_tensor(reader));
    out.tensors.push_back(std::move(tensor));
  }
  SLUICE_CHECK(find_data(reader.offset(), out));
  return out;
}

Result<Gguf> read_gguf(const std::string& path) {
  SLUICE_TRY(FileReader file, FileReader::open(path));
  uint64_t file_bytes = file.identity().bytes;
  Bytes front;
  // Vocabularies make the front some megabytes long; its length is known only when it is parsed.
  for (uint64_t want = kFirstReadBytes;; want *= 4) {
    uint64_t take = std::min({want, file_bytes, kGgufFrontBytesMax});
    uint64_t have = front.size();
    front.resize(take);
    SLUICE_CHECK(file.read_at(have, MutByteSpan(front).subspan(have)));
    Result<Gguf> gguf = parse_gguf(front);
    if (gguf.has_value()) {
      SLUICE_CHECK(read_rope_tensors(file, *gguf));
      return gguf;
    }
    if (gguf.error().code != Errc::truncated || take == file_bytes) {
      return gguf;
    }
    if (take == kGgufFrontBytesMax) {
      return SLUICE_ERR(
          Errc::too_large, "gguf: {}: metadata goes on behind {} bytes", path, kGgufFrontBytesMax);
    }
  }
}

}  // namespace sluice
