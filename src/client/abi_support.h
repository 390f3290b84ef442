// What the files of the C ABI share: the handles, and how an error or an exception becomes a
// status.
#pragma once

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "src/client/client.h"
#include "src/client/encoded_page.h"
#include "src/client/llama_cache.h"
#include "src/client/model_file.h"
#include "src/client/sluice.h"
#include "src/client/space.h"

struct sluice_model {
  std::unique_ptr<sluice::client::ModelFile> file;
};

struct sluice_client {
  std::unique_ptr<sluice::client::Client> client;
  std::string stats;
};

struct sluice_space {
  std::unique_ptr<sluice::client::Space> space;
};

struct sluice_page {
  sluice::client::Space* space = nullptr;
  sluice::Hash32 key{};
  uint32_t page_index = 0;
  sluice::client::EncodedPage encoded;
};

struct sluice_llama {
  std::unique_ptr<sluice::client::LlamaCache> cache;
};

namespace sluice::client {

// Keeps the sentence for sluice_last_error() and returns the number.
int abi_fail(const Error& error);

// Runs `body`, which returns a Status; memory that runs out becomes an error like any other.
template <class Body>
int abi_guarded(Body&& body) {
  try {
    Status status = body();
    return status.has_error() ? abi_fail(status.error()) : SLUICE_OK;
  } catch (const std::bad_alloc&) {
    return abi_fail(SLUICE_ERR(Errc::too_large, "out of memory"));
  } catch (const std::exception& problem) {
    return abi_fail(SLUICE_ERR(Errc::io_error, "{}", problem.what()));
  }
}

// Keys out of and into the caller's memory.
std::vector<Hash32> abi_read_keys(const uint8_t* keys, size_t n_keys);
Status abi_write_keys(std::span<const Hash32> keys, uint8_t* out, size_t cap, size_t* count);

// Errors: invalid_argument (none of SLUICE_ACK_*).
Result<transport::Ack> abi_ack(uint32_t ack);

// Errors: invalid_argument (exact_row).
Result<Quality> abi_quality(uint32_t worst_kl, uint32_t put_kl, uint32_t exact_row);

// A transfer as the caller sees it.
sluice_transfer abi_transfer(const Transfer& moved, uint32_t tokens);

sluice_fit abi_fit(const Fit& fit);

}  // namespace sluice::client

// Returns an error from the enclosing function where a pointer is NULL.
#define SLUICE_REQUIRE(pointer)                                                               \
  do {                                                                                        \
    if ((pointer) == nullptr) {                                                               \
      return SLUICE_ERR(::sluice::Errc::invalid_argument, "argument '{}' is NULL", #pointer); \
    }                                                                                         \
  } while (false)
