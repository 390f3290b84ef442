// Spaces and pages of several levels, against a real daemon: which rows come, and that they are the
// KV of their level whichever way they came.
#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/limits.h"
#include "src/client/encoded_page.h"
#include "src/client/profile_transfer.h"
#include "src/client/space.h"
#include "tests/cache/cache_calls.h"
#include "tests/codec/sample_profile.h"
#include "tests/support/test_daemon.h"

namespace sluice::client {
namespace {

constexpr uint32_t kTokens = 128;
constexpr uint32_t kLayers = 4;  // in two groups of sections
constexpr uint32_t kQ3 = 21000;
constexpr uint32_t kQ2 = 2100;
constexpr uint32_t kQ1 = 210;

Descriptor descriptor(DType dtype = DType::bf16) {
  Descriptor out;
  out.model_digest[0] = 7;
  out.layers = {0, 2, 4, 6};
  out.heads = 2;
  out.planes = {{.role = PlaneRole::k, .dtype = dtype, .heads = 2, .dim = 64, .rotated_dims = 64},
                {.role = PlaneRole::v, .dtype = dtype, .heads = 2, .dim = 64, .rotated_dims = 0}};
  out.rope = {.pairing = RopePairing::neox, .base = 10000};
  out.page_tokens = kTokens;
  return out;
}

codec::Profile profile_of(const Descriptor& space) {
  codec::Profile profile = codec::sample_profile(geometry(space), RopePairing::neox, 7);
  codec::add_basis(profile, codec::profile_layout::BasisKind::kGivens, 3);
  return profile;
}

// Pages, or layers of them, next to each other.
class Buffer final : public PageTarget {
 public:
  Buffer(size_t page_bytes, size_t pages) : page_bytes_(page_bytes), bytes(page_bytes * pages) {}

  MutByteSpan tensors(uint32_t page) override {
    return MutByteSpan(bytes).subspan(page * page_bytes_, page_bytes_);
  }

  Status done(uint32_t) override { return {}; }

 private:
  size_t page_bytes_;

 public:
  Bytes bytes;
};

class SpaceLevelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    client_ = *Client::open({.address = socket_});
    ASSERT_TRUE(client_->profiles.add(codec::profile_file(profile_)).has_value());
    reader_ = open({.worst_kl = kKlUnknown});
    keys_ = reader_->keys(std::vector<uint32_t>(2 * kTokens, 5));
  }

  std::unique_ptr<Space> open(Quality quality, DType dtype = DType::bf16) {
    auto space = Space::open(*client_, *encode_descriptor(descriptor(dtype)), quality);
    EXPECT_TRUE(space.has_value()) << space.error().to_string();
    return *std::move(space);
  }

  // Two pages that suit the profile.
  void put(Space& space) {
    for (uint32_t page = 0; page < 2; ++page) {
      const Bytes more =
          codec::tensors_of(profile_, space.page_geometry(), page * kTokens, page + 1);
      source_.insert(source_.end(), more.begin(), more.end());
    }
    put(space, source_);
  }

  void put(Space& space, const Bytes& tensors) {
    Transfer moved;
    put_again(space, tensors, moved);
    EXPECT_EQ(moved.pages, 2u);
  }

  void put_again(Space& space, const Bytes& tensors, Transfer& moved) {
    const std::vector<Hash32> keys = space.keys(std::vector<uint32_t>(2 * kTokens, 5));
    const std::vector<Hash32> anchors = {kRootKey, keys[0]};
    auto load = [&](uint32_t page) -> Result<ByteSpan> {
      return ByteSpan(tensors).subspan(page * space.page_bytes(), space.page_bytes());
    };
    Status done = space.put({.keys = keys}, anchors, load, transport::Ack::ram, moved);
    ASSERT_TRUE(done.has_value()) << done.error().to_string();
  }

  // The daemon has the profile no more.
  void evict_profile() {
    codec::Profile another = profile_of(descriptor());
    another.note = "takes the room";
    const Bytes file = codec::profile_file(another);
    ASSERT_TRUE(put_profile(*client_, sha256(file), file).has_value());
    EXPECT_EQ(daemon_.cache().stats().profiles.profiles, 1u);
  }

  void put_all_levels() { put(*open({.put_kl = kQ1, .exact_row = true})); }

