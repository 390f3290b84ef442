#include "src/base/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

namespace sluice {

void keep_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1) {  // open() takes the lowest that is free: this one
      [[maybe_unused]] const int taken =
          open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

}  // namespace sluice
