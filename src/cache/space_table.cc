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
  known.push_front(
      std::make_shared<Space>(Space{.tenant = tenant,
                                    .id = id,
                                    .bytes = Bytes(descriptor.begin(), descriptor.end()),
                                    .geometry = shape}));
  if (known.size() > kSpacesPerTenantMax) {
    known.pop_back();
  }
  return known.front();
}

std::string SpaceTable::explain_miss(const Space& space) const {
  if (space.stored) {
    return "this space is known, but none of these pages is stored: other tokens, or evicted";
  }
  const Space* nearest = nullptr;
  size_t fewest = SIZE_MAX;
  if (auto known = tenants_.find(space.tenant); known != tenants_.end()) {
    for (const auto& other : known->second) {
      const size_t differences =
          other->stored ? count_differences(space.bytes, other->bytes) : SIZE_MAX;
      if (differences < fewest) {
        nearest = other.get();
        fewest = differences;
      }
    }
  }
  if (nearest == nullptr) {
    return "nothing was stored yet";
  }
  return fmt::format(
      "nothing is stored in this space; the nearest one differs in {}",
      to_string(diff(*parse_descriptor(space.bytes), *parse_descriptor(nearest->bytes))));
}

Result<uint32_t> HandleTable::add(const OpenSpace& open) {
  for (size_t i = 0; i < open_.size(); ++i) {
    if (open_[i].space == open.space && open_[i].worst_kl == open.worst_kl) {
      return static_cast<uint32_t>(i + 1);
    }
  }
  const size_t bytes = descriptor_bytes_ + open.space->bytes.size();
  if (open_.size() == kHandlesMax || bytes > kHandleBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "{} spaces with descriptors of {} bytes are open on this connection, at most "
                      "{} and {}; open others on a new one",
                      open_.size(),
                      descriptor_bytes_,
                      kHandlesMax,
                      kHandleBytesMax);
  }
  open_.push_back(open);
  descriptor_bytes_ = bytes;
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
