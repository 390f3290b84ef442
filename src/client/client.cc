#include "src/client/client.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "src/base/version.h"
#include "src/model/chain.h"
#include "transport/frame.h"
#include "transport/socket_path.h"
#include "transport/unix_stream.h"

namespace sluice::client {
namespace {

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

// Returns the daemon's name.
Result<std::string> say_hello(transport::Requester& requester, const transport::CallOptions& call) {
  transport::HelloRequest hello;
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

Result<std::unique_ptr<Client>> Client::connect(ClientOptions options) {
  if (options.deadline_ms == 0 || options.deadline_ms > transport::kDeadlineMsMax) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "deadline of {} ms is outside 1..{}",
                      options.deadline_ms,
                      transport::kDeadlineMsMax);
  }
  std::unique_ptr<Client> client(new Client(std::move(options)));
  SLUICE_CHECK(client->requester());
  return client;
}

Result<transport::Requester*> Client::requester() {
  if (requester_ != nullptr && requester_->usable()) {
    return requester_.get();
  }
  requester_.reset();
  transport::CallOptions call = call_options();
  SLUICE_TRY(auto stream, transport::connect_unix(find_socket(options_.address), call.deadline_ns));
  auto fresh = std::make_unique<transport::Requester>(std::move(stream), clock_);
  SLUICE_TRY(daemon_software_, say_hello(*fresh, call));
  requester_ = std::move(fresh);
  ++generation_;
  return requester_.get();
}

transport::CallOptions Client::call_options() const {
  return {.deadline_ns = clock_.now_ns() + uint64_t{options_.deadline_ms} * 1'000'000,
          .trace_id = {}};
}

}  // namespace sluice::client
