// Descriptors and whole pages of a small model, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "codec/codec.h"
#include "src/base/prng.h"
#include "src/model/descriptor.h"

namespace sluice::cache {

// Four layers of one head: at 512 tokens one layer is one section a plane, so that layer ranges
// have something to cut; at 32 tokens a page has one section a plane.
inline Descriptor sample_descriptor(uint32_t page_tokens = 32) {
  Descriptor descriptor;
  descriptor.model_digest.fill(0x11);
  descriptor.layers = {0, 1, 2, 3};
  descriptor.heads = 1;
  descriptor.planes = {{PlaneRole::k, DType::f16, 1, 64, 0}, {PlaneRole::v, DType::f16, 1, 64, 0}};
  descriptor.page_tokens = page_tokens;
  return descriptor;
}

inline Bytes bytes_of(const Descriptor& descriptor) {
  Result<Bytes> bytes = encode_descriptor(descriptor);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  return *std::move(bytes);
}

inline Hash32 page_key_of(uint64_t number) {
  Hash32 key{};
  store_le<uint64_t>(key.data(), number);
  return key;
}

struct PageOptions {
  codec::Encoding encoding = codec::Encoding::direct;
  uint32_t provenance_kl = 0;
  uint64_t seed = 1;
  uint64_t first_position = 0;
  uint32_t values = 256;  // so many different ones
};

// A whole page of `geometry` under `key`, f16 values near 1 that `direct` shrinks.
inline Bytes make_page(const PageGeometry& geometry, const Hash32& key, PageOptions options = {}) {
  Prng prng(options.seed);
  Bytes tensors(geometry.bytes());
  for (size_t i = 0; i + 1 < tensors.size(); i += 2) {
    store_le<uint16_t>(tensors.data() + i,
                       static_cast<uint16_t>(0x3c00 + prng.below(options.values)));
  }
  codec::Workspace workspace;
  Bytes page(*codec::encode_bound(geometry));
  Result<size_t> bytes = codec::encode_page({.page_key = key,
                                             .encoding = options.encoding,
                                             .provenance_kl = options.provenance_kl,
                                             .first_position = options.first_position,
                                             .geometry = geometry},
                                            tensors,
                                            page,
                                            workspace);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  page.resize(*bytes);
  return page;
}

struct RowsOptions {
  std::vector<codec::Row> rows = {{codec::Level::q3, 26000},
                                  {codec::Level::q2, 1500},
                                  {codec::Level::q1, 100},
                                  {codec::Level::exact, 0}};
  uint32_t provenance_kl = 0;
  uint64_t seed = 1;
};

// What make_rows_page() names as its profile.
inline const Bytes kRowsProfile(100, 0x22);

// A `progressive` page whose sections are random bytes: the daemon never looks inside.
inline Bytes make_rows_page(const PageGeometry& geometry,
                            const Hash32& key,
                            const RowsOptions& options = {}) {
  Prng prng(options.seed);
  codec::PageHeader header;
  header.page_key = key;
  header.profile_digest = sha256(kRowsProfile);
  header.encoding = codec::Encoding::progressive;
  header.provenance_kl = options.provenance_kl;
  header.geometry = geometry;
  for (const Plane& plane : geometry.planes) {
    header.stored.push_back(plane.dtype);
  }
  header.layers_per_section = codec::layers_per_section(geometry);
  header.rows = options.rows;
  Bytes body;
  const size_t sections = header.rows.size() * header.layer_groups() * geometry.planes.size();
  for (size_t i = 0; i < sections; ++i) {
    Bytes section(1 + prng.below(400));
    for (uint8_t& byte : section) {
      byte = static_cast<uint8_t>(prng.next());
    }
    header.sections.push_back(
        {.bytes = static_cast<uint32_t>(section.size()), .xxh3 = xxh3_64(section)});
    body.insert(body.end(), section.begin(), section.end());
  }
  Result<Bytes> page = codec::serialise_page_header(header);
  EXPECT_TRUE(page.has_value()) << page.error().to_string();
  page->insert(page->end(), body.begin(), body.end());
  return *std::move(page);
}

// The page without the rows behind the first `rows`.
inline Bytes first_rows(const Bytes& page, size_t rows) {
  const codec::PageHeader header = *codec::parse_page_header(page);
  const auto range = *codec::select_sections(header, rows - 1, 0, header.geometry.layers);
  return Bytes(page.begin(), page.begin() + static_cast<ptrdiff_t>(range.offset + range.bytes));
}

// Its header, and the rows from `first` on, `rows` of them.
inline Bytes later_rows(const Bytes& page, size_t first, size_t rows) {
  const codec::PageHeader header = *codec::parse_page_header(page);
  const auto range = *codec::select_sections(header, first, 0, header.geometry.layers);
  Bytes out(page.begin(), page.begin() + static_cast<ptrdiff_t>(header.header_bytes()));
  const Bytes front = first_rows(page, first + rows);
  out.insert(out.end(), front.begin() + static_cast<ptrdiff_t>(range.offset), front.end());
  return out;
}

inline codec::EncodingId encoding_id_of_page(const Bytes& page) {
  return codec::encoding_id(ByteSpan(page).first(codec::parse_page_header(page)->header_bytes()));
}

}  // namespace sluice::cache
