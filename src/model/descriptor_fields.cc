#include "src/model/descriptor_fields.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace sluice {
namespace {

constexpr size_t kHashTextBytes = 8;  // enough to tell two digests apart by eye

std::string short_hex(ByteSpan hash) {
  return to_hex(hash.first(std::min(kHashTextBytes, hash.size())));
}

void write_f64(ByteWriter& writer, double value) {
  writer.write(std::bit_cast<uint64_t>(value));
}

Result<double> read_f64(ByteReader& reader, std::string_view field) {
  SLUICE_TRY(uint64_t bits, reader.read<uint64_t>(field));
  return std::bit_cast<double>(bits);
}

void write_floats(ByteWriter& writer, const std::vector<float>& values) {
  for (float value : values) {
    writer.write(std::bit_cast<uint32_t>(value));
  }
}

Result<std::vector<float>> read_floats(ByteReader& reader, size_t count, std::string_view field) {
  SLUICE_TRY(ByteSpan raw, reader.read_bytes(count * sizeof(float), field));
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = std::bit_cast<float>(load_le<uint32_t>(raw.data() + 4 * i));
  }
  return values;
}

void write_version(const Descriptor&, ByteWriter& writer) {
  writer.write(kDescriptorVersion);
}

Status read_version(ByteReader& reader, Descriptor&) {
  SLUICE_TRY(uint32_t version, reader.read<uint32_t>("format_version"));
  if (version != kDescriptorVersion) {
    return SLUICE_ERR(Errc::bad_version,
                      "descriptor version {}, this program knows {}: update the older side",
                      version,
                      kDescriptorVersion);
  }
  return {};
}

std::string version_text(const Descriptor&) {
  return fmt::format("{}", kDescriptorVersion);
}

void write_model(const Descriptor& d, ByteWriter& writer) {
  writer.write_bytes(d.model_digest);
}

Status read_model(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(d.model_digest, reader.read_array<32>("model_digest"));
  return {};
}

std::string model_text(const Descriptor& d) {
  return short_hex(d.model_digest);
}

void write_lora(const Descriptor& d, ByteWriter& writer) {
  if (d.lora_digest) {
    writer.write_bytes(*d.lora_digest);
  }
}

Status read_lora(ByteReader& reader, Descriptor& d) {
  if (reader.remaining() != 0) {
    SLUICE_TRY(d.lora_digest, reader.read_array<32>("lora_digest"));
  }
  return {};
}

std::string lora_text(const Descriptor& d) {
  return d.lora_digest ? short_hex(*d.lora_digest) : "none";
}

void write_salt(const Descriptor& d, ByteWriter& writer) {
  writer.write_bytes(d.user_salt);
}

Status read_salt(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(ByteSpan salt, reader.read_bytes(reader.remaining(), "user_salt"));
  d.user_salt.assign(salt.begin(), salt.end());
  return {};
}

// A salt is a secret between its user and the daemon: texts show that two differ, not what they
// are.
std::string salt_text(const Descriptor& d) {
  return d.user_salt.empty() ? "none" : "salt with hash " + short_hex(sha256(d.user_salt));
}

void write_kv_dtype(const Descriptor& d, ByteWriter& writer) {
  for (const Plane& plane : d.planes) {
    writer.write(static_cast<uint8_t>(plane.dtype));
  }
}

Status read_kv_dtype(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(ByteSpan dtypes, reader.read_bytes(reader.remaining(), "kv_dtype"));
  d.planes.resize(dtypes.size());
  for (size_t i = 0; i < dtypes.size(); ++i) {
    SLUICE_TRY(d.planes[i].dtype, dtype_from_wire(dtypes[i]));
  }
  return {};
}

std::string kv_dtype_text(const Descriptor& d) {
  std::vector<std::string_view> names;
  for (const Plane& plane : d.planes) {
    names.push_back(dtype_name(plane.dtype));
  }
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return fmt::format("{}", fmt::join(names, " "));
}

void write_compute(const Descriptor& d, ByteWriter& writer) {
  writer.write(static_cast<uint8_t>(d.compute_dtype));
}

Status read_compute(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(uint8_t value, reader.read<uint8_t>("compute_dtype"));
  SLUICE_TRY(d.compute_dtype, dtype_from_wire(value));
  return {};
}

std::string compute_text(const Descriptor& d) {
  return std::string(dtype_name(d.compute_dtype));
}

