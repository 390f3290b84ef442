#include "store/arena.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::store {

Extent::Extent(std::shared_ptr<Arena> arena, MutByteSpan bytes)
    : arena_(std::move(arena)), bytes_(bytes) {}

Extent::~Extent() {
  arena_->free(bytes_);
}

void Extent::shorten(uint64_t bytes) {
  SLUICE_ASSERT(bytes > 0 && bytes <= bytes_.size());
  const uint64_t kept = std::min<uint64_t>(Arena::extent_bytes(bytes), bytes_.size());
  if (kept < bytes_.size()) {
    arena_->free(bytes_.subspan(kept));
  }
  bytes_ = bytes_.first(bytes);
}

Result<std::shared_ptr<Arena>> Arena::open(uint64_t capacity_bytes) {
  if (capacity_bytes == 0 || capacity_bytes % kExtentAlign != 0) {
    return SLUICE_ERR(Errc::bad_config,
                      "arena of {} bytes, expected a multiple of {} above 0",
                      capacity_bytes,
                      kExtentAlign);
  }
  void* memory = mmap(nullptr,
                      capacity_bytes,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1,
                      0);
  if (memory == MAP_FAILED) {
    return SLUICE_ERR(Errc::io_error,
                      "mmap of {} bytes for the arena: {}; configure a smaller RAM tier",
                      capacity_bytes,
                      std::strerror(errno));
  }
  return std::shared_ptr<Arena>(new Arena({static_cast<uint8_t*>(memory), capacity_bytes}));
}

Arena::~Arena() {
  ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size());
  munmap(memory_.data(), memory_.size());
}

std::unique_ptr<Extent> Arena::allocate(uint64_t bytes) {
  std::optional<uint64_t> offset = map_.take(extent_bytes(bytes));
  if (!offset) {
    return nullptr;
  }
  MutByteSpan span = memory_.subspan(*offset, bytes);
  ASAN_UNPOISON_MEMORY_REGION(span.data(), span.size());
  return std::make_unique<Extent>(shared_from_this(), span);
}

void Arena::free(ByteSpan bytes) {
  // So that ASan names a read of an extent that went back.
  ASAN_POISON_MEMORY_REGION(bytes.data(), extent_bytes(bytes.size()));
  map_.give(static_cast<uint64_t>(bytes.data() - memory_.data()), extent_bytes(bytes.size()));
}

}  // namespace sluice::store
