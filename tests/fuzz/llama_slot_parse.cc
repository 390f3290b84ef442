// Property: any bytes are refused or are a slot file whose front and headers, written again, are
// the same bytes up to the server's checkpoints.
#include <algorithm>

#include "src/model/llama_slot.h"
#include "tests/fuzz/corpus_model.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ModelManifest kModel = corpus_model();
  const ByteSpan file(data, size);
  Result<LlamaSlot> slot = read_llama_slot(file);
  if (slot.has_error()) {
    return 0;
  }
  const LlamaLayout layout = *make_llama_layout(kModel,
                                                {.flash_attention = slot->context.flash_attention,
                                                 .page_tokens = 32,
                                                 .frame = slot->context.frame});
  Result<LlamaState> state = check_llama_slot(*slot, layout);
  if (state.has_error()) {
    return 0;
  }
  Bytes again = llama_slot_front(slot->tokens, slot->packed);
  const size_t front = again.size();
  const ByteSpan blob = slot->rest.first(state->blob_bytes);
  again.insert(again.end(), blob.begin(), blob.end());
  SLUICE_ASSERT(begin_llama_blob(layout, *state, MutByteSpan(again).subspan(front)).has_value());
  SLUICE_ASSERT(again.size() <= size && std::equal(again.begin(), again.end(), data));
  return 0;
}
