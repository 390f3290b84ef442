// Pages of random shapes, profiles and KV: what every progressive page promises, by seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>

#include "codec/codec.h"
#include "codec/elements.h"
#include "codec/kernels.h"
#include "codec/profile_layout.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

template <class T, size_t kCount>
T one_of(Prng& prng, const std::array<T, kCount>& all) {
  return all[prng.below(kCount)];
}

// Keys and values of one shape or of two, one head for all queries, or a latent; and beside them
// what a profile does not code.
PageGeometry random_geometry(Prng& prng, DType dtype) {
  PageGeometry geometry{.layers = 1 + static_cast<uint32_t>(prng.below(5)),
                        .n_tokens = 32 * (1 + static_cast<uint32_t>(prng.below(3)))};
  const auto heads = static_cast<uint32_t>(1 + prng.below(4));
  const auto dim = one_of(prng, std::array{32u, 64u, 96u, 128u, 192u, 256u});
  const auto kind = prng.below(5);
  if (kind == 0) {
    geometry.planes = {{PlaneRole::latent, dtype, 1, 576, 64}};
  } else {
    const uint32_t v_dim = kind == 1 ? 16u + dim / 2 : dim;
    const uint32_t rotated = kind == 2 ? dim / 2 : dim;
    geometry.planes = {{PlaneRole::k, dtype, heads, dim, rotated},
                       {PlaneRole::v, dtype, heads, v_dim, 0}};
  }
  if (prng.below(3) == 0) {
    geometry.planes.push_back({PlaneRole::index, DType::u8, 1, 40, 0});
  }
  return geometry;
}

// A basis of its own for each block, and some layers with a window, which are not rotated.
Profile random_profile(Prng& prng, const PageGeometry& geometry, RopePairing pairing) {
  Profile profile = sample_profile(geometry, pairing, prng.next());
  profile.rows = {{Level::q3, 9000}, {Level::q2, 900}, {Level::q1, 90}};
  profile.rows.erase(profile.rows.begin(),
                     profile.rows.begin() + static_cast<ptrdiff_t>(prng.below(3)));
  for (LayerModel& layer : profile.layers) {
    layer.rotation = prng.below(4) == 0 ? kNotRotated : layer.rotation;
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      PlaneModel& model = layer.planes[p];
      if (model.channels.empty()) {
        continue;
      }
      model.step_bits = 3 + static_cast<uint32_t>(prng.below(5));
      for (ChannelModel& channel : model.channels) {
        channel.shift = static_cast<uint8_t>(channel.shift + model.step_bits - 3);
      }
      const Plane& plane = geometry.planes[p];
      // Of one head or of two.
      const uint32_t whole =
          (plane.heads % 2 == 0 ? 1 + static_cast<uint32_t>(prng.below(2)) : 1) * plane.dim;
      const auto kind = static_cast<BasisKind>(prng.below(whole <= kMatrixChannelsMax ? 3 : 2));
      add_basis(model, kind, whole, prng);
    }
  }
  return parsed(profile, pairing);
}

struct RandomPage {
  PageGeometry geometry;
  Profile profile;
  PageSpec spec;
  Bytes tensors;
  Bytes page;

  explicit RandomPage(uint64_t seed) {
    Prng prng(seed);
    const auto dtype = one_of(prng, std::array{DType::bf16, DType::f16, DType::f32, DType::f32});
    const auto pairing = one_of(prng, std::array{RopePairing::neox, RopePairing::interleaved});
    geometry = random_geometry(prng, dtype);
    profile = random_profile(prng, geometry, pairing);
    spec = {.encoding = Encoding::progressive,
            .first_position = prng.below(3) == 0 ? prng.next() >> 20 : prng.below(8),
            .geometry = geometry,
            .profile = &profile,
            .exact_row = true};
    tensors = tensors_of(profile, geometry, spec.first_position, prng.next());
    put_special_values(prng, dtype);
    page = encoded(spec, tensors);
  }

