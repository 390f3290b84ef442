#include <algorithm>
#include <array>
#include <cstring>

#include "codec/direct.h"

namespace sluice::codec {
namespace {

// Codes of symbols: bit 5 the coded sign, bits 4..0 the cell.
constexpr uint8_t kSignBit = 32;
constexpr uint8_t kCellMask = 31;

// The same tables as in the ROM, by slot. 51 KiB in all; pages mostly use a third of them.
const std::array<DecodeTable, kDirectTables>& decode_tables() {
  static const std::array<DecodeTable, kDirectTables> tables = [] {
    std::array<DecodeTable, kDirectTables> built;
    for (size_t t = 0; t < kDirectTables; ++t) {
      uint32_t below = 0;
      for (uint32_t s = 0; s < kDirectSymbols; ++s) {
        auto code = static_cast<uint8_t>(
            s == kDirectEscape ? kEscapeCode : s / kDirectCells * kSignBit + s % kDirectCells);
        built[t].add(code, kDirectFrequencies[t][s], below);
        below += kDirectFrequencies[t][s];
      }
    }
    return built;
  }();
  return tables;
}

// Decodes one step: sign and cell of 32 tokens of one channel, low bits zero.
// False: the words ran out.
bool decode_step(LaneDecoder& lanes,
                 const DirectModel& model,
                 uint32_t low_bits,
                 uint16_t* values) {
  LaneCodes codes;
  bool escapes = lanes.decode_symbols(decode_tables()[model.table], codes);
  auto first_cell = static_cast<uint32_t>(model.first_cell);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    uint32_t magnitude = ((codes[lane] & kCellMask) + first_cell) << low_bits & 0x7fff;
    uint32_t sign = (codes[lane] / kSignBit) ^ model.flip;
    values[lane] = static_cast<uint16_t>(sign << 15 | magnitude);
  }
  // The lanes with an escape draw sign and cell as they are.
  for (size_t lane = 0; escapes && lane < kLanes; ++lane) {
    if (codes[lane] == kEscapeCode) {
      values[lane] = static_cast<uint16_t>(lanes.decode_bits(lane, 16 - low_bits) << low_bits);
    }
  }
  return !lanes.words_ran_out();
}

// Adds the low bits of one channel. Requires: 3 readable bytes behind them.
template <uint32_t kLowBits>
void add_low_bits(const uint8_t* bits, std::span<uint16_t> channel) {
  for (size_t token = 0; token < channel.size(); token += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      size_t at = lane * kLowBits;
      uint32_t low = load_le<uint32_t>(bits + at / 8) >> at % 8 & ((1u << kLowBits) - 1);
      channel[token + lane] = static_cast<uint16_t>(channel[token + lane] | low);
    }
    bits += kLowBits * kLanes / 8;
  }
}

void add_raw_bits(const DirectShape& shape,
                  ByteSpan tags,
                  const uint8_t* bits,
                  std::span<uint16_t> values) {
  for (size_t c = 0; c < tags.size(); ++c) {
    std::span<uint16_t> channel = values.subspan(c * shape.n_tokens, shape.n_tokens);
    if (tags[c] == kDirectTagConstant) {
      std::fill(channel.begin(), channel.end(), load_le<uint16_t>(bits));
    } else if (tags[c] == kDirectTagRaw) {
      std::memcpy(channel.data(), bits, channel.size_bytes());
    } else if (shape.mantissa_bits == 10) {
      add_low_bits<9>(bits, channel);
    } else {
      add_low_bits<6>(bits, channel);
    }
    bits += shape.raw_bytes(tags[c]);
  }
}

// Decodes every coded channel's signs and cells. False: the words ran out.
bool decode_cells(const DirectShape& shape,
                  ByteSpan references,
                  ByteSpan tags,
                  std::span<uint16_t> values,
                  LaneDecoder& lanes) {
  for (size_t c = 0; c < tags.size(); ++c) {
    if (tags[c] >= kDirectCodedTags) {
      continue;
    }
    auto reference = load_le<uint16_t>(references.data() + 2 * (c / shape.channels));
    DirectModel model = direct_model(tags[c], reference);
    uint16_t* channel = values.data() + c * shape.n_tokens;
    for (size_t token = 0; token < shape.n_tokens; token += kLanes) {
      if (!decode_step(lanes, model, shape.low_bits(), channel + token)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

size_t DirectShape::raw_bytes(uint8_t tag) const {
  if (tag == kDirectTagConstant) {
    return 2;
  }
  return size_t{n_tokens} * (tag == kDirectTagRaw ? 16 : low_bits()) / 8;
}

DirectModel direct_model(uint8_t tag, uint16_t reference) {
  int centre = reference - tag / kDirectShapes;
  uint32_t shape = tag % kDirectShapes;
  return {.table = (shape + 1) / 2 * 2 + static_cast<uint32_t>(centre & 1),
          .flip = shape != 0 && shape % 2 == 0,
          .first_cell = centre - kDirectCellsBelow};
}

Status decode_direct(const DirectShape& shape,
                     ByteSpan section,
                     const SectionPlace& place,
                     std::span<uint16_t> values,
                     Workspace& workspace) {
  if (section.size() < shape.states_at() + kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  ByteSpan references = section.first(shape.references_bytes());
  ByteSpan tags = section.subspan(references.size(), shape.channel_count());
  size_t raw_bytes = 0;
  for (uint8_t tag : tags) {
    if (tag >= kDirectCodedTags && tag < kDirectTagConstant) {
      return damaged_section(place, "a channel has an unknown tag");
    }
    raw_bytes += shape.raw_bytes(tag);
  }
  SLUICE_TRY(LaneDecoder lanes,
             LaneDecoder::open(section, shape.states_at(), raw_bytes, place, workspace.bytes));
  if (!decode_cells(shape, references, tags, values, lanes)) {
    return damaged_section(place, "its words end before its symbols do");
  }
  SLUICE_TRY(ByteSpan raw, lanes.finish(place));
  add_raw_bits(shape, tags, raw.data(), values);
  return {};
}

}  // namespace sluice::codec
