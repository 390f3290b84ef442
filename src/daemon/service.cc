#include "src/daemon/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "src/base/secret.h"
#include "src/base/version.h"
#include "src/daemon/log_value.h"
#include "src/model/chain.h"

namespace sluice::daemon {
namespace {

// Everything is one tenant's until connections authenticate.
constexpr uint32_t kTenant = 0;

// Errors that say something is wrong with a page or the machine, not with one caller's request.
bool worth_a_warning(Errc code) {
  return code == Errc::damaged || code == Errc::bad_checksum || code == Errc::no_space ||
         code == Errc::io_error;
}

// Op begins with the requests of one frame, in the order of their variant.
Op op_of(const transport::RequestEvent& event) {
  return static_cast<Op>(event.body.index());
}

transport::PutOutcome to_wire(cache::PutOutcome outcome) {
  switch (outcome) {
    case cache::PutOutcome::stored:
      return transport::PutOutcome::stored;
    case cache::PutOutcome::replaced:
      return transport::PutOutcome::replaced;
    case cache::PutOutcome::unchanged:
      break;
  }
  return transport::PutOutcome::unchanged;
}

transport::LookupReply to_wire(const cache::LookupAnswer& answer) {
  transport::LookupReply reply;
  reply.common_pages = answer.common_pages;
  // Layer and factor lists can be long; a miss must not become an error for it.
  reply.miss_reason = transport::wire_text(answer.miss_reason);
  for (const cache::GroupAnswer& group : answer.groups) {
    transport::LookupGroupReply& out = reply.groups.emplace_back();
    out.hit_pages = group.hit_pages;
    out.first_page = group.first_page;
    for (const cache::PageStatus& page : group.pages) {
      out.pages.push_back({.rows = page.rows, .kl = page.kl, .stored_bytes = page.stored_bytes});
    }
  }
  return reply;
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Service::Service(cache::PageCache& cache, spdlog::logger& log, std::optional<Hash32> token_sha256)
    : cache_(cache), log_(log), token_sha256_(token_sha256), start_seconds_(seconds_since_1970()) {}

void Service::on_open(transport::Session& session, const transport::Peer& peer) {
  Connection& connection = connections_[&session];
  connection.number = ++opened_;
  connection.needs_token = token_sha256_ && !peer.address.empty();
  log_.info("connection={} event=open {}",
            connection.number,
            peer.address.empty() ? fmt::format("pid={} uid={} gid={}", peer.pid, peer.uid, peer.gid)
                                 : fmt::format("address={}", peer.address));
}

void Service::on_close(transport::Session& session, const Error* error) {
  const uint64_t number = connections_[&session].number;
  connections_.erase(&session);
  if (error != nullptr) {
    log_.warn("connection={} event=closed peer={} error={}",
              number,
              log_value(session.peer_software()),
              log_value(error->to_string()));
  } else {
    log_.info("connection={} event=close", number);
  }
}

void Service::on_event(transport::Session& session, transport::Event event) {
  Connection& connection = connections_[&session];
  std::visit([&](auto& body) { on(session, connection, body); }, event);
}

DaemonStats Service::stats() const {
  return {.start_seconds = start_seconds_,
          .connections = connections_.size(),
          .requests = requests_,
          .cache = cache_.stats()};
}

Service::Asked Service::asked(transport::Session& session,
                              const Connection& connection,
                              const transport::RequestInfo& info,
                              Op op) const {
  return {.session = &session,
          .connection = connection.number,
          .info = info,
          .op = op,
          .began_ns = clock_.now_ns()};
}

transport::Session* Service::open_session(const Asked& asked) const {
  auto found = connections_.find(asked.session);
  return found != connections_.end() && found->second.number == asked.connection ? found->first
                                                                                 : nullptr;
}

std::string Service::log_fields(const Asked& asked) {
  return fmt::format("connection={} trace={} op={}",
                     asked.connection,
                     to_hex(asked.info.trace_id),
                     kOpNames[static_cast<size_t>(asked.op)]);
}

void Service::count_refused(const Asked& asked, Errc code) {
  requests_.refused[{asked.op, code}] += 1;
  requests_.seconds_of(asked.op).record_ns(clock_.now_ns() - asked.began_ns);
}

void Service::finish(const Asked& asked, const Reply& reply) {
  transport::Session* session = open_session(asked);
  if (reply.has_error()) {
    count_refused(asked, reply.error().code);
    // A reader asks anew with each lookup for a profile that is lost.
    const bool is_news = asked.op != Op::get_profile || reply.error().code != Errc::not_found;
    log_.log(is_news ? spdlog::level::warn : spdlog::level::debug,
             "{} event=refused error={}",
             log_fields(asked),
             log_value(reply.error().to_string()));
    if (session != nullptr) {
      session->refuse(asked.info.id, reply.error());
    }
    return;
  }
  requests_.seconds_of(asked.op).record_ns(clock_.now_ns() - asked.began_ns);
  if (session != nullptr) {
    session->reply(asked.info.id, *reply);
  }
}

void Service::on(transport::Session& session,
                 Connection& connection,
                 transport::RequestEvent& event) {
  const Asked request = asked(session, connection, event.info, op_of(event));
  std::visit([&](const auto& body) { serve(request, connection, body); }, event.body);
}

template <class Body>
void Service::serve(const Asked& asked, Connection& connection, const Body& body) {
  finish(asked, answer(connection, body));
}

void Service::serve(const Asked& asked,
                    Connection& connection,
                    const transport::DamagedRequest& damaged) {
  Result<const cache::OpenSpace*> open = connection.handles.find(damaged.handle);
  if (open.has_error()) {
    return finish(asked, open.error());
  }
  auto done = [this, asked, damaged](bool gone) {
    log_.warn("{} event=damage_report page={} quarantined={}",
              log_fields(asked),
              to_hex(damaged.key),
              gone);
    finish(asked, transport::ReplyBody(transport::DamagedReply{.quarantined = gone}));
  };
  cache_.damaged(**open, damaged.key, damaged.encoding_id, std::move(done));
}

void Service::serve(const Asked& asked,
                    Connection& connection,
                    const transport::DeleteRequest& erase) {
  Result<const cache::OpenSpace*> open = connection.handles.find(erase.handle);
  if (open.has_error()) {
    return finish(asked, open.error());
  }
  cache_.erase(**open, erase.keys, [this, asked](Result<uint32_t> erased) {
    finish(asked,
           erased.has_error()
               ? Reply(erased.error())
               : Reply(transport::ReplyBody(transport::DeleteReply{.deleted_pages = *erased})));
  });
}

void Service::serve(const Asked& asked, Connection&, const transport::PutProfileRequest& put) {
  const bool is_last = !put.piece.empty() && put.offset + put.piece.size() == put.profile_bytes;
  auto done = [this, asked, is_last, digest = put.digest, bytes = put.profile_bytes](
                  Result<uint32_t> there) {
    if (there.has_error()) {
      return finish(asked, there.error());
    }
    if (is_last && *there == bytes) {
      log_.info("{} event=profile digest={} bytes={}", log_fields(asked), to_hex(digest), *there);
    }
    finish(asked, transport::ReplyBody(transport::PutProfileReply{.next_offset = *there}));
  };
  cache_.profiles().put_piece(
      put.digest, put.profile_bytes, put.offset, put.piece, std::move(done));
}

Status Service::check_token(const transport::HelloRequest& hello) const {
  if (hello.token.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "this address asks for a token: name its file with SLUICE_TOKEN_FILE (the "
                      "command: --token-file)");
  }
  if (!equal_in_constant_time(sha256(as_bytes(hello.token)), *token_sha256_)) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "the token is not the daemon's: compare `sluice token FILE` of the client's "
                      "token file with the daemon's listen.token_sha256");
  }
  return {};
}

