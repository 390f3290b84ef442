#include "src/model/geometry.h"

#include "src/base/limits.h"

namespace sluice {

uint32_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::f8_e4m3:
    case DType::f8_e5m2:
    case DType::u8:
      return 1;
  }
  return 0;
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::f8_e4m3:
      return "f8_e4m3";
    case DType::f8_e5m2:
      return "f8_e5m2";
    case DType::u8:
      return "u8";
  }
  return "unknown";
}

std::string_view role_name(PlaneRole role) {
  switch (role) {
    case PlaneRole::k:
      return "k";
    case PlaneRole::v:
      return "v";
    case PlaneRole::latent:
      return "latent";
    case PlaneRole::index:
      return "index";
    case PlaneRole::state:
      return "state";
    case PlaneRole::opaque:
      return "opaque";
  }
  return "unknown";
}

Result<DType> dtype_from_wire(uint8_t value) {
  if (dtype_bytes(static_cast<DType>(value)) == 0) {
    return SLUICE_ERR(Errc::bad_value, "dtype {} is none of 1..6", value);
  }
  return static_cast<DType>(value);
}

Result<PlaneRole> role_from_wire(uint8_t value) {
  if (role_name(static_cast<PlaneRole>(value)) == "unknown") {
    return SLUICE_ERR(Errc::bad_value, "plane role {} is none of 1..6", value);
  }
  return static_cast<PlaneRole>(value);
}

uint64_t PageGeometry::elements() const {
  uint64_t width = 0;
  for (const Plane& plane : planes) {
    width += plane.width();
  }
  return width * n_tokens * layers;
}

uint64_t PageGeometry::plane_bytes(size_t plane) const {
  return planes[plane].width() * n_tokens * dtype_bytes(planes[plane].dtype);
}

uint64_t PageGeometry::layer_bytes() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < planes.size(); ++i) {
    sum += plane_bytes(i);
  }
  return sum;
}

uint64_t PageGeometry::bytes() const {
  return layer_bytes() * layers;
}

uint64_t PageGeometry::offset_bytes(uint32_t layer, size_t plane) const {
  uint64_t offset = layer * layer_bytes();
  for (size_t i = 0; i < plane; ++i) {
    offset += plane_bytes(i);
  }
  return offset;
}

Status PageGeometry::validate() const {
  if (planes.empty() || planes.size() > kPlanesMax) {
    return SLUICE_ERR(Errc::bad_value, "{} planes, expected 1..{}", planes.size(), kPlanesMax);
  }
  if (layers == 0 || layers > kLayersMax) {
    return SLUICE_ERR(Errc::bad_value, "{} layers, expected 1..{}", layers, kLayersMax);
  }
  if (n_tokens == 0 || n_tokens > kPageTokensMax) {
    return SLUICE_ERR(
        Errc::bad_value, "{} tokens a page, expected 1..{}", n_tokens, kPageTokensMax);
  }
  for (const Plane& plane : planes) {
    SLUICE_CHECK(dtype_from_wire(static_cast<uint8_t>(plane.dtype)));
    SLUICE_CHECK(role_from_wire(static_cast<uint8_t>(plane.role)));
    if (plane.heads == 0 || plane.dim == 0 || plane.rotated_dims > plane.dim) {
      return SLUICE_ERR(Errc::bad_value,
                        "plane {}: {} heads of {} dims, {} of them rotated",
                        role_name(plane.role),
                        plane.heads,
                        plane.dim,
                        plane.rotated_dims);
    }
    // The width is bounded first, so that no product below overflows 64 bits.
    if (plane.width() > kPageBytesMax || plane.width() * n_tokens > kPageBytesMax) {
      return SLUICE_ERR(Errc::too_large,
                        "plane {}: {} elements a token x {} tokens exceeds {} a page",
                        role_name(plane.role),
                        plane.width(),
                        n_tokens,
                        kPageBytesMax);
    }
  }
  if (bytes() > kPageBytesMax) {
    return SLUICE_ERR(Errc::too_large, "page of {} bytes exceeds {}", bytes(), kPageBytesMax);
  }
  return {};
}

}  // namespace sluice