  Bytes get(const Wanted& wanted, uint64_t* stored_bytes = nullptr) {
    const uint32_t layers = wanted.layers == 0 ? kLayers : wanted.layers;
    Buffer out(reader_->page_bytes() / kLayers * layers, 2);
    Transfer moved;
    Result<size_t> whole = reader_->get({.keys = keys_}, wanted, out, moved);
    EXPECT_TRUE(whole.has_value()) << whole.error().to_string();
    EXPECT_EQ(*whole, 2u) << client_->miss_reason;
    if (stored_bytes != nullptr) {
      *stored_bytes = moved.stored_bytes;
    }
    return std::move(out.bytes);
  }

  // What the codec makes of the first rows of page 0, which has all of them.
  Bytes decoded_rows(uint32_t rows) {
    const EncodedPage all = *reader_->get_encoded(keys_[0], kKlUnknown, codec::kRowsMax);
    EXPECT_EQ(all.rows, 4u);
    const codec::PageHeader header = *codec::parse_page_header(all.bytes);
    const auto last = *codec::select_sections(header, rows - 1, 0, kLayers);
    const codec::Profile parsed = codec::parsed(profile_, RopePairing::neox);
    Bytes tensors(reader_->page_bytes());
    codec::Workspace workspace;
    Status done = codec::decode_page(
        header, ByteSpan(all.bytes).first(last.offset + last.bytes), tensors, workspace, &parsed);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    return tensors;
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  codec::Profile profile_ = profile_of(descriptor());
  // With room for one profile.
  testing::TestDaemon daemon_{socket_, 64ull << 20, codec::profile_file(profile_).size() * 3 / 2};
  std::unique_ptr<Client> client_;
  std::unique_ptr<Space> reader_;
  std::vector<Hash32> keys_;
  Bytes source_;
};

TEST_F(SpaceLevelsTest, EachReaderGetsItsLevelAndNoByteMore) {
  put_all_levels();
  uint64_t before = 0;
  uint32_t rows = 1;
  for (uint32_t max_kl : {kQ3, kQ2, kQ1, 0u}) {
    uint64_t bytes = 0;
    const Bytes tensors = get({.max_kl = max_kl}, &bytes);
    const Bytes first = decoded_rows(rows++);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), tensors.begin())) << max_kl;
    EXPECT_EQ(tensors == source_, max_kl == 0);
    EXPECT_GT(bytes, before);
    EXPECT_EQ(bytes, reader_->fit(keys_, max_kl, bytes)->stored_bytes);
    before = bytes;
  }
}

TEST_F(SpaceLevelsTest, AReaderBetweenTwoLevelsGetsTheBetterOne) {
  put_all_levels();
  EXPECT_EQ(get({.max_kl = kQ2 - 1}), get({.max_kl = kQ1}));
  EXPECT_EQ(get({.max_kl = kQ1 - 1}), source_);
}

TEST_F(SpaceLevelsTest, WithoutTheExactRowAnExactReaderMisses) {
  std::unique_ptr<Space> writer = open({.put_kl = kQ2});
  EXPECT_EQ(writer->encoded_kl(), kQ2);
  put(*writer);
  EXPECT_EQ(*reader_->lookup(keys_, kQ2 - 1), 0u);
  EXPECT_EQ(*reader_->lookup(keys_, kQ2), 2u);
  EXPECT_EQ(open({.put_kl = kQ2, .exact_row = true})->encoded_kl(), 0u);
}

TEST_F(SpaceLevelsTest, ALaterPutAddsWhatIsMissing) {
  put(*open({.put_kl = kQ3}));
  EXPECT_EQ(*reader_->lookup(keys_, 0), 0u);
  put(*open({.put_kl = kQ3, .exact_row = true}), source_);
  EXPECT_EQ(get({}), source_);
}

TEST_F(SpaceLevelsTest, KvWithoutAnExactRowIsStoredWithoutLossAlone) {
  std::unique_ptr<Space> writer = open({.put_kl = kQ3, .exact_row = true}, DType::f32);
  Bytes tensors(2 * writer->page_bytes());
  for (size_t i = 0; i + 3 < tensors.size(); i += 4) {
    store_le<uint32_t>(tensors.data() + i, 0x3f800001);  // no f16 or bf16
  }
  put(*writer, tensors);
  const Hash32 key = writer->keys(std::vector<uint32_t>(kTokens, 5)).front();
  const EncodedPage page = *writer->get_encoded(key, kKlUnknown, codec::kRowsMax);
  EXPECT_EQ(codec::parse_page_header(page.bytes)->encoding, codec::Encoding::direct);
}

