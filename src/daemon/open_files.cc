#include "src/daemon/open_files.h"

#include <sys/resource.h>

namespace sluice::daemon {
namespace {

// Standard streams, event loops, sockets that listen, locks, admin connections; room for segments
// that were dropped while they are read.
constexpr uint64_t kOwnFiles = 64;

}  // namespace

uint64_t raise_open_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

Status OpenFiles::check(uint64_t segments) const {
  const uint64_t needed = segments + connections + kOwnFiles;
  if (needed > limit) {
    return SLUICE_ERR(Errc::bad_config,
                      "sluiced may open {} files, expected {} or more: {} for segments of the log, "
                      "{} for connections, {} of its own; raise the limit (LimitNOFILE= of the "
                      "service, ulimit -Hn), or lower listen.connections_max{}",
                      limit,
                      needed,
                      segments,
                      connections,
                      kOwnFiles,
                      segments == 0 ? "" : " or disk.capacity");
  }
  return {};
}

}  // namespace sluice::daemon
