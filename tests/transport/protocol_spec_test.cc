// PROTOCOL.md against the code: every table's offsets and sizes are looked up in real bytes, every
// number in its limits is the code's, and its example is decoded and encoded again.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "tests/support/spec_tables.h"
#include "tests/transport/sample_messages.h"

namespace sluice::transport {
namespace {

using Row = testing::Cells;
using testing::trimmed;

// A table's rows by the heading above it; `code` blocks by the line above each.
struct Spec {
  std::map<std::string, std::vector<Row>> tables;
  std::map<std::string, std::string> example;  // "get request" -> hex
};

Spec read_spec() {
  std::ifstream in(SLUICE_SOURCE_DIR "/transport/PROTOCOL.md");
  Spec spec;
  std::string heading;
  std::string part;
  bool code = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      code = !code;
    } else if (code && heading == "Example") {
      bool hex = line.find_first_not_of("0123456789abcdef ") == std::string::npos;
      if (hex) {
        std::erase(line, ' ');
        spec.example[part] += line;
      } else {
        part = line;
      }
    } else if (line.starts_with("#")) {
      heading = trimmed(line.substr(line.find_first_not_of('#')));
    } else if (line.starts_with("|") && !line.starts_with("|--")) {
      spec.tables[heading].push_back(testing::cells_of(line));
    }
  }
  return spec;
}

// Checks that the rows follow each other without a gap and that their fixed part has `bytes` bytes.
// Returns name -> (offset, size) of the fixed fields.
std::map<std::string, std::pair<size_t, size_t>> fields_of(const Spec& spec,
                                                           const std::string& table,
                                                           size_t bytes) {
  std::map<std::string, std::pair<size_t, size_t>> out;
  size_t at = 0;
  auto it = spec.tables.find(table);
  EXPECT_NE(it, spec.tables.end()) << table;
  for (const Row& row : it == spec.tables.end() ? std::vector<Row>() : it->second) {
    if (row.size() != 7 || row[0] == "offset") {
      continue;
    }
    EXPECT_EQ(std::stoul(row[0]), at) << table << ": " << row[3];
    if (row[1].empty()) {
      break;  // what follows has no fixed size
    }
    size_t size = std::stoul(row[1]);
    std::string type = size == 1 || size == 2 || size == 4 || size == 8
                           ? "u" + std::to_string(8 * size)
                           : "u8[" + std::to_string(size) + "]";
    EXPECT_TRUE(row[2] == type || row[2] == "u8[" + std::to_string(size) + "]")
        << table << ": " << row[3] << " has type " << row[2];
    out[row[3]] = {at, size};
    at += size;
  }
  EXPECT_EQ(at, bytes) << table;
  return out;
}

struct Expected {
  const char* name;
  uint64_t value;
};

// Looks the fields of a table up in `bytes`, which begin with its structure. Byte arrays are named
// by the value of their first byte. Fields that are not expected must be reserved and zero.
void check_table(const Spec& spec,
                 const std::string& table,
                 size_t fixed_bytes,
                 ByteSpan bytes,
                 const std::vector<Expected>& expected) {
  auto fields = fields_of(spec, table, fixed_bytes);
  for (const Expected& field : expected) {
    ASSERT_TRUE(fields.contains(field.name)) << table << " has no field " << field.name;
    auto [at, size] = fields[field.name];
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, size > 8 ? 1 : size);
    EXPECT_EQ(value, field.value) << table << ": " << field.name << " at " << at;
    fields.erase(field.name);
  }
  for (const auto& [name, place] : fields) {
    EXPECT_EQ(name, "reserved") << table << " has a field that is not checked";
    for (size_t i = 0; i < place.second; ++i) {
      EXPECT_EQ(bytes[place.first + i], 0) << table << ": " << name;
    }
  }
}

class ProtocolSpec : public ::testing::Test {
 protected:
  template <class Message>
  Bytes sample() const {
    return *encode(std::get<Message>(sample_messages()));
  }

  const Spec spec_ = read_spec();
};