TEST_F(SpaceLevelsTest, LayersComeAloneAndAreTheSame) {
  put_all_levels();
  const size_t layer_bytes = reader_->page_bytes() / kLayers;
  for (uint32_t max_kl : {kQ3, 0u}) {
    uint64_t all_bytes = 0;
    const Bytes all = get({.max_kl = max_kl}, &all_bytes);
    for (const auto& [first, count] : {std::pair{0u, 2u}, {1u, 2u}, {3u, 1u}}) {
      uint64_t bytes = 0;
      const Bytes some = get({.max_kl = max_kl, .first_layer = first, .layers = count}, &bytes);
      for (size_t page = 0; page < 2; ++page) {
        const auto there = all.begin() + static_cast<ptrdiff_t>(page * reader_->page_bytes() +
                                                                first * layer_bytes);
        const auto here = some.begin() + static_cast<ptrdiff_t>(page * count * layer_bytes);
        EXPECT_TRUE(std::equal(here, here + static_cast<ptrdiff_t>(count * layer_bytes), there))
            << "layers from " << first;
      }
      EXPECT_EQ(bytes < all_bytes, first != 1) << "1 to 3 are of both groups";
    }
  }
}

TEST_F(SpaceLevelsTest, AProfileThatAClientWasNotGivenComesFromTheDaemon) {
  put_all_levels();
  std::unique_ptr<Client> other = *Client::open({.address = socket_});
  for (const uint32_t max_kl : {kQ3, kQ1, 0u}) {
    std::unique_ptr<Space> space =
        *Space::open(*other, *encode_descriptor(descriptor()), {.worst_kl = kQ3});
    Buffer out(space->page_bytes(), 2);
    Transfer moved;
    EXPECT_EQ(*space->get({.keys = keys_}, {.max_kl = max_kl}, out, moved), 2u);
    EXPECT_EQ(out.bytes, get({.max_kl = max_kl}));
  }
  std::unique_ptr<Space> space = *Space::open(*other, *encode_descriptor(descriptor()), {});
  Bytes tensors(space->page_bytes());
  const EncodedPage page = *space->get_encoded(keys_[0], 0);
  ASSERT_TRUE(space->decode_encoded(keys_[0], 0, page, tensors).has_value());
  EXPECT_TRUE(std::equal(tensors.begin(), tensors.end(), source_.begin()));
  Transfer moved;
  put_again(*space, source_, moved);
  EXPECT_EQ(moved.pages_kept, 2u);
}

TEST_F(SpaceLevelsTest, TheDaemonOfANewConnectionGetsTheProfileToo) {
  std::unique_ptr<Space> space = open({.put_kl = kQ1, .exact_row = true});
  put(*space);
  daemon_.stop();
  testing::TestDaemon second(socket_);
  second.start();
  put(*space, source_);
  EXPECT_EQ(second.cache().stats().profiles.profiles, 1u);
  std::unique_ptr<Client> other = *Client::open({.address = socket_});
  std::unique_ptr<Space> reader = *Space::open(*other, *encode_descriptor(descriptor()), {});
  Buffer out(reader->page_bytes(), 2);
  Transfer moved;
  EXPECT_EQ(*reader->get({.keys = keys_}, {}, out, moved), 2u);
  EXPECT_EQ(out.bytes, source_);
}

// Sends what is not the profile that was asked for, and wants another offset than comes.
class LyingService final : public transport::SessionHandler {
 public:
  explicit LyingService(daemon::Service& honest, uint32_t next_offset = 0)
      : honest_(honest), next_offset_(next_offset) {}

  size_t piece_bytes = 9;

  void on_open(transport::Session& session, const transport::Peer& peer) override {
    honest_.on_open(session, peer);
  }

