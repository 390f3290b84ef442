// A small daemon for tests: keeps pages in a map and answers every request. Not the real one: no
// checks of pages, no eviction.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transport/stream_server.h"

namespace sluice::transport {

inline constexpr uint32_t kSampleHeaderBytes = 16;
inline constexpr uint64_t kSamplePageBytesMax = 8 << 20;

class SampleService final : public SessionHandler {
 public:
  using Page = std::shared_ptr<const Bytes>;

  void on_open(Session&, const Peer& peer) override {
    peer_ = peer;
    ++opened_;
  }

  void on_event(Session& session, Event event) override {
    std::visit([&](auto& e) { answer(session, e); }, event);
  }

  void on_close(Session& session, const Error* error) override {
    std::erase_if(puts_, [&](const auto& entry) { return entry.first.first == &session; });
    errors_.push_back(error ? error->to_string() : "");
  }

  void store(const Hash32& key, Bytes page) {
    pages_[key] = std::make_shared<const Bytes>(std::move(page));
  }

  const std::map<Hash32, Page>& pages() const { return pages_; }

  size_t puts_under_way() const { return puts_.size(); }

  size_t puts_aborted() const { return puts_aborted_; }

  const Peer& peer() const { return peer_; }

  size_t opened() const { return opened_; }

  const std::vector<std::string>& errors() const { return errors_; }  // one a closed session

 private:
  struct Put {
    Hash32 key{};
    std::shared_ptr<Bytes> page;
  };

  void answer(Session& session, const RequestEvent& request) {
    std::visit([&](const auto& body) { answer_body(session, request.info.id, body); },
               request.body);
  }

  void answer_body(Session& session, RequestId id, const HelloRequest& hello) {
    if (hello.self_test != Hash32{}) {
      session.refuse(id, SLUICE_ERR(Errc::identity_mismatch, "the hash chains differ"));
      return;
    }
    session.reply(id, HelloReply{.software = "sample 1"});
  }

  void answer_body(Session& session, RequestId id, const OpenRequest& open) {
    session.reply(id, OpenReply{.handle = 7, .space_id = sha256(open.descriptor)});
  }

  void answer_body(Session& session, RequestId id, const LookupRequest& lookup) {
    LookupReply reply;
    reply.groups.resize(lookup.groups.size());
    for (const Hash32& key : lookup.groups[0].keys) {
      auto it = pages_.find(key);
      if (it == pages_.end()) {
        break;
      }
      reply.groups[0].pages.push_back({.rows = 1, .kl = 0, .stored_bytes = it->second->size()});
    }
    reply.common_pages = reply.groups[0].hit_pages =
        static_cast<uint32_t>(reply.groups[0].pages.size());
    reply.miss_reason = reply.common_pages == 0 ? "dtype: f16 here, bf16 there" : "";
    session.reply(id, reply);
  }

  void answer_body(Session& session, RequestId id, const DamagedRequest& damaged) {
    session.reply(id, DamagedReply{.quarantined = pages_.erase(damaged.key) == 1});
  }

  void answer_body(Session& session, RequestId id, const DeleteRequest& request) {
    DeleteReply reply;
    for (const Hash32& key : request.keys) {
      reply.deleted_pages += static_cast<uint32_t>(pages_.erase(key));
    }
    session.reply(id, reply);
  }

  void answer_body(Session& session, RequestId id, const StatsRequest&) {
    session.reply(id, StatsReply{.stats = {{.name = "pages", .value = pages_.size()}}});
  }

  void answer_body(Session& session, RequestId id, const GetProfileRequest& get) {
    const Bytes& file = profiles_[get.digest];
    if (get.offset >= file.size()) {
      session.refuse(id, SLUICE_ERR(Errc::not_found, "no such profile"));
      return;
    }
    session.reply(id,
                  GetProfileReply{.profile_bytes = static_cast<uint32_t>(file.size()),
                                  .piece = Bytes(file.begin() + get.offset, file.end())});
  }

  void answer_body(Session& session, RequestId id, const PutProfileRequest& put) {
    Bytes& file = profiles_[put.digest];
    if (put.offset == file.size()) {
      file.insert(file.end(), put.piece.begin(), put.piece.end());
    }
    session.reply(id, PutProfileReply{.next_offset = static_cast<uint32_t>(file.size())});
  }

  void answer(Session& session, const GetPageEvent& wanted) {
    if (wanted.get->handle != 7) {
      session.refuse(wanted.info.id, SLUICE_ERR(Errc::unknown_handle, "handle is not open"));
      return;
    }
    auto it = pages_.find(wanted.page().key);
    if (it == pages_.end()) {
      session.refuse_page(wanted.info.id, wanted.page_index, Errc::not_found);
      return;
    }
    ByteSpan bytes = *it->second;
    // Two sections, to have several pieces.
    size_t half = (bytes.size() - kSampleHeaderBytes) / 2;
    std::vector<ByteSpan> sections = {bytes.subspan(kSampleHeaderBytes, half),
                                      bytes.subspan(kSampleHeaderBytes + half)};
    session.send_page(wanted.info.id,
                      wanted.page_index,
                      {.rows = 1,
                       .header = bytes.first(kSampleHeaderBytes),
                       .sections = sections,
                       .keep_alive = it->second});
  }

  void answer(Session& session, const PutBeginEvent& begin) {
    if (begin.put.handle != 7 || begin.put.page_bytes > kSamplePageBytesMax) {
      session.refuse(begin.info.id, SLUICE_ERR(Errc::no_space, "the store is full"));
    } else if (pages_.contains(begin.put.key)) {
      session.reply(begin.info.id, PutReply{.outcome = PutOutcome::unchanged});
    } else {
      auto page = std::make_shared<Bytes>(begin.put.page_bytes);
      puts_[{&session, begin.info.id}] = {begin.put.key, page};
      session.accept_put(begin.info.id, *page);
    }
  }

  void answer(Session& session, const PutEndEvent& end) {
    auto put = puts_.extract({&session, end.id});
    pages_[put.mapped().key] = put.mapped().page;
    session.reply(end.id, PutReply{.outcome = PutOutcome::stored});
  }

  void answer(Session& session, const PutAbortedEvent& aborted) {
    puts_.erase({&session, aborted.id});
    ++puts_aborted_;
  }

  std::map<Hash32, Page> pages_;
  std::map<Hash32, Bytes> profiles_;
  std::map<std::pair<Session*, RequestId>, Put> puts_;
  std::vector<std::string> errors_;
  Peer peer_;
  size_t opened_ = 0;
  size_t puts_aborted_ = 0;
};

}  // namespace sluice::transport
