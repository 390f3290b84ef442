#include "src/client/client.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "src/base/version.h"
#include "src/client/token_file.h"
#include "src/model/chain.h"
#include "transport/frame.h"
#include "transport/socket_address.h"
#include "transport/socket_path.h"
#include "transport/socket_stream.h"

namespace sluice::client {
namespace {

// Unlike any other with near certainty; zeros where the system has no randomness, which is no id.
transport::TraceId draw_trace_id() {
  transport::TraceId id{};
  if (getrandom(id.data(), id.size(), GRND_NONBLOCK) != static_cast<ssize_t>(id.size())) {
    return {};
  }
  return id;
}

// Returns the daemon's name.
Result<std::string> say_hello(transport::Requester& requester,
                              std::string token,
                              const transport::CallOptions& call) {
  transport::HelloRequest hello;
  hello.token = std::move(token);
  hello.self_test = chain_self_test();
  hello.software = std::string("libsluice ") + kVersion;
  SLUICE_TRY(transport::HelloReply reply, requester.hello(hello, call));
  if (reply.self_test != hello.self_test) {
    return SLUICE_ERR(Errc::identity_mismatch,
                      "{} makes key {} of the self-test, this library {}: one of the two is broken "
                      "or of another format; nothing is stored or loaded",
                      reply.software,
                      to_hex(reply.self_test),
                      to_hex(hello.self_test));
  }
  return reply.software;
}

}  // namespace

std::string find_socket(const std::string& address) {
  if (!address.empty()) {
    return address;
  }
  const char* named = std::getenv("SLUICE_SOCKET");
  if (named != nullptr && *named != '\0') {
    return named;
  }
  std::string user = transport::user_socket();
  return !user.empty() && access(user.c_str(), F_OK) == 0 ? user : transport::kServiceSocket;
}

Result<std::unique_ptr<Client>> Client::open(ClientOptions options) {
  if (options.deadline_ms == 0 || options.deadline_ms > transport::kDeadlineMsMax) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "deadline of {} ms is outside 1..{}",
                      options.deadline_ms,
                      transport::kDeadlineMsMax);
  }
  return std::unique_ptr<Client>(new Client(std::move(options)));
}

Result<std::shared_ptr<transport::Requester>> Client::requester() {
  if (requester_ != nullptr && requester_->usable()) {
    return requester_;
  }
  requester_.reset();
  const uint64_t now = clock_.now_ns();
  if (now < pause_ends_ns_) {
    return SLUICE_ERR(Errc::timed_out,
                      "the daemon took more than {} ms before; it is asked again in {} ms",
                      options_.deadline_ms,
                      (pause_ends_ns_ - now) / 1'000'000 + 1);
  }
  SLUICE_TRY(requester_, connect());
  connected_ns_ = clock_.now_ns();
  ++generation_;
  return requester_;
}

// Read for each connection: a token may change while the process runs. A unix socket needs none.
Result<std::string> Client::token(const std::string& address) const {
  SLUICE_TRY(const auto parsed, transport::SocketAddress::parse(address));
  const std::string path = find_token_file(options_.token_file);
  if (!parsed.is_tcp() || path.empty()) {
    return std::string();
  }
  return read_token_file(path);
}

Result<std::unique_ptr<transport::Requester>> Client::connect() {
  transport::CallOptions call = call_options();
  const std::string address = find_socket(options_.address);
  SLUICE_TRY(std::string shown, token(address));
  SLUICE_TRY(auto stream, transport::connect_socket(address, call.deadline_ns));
  auto fresh = std::make_unique<transport::Requester>(std::move(stream), clock_);
  SLUICE_TRY(daemon_software_, say_hello(*fresh, std::move(shown), call));
  return fresh;
}

transport::CallOptions Client::call_options() const {
  const uint64_t request_ends = clock_.now_ns() + deadline_ns();
  return {.deadline_ns = calls_ == 0 ? request_ends : std::min(request_ends, call_ends_ns_),
          .trace_id = calls_ == 0 ? given_trace_id_ : trace_id_};
}

Client::Call::Call(Client& client) : client_(client) {
  if (client_.calls_++ == 0) {
    client_.call_ends_ns_ = client_.clock_.now_ns() + client_.deadline_ns();
    client_.trace_id_ =
        client_.given_trace_id_ == transport::TraceId{} ? draw_trace_id() : client_.given_trace_id_;
  }
}

Client::Call::~Call() {
  if (--client_.calls_ == 0) {
    client_.end_call();
  }
}

// A daemon that is gone says so at once and costs nothing: only lost time is remembered, which is
// most of a deadline (the daemon's own timed_out comes after 7/8 of it).
void Client::end_call() {
  const uint64_t now = clock_.now_ns();
  if (now + deadline_ns() / 4 < call_ends_ns_) {
    return;
  }
  const uint64_t shortest = std::min(kPauseDeadlines * deadline_ns(), kPauseNsMax);
  // A connection that served for longer than the last pause starts the count anew.
  const bool again = pause_ns_ != 0 && now - std::max(connected_ns_, pause_ends_ns_) < pause_ns_;
  pause_ns_ = again ? std::min(2 * pause_ns_, kPauseNsMax) : shortest;
  pause_ends_ns_ = now + pause_ns_;
  requester_.reset();
}

void Client::moved(uint64_t tensor_bytes) {
  call_ends_ns_ += tensor_bytes * 1'000'000'000 / kSlowestBytesPerS;
}

}  // namespace sluice::client