  void on_event(transport::Session& session, transport::Event event) override {
    const auto* asked = std::get_if<transport::RequestEvent>(&event);
    if (asked != nullptr && std::holds_alternative<transport::GetProfileRequest>(asked->body)) {
      session.reply(asked->info.id,
                    transport::GetProfileReply{.profile_bytes = 9, .piece = Bytes(piece_bytes, 7)});
    } else if (asked != nullptr &&
               std::holds_alternative<transport::PutProfileRequest>(asked->body)) {
      session.reply(asked->info.id, transport::PutProfileReply{.next_offset = next_offset_});
    } else {
      honest_.on_event(session, std::move(event));
    }
  }

  void on_close(transport::Session& session, const Error* error) override {
    honest_.on_close(session, error);
  }

 private:
  daemon::Service& honest_;
  const uint32_t next_offset_;
};

TEST_F(SpaceLevelsTest, ADaemonThatNeverHasEnoughOfAProfileIsLeft) {
  const Bytes file = codec::profile_file(profile_);
  for (const auto& [next_offset, code] :
       {std::pair{0u, Errc::overloaded},
        {1u, Errc::overloaded},
        {static_cast<uint32_t>(file.size()) + 1, Errc::protocol_error}}) {
    daemon_.stop();
    LyingService liar(daemon_.service(), next_offset);
    daemon_.start(&liar);
    EXPECT_EQ(put_profile(*client_, sha256(file), file).error().code, code);
    daemon_.stop();
  }
}

TEST_F(SpaceLevelsTest, AProfileThatComesDamagedIsNotUsed) {
  put_all_levels();
  daemon_.stop();
  LyingService liar(daemon_.service());
  daemon_.start(&liar);
  std::unique_ptr<Client> other = *Client::open({.address = socket_});
  std::unique_ptr<Space> space = *Space::open(*other, *encode_descriptor(descriptor()), {});
  Buffer out(space->page_bytes(), 2);
  Transfer moved;
  EXPECT_EQ(*space->get({.keys = keys_}, {}, out, moved), 0u);
  EXPECT_NE(other->miss_reason.find("profile"), std::string::npos) << other->miss_reason;
  EXPECT_EQ(moved.pages, 0u);
  liar.piece_bytes = 1;
  EXPECT_EQ(get_profile(*other, sha256({})).error().code, Errc::protocol_error);
  EXPECT_EQ(daemon_.cache().stats().damage_reports, 0u) << "the pages are whole";
  daemon_.stop();
}

TEST_F(SpaceLevelsTest, APutBringsAProfileThatTheDaemonLostAndReadersHaveItAgain) {
  std::unique_ptr<Space> writer = open({.put_kl = kQ1, .exact_row = true});
  put(*writer);
  evict_profile();
  std::unique_ptr<Client> other = *Client::open({.address = socket_});
  std::unique_ptr<Space> reader = *Space::open(*other, *encode_descriptor(descriptor()), {});
  Buffer out(reader->page_bytes(), 2);
  Transfer moved;
  EXPECT_EQ(*reader->get({.keys = keys_}, {}, out, moved), 0u);
  EXPECT_EQ(*reader->lookup(keys_, 0), 0u);
  const std::vector<Hash32> keys = writer->keys(std::vector<uint32_t>(kTokens, 9));
  const std::vector<Hash32> anchors(1, kRootKey);
  const auto load = [&](uint32_t) -> Result<ByteSpan> {
    return ByteSpan(source_).first(writer->page_bytes());
  };
  const auto put_other = [&] {
    return writer->put({.keys = keys}, anchors, load, transport::Ack::ram, moved);
  };
  ASSERT_TRUE(put_other().has_value());
  EXPECT_EQ(*reader->lookup(keys_, 0), 2u) << other->miss_reason;
  EXPECT_EQ(*reader->get({.keys = keys_}, {}, out, moved), 2u) << other->miss_reason;
  EXPECT_EQ(out.bytes, source_);
  evict_profile();
  put_again(*open({.put_kl = kQ1, .exact_row = true}), source_, moved);  // all are there
  EXPECT_NE(daemon_.cache().profiles().find(sha256(codec::profile_file(profile_))), nullptr);
}

