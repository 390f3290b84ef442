// Property: any bytes are refused or are a state whose headers, written again, are the same bytes,
// and whose pages, gathered and scattered, leave the blob as it was.
#include <algorithm>

#include "src/model/llama_state.h"
#include "tests/fuzz/corpus_model.h"

using namespace sluice;

namespace {

LlamaLayout corpus_layout(bool flash_attention) {
  return *make_llama_layout(corpus_model(),
                            {.flash_attention = flash_attention, .page_tokens = 32});
}

void check(ByteSpan blob, const LlamaLayout& layout) {
  Result<LlamaState> state = check_llama_state(blob, layout);
  if (state.has_error()) {
    return;
  }
  Bytes again(blob.begin(), blob.end());
  SLUICE_ASSERT(begin_llama_blob(layout, *state, again).has_value());
  for (uint32_t group = 0; group < layout.groups.size(); ++group) {
    PageRange pages = llama_pages(*state, layout, group);
    Bytes page(layout.groups[group].bytes());
    for (uint32_t i = pages.first; i < pages.first + pages.count; ++i) {
      SLUICE_ASSERT(gather_llama_page(blob, *state, layout, group, i, page).has_value());
      SLUICE_ASSERT(scatter_llama_page(page, *state, layout, group, i, again).has_value());
    }
  }
  SLUICE_ASSERT(std::equal(again.begin(), again.end(), blob.begin(), blob.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const LlamaLayout kOn = corpus_layout(true);
  static const LlamaLayout kOff = corpus_layout(false);
  check(ByteSpan(data, size), kOn);
  check(ByteSpan(data, size), kOff);
  return 0;
}
