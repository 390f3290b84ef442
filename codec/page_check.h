// What a page header promises beside its bytes: every value in range, and all of them consistent.
// Private to codec/; used when a header is read and when one is written.
#pragma once

#include <span>
#include <string_view>

#include "codec/page.h"

namespace sluice::codec {

// Roles that `direct` and `progressive` code; others travel raw.
bool is_tensor_role(PlaneRole role);

// True if sections of this plane may be coded. Requires: plane is in range.
bool is_codable(const PageHeader& header, size_t plane);

// Layers in a group of layers_per_section; the last one may be short. Requires: group is in range.
uint32_t layers_in_group(const PageHeader& header, uint32_t group);

// Errors: bad_value, too_large.
Status check_page_geometry(const PageGeometry& geometry);

// The rows of a `progressive` page or of its profile. `what` begins the text. Errors: bad_value.
Status check_lossy_rows(std::span<const Row> rows, std::string_view what);

// Errors: bad_value, too_large, reserved_set, unsupported.
Status check_page_header(const PageHeader& header);

}  // namespace sluice::codec