TEST_F(SpaceLevelsTest, AReaderHasWhatSomebodyElsePutInPlaceOfAPageThatItCouldNotRead) {
  put_all_levels();
  evict_profile();
  std::unique_ptr<Client> clients[] = {*Client::open({.address = socket_}),
                                       *Client::open({.address = socket_})};
  std::unique_ptr<Space> spaces[] = {*Space::open(*clients[0], *encode_descriptor(descriptor())),
                                     *Space::open(*clients[1], *encode_descriptor(descriptor()))};
  Buffer out(reader_->page_bytes(), 2);
  Transfer moved;
  for (const auto& space : spaces) {
    EXPECT_EQ(*space->get({.keys = keys_}, {}, out, moved), 0u);
  }
  put(*spaces[0], source_);
  EXPECT_EQ(*spaces[1]->lookup(keys_, 0), 0u) << "for a while";
  EXPECT_EQ(*spaces[1]->get({.keys = keys_}, {}, out, moved), 2u);
  EXPECT_EQ(*spaces[1]->lookup(keys_, 0), 2u) << "since it was there";
}

TEST_F(SpaceLevelsTest, WhereTheDaemonCannotKeepTheProfilePagesAreStoredWithoutLoss) {
  daemon_.stop();
  testing::TestDaemon small(socket_, 64ull << 20, 100);
  small.start();
  put_all_levels();
  EXPECT_EQ(*reader_->lookup(keys_, 0), 2u);
  EXPECT_EQ(get({}), source_);
  const EncodedPage page = *reader_->get_encoded(keys_[0], kKlUnknown);
  EXPECT_EQ(codec::parse_page_header(page.bytes)->encoding, codec::Encoding::direct);
  Transfer moved;
  put_again(*open({.put_kl = kQ1, .exact_row = true}), source_, moved);
  EXPECT_EQ(moved.pages_kept, 2u) << "sent, since what is there might be unreadable";
  small.stop();
}

TEST_F(SpaceLevelsTest, ABegunProfileOfOtherBytesIsBegunAnew) {
  const Bytes file = codec::profile_file(profile_);
  transport::PutProfileRequest begun{.digest = sha256(file),
                                     .profile_bytes = static_cast<uint32_t>(file.size()),
                                     .piece = Bytes(1000, 7)};
  const auto requester = *client_->requester();
  ASSERT_TRUE(requester->put_profile(begun, client_->call_options()).has_value());
  ASSERT_TRUE(put_profile(*client_, begun.digest, file).has_value());
  EXPECT_EQ(*get_profile(*client_, begun.digest), file);
}

// Otherwise it would miss them for as long as they stay, and its own puts would be in vain.
TEST_F(SpaceLevelsTest, PagesOfAProfileThatIsLostArePutAgainForEverybody) {
  put_all_levels();
  evict_profile();
  for (const bool has_another : {false, true}) {
    std::unique_ptr<Client> other = *Client::open({.address = socket_});
    if (has_another) {
      codec::Profile another = profile_of(descriptor());
      another.note = "another";
      ASSERT_TRUE(other->profiles.add(codec::profile_file(another)).has_value());
    }
    std::unique_ptr<Space> space =
        *Space::open(*other, *encode_descriptor(descriptor()), {.put_kl = kQ1, .exact_row = true});
    Buffer out(space->page_bytes(), 2);
    Transfer moved;
    if (!has_another) {
      EXPECT_EQ(*space->get({.keys = keys_}, {}, out, moved), 0u);
      EXPECT_NE(other->miss_reason.find("profile"), std::string::npos) << other->miss_reason;
      EXPECT_EQ(*space->lookup(keys_, 0), 0u);
      EXPECT_NE(other->miss_reason.find("profile"), std::string::npos) << other->miss_reason;
      put(*space, source_);
    }
    EXPECT_EQ(*space->get({.keys = keys_}, {}, out, moved), 2u) << other->miss_reason;
    EXPECT_EQ(out.bytes, source_);
  }
  EXPECT_EQ(get({.max_kl = kQ3}), source_);
  Transfer moved;
  put_again(*open({.put_kl = kQ1, .exact_row = true}), source_, moved);
  EXPECT_EQ(moved.pages_kept, 2u);
}

