#include "tests/codec/sample_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "codec/elements.h"
#include "codec/page_check.h"
#include "codec/profile_layout.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

double step_of(const PlaneModel& model, const ChannelModel& channel) {
  return std::ldexp(channel.mantissa,
                    static_cast<int>(model.step_bits) - channel.shift - model.exponent);
}

double number(DType dtype, const uint8_t* at) {
  uint32_t bits = dtype == DType::f32    ? load_le<uint32_t>(at)
                  : dtype == DType::bf16 ? uint32_t{load_le<uint16_t>(at)} << 16
                                         : widen_f16(load_le<uint16_t>(at));
  return static_cast<double>(std::bit_cast<float>(bits));
}

// A token's vector turned by its position, or back.
void turn(const Profile& profile,
          const LayerModel& layer,
          const Plane& plane,
          uint64_t position,
          int direction,
          std::vector<double>& vector) {
  if (layer.rotation == kNotRotated) {
    return;
  }
  const std::vector<uint64_t>& list = profile.frequencies[static_cast<size_t>(layer.rotation)];
  size_t pairs = plane.rotated_dims / 2;
  bool neox = profile.pairing == RopePairing::neox;
  for (size_t head = 0; head < plane.heads; ++head) {
    for (size_t pair = 0; pair < pairs; ++pair) {
      double phase = std::ldexp(static_cast<double>(position * list[pair]), -64);
      double angle = direction * 2 * std::numbers::pi * phase;
      double& x = vector[head * plane.dim + (neox ? pair : 2 * pair)];
      double& y = vector[head * plane.dim + (neox ? pair + pairs : 2 * pair + 1)];
      double turned = x * std::cos(angle) - y * std::sin(angle);
      y = y * std::cos(angle) + x * std::sin(angle);
      x = turned;
    }
  }
}

void write_plane(ByteWriter& out, const Plane& plane) {
  out.write(static_cast<uint8_t>(plane.role)).write_zeros(3);
  out.write(static_cast<uint16_t>(plane.heads)).write_zeros(2);
  out.write(plane.dim).write(plane.rotated_dims);
}

void write_block(ByteWriter& out, const PlaneModel& model) {
  const Basis& basis = model.basis;
  const size_t stages = 2 * basis.pairs.size() / model.channels.size();
  const uint8_t kind = !basis.pairs.empty()      ? kGivens
                       : !basis.matrices.empty() ? kMatrices
                                                 : kIdentity;
  out.write(static_cast<uint8_t>(model.exponent)).write(static_cast<uint8_t>(model.step_bits - 3));
  out.write(kind).write(static_cast<uint8_t>(stages));
  out.write(static_cast<uint16_t>(basis.matrix_channels)).write_zeros(2);
  for (const ChannelModel& channel : model.channels) {
    out.write(static_cast<uint32_t>(channel.mean)).write(channel.mantissa);
    out.write(channel.shift).write(channel.scale);
  }
  for (const GivensPair& pair : basis.pairs) {
    out.write(pair.first).write(pair.second);
    out.write(static_cast<uint16_t>(pair.cosine)).write(static_cast<uint16_t>(pair.sine));
  }
  for (int16_t factor : basis.matrices) {
    out.write(static_cast<uint16_t>(factor));
  }
}

// Every channel with another one, a stage after the other.
std::vector<GivensPair> random_pairs(size_t channels, size_t stages, Prng& prng) {
  std::vector<GivensPair> pairs;
  for (size_t stage = 0; stage < stages; ++stage) {
    std::vector<uint16_t> order(channels);
    std::iota(order.begin(), order.end(), uint16_t{0});
    for (size_t i = channels; i > 1; --i) {
      std::swap(order[i - 1], order[prng.below(i)]);
    }
    for (size_t i = 0; i < channels; i += 2) {
      const double angle = 2 * std::numbers::pi * prng.unit();
      const auto factor = [](double value) {
        return static_cast<int16_t>(std::lround(32767 * value));
      };
      pairs.push_back({order[i], order[i + 1], factor(std::cos(angle)), factor(std::sin(angle))});
    }
  }
  return pairs;
}

ChannelModel sample_channel(Prng& prng) {
  ChannelModel channel;
  channel.mantissa = static_cast<uint16_t>(kMantissaMin + prng.below(1u << 14));
  channel.shift = static_cast<uint8_t>(9 + prng.below(5));
  channel.scale = static_cast<uint8_t>(prng.below(8) == 0 ? prng.below(32) : 6 + prng.below(12));
  double spread = prng.below(3) == 0 ? 200 : 2;  // steps, which are up to 2^9 units
  channel.mean = static_cast<int32_t>(spread * 128 * (2 * prng.unit() - 1));
  return channel;
}

}  // namespace

