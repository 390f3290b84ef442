#include <nlohmann/json.hpp>

#include "src/base/version.h"
#include "src/client/abi_support.h"

using sluice::Hash32;
using sluice::Status;
using sluice::client::abi_guarded;

namespace {

static_assert(SLUICE_KEY_BYTES == sizeof(sluice::Hash32));
static_assert(SLUICE_INVALID_ARGUMENT == static_cast<int>(sluice::Errc::invalid_argument));
static_assert(SLUICE_UNSUPPORTED == static_cast<int>(sluice::Errc::unsupported));
static_assert(SLUICE_TOO_LARGE == static_cast<int>(sluice::Errc::too_large));
static_assert(SLUICE_OUTPUT_TOO_SMALL == static_cast<int>(sluice::Errc::output_too_small));
static_assert(SLUICE_TRUNCATED == static_cast<int>(sluice::Errc::truncated));
static_assert(SLUICE_BAD_MAGIC == static_cast<int>(sluice::Errc::bad_magic));
static_assert(SLUICE_BAD_VERSION == static_cast<int>(sluice::Errc::bad_version));
static_assert(SLUICE_RESERVED_SET == static_cast<int>(sluice::Errc::reserved_set));
static_assert(SLUICE_BAD_CHECKSUM == static_cast<int>(sluice::Errc::bad_checksum));
static_assert(SLUICE_BAD_VALUE == static_cast<int>(sluice::Errc::bad_value));
static_assert(SLUICE_UNKNOWN_HANDLE == static_cast<int>(sluice::Errc::unknown_handle));
static_assert(SLUICE_PROTOCOL_ERROR == static_cast<int>(sluice::Errc::protocol_error));
static_assert(SLUICE_OVERLOADED == static_cast<int>(sluice::Errc::overloaded));
static_assert(SLUICE_DRAINING == static_cast<int>(sluice::Errc::draining));
static_assert(SLUICE_IO_ERROR == static_cast<int>(sluice::Errc::io_error));
static_assert(SLUICE_IDENTITY_MISMATCH == static_cast<int>(sluice::Errc::identity_mismatch));
static_assert(SLUICE_LAYOUT_MISMATCH == static_cast<int>(sluice::Errc::layout_mismatch));
static_assert(SLUICE_NOT_FOUND == static_cast<int>(sluice::Errc::not_found));
static_assert(SLUICE_NO_SPACE == static_cast<int>(sluice::Errc::no_space));
static_assert(SLUICE_DAMAGED == static_cast<int>(sluice::Errc::damaged));
static_assert(SLUICE_CONNECTION_LOST == static_cast<int>(sluice::Errc::connection_lost));
static_assert(SLUICE_TIMED_OUT == static_cast<int>(sluice::Errc::timed_out));

thread_local std::string last_error;

}  // namespace

namespace sluice::client {

int abi_fail(const Error& error) {
  last_error = error.to_string();
  return static_cast<int>(error.code);
}

std::vector<Hash32> abi_read_keys(const uint8_t* keys, size_t n_keys) {
  std::vector<Hash32> out(n_keys);
  if (n_keys != 0) {
    std::memcpy(out.data(), keys, n_keys * sizeof(Hash32));
  }
  return out;
}

Status abi_write_keys(std::span<const Hash32> keys, uint8_t* out, size_t cap, size_t* count) {
  *count = keys.size();
  if (keys.size() > cap) {
    return SLUICE_ERR(
        Errc::output_too_small, "{} keys, the buffer has room for {}", keys.size(), cap);
  }
  if (!keys.empty()) {
    std::memcpy(out, keys.data(), keys.size() * sizeof(Hash32));
  }
  return {};
}

Result<Quality> abi_quality(uint32_t worst_kl, uint32_t put_kl, uint32_t exact_row) {
  if (exact_row > 1) {
    return SLUICE_ERR(Errc::invalid_argument, "exact_row is {}, expected 0 or 1", exact_row);
  }
  return Quality{.worst_kl = worst_kl, .put_kl = put_kl, .exact_row = exact_row == 1};
}

Result<transport::Ack> abi_ack(uint32_t ack) {
  switch (ack) {
    case SLUICE_ACK_RAM:
      return transport::Ack::ram;
    case SLUICE_ACK_DISK:
      return transport::Ack::disk;
    default:
      return SLUICE_ERR(Errc::invalid_argument, "ack {} is none of SLUICE_ACK_*", ack);
  }
}

sluice_transfer abi_transfer(const Transfer& moved, uint32_t tokens) {
  return {.pages = moved.pages,
          .pages_kept = moved.pages_kept,
          .tokens = tokens,
          .pages_damaged = moved.pages_damaged,
          .raw_bytes = moved.raw_bytes,
          .stored_bytes = moved.stored_bytes};
}

sluice_fit abi_fit(const Fit& fit) {
  return {.pages = fit.pages, .max_kl = fit.max_kl, .stored_bytes = fit.stored_bytes};
}

}  // namespace sluice::client