// What is computed on a page is stored as no better than worst_kl.
TEST_F(SpaceLevelsTest, PagesWorseThanTheSpaceMayLoadAreRefused) {
  put_all_levels();
  std::unique_ptr<Space> space = open({.worst_kl = kQ2});
  Buffer out(space->page_bytes(), 2);
  Transfer moved;
  EXPECT_EQ(space->get({.keys = keys_}, {.max_kl = kQ2 + 1}, out, moved).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(*space->get({.keys = keys_}, {.max_kl = kQ2}, out, moved), 2u);
  const EncodedPage q3 = *space->get_encoded(keys_[0], kQ3);
  EXPECT_EQ(space->decode_encoded(keys_[0], 0, q3, out.bytes).error().code, Errc::invalid_argument);
  const Fit fit = *space->fit(keys_, kKlUnknown, 1u << 30);
  EXPECT_EQ(fit.pages, 2u);
  EXPECT_LE(fit.max_kl, kQ2);
  EXPECT_EQ(daemon_.cache().stats().damage_reports, 0u);
}

TEST_F(SpaceLevelsTest, LayersThatPagesDoNotHaveAreRefused) {
  Buffer out(1, 1);
  Transfer moved;
  for (const Wanted& wanted : {Wanted{.first_layer = 3, .layers = 2}, Wanted{.first_layer = 1}}) {
    EXPECT_EQ(reader_->get({.keys = keys_}, wanted, out, moved).error().code,
              Errc::invalid_argument);
  }
}

TEST_F(SpaceLevelsTest, ARefinedPageIsTheOneThatComesAtOnce) {
  put_all_levels();
  EncodedPage page = *reader_->get_encoded(keys_[0], kQ3);
  EXPECT_EQ(*encoded_kl(page), kQ3);
  Bytes tensors(reader_->page_bytes());
  uint32_t rows = 1;
  for (uint32_t max_kl : {kQ3, kQ2, 0u}) {
    ASSERT_TRUE(reader_->refine(keys_[0], max_kl, page).has_value());
    rows = max_kl == kQ3 ? 1 : max_kl == kQ2 ? 2 : 4;
    EXPECT_EQ(page.rows, rows);
    EXPECT_EQ(*encoded_kl(page), max_kl);
    ASSERT_TRUE(reader_->decode_encoded(keys_[0], 0, page, tensors).has_value());
    EXPECT_EQ(tensors, decoded_rows(rows));
  }
  EXPECT_EQ(page.bytes, reader_->get_encoded(keys_[0], 0)->bytes);
  ASSERT_TRUE(reader_->refine(keys_[0], kQ3, page).has_value()) << "better than asked for";
  EXPECT_EQ(page.rows, 4u);
}

TEST_F(SpaceLevelsTest, APageThatWasReplacedIsNotRefined) {
  put(*open({.put_kl = kQ1}));
  EncodedPage page = *reader_->get_encoded(keys_[0], kQ3);
  const EncodedPage before = page;
  EXPECT_EQ(reader_->refine(keys_[0], 0, page).error().code, Errc::not_found);
  put(*open({}), source_);
  EXPECT_EQ(reader_->refine(keys_[0], kQ1, page).error().code, Errc::not_found);
  EXPECT_EQ(page.bytes, before.bytes);
  EXPECT_EQ(*encoded_kl(page), kQ3);
}

// What the daemon has of page 0, whole.
TEST_F(SpaceLevelsTest, DamageInARefinementLeavesTheBase) {
  put_all_levels();
  EncodedPage page = *reader_->get_encoded(keys_[0], kQ3);
  {
    auto opened = daemon_.cache().open_space(0, *encode_descriptor(descriptor()), 0);
    auto stored = cache::CacheCalls{.cache = daemon_.cache()}.get(*opened, {.key = keys_[0]});
    const_cast<uint8_t&>(stored->sections.front()[stored->sections.front().size() - 1]) ^= 16;
  }
  EXPECT_EQ(*reader_->lookup(keys_, kQ3), 2u);
  EXPECT_EQ(get({.max_kl = kQ3}).size(), source_.size());
  EXPECT_EQ(reader_->refine(keys_[0], 0, page).error().code, Errc::damaged);
  Bytes tensors(reader_->page_bytes());
  EXPECT_TRUE(reader_->decode_encoded(keys_[0], 0, page, tensors).has_value());
  EXPECT_EQ(*reader_->lookup(keys_, kQ3), 0u) << "the daemon took it out";
}

TEST_F(SpaceLevelsTest, AHeldPageThatIsDamagedIsReported) {
  put_all_levels();
  EncodedPage page = *reader_->get_encoded(keys_[0], kQ3);
  page.bytes.back() ^= 1;
  Bytes tensors(reader_->page_bytes());
  EXPECT_EQ(reader_->decode_encoded(keys_[0], 0, page, tensors).error().code, Errc::bad_checksum);
  EXPECT_EQ(daemon_.cache().stats().damage_reports, 1u);
  page = *reader_->get_encoded(keys_[0], kQ3);
  EXPECT_EQ(reader_->decode_encoded(keys_[0], 1, page, tensors).error().code, Errc::damaged)
      << "another place in the chain";
  page.rows = 2;
  EXPECT_EQ(reader_->decode_encoded(keys_[0], 0, page, tensors).error().code, Errc::damaged);
  page.rows = 5;
  EXPECT_EQ(encoded_kl(page).error().code, Errc::damaged);
}

TEST_F(SpaceLevelsTest, ABudgetGetsTheFinestLevelOfAllPages) {
  put_all_levels();
  uint64_t bytes[4] = {};
  const uint32_t kl[] = {kQ3, kQ2, kQ1, 0};
  for (size_t i = 0; i < 4; ++i) {
    get({.max_kl = kl[i]}, &bytes[i]);
  }
  for (size_t i = 0; i < 4; ++i) {
    const Fit fit = *reader_->fit(keys_, kKlUnknown, bytes[i]);
    EXPECT_EQ(fit.pages, 2u);
    EXPECT_EQ(fit.stored_bytes, bytes[i]);
    uint64_t moved = 0;
    get({.max_kl = fit.max_kl}, &moved);
    EXPECT_EQ(moved, bytes[i]);
    if (i != 0) {
      EXPECT_EQ(reader_->fit(keys_, kKlUnknown, bytes[i] - 1)->stored_bytes, bytes[i - 1]);
    }
  }
  const Fit tight = *reader_->fit(keys_, kKlUnknown, bytes[0] - 1);
  EXPECT_EQ(tight.pages, 1u);
  EXPECT_EQ(reader_->fit(keys_, kKlUnknown, 0)->pages, 0u);
  EXPECT_EQ(reader_->fit(keys_, kQ1, bytes[3])->max_kl, kQ1 - 1);
  EXPECT_EQ(reader_->fit(keys_, kQ1, bytes[0] / 2)->pages, 0u) << "not even q1 of one page";
}

TEST_F(SpaceLevelsTest, LevelsAreWhatTheProfileSays) {
  const ProfileSet& profiles = client_->profiles;
  EXPECT_EQ(*profiles.level_kl(descriptor(), "exact"), 0u);
  EXPECT_EQ(*profiles.level_kl(descriptor(), "q1"), kQ1);
  EXPECT_EQ(*profiles.level_kl(descriptor(), "q2"), kQ2);
  EXPECT_EQ(*profiles.level_kl(descriptor(), "q3"), kQ3);
  EXPECT_EQ(profiles.level_kl(descriptor(), "q4").error().code, Errc::invalid_argument);
  Descriptor other = descriptor();
  other.model_digest[0] = 8;
  EXPECT_EQ(profiles.level_kl(other, "q1").error().code, Errc::not_found);
  EXPECT_EQ(*profiles.level_kl(other, "exact"), 0u);
}

TEST_F(SpaceLevelsTest, APageFileMayEndAfterAnyRow) {
  put_all_levels();
  const EncodedPage q2 = *reader_->get_encoded(keys_[0], kQ2);
  EXPECT_EQ(*reader_->check_encoded(q2.bytes), keys_[0]);
  Bytes damaged = q2.bytes;
  damaged.back() ^= 1;
  EXPECT_EQ(reader_->check_encoded(damaged).error().code, Errc::bad_checksum);
  damaged.pop_back();
  EXPECT_EQ(reader_->check_encoded(damaged).error().code, Errc::truncated);
  const auto row = *codec::select_sections(*codec::parse_page_header(q2.bytes), 0, 0, kLayers);
  damaged.resize(row.offset + row.bytes - 1);
  EXPECT_EQ(reader_->check_encoded(damaged).error().code, Errc::truncated) << "not even one row";
}

}  // namespace
}  // namespace sluice::client
