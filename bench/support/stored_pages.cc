#include "bench/support/stored_pages.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "codec/codec.h"
#include "src/model/chain.h"
#include "tests/codec/sample_kv.h"

namespace sluice::bench {
namespace {

constexpr int kSocketBytes = 4 << 20;  // as transport/ sets it
constexpr size_t kBlockBytes = 4096;

struct FreeBlock {
  void operator()(uint8_t* block) const { std::free(block); }
};

// Writes all pages behind one another, in whole messages.
bool write_pages(int fd, const std::vector<StoredPage>& pages, uint8_t* message) {
  size_t filled = 0;
  for (const StoredPage& page : pages) {
    for (size_t at = 0; at < page.bytes.size();) {
      const size_t step = std::min(kMessageBytes - filled, page.bytes.size() - at);
      std::memcpy(message + filled, page.bytes.data() + at, step);
      at += step;
      filled = (filled + step) % kMessageBytes;
      if (filled == 0 && write(fd, message, kMessageBytes) != ssize_t{kMessageBytes}) {
        return false;
      }
    }
  }
  return write(fd, message, kMessageBytes) == ssize_t{kMessageBytes} && fdatasync(fd) == 0;
}

}  // namespace

Descriptor sample_descriptor() {
  Descriptor out;
  for (uint32_t layer = 0; layer < 30; ++layer) {
    out.layers.push_back(layer);
  }
  out.heads = 3;
  out.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 3, .dim = 64},
                {.role = PlaneRole::v, .dtype = DType::f16, .heads = 3, .dim = 64}};
  return out;
}

std::vector<StoredPage> make_pages(const Hash32& space, uint32_t count, uint32_t token) {
  codec::PageSpec spec;
  spec.geometry = geometry(sample_descriptor());
  const std::vector<uint32_t> tokens(size_t{count} * spec.geometry.n_tokens, token);
  const std::vector<Hash32> keys = page_keys(space, tokens, spec.geometry.n_tokens);
  codec::Workspace workspace;
  Bytes out(*codec::encode_bound(spec.geometry));
  std::vector<StoredPage> pages;
  for (uint32_t i = 0; i < count; ++i) {
    const Bytes tensors = codec::sample_tensors(spec.geometry, codec::Sample::gaussian, i % 4);
    spec.page_key = keys[i];
    spec.first_position = uint64_t{i} * spec.geometry.n_tokens;
    const size_t bytes = *codec::encode_page(spec, tensors, out, workspace);
    Bytes page(out.begin(), out.begin() + static_cast<ptrdiff_t>(bytes));
    codec::PageHeader header = *codec::parse_page_header(page);
    pages.push_back({keys[i], std::move(page), std::move(header)});
  }
  return pages;
}

uint64_t total_bytes(const std::vector<StoredPage>& pages) {
  uint64_t out = 0;
  for (const StoredPage& page : pages) {
    out += page.bytes.size();
  }
  return out;
}

Bytes page_buffer(const std::vector<StoredPage>& pages) {
  return Bytes(2 * kMessageBytes + *codec::encode_bound(pages.front().header.geometry));
}

void copy_all(const std::vector<StoredPage>& pages, Bytes& buffer) {
  for (const StoredPage& page : pages) {
    std::memcpy(buffer.data(), page.bytes.data(), page.bytes.size());
    asm volatile("" : : "r"(buffer.data()) : "memory");
  }
}

void raw_loop(const std::vector<StoredPage>& pages, Bytes& buffer) {
  int ends[2];
  SLUICE_ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  for (int end : ends) {
    setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
    setsockopt(end, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);
  }
  const pid_t child = fork();
  if (child == 0) {
    for (const StoredPage& page : pages) {
      for (size_t at = 0; at < page.bytes.size();) {
        const size_t step = std::min(kMessageBytes, page.bytes.size() - at);
        const ssize_t sent = send(ends[1], page.bytes.data() + at, step, 0);
        SLUICE_ASSERT(sent > 0);
        at += static_cast<size_t>(sent);
      }
    }
    _exit(0);
  }
  close(ends[1]);
  while (recv(ends[0], buffer.data(), kMessageBytes, 0) > 0) {
  }
  close(ends[0]);
  waitpid(child, nullptr, 0);
}

Status write_loop(const std::vector<StoredPage>& pages, const std::string& folder) {
  const std::string path = folder + "/ceiling";
  const std::unique_ptr<uint8_t, FreeBlock> message(
      static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, kMessageBytes)));
  SLUICE_ASSERT(message != nullptr);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  int fd = open(path.c_str(), kFlags | O_DIRECT, 0600);
  fd = fd < 0 ? open(path.c_str(), kFlags, 0600) : fd;
  const bool done = fd >= 0 && write_pages(fd, pages, message.get());
  const int problem = errno;
  close(fd);
  unlink(path.c_str());
  if (!done) {
    return SLUICE_ERR(Errc::io_error, "cannot write {}: {}", path, std::strerror(problem));
  }
  return {};
}

double gib_per_second(uint64_t bytes, uint64_t ns) {
  return static_cast<double>(bytes) / static_cast<double>(ns) * 1e9 / double{1u << 30};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace sluice::bench
