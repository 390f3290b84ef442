#include "tests/codec/sample_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "codec/elements.h"
#include "codec/page_check.h"
#include "codec/profile_layout.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

double step_of(const PlaneModel& model, const ChannelModel& channel) {
  return std::ldexp(channel.mantissa, 3 - channel.shift - model.exponent);
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
  out.write(static_cast<uint8_t>(profile.planes.size())).write(uint8_t{1}).write(uint8_t{0});
  out.write(static_cast<uint8_t>(profile.pairing)).write_bytes(profile.model_digest);
  out.write(static_cast<uint32_t>(profile.layers.size())).write(profile.first_head);
  out.write(profile.sinks).write(static_cast<uint32_t>(pairs));
  out.write(static_cast<uint16_t>(profile.frequencies.size()));
  out.write(static_cast<uint16_t>(profile.note.size())).write_zeros(20);
  for (const Plane& plane : profile.planes) {
    write_plane(out, plane);
  }
  out.write(static_cast<uint8_t>(profile.row.level)).write_zeros(3).write(profile.row.kl);
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
        out.write(static_cast<uint8_t>(model.exponent)).write_zeros(7);
      }
      for (const ChannelModel& channel : model.channels) {
        out.write(static_cast<uint32_t>(channel.mean)).write(channel.mantissa);
        out.write(channel.shift).write(channel.scale);
      }
    }
  }
  out.write_bytes(as_bytes(profile.note));
  Bytes file = std::move(out).take();
  restamp_profile(file);
  return file;
}

Profile sample_profile(const PageGeometry& geometry, RopePairing pairing, uint64_t seed) {
  Prng prng(seed);
  Profile profile{.pairing = pairing, .sinks = 4, .row = {Level::q1, 21000}, .note = "made up"};
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
          double steps = 0.08 * std::pow(1.2, channel.scale) * normal(prng);
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
