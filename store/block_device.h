// The seam between the log and whatever keeps its bytes: one flat folder of named files.
//
// Not a file system: no rename, no subfolders, and a name is never used again for other content.
// Everything is aligned: offsets, lengths and memory are multiples of kBlockBytes, so that an
// implementation may bypass the page cache. Promises to durability are exactly these: bytes and
// length of a file once its sync() succeeded, names (created and removed) once sync_folder()
// succeeded, and nothing else. After a failed sync() what was written since the last successful one
// may be lost even if a later sync() succeeds. Calls block. Files may be used by several threads at
// once; the device itself by one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::store {

inline constexpr uint64_t kBlockBytes = 4096;

inline constexpr uint64_t round_up_to_block(uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

// Every place in the code that syncs, by name: tests leave each out in turn and look for the loss.
enum class SyncSite : uint8_t {
  commit,             // records that somebody waits for, or that are a second old
  seal,               // a full segment, before its footer is written
  segment_name,       // the name of a new segment, before a record in it is acked
  segment_drop,       // a dropped segment's name, before the next older one may go
  recovered_segment,  // what recovery found in an unsealed segment, before it is shown
  recovered_folder,   // the names that recovery found, before their records are shown
};

inline constexpr size_t kSyncSites = 6;

// The enumerator's name.
std::string_view sync_site_name(SyncSite site);

// Counters since the device was opened; of all its files.
struct DeviceStats {
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t written_bytes = 0;
  uint64_t syncs = 0;   // of files and of the folder
  uint64_t errors = 0;  // calls that failed
};

// The counters while they are counted, shared by a device and its files.
struct DeviceCounters {
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> written_bytes{0};
  std::atomic<uint64_t> syncs{0};
  std::atomic<uint64_t> errors{0};

  DeviceStats snapshot() const;
};

// An open file. Once its name was removed its bytes are gone too.
class BlockFile {
 public:
  virtual ~BlockFile() = default;
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;

  // Fills `out` from `offset` on. Errors: truncated (the file ends before), not_found (its name was
  // removed), io_error.
  Status read(uint64_t offset, MutByteSpan out);

  // Writes all of `bytes`, growing the file where needed. Errors: no_space, io_error; part of the
  // bytes may be there then.
  Status write(uint64_t offset, ByteSpan bytes);

  // Makes what was written so far, and the length, durable. Errors: io_error, no_space.
  Status sync(SyncSite site);

  // Makes the file `bytes` long: cuts it, or adds zeros. Errors: io_error.
  Status truncate(uint64_t bytes);

  // Errors: io_error.
  Result<uint64_t> size();

 protected:
  explicit BlockFile(std::shared_ptr<DeviceCounters> counters) : counters_(std::move(counters)) {}

 private:
  virtual Status do_read(uint64_t offset, MutByteSpan out) = 0;
  virtual Status do_write(uint64_t offset, ByteSpan bytes) = 0;
  virtual Status do_sync(SyncSite site) = 0;
  virtual Status do_truncate(uint64_t bytes) = 0;
  virtual Result<uint64_t> do_size() = 0;

  std::shared_ptr<DeviceCounters> counters_;
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  // A new empty file. Errors: io_error (also where the name is taken), no_space.
  Result<std::shared_ptr<BlockFile>> create(const std::string& name);

  // A file that is there, to read, write and cut. Errors: not_found, bad_value (a link, a folder or
  // the like stands there), io_error.
  Result<std::shared_ptr<BlockFile>> open(const std::string& name);

  // All names, ascending, also of what is no file. Errors: io_error.
  Result<std::vector<std::string>> list();

  // Takes a name away and gives its room back at once, also where the file is open: whoever waits
  // for room needs it now, not when the last reader is done. Errors: not_found, io_error.
  Status remove(const std::string& name);

  // Makes created and removed names durable. Errors: io_error.
  Status sync_folder(SyncSite site);

  // The path of a name, as an operator would type it.
  std::string path_of(const std::string& name) const { return do_path_of(name); }

  DeviceStats stats() const { return counters_->snapshot(); }

 protected:
  BlockDevice() = default;

  const std::shared_ptr<DeviceCounters>& counters() const { return counters_; }

 private:
  virtual Result<std::shared_ptr<BlockFile>> do_create(const std::string& name) = 0;
  virtual Result<std::shared_ptr<BlockFile>> do_open(const std::string& name) = 0;
  virtual Result<std::vector<std::string>> do_list() = 0;
  virtual Status do_remove(const std::string& name) = 0;
  virtual Status do_sync_folder(SyncSite site) = 0;
  virtual std::string do_path_of(const std::string& name) const = 0;

  std::shared_ptr<DeviceCounters> counters_ = std::make_shared<DeviceCounters>();
};

// Bytes in block-aligned memory, a multiple of kBlockBytes long; not zeroed.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}

  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  // Room for `bytes`, rounded up to whole blocks.
  explicit AlignedBuffer(uint64_t bytes);

  MutByteSpan bytes() { return {memory_.get(), size_}; }

  ByteSpan bytes() const { return {memory_.get(), size_}; }

  uint64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const;
  };

  std::unique_ptr<uint8_t[], Free> memory_;
  uint64_t size_ = 0;
};

}  // namespace sluice::store