  RandomPage(const RandomPage&) = delete;
  RandomPage& operator=(const RandomPage&) = delete;

  // Any bits here and there, and f32 that is exactly bf16 or f16.
  void put_special_values(Prng& prng, DType dtype) {
    const uint64_t rarity = one_of(prng, std::array<uint64_t, 3>{20, 2000, 1000000});
    const bool from_halves = prng.below(2) == 0;
    for (uint32_t layer = 0; layer < geometry.layers; ++layer) {
      const size_t planes = geometry.planes.back().dtype == DType::u8 ? geometry.planes.size() - 1
                                                                      : geometry.planes.size();
      for (size_t plane = 0; plane < planes; ++plane) {
        uint8_t* at = tensors.data() + geometry.offset_bytes(layer, plane);
        uint8_t* end = at + geometry.plane_bytes(plane);
        for (; at < end; at += dtype_bytes(dtype)) {
          const bool special = prng.below(rarity) == 0;
          const auto any = static_cast<uint16_t>(prng.next());
          if (dtype != DType::f32) {
            store_le(at, special ? any : load_le<uint16_t>(at));
          } else if (from_halves) {
            const float number = std::bit_cast<float>(load_le<uint32_t>(at));
            const auto half = static_cast<uint16_t>(to_bits(DType::f16, double{number}));
            store_le(at, widen_f16(special ? any : half));
          } else {
            store_le(at, (special ? uint32_t{any} << 16 : load_le<uint32_t>(at)) & 0xffff0000);
          }
        }
      }
    }
  }

  Bytes rows_of(size_t rows, Workspace& workspace) const {
    const PageHeader header = *parse_page_header(page);
    const uint64_t end = header.section_offset(header.section_index(rows, 0, 0));
    Bytes out(geometry.bytes());
    const Status done = decode_page(header, ByteSpan(page).first(end), out, workspace, &profile);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    return out;
  }

  // The sections that hold some layers, of the first rows.
  Bytes layers_of(size_t rows, uint32_t first, uint32_t count, Workspace& workspace) const {
    const PageHeader header = *parse_page_header(page);
    Bytes bytes;
    SectionRange range;
    for (size_t row = 0; row < rows; ++row) {
      range = *select_sections(header, row, first, count);
      const auto begin = page.begin() + static_cast<ptrdiff_t>(range.offset);
      bytes.insert(bytes.end(), begin, begin + static_cast<ptrdiff_t>(range.bytes));
    }
    Bytes out(range.layers * geometry.layer_bytes());
    const Status done = decode_layers(header, rows, first, count, bytes, out, workspace, &profile);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    return out;
  }
};

constexpr uint64_t kPages = 16;

// The same for all tests: most of their time goes into encoding.
const RandomPage& page_of(uint64_t seed) {
  static std::map<uint64_t, std::unique_ptr<RandomPage>> pages;
  std::unique_ptr<RandomPage>& page = pages[seed];
  if (page == nullptr) {
    page = std::make_unique<RandomPage>(seed);
  }
  return *page;
}

class RandomPages : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomPages, GiveTheSourceWithAllRows) {
  const RandomPage& subject = page_of(GetParam());
  EXPECT_EQ(decoded(subject.page, &subject.profile), subject.tensors);
}

TEST_P(RandomPages, DecodeAlikeWithAllKernelsAtEveryRow) {
  const RandomPage& subject = page_of(GetParam());
  Workspace plain{.kernels = &scalar_kernels()}, best;  // used again and again
  for (size_t rows = parse_page_header(subject.page)->rows.size(); rows > 0; --rows) {
    EXPECT_EQ(subject.rows_of(rows, best), subject.rows_of(rows, plain)) << rows;
  }
}