TEST_F(ProtocolSpec, FrameHeaderTableIsTheCode) {
  auto fields = fields_of(spec_, "Frame header", kFrameHeaderBytes);
  auto at = [&](const char* name) { return fields.contains(name) ? fields[name].first : SIZE_MAX; };
  EXPECT_EQ(at("magic"), frame_offset::kMagic);
  EXPECT_EQ(at("version"), frame_offset::kVersion);
  EXPECT_EQ(at("type"), frame_offset::kType);
  EXPECT_EQ(at("flags"), frame_offset::kFlags);
  EXPECT_EQ(at("request_id"), frame_offset::kRequestId);
  EXPECT_EQ(at("trace_id"), frame_offset::kTraceId);
  EXPECT_EQ(at("deadline_ms"), frame_offset::kDeadlineMs);
  EXPECT_EQ(at("status"), frame_offset::kStatus);
  EXPECT_EQ(at("payload_bytes"), frame_offset::kPayloadBytes);
  EXPECT_EQ(at("frame_index"), frame_offset::kFrameIndex);
  EXPECT_EQ(at("payload_xxh3"), frame_offset::kPayloadXxh3);
  EXPECT_EQ(at("header_xxh3"), frame_offset::kHeaderXxh3);
  EXPECT_EQ(fields.size(), 12u);
}

TEST_F(ProtocolSpec, FlagsAndTypesAreTheCode) {
  // The three tables under this heading: fields (7 cells), flags (3), types (4).
  std::map<std::string, unsigned long> flags;
  std::map<std::string, unsigned long> types;
  for (const Row& row : spec_.tables.at("Frame header")) {
    if (row.size() == 3 && row[0] != "bit") {
      flags[row[1]] = 1ul << std::stoul(row[0]);
    } else if (row.size() == 4 && row[0] != "type") {
      types[row[1]] = std::stoul(row[0]);
    }
  }
  EXPECT_EQ(flags,
            (decltype(flags){
                {"reply", kFlagReply}, {"last", kFlagLast}, {"page_bytes", kFlagPageBytes}}));
  EXPECT_EQ(types.size(), 11u);
  for (const auto& [name, number] : types) {
    EXPECT_EQ(message_name(static_cast<MessageType>(number)), name);
  }
}

TEST_F(ProtocolSpec, SessionMessageTablesAreTheCode) {
  check_table(spec_,
              "HELLO request",
              56,
              sample<HelloRequest>(),
              {{"version_min", 1},
               {"version_max", 3},
               {"software_bytes", 8},
               {"token_bytes", 40},
               {"features", 0x1234},
               {"reply_credit_bytes", 1 << 20},
               {"self_test", 9}});
  check_table(spec_,
              "HELLO reply",
              64,
              sample<HelloReply>(),
              {{"version", 1},
               {"software_bytes", 9},
               {"features", 0x4321},
               {"request_credit_bytes", 2 << 20},
               {"reply_credit_bytes", 1 << 20},
               {"self_test", 10}});
  check_table(
      spec_, "OPEN request", 8, sample<OpenRequest>(), {{"worst_kl", 77}, {"descriptor_bytes", 3}});
  check_table(spec_, "OPEN reply", 40, sample<OpenReply>(), {{"handle", 5}, {"space_id", 20}});
  check_table(spec_,
              "DAMAGED request",
              56,
              sample<DamagedRequest>(),
              {{"handle", 61}, {"key", 63}, {"encoding_id", 64}});
  check_table(spec_, "DAMAGED reply", 8, sample<DamagedReply>(), {{"quarantined", 1}});
  check_table(
      spec_, "DELETE request", 8, sample<DeleteRequest>(), {{"handle", 71}, {"key_count", 2}});
  check_table(spec_, "DELETE reply", 8, sample<DeleteReply>(), {{"deleted_pages", 74}});
  check_table(spec_, "STATS reply", 8, sample<StatsReply>(), {{"stat_count", 2}});
  check_table(spec_,
              "Stat",
              10,
              ByteSpan(sample<StatsReply>()).subspan(8),
              {{"value", 81}, {"name_bytes", 4}});
}

