// Values of the daemon's log lines, which are logfmt: name=value, text in quotes.
#pragma once

#include <string>
#include <string_view>

namespace sluice::daemon {

// `text` as the value of a field: as it is where it is one word, else in quotes. What would end the
// value or the line is replaced: paths, errors and peers may hold it.
std::string log_value(std::string_view text);

}  // namespace sluice::daemon
