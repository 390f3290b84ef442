#include "src/model/llama_slot.h"

#include <limits>

namespace sluice {
namespace {

constexpr uint32_t kMagic = 0x67677371;
constexpr uint32_t kVersion = 4;
constexpr uint32_t kPackedMark = 0xffffffff;  // LLAMA_TOKEN_NULL
constexpr uint32_t kPackedVersion = 1;
constexpr uint32_t kPackedWords = 4;                 // beside the ids
constexpr uint32_t kCheckpointsMagic = 0x504b'4353;  // "SCKP"
constexpr uint32_t kCheckpointsVersion = 1;
constexpr uint32_t kTokenMax = std::numeric_limits<int32_t>::max();

Status read_ids(ByteReader& reader, uint32_t count, std::vector<uint32_t>& out) {
  SLUICE_TRY(ByteSpan ids, reader.read_bytes(uint64_t{count} * sizeof(uint32_t), "tokens"));
  out.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    out[i] = load_le<uint32_t>(ids.data() + uint64_t{i} * sizeof(uint32_t));
    if (out[i] == kPackedMark) {
      return SLUICE_ERR(Errc::unsupported,
                        "slot file: position {} is of an image or audio, which no token id names",
                        i);
    }
    if (out[i] > kTokenMax) {
      return SLUICE_ERR(Errc::bad_value, "slot file: token {} is {:#x}, no token id", i, out[i]);
    }
  }
  return {};
}

// `list` begins with the mark.
Status read_packed(ByteSpan list, std::vector<uint32_t>& out) {
  ByteReader reader(list, "slot file, packed token list");
  SLUICE_CHECK(reader.read<uint32_t>("mark"));
  SLUICE_TRY(uint32_t version, reader.read<uint32_t>("version"));
  if (version != kPackedVersion) {
    return SLUICE_ERR(Errc::bad_version,
                      "slot file: packed token list of version {}, expected {}",
                      version,
                      kPackedVersion);
  }
  SLUICE_TRY(uint32_t count, reader.read<uint32_t>("token count"));
  SLUICE_CHECK(read_ids(reader, count, out));
  SLUICE_TRY(uint32_t media, reader.read<uint32_t>("media count"));
  if (media != 0) {
    return SLUICE_ERR(
        Errc::unsupported,
        "slot file: media count is {}: the KV of images or audio does not follow from token ids",
        media);
  }
  return reader.expect_end();
}

}  // namespace

Result<LlamaSlot> read_llama_slot(ByteSpan file) {
  ByteReader reader(file, "slot file");
  SLUICE_TRY(uint32_t magic, reader.read<uint32_t>("magic"));
  if (magic != kMagic) {
    return SLUICE_ERR(
        Errc::bad_magic, "slot file: magic {:#010x}, expected {:#010x}", magic, kMagic);
  }
  SLUICE_TRY(uint32_t version, reader.read<uint32_t>("version"));
  if (version != kVersion) {
    return SLUICE_ERR(
        Errc::bad_version, "slot file: version {}, only {} is known", version, kVersion);
  }
  LlamaSlot out;
  SLUICE_TRY(uint32_t words, reader.read<uint32_t>("word count"));
  const size_t list_offset = reader.offset();
  SLUICE_TRY(ByteSpan list, reader.read_bytes(uint64_t{words} * sizeof(uint32_t), "token list"));
  out.packed = words != 0 && load_le<uint32_t>(list.data()) == kPackedMark;
  if (out.packed) {
    SLUICE_CHECK(read_packed(list, out.tokens));
  } else {
    ByteReader ids(list, "slot file");
    SLUICE_CHECK(read_ids(ids, words, out.tokens));
  }
  out.rest = file.subspan(list_offset + list.size());
  SLUICE_TRY(out.context, read_llama_file_context(out.rest));
  return out;
}

Result<LlamaState> check_llama_slot(const LlamaSlot& slot, const LlamaLayout& layout) {
  SLUICE_TRY(LlamaState state, check_llama_state_front(slot.rest, layout));
  if (state.n_tokens != slot.tokens.size()) {
    return SLUICE_ERR(Errc::bad_value,
                      "slot file: {} tokens, but its state holds {} positions",
                      slot.tokens.size(),
                      state.n_tokens);
  }
  if (state.blob_bytes == slot.rest.size()) {
    return state;
  }
  ByteReader behind(slot.rest.subspan(state.blob_bytes), "slot file, behind the state");
  SLUICE_TRY(uint32_t magic, behind.read<uint32_t>("magic of checkpoints"));
  SLUICE_TRY(uint32_t version, behind.read<uint32_t>("version of checkpoints"));
  if (magic != kCheckpointsMagic || version != kCheckpointsVersion) {
    return SLUICE_ERR(Errc::bad_value,
                      "slot file: {} bytes behind the state that are no checkpoints of version {}",
                      slot.rest.size() - state.blob_bytes,
                      kCheckpointsVersion);
  }
  return state;
}

Bytes llama_slot_front(std::span<const uint32_t> tokens, bool packed) {
  const auto count = static_cast<uint32_t>(tokens.size());
  ByteWriter out;
  out.write(kMagic).write(kVersion).write(packed ? count + kPackedWords : count);
  if (packed) {
    out.write(kPackedMark).write(kPackedVersion).write(count);
  }
  for (uint32_t token : tokens) {
    out.write(token);
  }
  if (packed) {
    out.write(uint32_t{0});  // media
  }
  return std::move(out).take();
}

}  // namespace sluice