void write_quantisation(const Descriptor& d, ByteWriter& writer) {
  writer.write_bytes(as_bytes(d.runtime_quantisation));
}

Status read_quantisation(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(ByteSpan name, reader.read_bytes(reader.remaining(), "runtime_quantisation"));
  d.runtime_quantisation.assign(name.begin(), name.end());
  return {};
}

std::string quantisation_text(const Descriptor& d) {
  return d.runtime_quantisation.empty() ? "none" : d.runtime_quantisation;
}

void write_scales(const Descriptor& d, ByteWriter& writer) {
  write_floats(writer, d.kv_scales);
}

Status read_scales(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(d.kv_scales, read_floats(reader, reader.remaining() / sizeof(float), "kv_scales"));
  return {};
}

std::string scales_text(const Descriptor& d) {
  if (d.kv_scales.empty()) {
    return "none";
  }
  ByteWriter writer;
  write_floats(writer, d.kv_scales);
  return fmt::format(
      "{} scales with hash {}", d.kv_scales.size(), short_hex(sha256(writer.bytes())));
}

void write_attention(const Descriptor& d, ByteWriter& writer) {
  writer.write(static_cast<uint8_t>(d.attention)).write(d.window);
}

Status read_attention(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(uint8_t kind, reader.read<uint8_t>("attention"));
  d.attention = static_cast<AttentionKind>(kind);
  SLUICE_TRY(d.window, reader.read<uint32_t>("attention window"));
  return {};
}

std::string attention_text(const Descriptor& d) {
  switch (d.attention) {
    case AttentionKind::full:
      return "full";
    case AttentionKind::window:
      return fmt::format("window of {} tokens", d.window);
    case AttentionKind::recurrent:
      return "recurrent";
  }
  return "unknown";
}

void write_layers(const Descriptor& d, ByteWriter& writer) {
  for (uint32_t layer : d.layers) {
    writer.write(layer);
  }
}

Status read_layers(ByteReader& reader, Descriptor& d) {
  d.layers.resize(reader.remaining() / sizeof(uint32_t));
  for (uint32_t& layer : d.layers) {
    SLUICE_TRY(layer, reader.read<uint32_t>("layers"));
  }
  return {};
}

// "30 layers: 0-29", "3 layers: 5 11 17".
std::string layers_text(const Descriptor& d) {
  if (!d.layers.empty() && d.layers.back() - d.layers.front() + 1 == d.layers.size()) {
    return fmt::format("{} layers: {}-{}", d.layers.size(), d.layers.front(), d.layers.back());
  }
  return fmt::format("{} layers: {}", d.layers.size(), fmt::join(d.layers, " "));
}

void write_heads(const Descriptor& d, ByteWriter& writer) {
  writer.write(d.first_head).write(d.heads);
}

Status read_heads(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(d.first_head, reader.read<uint32_t>("first head"));
  SLUICE_TRY(d.heads, reader.read<uint32_t>("heads"));
  return {};
}

std::string heads_text(const Descriptor& d) {
  return fmt::format("{} from {}", d.heads, d.first_head);
}

void write_planes(const Descriptor& d, ByteWriter& writer) {
  for (const Plane& plane : d.planes) {
    writer.write(static_cast<uint8_t>(plane.role)).write(plane.heads).write(plane.dim);
    writer.write(plane.rotated_dims);
  }
}

// One entry a dtype of kv_dtype, which stands before it.
Status read_planes(ByteReader& reader, Descriptor& d) {
  for (Plane& plane : d.planes) {
    SLUICE_TRY(uint8_t role, reader.read<uint8_t>("plane role"));
    SLUICE_TRY(plane.role, role_from_wire(role));
    SLUICE_TRY(plane.heads, reader.read<uint32_t>("plane heads"));
    SLUICE_TRY(plane.dim, reader.read<uint32_t>("plane dim"));
    SLUICE_TRY(plane.rotated_dims, reader.read<uint32_t>("plane rotated_dims"));
  }
  return {};
}

