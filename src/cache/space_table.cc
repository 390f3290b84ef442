#include "src/cache/space_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::cache {

Result<std::shared_ptr<Space>> SpaceTable::open(uint32_t tenant, ByteSpan descriptor) {
  Hash32 id = space_id(descriptor);
  auto& known = tenants_[tenant];
  auto found =
      std::find_if(known.begin(), known.end(), [&](const auto& space) { return space->id == id; });
  if (found != known.end()) {
    known.splice(known.begin(), known, found);
    return known.front();
  }
  SLUICE_TRY(Descriptor parsed, parse_descriptor(descriptor));
  PageGeometry shape = geometry(parsed);
  SLUICE_CHECK(shape.validate());
  known.push_front(std::make_shared<Space>(
      Space{.tenant = tenant, .id = id, .descriptor = std::move(parsed), .geometry = shape}));
  if (known.size() > kSpacesPerTenantMax) {
    known.pop_back();
  }
  return known.front();
}

std::string SpaceTable::explain_miss(const Space& space) const {
  if (space.stored) {
    return "this space is known, but none of these pages is stored: other tokens, or evicted";
  }
  std::vector<FieldDifference> nearest;
  if (auto known = tenants_.find(space.tenant); known != tenants_.end()) {
    for (const auto& other : known->second) {
      if (!other->stored) {
        continue;
      }
      std::vector<FieldDifference> differences = diff(space.descriptor, other->descriptor);
      if (nearest.empty() || differences.size() < nearest.size()) {
        nearest = std::move(differences);
      }
    }
  }
  if (nearest.empty()) {
    return "nothing was stored yet";
  }
  return fmt::format("nothing is stored in this space; the nearest one differs in {}",
                     to_string(nearest));
}

Result<uint32_t> HandleTable::add(const OpenSpace& open) {
  for (size_t i = 0; i < open_.size(); ++i) {
    if (open_[i].space == open.space && open_[i].worst_kl == open.worst_kl) {
      return static_cast<uint32_t>(i + 1);
    }
  }
  if (open_.size() == kHandlesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "{} spaces are open on this connection, the most there may be; open others "
                      "on a new one",
                      kHandlesMax);
  }
  open_.push_back(open);
  return static_cast<uint32_t>(open_.size());
}

Result<const OpenSpace*> HandleTable::find(uint32_t handle) const {
  if (handle == 0 || handle > open_.size()) {
    return SLUICE_ERR(Errc::unknown_handle,
                      "handle {}: this connection opened {} spaces; open the space first",
                      handle,
                      open_.size());
  }
  return &open_[handle - 1];
}

}  // namespace sluice::cache
