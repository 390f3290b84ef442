#include "tests/codec/forged_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "codec/codec.h"
#include "codec/elements.h"
#include "codec/kernels.h"
#include "codec/progressive.h"
#include "src/base/prng.h"

namespace sluice::codec {
namespace {

// The same values as the three lossy rows have them. Refinements depend on signs and on sizes up to
// 3, so a value from 3 on may become another one in the first row.
struct ForgedValues {
  std::vector<int16_t> first;    // of q3, up to 4095: nine of them are beyond 16 bits
  std::vector<int16_t> refined;  // what an encoder of refinements believes they are, of q1
};

std::vector<int16_t> coarsened(const std::vector<int16_t>& finest, Level level) {
  std::vector<int16_t> values(finest.size());
  scalar_kernels().coarsen(level, finest, values.data());
  return values;
}

ForgedValues forged_values(size_t count, Prng& prng) {
  ForgedValues values;
  for (size_t i = 0; i < count; ++i) {
    const auto kind = prng.below(24);
    int q = static_cast<int>(prng.below(61)) - 30;
    int first = coarsened({static_cast<int16_t>(q)}, Level::q3)[0];
    if (kind < 3) {
      q = 9 * (3 + static_cast<int>(prng.below(3000))) + static_cast<int>(prng.below(9)) - 4;
      // 9 x 3641 - 1 is 2^15.
      first = kind == 0 ? 3641 : 3500 + static_cast<int>(prng.below(596));
      q = prng.below(2) == 0 ? q : -q;
      first = q < 0 ? -first : first;
    }
    values.first.push_back(static_cast<int16_t>(first));
    values.refined.push_back(static_cast<int16_t>(q));
  }
  return values;
}

// Sections of one plane, all layers: bytes of each row.
using Rows = std::array<Bytes, kRowsMax>;

Rows forged_lossy_rows(const ProgressiveShape& shape, Prng& prng) {
  const ForgedValues values = forged_values(shape.values(), prng);
  const Bytes none(shape.exact_bytes() + kSeedBytes);
  const ExactTokens exact{.bits = ByteSpan(none).first(shape.exact_bytes()),
                          .vectors = ByteSpan(none).first(0)};
  Workspace workspace;
  Rows rows;
  std::fill_n(rows.begin(), 3, Bytes(6 * shape.values() + 4096));
  rows[0].resize(encode_values(shape, values.first, exact, rows[0], workspace));
  for (Level level : {Level::q2, Level::q1}) {
    Bytes& row = rows[level == Level::q2 ? 1 : 2];
    row.resize(
        encode_refinement(shape, level, rows[0], coarsened(values.refined, level), row, workspace));
  }
  return rows;
}

Bytes page_of(PageHeader& header, const std::vector<Rows>& planes, size_t rows) {
  Bytes body;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t plane = 0; plane < planes.size(); ++plane) {
      const Bytes& section = planes[plane][row];
      header.sections[header.section_index(row, 0, plane)] = {
          .bytes = static_cast<uint32_t>(section.size()), .flags = 0, .xxh3 = xxh3_64(section)};
      body.insert(body.end(), section.begin(), section.end());
    }
  }
  Result<Bytes> page = serialise_page_header(header);
  EXPECT_TRUE(page.has_value()) << page.error().to_string();
  page->insert(page->end(), body.begin(), body.end());
  return *page;
}

// The elements of one plane as a page gives them, [layer][channel][token].
std::vector<uint16_t> elements_of(const ProgressiveShape& shape,
                                  const PageGeometry& geometry,
                                  ByteSpan tensors) {
  std::vector<uint16_t> elements(shape.values());
  const LayerShape form{.channels = shape.channels,
                        .n_tokens = shape.n_tokens,
                        .dtype = shape.stored,
                        .stored = shape.stored};
  for (uint32_t layer = 0; layer < geometry.layers; ++layer) {
    gather_layer(
        form,
        scalar_kernels(),
        tensors.subspan(geometry.offset_bytes(layer, shape.plane),
                        geometry.plane_bytes(shape.plane)),
        bytes_of(std::span(elements).subspan(layer * shape.layer_values(), shape.layer_values())));
  }
  return elements;
}

// Behind restored elements, others: most near, some any bits; and some beyond the last of all,
// because what is encoded believes in a restored element nearer to zero.
Bytes forged_exact_row(const ProgressiveShape& shape,
                       const std::vector<uint16_t>& restored,
                       Prng& prng) {
  std::vector<uint16_t> believed = restored, wanted = restored;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto kind = prng.below(16);
    wanted[i] = static_cast<uint16_t>(kind == 0 ? prng.next() : restored[i] + prng.below(9));
    if (kind == 1) {
      wanted[i] |= 0x7fff;
      const int on_the_same_grid = (believed[i] & 0x7f00) != 0 ? 0xff80 : 0x8000;
      believed[i] = static_cast<uint16_t>(believed[i] & on_the_same_grid);
    }
  }
  Workspace workspace;
  Bytes row(8 * wanted.size());
  row.resize(encode_residuals(shape, Level::q1, believed, wanted, row, workspace));
  return row;
}

ProgressiveShape shape_of(const Profile& profile, const PageGeometry& geometry, size_t p) {
  const auto width = static_cast<uint32_t>(geometry.planes[p].width());
  return {.layers = profile.layers,
          .plane = p,
          .channels = width,
          .n_tokens = geometry.n_tokens,
          .vector_bytes = 2 * width,
          .stored = geometry.planes[p].dtype,
          .first_level = Level::q3};
}

Bytes decoded_page(const PageHeader& header, ByteSpan page, const Profile& profile) {
  Bytes out(header.geometry.bytes());
  Workspace workspace{.kernels = &scalar_kernels()};
  const Status status = decode_page(header, page, out, workspace, &profile);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  return out;
}

}  // namespace

ForgedPage forged_page(const Profile& profile, const PageGeometry& geometry, uint64_t seed) {
  Prng prng(seed);
  PageHeader header{.profile_digest = profile.digest,
                    .encoding = Encoding::progressive,
                    .first_position = 32,
                    .geometry = geometry,
                    .layers_per_section = layers_per_section(geometry),
                    .rows = profile.rows};
  std::vector<Rows> planes;
  for (size_t p = 0; p < geometry.planes.size(); ++p) {
    header.stored.push_back(geometry.planes[p].dtype);
    planes.push_back(forged_lossy_rows(shape_of(profile, geometry, p), prng));
  }
  header.sections.resize(3 * planes.size());
  const Bytes restored = decoded_page(header, page_of(header, planes, 3), profile);
  for (size_t p = 0; p < planes.size(); ++p) {
    const ProgressiveShape shape = shape_of(profile, geometry, p);
    planes[p][3] = forged_exact_row(shape, elements_of(shape, geometry, restored), prng);
  }
  header.rows.push_back(Row{});
  header.sections.resize(4 * planes.size());
  ForgedPage forged{.page = page_of(header, planes, 4)};
  forged.source = decoded_page(header, forged.page, profile);
  return forged;
}

}  // namespace sluice::codec