TEST_F(ProtocolSpec, PageMessageTablesAreTheCode) {
  Bytes lookup = sample<LookupRequest>();
  check_table(spec_, "LOOKUP request", 8, lookup, {{"max_kl", 11}, {"group_count", 2}});
  check_table(spec_,
              "Lookup group",
              16,
              ByteSpan(lookup).subspan(8),
              {{"handle", 12}, {"window_pages", 13}, {"key_count", 1}});
  Bytes reply = sample<LookupReply>();
  check_table(spec_,
              "LOOKUP reply",
              16,
              reply,
              {{"common_pages", 2}, {"group_count", 1}, {"miss_reason_bytes", 3}});
  check_table(spec_,
              "Lookup group reply",
              16,
              ByteSpan(reply).subspan(16),
              {{"hit_pages", 3}, {"first_page", 1}, {"page_count", 1}});
  check_table(spec_,
              "Lookup page",
              16,
              ByteSpan(reply).subspan(32),
              {{"rows", 21}, {"kl", 22}, {"stored_bytes", 23}});
  Bytes get = sample<GetRequest>();
  check_table(spec_,
              "GET request",
              24,
              get,
              {{"handle", 31},
               {"max_kl", 32},
               {"first_layer", 33},
               {"layer_count", 34},
               {"page_count", 2}});
  check_table(spec_,
              "Get page",
              56,
              ByteSpan(get).subspan(24),
              {{"key", 3}, {"encoding_id", 4}, {"first_row", 2}, {"least_rows", 47}});
  check_table(spec_,
              "Page meta",
              48,
              sample<PageMeta>(),
              {{"page_index", 41},
               {"status", 0},
               {"encoding_id", 42},
               {"header_bytes", 43},
               {"rows", 45},
               {"body_bytes", 44},
               {"kl", 46}});
  check_table(spec_,
              "PUT request",
              80,
              sample<PutRequest>(),
              {{"handle", 51}, {"ack", 1}, {"key", 52}, {"anchor", 53}, {"page_bytes", 54}});
  check_table(spec_, "PUT reply", 8, sample<PutReply>(), {{"outcome", 3}});
}

TEST_F(ProtocolSpec, ProfileMessageTablesAreTheCode) {
  check_table(spec_,
              "GET_PROFILE request",
              40,
              sample<GetProfileRequest>(),
              {{"digest", 91}, {"offset", 92}});
  check_table(spec_,
              "GET_PROFILE reply",
              8,
              sample<GetProfileReply>(),
              {{"profile_bytes", 93}, {"piece_bytes", 2}});
  check_table(spec_,
              "PUT_PROFILE request",
              44,
              sample<PutProfileRequest>(),
              {{"digest", 94}, {"profile_bytes", 95}, {"offset", 85}, {"piece_bytes", 3}});
  check_table(spec_, "PUT_PROFILE reply", 8, sample<PutProfileReply>(), {{"next_offset", 96}});
}

TEST_F(ProtocolSpec, LimitsAreTheCode) {
  std::map<std::string, unsigned long> limits;
  for (const Row& row : spec_.tables.at("Limits")) {
    if (row[0] != "limit") {
      limits[row[0]] = std::stoul(row[1]);
    }
  }
  EXPECT_EQ(limits,
            (decltype(limits){{"payload of a frame", kFramePayloadBytesMax},
                              {"deadline", kDeadlineMsMax},
                              {"page, header and sections", kPageBytesMax},
                              {"page header", kPageHeaderBytesMax},
                              {"descriptor", kDescriptorBytesMax},
                              {"keys or pages of a request", kKeysMax},
                              {"lookup groups", kLookupGroupsMax},
                              {"text of an error or a miss reason", kTextBytesMax},
                              {"HELLO request", kHelloBytesMax},
                              {"profile", kProfileBytesMax},
                              {"piece of a profile", kProfilePieceBytesMax}}));
}

TEST_F(ProtocolSpec, TheExampleDecodesAndEncodes) {
  ASSERT_EQ(spec_.example.size(), 2u);
  FrameHeader header = request_header(MessageType::get, 5);
  std::copy_n(key_of(0xa0).begin(), header.trace_id.size(), header.trace_id.begin());
  GetRequest get{.handle = 7, .pages = {{.key = key_of(0)}}};
  Bytes bytes = frame(header, *encode(get));
  EXPECT_EQ(to_hex(bytes), spec_.example.at("get request"));
  auto example = frames_of(*from_hex(spec_.example.at("get request"))).at(0);
  EXPECT_EQ(*parse<GetRequest>(example.payload), get);

  header.flags = kFlagReply | kFlagLast;
  header.deadline_ms = 0;
  PageMeta meta{.page_index = 0, .status = Errc::not_found};
  EXPECT_EQ(to_hex(frame(header, *encode(meta))), spec_.example.at("reply"));
  auto reply = frames_of(*from_hex(spec_.example.at("reply"))).at(0);
  EXPECT_EQ(*parse<PageMeta>(reply.payload), meta);
}

}  // namespace
}  // namespace sluice::transport
