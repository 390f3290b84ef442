#include "src/model/llama_slot.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/prng.h"
#include "tests/model/golden_json.h"
#include "tests/model/golden_llama.h"

namespace sluice {
namespace {

constexpr size_t kTokens = 100;  // of the golden files
constexpr size_t kListOffset = 12;
constexpr size_t kPlainState = kListOffset + 4 * kTokens;

Bytes golden_slot(const char* name) {
  return hex_bytes(golden_json("llama_state.json")[name]);
}

LlamaLayout layout_of(const LlamaFileContext& context) {
  return *make_llama_layout(
      golden_model(),
      {.flash_attention = context.flash_attention, .page_tokens = 32, .frame = context.frame});
}

// Reads and checks a whole file.
Result<LlamaState> check(ByteSpan file) {
  SLUICE_TRY(LlamaSlot slot, read_llama_slot(file));
  return check_llama_slot(slot, layout_of(slot.context));
}

Bytes with(Bytes file, size_t at, uint32_t value) {
  store_le(file.data() + at, value);
  return file;
}

void expect_refused(ByteSpan file, Errc code, const char* text) {
  Result<LlamaState> state = check(file);
  ASSERT_TRUE(state.has_error()) << text;
  EXPECT_EQ(state.error().code, code) << state.error().text;
  EXPECT_NE(state.error().text.find(text), std::string::npos) << state.error().text;
}

TEST(LlamaSlot, GoldenFilesAreReadAndWrittenAgain) {
  struct Case {
    const char* name;
    bool packed;
    LlamaFileContext context;
  };

  const Case cases[] = {
      {"slot_plain", false, {{.in_file = true, .sequence = 5, .streams = 1}, true}},
      {"slot_packed", true, {{.in_file = true, .sequence = 1, .streams = 3}, false}},
  };
  for (const Case& expected : cases) {
    SCOPED_TRACE(expected.name);
    const Bytes file = golden_slot(expected.name);
    LlamaSlot slot = *read_llama_slot(file);
    EXPECT_EQ(slot.packed, expected.packed);
    EXPECT_EQ(slot.context.frame, expected.context.frame);
    EXPECT_EQ(slot.context.flash_attention, expected.context.flash_attention);
    ASSERT_EQ(slot.tokens.size(), kTokens);
    EXPECT_EQ(slot.tokens[99], 7u * 99);
    const LlamaLayout layout = layout_of(slot.context);
    LlamaState state = *check_llama_slot(slot, layout);
    EXPECT_EQ(state.blob_bytes, slot.rest.size());
    EXPECT_EQ(llama_blob_bytes(layout, kTokens), slot.rest.size());
    Bytes again = llama_slot_front(slot.tokens, slot.packed);
    const size_t front = again.size();
    again.resize(front + slot.rest.size());
    LlamaState plan = plan_llama_state(layout, kTokens);
    ASSERT_TRUE(begin_llama_blob(layout, plan, MutByteSpan(again).subspan(front)).has_value());
    for (size_t c = 0; c < 2; ++c) {  // the tensors, from the file
      for (size_t i = 0; i < layout.caches[c].layers.size(); ++i) {
        const uint64_t bytes =
            plan.caches[c].cells * layout.token_bytes(layout.caches[c].layers[i], 0);
        for (uint64_t at : {plan.caches[c].k_offset[i], plan.caches[c].v_offset[i]}) {
          std::copy_n(slot.rest.data() + at, bytes, again.data() + front + at);
        }
      }
    }
    EXPECT_EQ(again, file);
  }
}

TEST(LlamaSlot, PagesAreThoseOfTheSameStateInMemory) {
  const Bytes file = golden_slot("slot_packed");
  const auto golden = golden_json("llama_state.json");
  LlamaSlot slot = *read_llama_slot(file);
  const LlamaLayout layout = layout_of(slot.context);
  LlamaState state = *check_llama_slot(slot, layout);
  Bytes page(layout.groups[0].bytes());
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(gather_llama_page(slot.rest, state, layout, 0, i, page).has_value());
    EXPECT_EQ(page, hex_bytes(golden["full_pages"][i])) << i;
  }
}

TEST(LlamaSlot, ErrorsNameTheField) {
  const Bytes plain = golden_slot("slot_plain");
  const Bytes packed = golden_slot("slot_packed");
  constexpr size_t kMedia = kListOffset + 4 * (3 + kTokens);
  expect_refused(with(plain, 0, 1), Errc::bad_magic, "magic 0x00000001");
  expect_refused(with(plain, 4, 3), Errc::bad_version, "version 3");
  expect_refused(with(plain, 8, 1u << 30), Errc::truncated, "token list");
  expect_refused(with(plain, 40, ~0u), Errc::unsupported, "image or audio");
  expect_refused(with(plain, 40, 1u << 31), Errc::bad_value, "no token id");
  expect_refused(with(packed, 16, 2), Errc::bad_version, "packed token list of version 2");
  expect_refused(with(packed, 20, kTokens + 2), Errc::truncated, "tokens");
  expect_refused(with(packed, 20, kTokens - 1), Errc::unsupported, "media count is 693");
  expect_refused(with(packed, kMedia, 1), Errc::unsupported, "media count is 1:");
  expect_refused(with(plain, kPlainState, 0), Errc::bad_value, "n_stream is 0");
  expect_refused(with(plain, kPlainState, 257), Errc::bad_value, "n_stream is 257");
  expect_refused(with(plain, kPlainState + 4, 0), Errc::bad_value, "empty");
  expect_refused(with(plain, kPlainState + 8 + 12 * kTokens, 2), Errc::bad_value, "v_trans is 2");
  expect_refused(with(plain, kPlainState + 8 + 12 + 8, 4), Errc::layout_mismatch, "sequence 5");
}

TEST(LlamaSlot, StreamsBesideTheSlotsMustBeEmpty) {
  const Bytes packed = golden_slot("slot_packed");
  constexpr size_t kState = kListOffset + 4 * (4 + kTokens);
  // Cells of stream 0: then it is the slot's, and what follows does not fit.
  EXPECT_TRUE(check(with(packed, kState + 4, 1)).has_error());
  expect_refused(
      with(packed, packed.size() - 4, 1), Errc::layout_mismatch, "cell count of another stream");
}

TEST(LlamaSlot, AsManyTokensAsPositions) {
  const Bytes file = golden_slot("slot_plain");
  LlamaSlot slot = *read_llama_slot(file);
  slot.tokens.pop_back();
  Result<LlamaState> state = check_llama_slot(slot, layout_of(slot.context));
  ASSERT_TRUE(state.has_error());
  EXPECT_NE(state.error().text.find("99 tokens, but its state holds 100"), std::string::npos);
}

TEST(LlamaSlot, BehindTheStateOnlyCheckpointsMayStand) {
  Bytes file = golden_slot("slot_plain");
  const size_t state_bytes = file.size() - kPlainState;
  const ByteWriter checkpoints = ByteWriter().write(0x504b'4353u).write(1u).write(0u);
  file.insert(file.end(), checkpoints.bytes().begin(), checkpoints.bytes().end());
  EXPECT_EQ(check(file)->blob_bytes, state_bytes);
  expect_refused(with(file, file.size() - 8, 2), Errc::bad_value, "no checkpoints");
  file.resize(kPlainState + state_bytes + 2);
  expect_refused(file, Errc::truncated, "magic of checkpoints");
}

TEST(LlamaSlot, EveryCutIsRefused) {
  for (const char* name : {"slot_plain", "slot_packed"}) {
    const Bytes file = golden_slot(name);
    for (size_t bytes = 0; bytes < file.size(); ++bytes) {
      ASSERT_TRUE(check(ByteSpan(file).first(bytes)).has_error()) << name << " " << bytes;
    }
  }
}

TEST(LlamaSlot, AFrameWithoutAStreamForItsSequenceIsRefused) {
  for (LlamaFrame frame : {LlamaFrame{.sequence = 2, .streams = 2},
                           LlamaFrame{.streams = 0},
                           LlamaFrame{.streams = kLlamaStreamsMax + 1}}) {
    Result<LlamaLayout> layout = make_llama_layout(golden_model(), {.frame = frame});
    ASSERT_TRUE(layout.has_error());
    EXPECT_EQ(layout.error().code, Errc::bad_value);
  }
}

}  // namespace
}  // namespace sluice
