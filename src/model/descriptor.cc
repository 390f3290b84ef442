#include "src/model/descriptor.h"

#include <algorithm>
#include <cmath>

#include "src/base/limits.h"
#include "src/model/descriptor_fields.h"

namespace sluice {
namespace {

constexpr size_t kSaltBytesMax = 1024;
constexpr size_t kQuantisationBytesMax = 256;
constexpr uint32_t kPageTokensMultiple = 32;
constexpr uint32_t kLayerIndexMax = 65535;
constexpr uint32_t kHeadIndexMax = 65535;

Status check_names(const Descriptor& d) {
  if (d.user_salt.size() > kSaltBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "user_salt of {} bytes, at most {}", d.user_salt.size(), kSaltBytesMax);
  }
  if (d.runtime_quantisation.size() > kQuantisationBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "runtime_quantisation of {} bytes, at most {}",
                      d.runtime_quantisation.size(),
                      kQuantisationBytesMax);
  }
  bool printable = std::all_of(d.runtime_quantisation.begin(),
                               d.runtime_quantisation.end(),
                               [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable) {
    return SLUICE_ERR(Errc::bad_value, "runtime_quantisation is not printable ASCII");
  }
  SLUICE_CHECK(dtype_from_wire(static_cast<uint8_t>(d.compute_dtype)));
  if (d.token_hash != TokenHash::sha256_chain) {
    return SLUICE_ERR(Errc::bad_value,
                      "token_hash {}, this program knows 1 (sha256 chain)",
                      static_cast<unsigned>(d.token_hash));
  }
  return {};
}

Status check_attention(const Descriptor& d) {
  auto kind = static_cast<unsigned>(d.attention);
  if (kind < 1 || kind > 3) {
    return SLUICE_ERR(Errc::bad_value, "attention kind {} is none of 1..3", kind);
  }
  if ((d.window != 0) != (d.attention == AttentionKind::window)) {
    return SLUICE_ERR(
        Errc::bad_value, "attention kind {} with a window of {} tokens", kind, d.window);
  }
  return {};
}

Status check_layers(const Descriptor& d) {
  bool ascending = std::adjacent_find(d.layers.begin(), d.layers.end(), std::greater_equal<>()) ==
                   d.layers.end();
  if (d.layers.empty() || !ascending || d.layers.back() > kLayerIndexMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "layers: {} of them, expected ascending indices up to {}",
                      d.layers.size(),
                      kLayerIndexMax);
  }
  return {};
}

Status check_heads(const Descriptor& d) {
  if (d.heads == 0 || d.heads > kHeadIndexMax || d.first_head > kHeadIndexMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "head_range: {} heads from {}, expected 1 to {}",
                      d.heads,
                      d.first_head,
                      kHeadIndexMax);
  }
  for (const Plane& plane : d.planes) {
    bool by_head = plane.role == PlaneRole::k || plane.role == PlaneRole::v;
    if (by_head && plane.heads != d.heads) {
      return SLUICE_ERR(Errc::bad_value,
                        "plane {} has {} heads, the head range {}",
                        role_name(plane.role),
                        plane.heads,
                        d.heads);
    }
  }
  return {};
}

Status check_scales(const Descriptor& d) {
  bool counted = d.kv_scales.empty() || d.kv_scales.size() == d.layers.size() * d.planes.size();
  bool positive = std::all_of(d.kv_scales.begin(), d.kv_scales.end(), [](float scale) {
    return std::isfinite(scale) && scale > 0;
  });
  if (!counted || !positive) {
    return SLUICE_ERR(Errc::bad_value,
                      "kv_scales: {} of them, expected none or {} positive numbers",
                      d.kv_scales.size(),
                      d.layers.size() * d.planes.size());
  }
  return {};
}

Status check_descriptor(const Descriptor& d) {
  SLUICE_CHECK(check_names(d));
  SLUICE_CHECK(check_attention(d));
  SLUICE_CHECK(check_layers(d));
  SLUICE_CHECK(validate(d.rope));
  if (!d.rope.factors_beyond.empty()) {
    return SLUICE_ERR(Errc::bad_value,
                      "rope has two lists of factors: choose by the engine's context length "
                      "(rope_in_use)");
  }
  if (d.page_tokens % kPageTokensMultiple != 0) {
    return SLUICE_ERR(
        Errc::bad_value, "page_tokens {} is no multiple of {}", d.page_tokens, kPageTokensMultiple);
  }
  SLUICE_CHECK(geometry(d).validate());
  SLUICE_CHECK(check_heads(d));
  return check_scales(d);
}