std::string planes_text(const Descriptor& d) {
  std::vector<std::string> texts;
  for (const Plane& plane : d.planes) {
    texts.push_back(fmt::format(
        "{} {}x{} rotated {}", role_name(plane.role), plane.heads, plane.dim, plane.rotated_dims));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

void write_rope(const Descriptor& d, ByteWriter& writer) {
  writer.write(static_cast<uint8_t>(d.rope.pairing));
  write_f64(writer, d.rope.base);
}

Status read_rope(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(uint8_t pairing, reader.read<uint8_t>("rope pairing"));
  d.rope.pairing = static_cast<RopePairing>(pairing);
  SLUICE_TRY(d.rope.base, read_f64(reader, "rope base"));
  return {};
}

std::string rope_text(const Descriptor& d) {
  return fmt::format("{} base {}", pairing_name(d.rope.pairing), d.rope.base);
}

void write_scaling(const Descriptor& d, ByteWriter& writer) {
  writer.write(static_cast<uint8_t>(d.rope.scaling));
  write_f64(writer, d.rope.factor);
  writer.write(d.rope.original_context);
  write_f64(writer, d.rope.low);
  write_f64(writer, d.rope.high);
  write_f64(writer, d.rope.attention_factor);
  write_floats(writer, d.rope.factors);
}

Status read_scaling(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(uint8_t scaling, reader.read<uint8_t>("rope scaling"));
  d.rope.scaling = static_cast<RopeScaling>(scaling);
  SLUICE_TRY(d.rope.factor, read_f64(reader, "rope factor"));
  SLUICE_TRY(d.rope.original_context, reader.read<uint32_t>("rope original_context"));
  SLUICE_TRY(d.rope.low, read_f64(reader, "rope low"));
  SLUICE_TRY(d.rope.high, read_f64(reader, "rope high"));
  SLUICE_TRY(d.rope.attention_factor, read_f64(reader, "rope attention_factor"));
  size_t count = reader.remaining() / sizeof(float);
  SLUICE_TRY(d.rope.factors, read_floats(reader, count, "rope factors"));
  return {};
}

std::string scaling_text(const Descriptor& d) {
  if (d.rope.scaling == RopeScaling::none) {
    return "none";
  }
  return fmt::format("{} factor {} context {} low {} high {} attention {} factors [{}]",
                     scaling_name(d.rope.scaling),
                     d.rope.factor,
                     d.rope.original_context,
                     d.rope.low,
                     d.rope.high,
                     d.rope.attention_factor,
                     fmt::join(d.rope.factors, " "));
}

void write_page_tokens(const Descriptor& d, ByteWriter& writer) {
  writer.write(d.page_tokens);
}

Status read_page_tokens(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(d.page_tokens, reader.read<uint32_t>("page_tokens"));
  return {};
}

std::string page_tokens_text(const Descriptor& d) {
  return fmt::format("{}", d.page_tokens);
}

void write_token_hash(const Descriptor& d, ByteWriter& writer) {
  writer.write(static_cast<uint8_t>(d.token_hash));
}

Status read_token_hash(ByteReader& reader, Descriptor& d) {
  SLUICE_TRY(uint8_t kind, reader.read<uint8_t>("token_hash"));
  d.token_hash = static_cast<TokenHash>(kind);
  return {};
}

std::string token_hash_text(const Descriptor& d) {
  return d.token_hash == TokenHash::sha256_chain ? "sha256 chain" : "unknown";
}

constexpr auto kFields = std::to_array<DescriptorField>({
    {"format_version", write_version, read_version, version_text},
    {"model_digest", write_model, read_model, model_text},
    {"lora_digest", write_lora, read_lora, lora_text},
    {"user_salt", write_salt, read_salt, salt_text},
    {"kv_dtype", write_kv_dtype, read_kv_dtype, kv_dtype_text},
    {"compute_dtype", write_compute, read_compute, compute_text},
    {"runtime_quantisation", write_quantisation, read_quantisation, quantisation_text},
    {"kv_scales", write_scales, read_scales, scales_text},
    {"attention", write_attention, read_attention, attention_text},
    {"layers", write_layers, read_layers, layers_text},
    {"head_range", write_heads, read_heads, heads_text},
    {"planes", write_planes, read_planes, planes_text},
    {"rope", write_rope, read_rope, rope_text},
    {"rope_scaling", write_scaling, read_scaling, scaling_text},
    {"page_tokens", write_page_tokens, read_page_tokens, page_tokens_text},
    {"token_hash", write_token_hash, read_token_hash, token_hash_text},
});

}  // namespace

std::span<const DescriptorField> descriptor_fields() {
  return kFields;
}

}  // namespace sluice
