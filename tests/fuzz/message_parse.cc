// A message that parses is encoded to the same bytes. The first byte chooses the kind.
#include <algorithm>
#include <iterator>
#include <type_traits>

#include "transport/messages.h"

namespace sluice::transport {
namespace {

template <class Message>
void check(ByteSpan bytes) {
  auto message = parse<Message>(bytes);
  if (message.has_error()) {
    SLUICE_ASSERT(!message.error().text.empty());
    return;
  }
  auto again = encode(*message);
  if constexpr (std::is_same_v<Message, PageMeta>) {
    if (message->status == Errc::protocol_error) {
      return;  // also stands for every status that this version does not know
    }
  }
  SLUICE_ASSERT(again.has_value() && std::equal(again->begin(), again->end(), bytes.begin()));
  SLUICE_ASSERT(again->size() == bytes.size());
}

constexpr void (*kChecks[])(ByteSpan) = {
    check<HelloRequest>,      check<HelloReply>,        check<OpenRequest>,
    check<OpenReply>,         check<LookupRequest>,     check<LookupReply>,
    check<GetRequest>,        check<PageMeta>,          check<PutRequest>,
    check<PutReply>,          check<DamagedRequest>,    check<DamagedReply>,
    check<DeleteRequest>,     check<DeleteReply>,       check<StatsRequest>,
    check<StatsReply>,        check<GetProfileRequest>, check<GetProfileReply>,
    check<PutProfileRequest>, check<PutProfileReply>};

}  // namespace
}  // namespace sluice::transport

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::transport;
  if (size > 0) {
    kChecks[data[0] % std::size(kChecks)](sluice::ByteSpan(data + 1, size - 1));
  }
  return 0;
}
