// The profiles of a daemon with a disk tier as files, so that a start has them again with the pages
// that are coded with them: DISK/profiles/DIGEST.profile.
//
// Not which are held (src/cache/profile_store.h). Calls block.
#pragma once

#include <spdlog/logger.h>

#include <string>

#include "src/cache/profile_store.h"
#include "store/io_runner.h"

namespace sluice::daemon {

// A store's way to the folder under the disk tier's. `runner` must outlive the store.
cache::ProfileStoreConfig keep_profiles_in(const std::string& disk_folder, store::IoRunner& runner);

// Adds the files that are there, oldest first; one that is damaged is logged and left alone.
void read_profiles(const std::string& disk_folder, cache::ProfileStore& store, spdlog::logger& log);

}  // namespace sluice::daemon