Service::Reply Service::answer(Connection& connection, const transport::HelloRequest& hello) {
  if (connection.needs_token) {
    SLUICE_CHECK(check_token(hello));
  }
  transport::HelloReply reply;
  reply.self_test = chain_self_test();
  reply.software = std::string("sluiced ") + kVersion;
  if (hello.self_test != reply.self_test) {
    return SLUICE_ERR(
        Errc::identity_mismatch,
        "{} makes key {} of the self-test, {} makes {}: one of the two is broken or of "
        "another format; install the same version on both sides",
        hello.software,
        to_hex(hello.self_test),
        reply.software,
        to_hex(reply.self_test));
  }
  return transport::ReplyBody(std::move(reply));
}

Service::Reply Service::answer(Connection& connection, const transport::OpenRequest& open) {
  SLUICE_TRY(cache::OpenSpace space, cache_.open_space(kTenant, open.descriptor, open.worst_kl));
  SLUICE_TRY(uint32_t handle, connection.handles.add(space));
  return transport::ReplyBody(transport::OpenReply{.handle = handle, .space_id = space.space->id});
}

Service::Reply Service::answer(Connection& connection, const transport::LookupRequest& lookup) {
  std::vector<cache::GroupQuery> groups;
  for (const transport::LookupGroup& group : lookup.groups) {
    SLUICE_TRY(const cache::OpenSpace* open, connection.handles.find(group.handle));
    groups.push_back({.open = open, .window_pages = group.window_pages, .keys = group.keys});
  }
  SLUICE_TRY(cache::LookupAnswer answer, cache_.lookup(groups, lookup.max_kl));
  if (!answer.miss_reason.empty()) {
    log_.debug(
        "connection={} event=miss reason={}", connection.number, log_value(answer.miss_reason));
  }
  return transport::ReplyBody(to_wire(answer));
}

Service::Reply Service::answer(Connection&, const transport::StatsRequest&) {
  transport::StatsReply reply;
  for (const auto& [name, value] : stat_list(stats())) {
    reply.stats.push_back({.name = name, .value = value});
  }
  return transport::ReplyBody(std::move(reply));
}

