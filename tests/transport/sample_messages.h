// One message of each kind whose every field has a value of its own, for tests.
#pragma once

#include <tuple>

#include "tests/transport/wire_bytes.h"
#include "transport/messages.h"

namespace sluice::transport {

inline EncodingBytes encoding_of(uint8_t first) {
  EncodingBytes id{};
  for (size_t i = 0; i < id.size(); ++i) {
    id[i] = static_cast<uint8_t>(first + i);
  }
  return id;
}

inline auto sample_messages() {
  LookupRequest lookup{.max_kl = 11,
                       .groups = {{.handle = 12, .window_pages = 13, .keys = {key_of(1)}},
                                  {.handle = 14, .window_pages = 0, .keys = {}}}};
  LookupReply lookup_reply{.common_pages = 2,
                           .groups = {{.hit_pages = 3, .first_page = 1, .pages = {{21, 22, 23}}}},
                           .miss_reason = "why"};
  return std::tuple(
      HelloRequest{.version_min = 1,
                   .version_max = 3,
                   .features = 0x1234,
                   .reply_credit_bytes = 1 << 20,
                   .self_test = key_of(9),
                   .software = "engine 1",
                   .token = std::string(40, 't')},
      HelloReply{.version = 1,
                 .features = 0x4321,
                 .request_credit_bytes = 2 << 20,
                 .reply_credit_bytes = 1 << 20,
                 .self_test = key_of(10),
                 .software = "sluiced 1"},
      OpenRequest{.worst_kl = 77, .descriptor = {1, 2, 3}},
      OpenReply{.handle = 5, .space_id = key_of(20)},
      lookup,
      lookup_reply,
      GetRequest{.handle = 31,
                 .max_kl = 32,
                 .first_layer = 33,
                 .layer_count = 34,
                 .pages = {{key_of(3), encoding_of(4), 2, 47}, {key_of(5), {}, 0, 0}}},
      PageMeta{.page_index = 41,
               .encoding_id = encoding_of(42),
               .header_bytes = 43,
               .body_bytes = 44,
               .rows = 45,
               .kl = 46},
      PutRequest{.handle = 51,
                 .ack = Ack::disk,
                 .key = key_of(52),
                 .anchor = key_of(53),
                 .page_bytes = 54},
      PutReply{.outcome = PutOutcome::unchanged},
      DamagedRequest{.handle = 61, .key = key_of(63), .encoding_id = encoding_of(64)},
      DamagedReply{.quarantined = true},
      DeleteRequest{.handle = 71, .keys = {key_of(72), key_of(73)}},
      DeleteReply{.deleted_pages = 74},
      StatsRequest{},
      StatsReply{.stats = {{.name = "hits", .value = 81}, {.name = "", .value = 82}}},
      GetProfileRequest{.digest = key_of(91), .offset = 92},
      GetProfileReply{.profile_bytes = 93, .piece = {1, 2}},
      PutProfileRequest{
          .digest = key_of(94), .profile_bytes = 95, .offset = 85, .piece = {3, 4, 5}},
      PutProfileReply{.next_offset = 96});
}

}  // namespace sluice::transport
