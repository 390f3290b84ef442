// Spaces that clients opened: what a handle stands for, and which known space is nearest to one in
// which nothing was found.
//
// Not the pages (store) and not the identity rules (src/model/descriptor.h). One thread.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"
#include "src/model/descriptor.h"

namespace sluice::cache {

inline constexpr size_t kSpacesPerTenantMax = 256;  // known ones; a descriptor has up to 64 KiB
inline constexpr size_t kHandlesMax = 64;           // of one connection
// Of all descriptors that one connection has open. Real ones have some hundred bytes; 256
// connections with 64 of the largest would hold 1 GiB beside the tiers.
inline constexpr size_t kHandleBytesMax = 256 << 10;

// One space of one tenant.
struct Space {
  uint32_t tenant = 0;
  Hash32 id{};
  Bytes bytes;  // the descriptor, canonical
  PageGeometry geometry;
  bool stored = false;  // a page of it was stored since it became known
};

// A space as one client opened it.
struct OpenSpace {
  std::shared_ptr<Space> space;
  uint32_t worst_kl = 0;  // the worst quality that the client's process may ever load, micro-nats
};

// The spaces of all tenants; those that were opened longest ago are forgotten first.
class SpaceTable {
 public:
  // The space of a descriptor, the same one for the same bytes. A forgotten space stays usable for
  // those that hold it. Errors: as parse_descriptor; bad_value, too_large (PageGeometry::validate).
  Result<std::shared_ptr<Space>> open(uint32_t tenant, ByteSpan descriptor);

  // A sentence for a lookup in `space` that found no page at all: the tenant's nearest space that
  // something was stored in, and the fields that differ.
  std::string explain_miss(const Space& space) const;

 private:
  std::map<uint32_t, std::list<std::shared_ptr<Space>>> tenants_;  // latest opened first
};

// The handles of one connection; they end with it.
class HandleTable {
 public:
  // The handle of a space as opened: 1 and up, the same one for the same space and worst_kl.
  // Errors: too_large (kHandlesMax are open, or kHandleBytesMax of descriptors).
  Result<uint32_t> add(const OpenSpace& open);

  // What a handle stands for. Memory: the table's. Errors: unknown_handle.
  Result<const OpenSpace*> find(uint32_t handle) const;

 private:
  std::vector<OpenSpace> open_;  // handle - 1
  size_t descriptor_bytes_ = 0;
};

}  // namespace sluice::cache
