// Property: with any profile, tensors of 16 bits, and f32 that are no more, come back bit for bit
// from all rows, and every row before the last decodes; encoding and decoding give the same bytes
// with all kernels.
#include <algorithm>

#include "codec/codec.h"
#include "src/base/prng.h"
#include "tests/fuzz/every_kernel.h"

using namespace sluice;
using namespace sluice::codec;

namespace {

Basis any_basis(Prng& prng, uint32_t heads, uint32_t dim) {
  const auto factor = [&] {
    return static_cast<int16_t>(static_cast<int>(prng.below(65535)) - 32767);
  };
  const auto width = static_cast<uint16_t>(heads * dim);
  const auto kind = prng.below(3);
  Basis basis;
  if (kind == 1 && width % 2 == 0) {
    for (uint64_t stages = 1 + prng.below(4); stages > 0; --stages) {
      const auto apart = static_cast<uint16_t>(prng.below(width / 2u));
      for (uint16_t i = 0; i < width / 2; ++i) {
        const auto other = static_cast<uint16_t>(width / 2 + (i + apart) % (width / 2));
        basis.pairs.push_back({i, other, factor(), factor()});
      }
    }
  } else if (kind == 2) {
    basis.matrix_channels = prng.below(2) == 0 ? dim : width;
    basis.matrices.resize(width * basis.matrix_channels);
    std::generate(basis.matrices.begin(), basis.matrices.end(), factor);
  }
  return basis;
}

Profile any_profile(Prng& prng, const PageGeometry& geometry) {
  Profile profile{.pairing = prng.below(2) == 0 ? RopePairing::neox : RopePairing::interleaved,
                  .sinks = static_cast<uint32_t>(prng.below(3)),
                  .planes = geometry.planes,
                  .rows = {{Level::q3, 9000}, {Level::q2, 900}, {Level::q1, 90}},
                  .frequencies = {{}}};
  profile.digest[0] = 1;
  profile.rows.erase(profile.rows.begin(),
                     profile.rows.begin() + static_cast<ptrdiff_t>(prng.below(3)));
  for (uint32_t pair = 0; pair < geometry.planes[0].rotated_dims / 2; ++pair) {
    profile.frequencies[0].push_back(prng.next());
  }
  for (uint32_t i = 0; i < geometry.layers; ++i) {
    LayerModel layer{.layer = i, .rotation = prng.below(3) == 0 ? kNotRotated : 0};
    for (const Plane& plane : geometry.planes) {
      PlaneModel model{.exponent = static_cast<int>(prng.below(191)) - 64,
                       .step_bits = 3 + static_cast<uint32_t>(prng.below(5)),
                       .basis = any_basis(prng, plane.heads, plane.dim)};
      model.exponent = prng.below(2) == 0 ? 12 : model.exponent;
      for (uint64_t c = 0; c < plane.width(); ++c) {
        model.channels.push_back({.mean = static_cast<int32_t>(prng.below(2048)) - 1024,
                                  .mantissa = static_cast<uint16_t>(16384 + prng.below(16384)),
                                  .shift = static_cast<uint8_t>(8 + prng.below(23)),
                                  .scale = static_cast<uint8_t>(prng.below(32))});
      }
      layer.planes.push_back(std::move(model));
    }
    profile.layers.push_back(std::move(layer));
  }
  return profile;
}

// 16 bits from the input each time; an f32 is the bf16 that they are.
Bytes tensors_from(const uint8_t* data, size_t size, const PageGeometry& geometry) {
  Bytes tensors(geometry.bytes());
  const bool wide = geometry.planes[0].dtype == DType::f32;
  for (size_t i = 0, taken = 0; i < tensors.size(); ++i) {
    tensors[i] = wide && i % 4 < 2 ? 0 : data[taken++ % size];
  }
  return tensors;
}

}  // namespace

// The first bytes of the input choose geometry and profile, the rest are the tensors, repeated.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 12) {
    return 0;
  }
  const auto dtype = static_cast<DType>(1 + data[0] % 3);
  const uint32_t heads = 1 + data[1] % 3u;
  const uint32_t dim = 2 * (1 + data[2] % 12u);
  const uint32_t v_dim = 1 + data[3] % 24u;
  PageSpec spec{.encoding = Encoding::progressive,
                .first_position = data[4],
                .geometry = {.planes = {{PlaneRole::k, dtype, heads, dim, data[5] % 2 * dim},
                                        {PlaneRole::v, dtype, 1, v_dim, 0}},
                             .layers = 1 + data[6] % 3u,
                             .n_tokens = 32 * (1 + data[7] % 2u)},
                .exact_row = true};
  Prng prng(load_le<uint16_t>(data + 8));
  const Profile profile = any_profile(prng, spec.geometry);
  spec.profile = &profile;
  const Bytes tensors = tensors_from(data + 10, size - 10, spec.geometry);
  Workspace workspace;
  Bytes page(encode_bound(spec.geometry, kRowsMax).value());
  Bytes twin(page.size());
  Result<size_t> bytes = encode_page(spec, tensors, page, workspace);
  SLUICE_ASSERT(bytes.has_value());
  page.resize(*bytes);
  Workspace plain{.kernels = &scalar_kernels()};
  SLUICE_ASSERT(encode_page(spec, tensors, twin, plain).has_value());
  SLUICE_ASSERT(std::equal(page.begin(), page.end(), twin.begin()));
  Result<PageHeader> header = verify_page(page);
  SLUICE_ASSERT(header.has_value());
  Bytes back(tensors.size());
  for (size_t rows = 1; rows <= header->rows.size(); ++rows) {
    const uint64_t end = header->section_offset(header->section_index(rows, 0, 0));
    const ByteSpan first = ByteSpan(page).first(end);
    SLUICE_ASSERT(decode_by_all(*header, first, back, &profile).has_value());
  }
  SLUICE_ASSERT(back == tensors);
  return 0;
}