Bytes profile_file(const Profile& profile) {
  size_t pairs = 0;
  for (const Plane& plane : profile.planes) {
    pairs = std::max<size_t>(pairs, plane.rotated_dims / 2);
  }
  ByteWriter out;
  out.write(kMagicValue).write(kVersionValue).write_zeros(12);
  out.write(static_cast<uint8_t>(profile.planes.size()));
  out.write(static_cast<uint8_t>(profile.rows.size())).write(uint8_t{0});
  out.write(static_cast<uint8_t>(profile.pairing)).write_bytes(profile.model_digest);
  out.write(static_cast<uint32_t>(profile.layers.size())).write(profile.first_head);
  out.write(profile.sinks).write(static_cast<uint32_t>(pairs));
  out.write(static_cast<uint16_t>(profile.frequencies.size()));
  out.write(static_cast<uint16_t>(profile.note.size()));
  size_t extras = 0;
  for (const ProfileExtra& extra : profile.extras) {
    extras += kExtraHeadBytes + extra.content.size();
  }
  out.write(static_cast<uint32_t>(extras)).write_zeros(16);
  for (const Plane& plane : profile.planes) {
    write_plane(out, plane);
  }
  for (const Row& row : profile.rows) {
    out.write(static_cast<uint8_t>(row.level)).write_zeros(3).write(row.kl);
  }
  for (const std::vector<uint64_t>& list : profile.frequencies) {
    for (uint64_t frequency : list) {
      out.write(frequency);
    }
  }
  for (const LayerModel& layer : profile.layers) {
    out.write(layer.layer);
    out.write(layer.rotation == kNotRotated ? kNoRotation : static_cast<uint8_t>(layer.rotation));
    out.write_zeros(3);
  }
  for (const LayerModel& layer : profile.layers) {
    for (const PlaneModel& model : layer.planes) {
      if (!model.channels.empty()) {
        write_block(out, model);
      }
    }
  }
  for (const ProfileExtra& extra : profile.extras) {
    out.write(extra.kind).write(static_cast<uint32_t>(extra.content.size()));
    out.write_bytes(extra.content);
  }
  out.write_bytes(as_bytes(profile.note));
  Bytes file = std::move(out).take();
  restamp_profile(file);
  return file;
}

Profile sample_profile(const PageGeometry& geometry, RopePairing pairing, uint64_t seed) {
  Prng prng(seed);
  Profile profile{.pairing = pairing, .sinks = 4, .rows = {{Level::q1, 21000}}, .note = "made up"};
  profile.model_digest[0] = static_cast<uint8_t>(seed);
  size_t pairs = 0;
  for (Plane plane : geometry.planes) {
    plane.dtype = DType::f16;  // as a reader has it, which finds none in the file
    profile.planes.push_back(plane);
    pairs = std::max<size_t>(pairs, plane.rotated_dims / 2);
  }
  if (pairing != RopePairing::none) {
    profile.frequencies.emplace_back();
    for (size_t pair = 0; pair < pairs; ++pair) {
      double exponent = -static_cast<double>(pair) / static_cast<double>(pairs);
      double turns = std::pow(10000.0, exponent) / (2 * std::numbers::pi);
      profile.frequencies[0].push_back(static_cast<uint64_t>(std::ldexp(turns, 64)));
    }
  }
  for (uint32_t i = 0; i < geometry.layers; ++i) {
    bool last = geometry.layers >= 3 && i + 1 == geometry.layers;
    LayerModel layer{.layer = 2 * i,
                     .rotation = pairing == RopePairing::none || last ? kNotRotated : 0};
    for (const Plane& plane : geometry.planes) {
      PlaneModel model;
      if (is_tensor_role(plane.role)) {
        model.exponent = 10 + static_cast<int>(prng.below(3));
        for (uint64_t c = 0; c < plane.width(); ++c) {
          model.channels.push_back(sample_channel(prng));
        }
      }
      layer.planes.push_back(std::move(model));
    }
    profile.layers.push_back(std::move(layer));
  }
  return profile;
}