extern "C" {

uint32_t sluice_abi_version(void) {
  return SLUICE_ABI_VERSION;
}

const char* sluice_version(void) {
  return sluice::kVersion;
}

const char* sluice_last_error(void) {
  return last_error.c_str();
}

const char* sluice_error_name(int status) {
  return sluice::errc_name(static_cast<sluice::Errc>(status)).data();
}

int sluice_model_open(const char* path, sluice_model** out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(out);
    *out = nullptr;
    SLUICE_REQUIRE(path);
    SLUICE_TRY(auto file, sluice::client::ModelFile::open(path));
    *out = new sluice_model{std::move(file)};
    return {};
  });
}

void sluice_model_free(sluice_model* model) {
  delete model;
}

int sluice_model_digest(sluice_model* model, uint32_t wait_ms, uint8_t out[32]) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(model);
    SLUICE_REQUIRE(out);
    SLUICE_TRY(Hash32 digest, model->file->digest(wait_ms));
    std::memcpy(out, digest.data(), digest.size());
    return {};
  });
}

uint32_t sluice_model_groups(const sluice_model* model) {
  return model == nullptr ? 0 : static_cast<uint32_t>(model->file->manifest().groups.size());
}

const char* sluice_model_json(const sluice_model* model) {
  return model == nullptr ? "" : model->file->json().c_str();
}

int sluice_client_open(const char* address, uint32_t deadline_ms, sluice_client** out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(out);
    *out = nullptr;
    sluice::client::ClientOptions options{.address = address == nullptr ? "" : address,
                                          .deadline_ms = deadline_ms};
    SLUICE_TRY(auto client, sluice::client::Client::open(std::move(options)));
    *out = new sluice_client{std::move(client), {}};
    return {};
  });
}

void sluice_client_free(sluice_client* client) {
  delete client;
}

int sluice_client_trace(sluice_client* client, const uint8_t trace_id[16]) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(client);
    sluice::transport::TraceId id{};
    if (trace_id != nullptr) {
      std::memcpy(id.data(), trace_id, id.size());
    }
    client->client->set_trace_id(id);
    return {};
  });
}

int sluice_client_add_profile(sluice_client* client, const uint8_t* file, size_t file_bytes) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(file);
    return client->client->profiles.add({file, file_bytes});
  });
}

int sluice_stats(sluice_client* client, const char** json_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(json_out);
    sluice::client::Client::Call call(*client->client);
    SLUICE_TRY(auto requester, client->client->requester());
    SLUICE_TRY(auto reply, requester->stats(client->client->call_options()));
    nlohmann::json stats = nlohmann::json::object();
    for (const auto& stat : reply.stats) {
      stats[stat.name] = stat.value;
    }
    client->stats = stats.dump();
    *json_out = client->stats.c_str();
    return {};
  });
}

const char* sluice_miss_reason(const sluice_client* client) {
  return client == nullptr ? "" : client->client->miss_reason.c_str();
}

}  // extern "C"