Service::Reply Service::answer(Connection&, const transport::GetProfileRequest& get) {
  const cache::ProfileFile file = cache_.profiles().find(get.digest);
  if (file == nullptr) {
    return SLUICE_ERR(Errc::not_found, "the daemon has no profile {}", to_hex(get.digest));
  }
  if (get.offset >= file->size()) {
    return SLUICE_ERR(Errc::too_large,
                      "offset {} of profile {}, which has {} bytes",
                      get.offset,
                      to_hex(get.digest),
                      file->size());
  }
  const ByteSpan rest = ByteSpan(*file).subspan(get.offset);
  const ByteSpan piece =
      rest.first(std::min<size_t>(rest.size(), transport::kProfilePieceBytesMax));
  return transport::ReplyBody(transport::GetProfileReply{
      .profile_bytes = static_cast<uint32_t>(file->size()), .piece = {piece.begin(), piece.end()}});
}

void Service::on(transport::Session& session,
                 Connection& connection,
                 transport::GetPageEvent& event) {
  const Asked request = asked(session, connection, event.info, Op::get);
  Result<const cache::OpenSpace*> open = connection.handles.find(event.get->handle);
  if (open.has_error()) {
    return finish(request, open.error());
  }
  const cache::PageQuery query{.key = event.page().key,
                               .encoding_id = event.page().encoding_id,
                               .max_kl = event.get->max_kl,
                               .first_layer = event.get->first_layer,
                               .layers = event.get->layer_count,
                               .first_row = event.page().first_row,
                               .least_rows = event.page().least_rows};
  auto done = [this, request, event](const Result<cache::PageAnswer>& answer) {
    finish_page(request, event.page(), event.page_index, answer);
  };
  cache_.get(**open, query, std::move(done));
}

void Service::finish_page(const Asked& asked,
                          const transport::GetPageRequest& page,
                          uint32_t page_index,
                          const Result<cache::PageAnswer>& answer) {
  transport::Session* session = open_session(asked);
  if (answer.has_error()) {
    count_refused(asked, answer.error().code);
    if (worth_a_warning(answer.error().code)) {
      log_.warn("{} event=page_refused page={} error={}",
                log_fields(asked),
                to_hex(page.key),
                log_value(answer.error().to_string()));
    }
    if (session != nullptr) {
      session->refuse_page(asked.info.id, page_index, answer.error().code);
    }
    return;
  }
  requests_.seconds_of(Op::get).record_ns(clock_.now_ns() - asked.began_ns);
  if (session == nullptr) {
    return;
  }
  requests_.get_page_bytes += answer->header.size();
  for (const ByteSpan section : answer->sections) {
    requests_.get_page_bytes += section.size();
  }
  session->send_page(asked.info.id,
                     page_index,
                     {.encoding_id = answer->encoding_id,
                      .rows = answer->rows,
                      .kl = answer->kl,
                      .header = answer->header,
                      .sections = answer->sections,
                      .keep_alive = answer->keep_alive});
}

Result<cache::PendingPut> Service::begin_put(Connection& connection,
                                             const transport::PutRequest& put) {
  SLUICE_TRY(const cache::OpenSpace* open, connection.handles.find(put.handle));
  const auto durability =
      put.ack == transport::Ack::disk ? cache::Durability::disk : cache::Durability::ram;
  SLUICE_TRY(cache::PendingPut pending,
             cache_.put_begin(*open, put.key, put.anchor, put.page_bytes, durability));
  requests_.put_page_bytes += put.page_bytes;
  requests_.put_tensor_bytes += open->space->geometry.bytes();
  return pending;
}

void Service::on(transport::Session& session,
                 Connection& connection,
                 transport::PutBeginEvent& event) {
  Result<cache::PendingPut> put = begin_put(connection, event.put);
  if (put.has_error()) {
    return finish(asked(session, connection, event.info, Op::put), put.error());
  }
  auto [entry, added] = connection.puts.emplace(
      event.info.id, PutUnderWay{.put = *std::move(put), .info = event.info});
  session.accept_put(event.info.id, entry->second.put.destination());
}

void Service::on(transport::Session& session,
                 Connection& connection,
                 transport::PutEndEvent& event) {
  auto entry = connection.puts.extract(event.id);
  SLUICE_ASSERT(!entry.empty());
  const Asked request = asked(session, connection, entry.mapped().info, Op::put);
  cache_.put_end(std::move(entry.mapped().put), [this, request](Result<cache::PutOutcome> outcome) {
    finish(request,
           outcome.has_error()
               ? Reply(outcome.error())
               : Reply(transport::ReplyBody(transport::PutReply{.outcome = to_wire(*outcome)})));
  });
}

void Service::on(transport::Session& session,
                 Connection& connection,
                 transport::PutAbortedEvent& event) {
  auto entry = connection.puts.extract(event.id);
  if (entry.empty()) {
    return;  // refused meanwhile
  }
  const Asked request = asked(session, connection, entry.mapped().info, Op::put);
  count_refused(request, Errc::timed_out);  // as the session answered it
  log_.warn("{} event=put_aborted reason=\"deadline passed\"", log_fields(request));
}

}  // namespace sluice::daemon
