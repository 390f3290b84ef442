// The block device that is a folder of a file system: O_DIRECT where it takes that, else through
// the page cache; fdatasync and fsync for durability.
//
// Holds the folder's `lock` file locked while it lives, so that no second daemon opens the log; a
// start makes the file `direct-io.probe` anew and removes it. Other names are not touched.
// Short transfers and EINTR are continued here. Files may be used by several threads at once.
#pragma once

#include <memory>
#include <string>

#include "src/base/result.h"
#include "store/block_device.h"

namespace sluice::store {

struct PosixDeviceConfig {
  std::string folder;           // made, durably, where it is not there; its parent has to be
  bool use_page_cache = false;  // never O_DIRECT
};

class PosixDevice final : public BlockDevice {
 public:
  // Errors: bad_config (no folder named; another process has it), io_error.
  static Result<std::unique_ptr<PosixDevice>> open_folder(const PosixDeviceConfig& config);

  ~PosixDevice() override;

  // Whether files bypass the page cache.
  bool is_direct() const { return direct_; }

 private:
  PosixDevice(std::string folder, int folder_fd, int lock_fd)
      : folder_(std::move(folder)), folder_fd_(folder_fd), lock_fd_(lock_fd) {}

  Result<std::shared_ptr<BlockFile>> do_create(const std::string& name) override;
  Result<std::shared_ptr<BlockFile>> do_open(const std::string& name) override;
  Result<std::vector<std::string>> do_list() override;
  Status do_remove(const std::string& name) override;
  Status do_sync_folder(SyncSite site) override;
  std::string do_path_of(const std::string& name) const override;

  bool probe_direct() const;
  Result<std::shared_ptr<BlockFile>> open_file(const std::string& name, int flags);

  std::string folder_;
  int folder_fd_;
  int lock_fd_;
  bool direct_ = false;
};

}  // namespace sluice::store
