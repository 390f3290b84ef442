// Profiles to the daemon and from it (PROTOCOL.md, "PUT_PROFILE request"). One thread at a time, as
// the client.
#pragma once

#include <set>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"
#include "src/client/client.h"

namespace sluice::client {

// Sees to it that the daemon has a profile, whose file is sent if it has not. Errors: no_space,
// io_error (the daemon cannot keep it), overloaded (it lets go of what comes), bad_checksum (what
// others send under that digest came between twice), bad_value (the daemon has a file of another
// length), protocol_error, as a request.
Status put_profile(Client& client, const Hash32& digest, ByteSpan file);

// The same of those that the client was given. Errors: as put_profile.
Status offer_profiles(Client& client, const std::set<Hash32>& digests);

// The file of a profile that the daemon has. Errors: not_found, damaged (what came has another
// digest), protocol_error, as a request.
Result<Bytes> get_profile(Client& client, const Hash32& digest);

}  // namespace sluice::client