TEST_P(RandomPages, AreTheSameBytesFromAllKernels) {
  const RandomPage& subject = page_of(GetParam());
  Workspace plain{.kernels = &scalar_kernels()};
  Bytes page(encode_bound(subject.geometry, kRowsMax).value());
  page.resize(encode_page(subject.spec, subject.tensors, page, plain).value());
  EXPECT_EQ(page, subject.page);
}

TEST_P(RandomPages, DecodeAnyLayersAsTheyStandInThePage) {
  const RandomPage& subject = page_of(GetParam());
  const PageHeader header = *parse_page_header(subject.page);
  Prng prng(GetParam());
  Workspace workspace;
  for (size_t rows = 1; rows <= header.rows.size(); ++rows) {
    const Bytes all = subject.rows_of(rows, workspace);
    for (int round = 0; round < 3; ++round) {
      const auto first = static_cast<uint32_t>(prng.below(header.geometry.layers));
      const auto count = 1 + static_cast<uint32_t>(prng.below(header.geometry.layers - first));
      const Bytes some = subject.layers_of(rows, first, count, workspace);
      const SectionRange range = *select_sections(header, 0, first, count);
      ASSERT_LE(range.first_layer, first);
      ASSERT_GE(range.first_layer + range.layers, first + count);
      const size_t at = header.geometry.offset_bytes(range.first_layer, 0);
      EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + static_cast<ptrdiff_t>(at)));
    }
  }
}

// Rows that come later change nothing before them: a page of fewer rows is the front of this one.
TEST_P(RandomPages, AddRowsBehindThoseThatAreThere) {
  const RandomPage& subject = page_of(GetParam());
  const PageHeader header = *parse_page_header(subject.page);
  Workspace workspace;
  for (uint32_t rows = 1; rows < header.rows.size(); ++rows) {
    PageSpec spec = subject.spec;
    spec.lossy_rows = rows;
    const Bytes fewer = encoded(spec, subject.tensors);
    const PageHeader its = *parse_page_header(fewer);
    const size_t sections = header.sections.size() / header.rows.size();
    for (size_t i = 0; i < rows * sections; ++i) {
      // Whether a section is stored raw depends on all rows.
      const bool raw = header.sections[i % sections].flags != its.sections[i % sections].flags;
      EXPECT_TRUE(raw || header.sections[i] == its.sections[i]) << rows << " rows, section " << i;
    }
    EXPECT_EQ(decoded(fewer, &subject.profile), subject.tensors);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPages, testing::Range<uint64_t>(0, kPages));

// The seeds above come to each of what they are for.
TEST(RandomPagesOfAllSeeds, HaveEveryShape) {
  size_t groups = 0, raw = 0, coded = 0, latent = 0, unequal = 0, one_head = 0, halves = 0;
  size_t bases[3] = {0, 0, 0};
  for (uint64_t seed = 0; seed < kPages; ++seed) {
    const RandomPage& subject = page_of(seed);
    const PageHeader header = *parse_page_header(subject.page);
    const std::vector<Plane>& planes = header.geometry.planes;
    groups += header.layer_groups() > 1 && header.geometry.layers % header.layers_per_section != 0;
    raw += header.sections[0].flags;
    coded += header.sections[0].flags == 0;
    latent += planes[0].role == PlaneRole::latent;
    unequal += planes.size() > 1 && planes[0].dim != planes[1].dim;
    one_head += planes[0].role == PlaneRole::k && planes[0].heads == 1;
    halves += planes[0].dtype == DType::f32 && header.stored[0] == DType::f16;
    for (const LayerModel& layer : subject.profile.layers) {
      const Basis& basis = layer.planes[0].basis;
      ++bases[!basis.pairs.empty() ? kGivens : !basis.matrices.empty() ? kMatrices : kIdentity];
    }
  }
  EXPECT_GT(std::min({groups, raw, coded, latent, unequal, one_head, halves}), 0u);
  EXPECT_GT(*std::min_element(bases, bases + 3), 0u);
}

}  // namespace
}  // namespace sluice::codec