Bytes field_bytes(const DescriptorField& field, const Descriptor& d) {
  ByteWriter writer;
  field.write(d, writer);
  return std::move(writer).take();
}

// The bytes of the next field of canonical bytes.
ByteSpan take_field(ByteSpan& rest) {
  constexpr size_t kIdAndLength = sizeof(uint16_t) + sizeof(uint32_t);
  const size_t bytes = kIdAndLength + load_le<uint32_t>(rest.data() + sizeof(uint16_t));
  ByteSpan field = rest.first(bytes);
  rest = rest.subspan(bytes);
  return field;
}

// Reads field `index`, which the next id and length must announce.
Status read_field(ByteReader& reader, size_t index, Descriptor& d) {
  const DescriptorField& field = descriptor_fields()[index];
  SLUICE_TRY(uint16_t id, reader.read<uint16_t>(field.name));
  if (id != index + 1) {
    bool known = id >= 1 && id <= descriptor_fields().size();
    return SLUICE_ERR(Errc::bad_value,
                      "descriptor: field {} ({}) where field {} ({}) must stand; every field is "
                      "there once, ascending",
                      id,
                      known ? descriptor_fields()[id - 1u].name : "unknown",
                      index + 1,
                      field.name);
  }
  SLUICE_TRY(uint32_t length, reader.read<uint32_t>(field.name));
  SLUICE_TRY(ByteSpan value, reader.read_bytes(length, field.name));
  ByteReader inside(value, field.name);
  SLUICE_CHECK(field.read(inside, d));
  return inside.expect_end();
}

}  // namespace

Result<Bytes> encode_descriptor(const Descriptor& descriptor) {
  SLUICE_CHECK(check_descriptor(descriptor));
  ByteWriter writer;
  uint16_t id = 0;
  for (const DescriptorField& field : descriptor_fields()) {
    Bytes value = field_bytes(field, descriptor);
    writer.write(++id).write(static_cast<uint32_t>(value.size())).write_bytes(value);
  }
  if (writer.bytes().size() > kDescriptorBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "descriptor of {} bytes, at most {}",
                      writer.bytes().size(),
                      kDescriptorBytesMax);
  }
  return std::move(writer).take();
}

Result<Descriptor> parse_descriptor(ByteSpan bytes) {
  if (bytes.size() > kDescriptorBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "descriptor of {} bytes, at most {}", bytes.size(), kDescriptorBytesMax);
  }
  ByteReader reader(bytes, "descriptor");
  Descriptor d;
  for (size_t i = 0; i < descriptor_fields().size(); ++i) {
    SLUICE_CHECK(read_field(reader, i, d));
  }
  SLUICE_CHECK(reader.expect_end());
  SLUICE_CHECK(check_descriptor(d));
  return d;
}

Hash32 space_id(ByteSpan descriptor_bytes) {
  return Sha256().update(as_bytes("sluice space 1")).update(descriptor_bytes).finish();
}

PageGeometry geometry(const Descriptor& descriptor) {
  return {.planes = descriptor.planes,
          .layers = static_cast<uint32_t>(descriptor.layers.size()),
          .n_tokens = descriptor.page_tokens};
}

std::vector<FieldDifference> diff(const Descriptor& here, const Descriptor& there) {
  std::vector<FieldDifference> out;
  for (const DescriptorField& field : descriptor_fields()) {
    if (field_bytes(field, here) != field_bytes(field, there)) {
      out.push_back({field.name, field.text(here), field.text(there)});
    }
  }
  return out;
}

size_t count_differences(ByteSpan here, ByteSpan there) {
  size_t count = 0;
  while (!here.empty()) {
    count += std::ranges::equal(take_field(here), take_field(there)) ? 0 : 1;
  }
  return count;
}

std::string to_string(const std::vector<FieldDifference>& differences) {
  std::string out;
  for (const FieldDifference& d : differences) {
    out +=
        fmt::format("{}{}: {} here, {} there", out.empty() ? "" : "; ", d.field, d.here, d.there);
  }
  return out;
}

std::vector<std::string_view> descriptor_field_names() {
  std::vector<std::string_view> names;
  for (const DescriptorField& field : descriptor_fields()) {
    names.push_back(field.name);
  }
  return names;
}

}  // namespace sluice