void add_basis(PlaneModel& model, BasisKind kind, size_t matrix_channels, Prng& prng) {
  if (kind == kGivens) {
    model.basis.pairs = random_pairs(model.channels.size(), 6, prng);
  } else if (kind == kMatrices) {
    // Columns are what stages make of unit vectors.
    model.basis.matrix_channels = static_cast<uint32_t>(matrix_channels);
    for (size_t group = 0; group < model.channels.size() / matrix_channels; ++group) {
      const Basis stages{.pairs = random_pairs(matrix_channels, 6, prng)};
      std::vector<int16_t> matrix(matrix_channels * matrix_channels), scratch;
      for (size_t i = 0; i < matrix_channels; ++i) {
        matrix[i * matrix_channels + i] = 32767;
      }
      to_channels(stages, matrix_channels, matrix, scratch);
      model.basis.matrices.insert(model.basis.matrices.end(), matrix.begin(), matrix.end());
    }
  }
}

void add_basis(Profile& profile, BasisKind kind, uint64_t seed) {
  Prng prng(seed);
  profile.rows = {{Level::q3, 21000}, {Level::q2, 2100}, {Level::q1, 210}};
  for (LayerModel& layer : profile.layers) {
    for (size_t p = 0; p < layer.planes.size(); ++p) {
      PlaneModel& model = layer.planes[p];
      if (model.channels.empty()) {
        continue;
      }
      model.step_bits = 6;
      for (ChannelModel& channel : model.channels) {
        channel.shift = static_cast<uint8_t>(channel.shift + 3);
        channel.scale = static_cast<uint8_t>(8 + prng.below(10));
      }
      add_basis(model, kind, profile.planes[p].dim, prng);
    }
  }
}

Profile parsed(const Profile& profile, RopePairing pairing) {
  Result<Profile> result = parse_profile(profile_file(profile), pairing);
  EXPECT_TRUE(result.has_value()) << result.error().to_string();
  return result.has_value() ? *std::move(result) : Profile{};
}

Bytes tensors_of(const Profile& profile,
                 const PageGeometry& geometry,
                 uint64_t first_position,
                 uint64_t seed) {
  Prng prng(seed);
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, seed);
  for (uint32_t l = 0; l < geometry.layers; ++l) {
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      const PlaneModel& model = profile.layers[l].planes[p];
      const Plane& plane = geometry.planes[p];
      uint8_t* at = tensors.data() + geometry.offset_bytes(l, p);
      for (uint32_t t = 0; !model.channels.empty() && t < geometry.n_tokens; ++t) {
        std::vector<double> vector;
        for (const ChannelModel& channel : model.channels) {
          // Of q1; the scale is in those of the first row.
          const double scale = channel.scale + 6.0 * static_cast<double>(profile.rows.size() - 1);
          double steps = 0.08 * std::pow(1.2, scale) * normal(prng);
          vector.push_back(std::ldexp(channel.mean, -model.exponent) +
                           steps * step_of(model, channel));
        }
        turn(profile, profile.layers[l], plane, first_position + t, 1, vector);
        for (double element : vector) {
          uint32_t bits = to_bits(plane.dtype, element);
          std::memcpy(at, &bits, dtype_bytes(plane.dtype));
          at += dtype_bytes(plane.dtype);
        }
      }
    }
  }
  return tensors;
}

Distance distance(const Profile& profile,
                  const PageGeometry& geometry,
                  uint64_t first_position,
                  ByteSpan tensors,
                  ByteSpan other) {
  Distance result;
  size_t count = 0;
  for (uint32_t l = 0; l < geometry.layers; ++l) {
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      const PlaneModel& model = profile.layers[l].planes[p];
      const Plane& plane = geometry.planes[p];
      uint32_t bytes = dtype_bytes(plane.dtype);
      size_t at = geometry.offset_bytes(l, p);
      for (uint32_t t = 0; !model.channels.empty() && t < geometry.n_tokens; ++t) {
        std::vector<double> difference;
        bool finite = true;
        for (size_t c = 0; c < model.channels.size(); ++c, at += bytes) {
          double before = number(plane.dtype, tensors.data() + at);
          finite = finite && std::isfinite(before);
          difference.push_back(number(plane.dtype, other.data() + at) - before);
        }
        turn(profile, profile.layers[l], plane, first_position + t, -1, difference);
        for (size_t c = 0; finite && c < model.channels.size(); ++c) {
          double steps = std::abs(difference[c]) / step_of(model, model.channels[c]);
          result.largest = std::max(result.largest, steps);
          result.mean_square += steps * steps;
          ++count;
        }
      }
    }
  }
  result.mean_square /= static_cast<double>(std::max<size_t>(count, 1));
  return result;
}

Bytes decoded(ByteSpan page, const Profile* profile) {
  Result<PageHeader> header = verify_page(page);
  EXPECT_TRUE(header.has_value()) << header.error().to_string();
  Bytes out(header->geometry.bytes());
  Workspace workspace;
  Status status = decode_page(*header, page, out, workspace, profile);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  return out;
}

}  // namespace sluice::codec
