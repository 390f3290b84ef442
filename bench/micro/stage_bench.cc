#include "bench/micro/stage_bench.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "codec/kernels.h"
#include "codec/progressive_values.h"

namespace sluice::codec {
namespace {

constexpr size_t kReadAhead = 512;  // bytes behind a row's lanes

// One layer of one plane at every stage, as vector kernels and the oracle alike make it.
struct Layer {
  LayerTransform transform;
  ByteSpan tensors;
  std::vector<uint8_t> scales, finer_scales;  // of q3, and of q2 behind it
  std::vector<int16_t> q1, q2, q3;
  std::vector<uint16_t> source, restored;  // [channel][token]
  Bytes first, refined, residuals;         // lanes: q3, q2 behind it, exact behind q3
};

struct Page {
  std::vector<int32_t> turns_memory;
  std::unique_ptr<PageTurns> turns;
  std::vector<Layer> layers;
};

ResidualShape residual_shape(const Layer& layer) {
  return {.model = layer.transform.model,
          .stored = layer.transform.shape.stored,
          .level = Level::q3,
          .correction = -4};
}

template <class Encode>
Bytes lanes_of(size_t words_max, Encode encode) {
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  std::vector<uint16_t> words;
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), words_max, words);
  encode(lanes.sink());
  Bytes out(kStatesBytes + 2 * words_max + kReadAhead);
  lanes.write(out);
  return out;
}

LaneCursor cursor_of(const Bytes& lanes) {
  LaneCursor cursor{};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    cursor.states[lane] = load_le<uint32_t>(lanes.data() + 4 * lane);
  }
  cursor.word = lanes.data() + kStatesBytes;
  cursor.words_end = lanes.data() + lanes.size() - kReadAhead;
  return cursor;
}

void fill(Layer& layer) {
  const Kernels& kernels = scalar_kernels();
  const size_t n_tokens = layer.transform.shape.n_tokens;
  const size_t count = layer.transform.model.channels.size() * n_tokens;
  for (const ChannelModel& channel : layer.transform.model.channels) {
    layer.scales.push_back(channel.scale);
    layer.finer_scales.push_back(
        static_cast<uint8_t>(std::min<size_t>(channel.scale + size_t{kScalesALevel}, kScales - 1)));
  }
  for (std::vector<int16_t>* values : {&layer.q1, &layer.q2, &layer.q3}) {
    values->resize(count);
  }
  layer.source.resize(count);
  layer.restored.resize(count);
  LayerScratch scratch;
  std::vector<uint32_t> energies(n_tokens);
  gather_layer(layer.transform.shape, kernels, layer.tensors, bytes_of(layer.source));
  quantise_layer(layer.transform, layer.tensors, layer.q1, kernels, energies, scratch);
  kernels.coarsen(Level::q2, layer.q1, layer.q2.data());
  kernels.coarsen(Level::q3, layer.q1, layer.q3.data());
  restore_layer(layer.transform,
                Level::q3,
                layer.scales,
                layer.q3,
                kernels,
                scratch,
                bytes_of(layer.restored));
  layer.first = lanes_of(2 * count, [&](LaneSink& sink) {
    kernels.encode_first(sink, layer.scales, n_tokens, layer.q3.data());
  });
  layer.refined = lanes_of(count, [&](LaneSink& sink) {
    kernels.encode_refinement(sink, layer.finer_scales, n_tokens, layer.q2.data());
  });
  layer.residuals = lanes_of(3 * count, [&](LaneSink& sink) {
    kernels.encode_residuals(
        sink, residual_shape(layer), n_tokens, layer.restored.data(), layer.source.data());
  });
}

std::shared_ptr<Page> page_of(const Profile& profile,
                              const PageGeometry& geometry,
                              ByteSpan tensors,
                              uint64_t first_position) {
  auto page = std::make_shared<Page>();
  page->turns =
      std::make_unique<PageTurns>(profile, first_position, geometry.n_tokens, page->turns_memory);
  for (uint32_t l = 0; l < geometry.layers; ++l) {
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      const Plane& plane = geometry.planes[p];
      page->layers.push_back(
          {.transform = {.shape = {.channels = static_cast<uint32_t>(plane.width()),
                                   .n_tokens = geometry.n_tokens,
                                   .dtype = plane.dtype,
                                   .stored = plane.dtype},
                         .plane = plane,
                         .model = profile.layers[l].planes[p],
                         .turns = *page->turns,
                         .rotation = profile.layers[l].rotation,
                         .pairing = profile.pairing},
           .tensors = tensors.subspan(geometry.offset_bytes(l, p), geometry.plane_bytes(p))});
      fill(page->layers.back());
    }
  }
  return page;
}

// What stages write to.
struct Scratch {
  LayerScratch layer;
  std::vector<int16_t> values, group;
  std::vector<uint16_t> elements, words;
  std::vector<uint32_t> energies;
  ResidualCounts counts{};

  explicit Scratch(const Layer& largest)
      : values(largest.q1.size()),
        elements(largest.q1.size()),
        words(3 * largest.q1.size() + kSinkRoom),
        energies(largest.transform.shape.n_tokens) {}

  LaneSink sink() {
    LaneSink sink{.states = {}, .words = words.data() + words.size()};
    sink.states.fill(kStateLow);
    return sink;
  }
};

using Stage = void (*)(const Kernels& kernels, const Layer& layer, Scratch& scratch);

struct NamedStage {
  const char* name;
  Stage run;
};

size_t tokens(const Layer& layer) {
  return layer.transform.shape.n_tokens;
}

// Those that change their input in place begin with a copy of it, which is a stage of its own.
const NamedStage kStages[] = {
    {"copy",
     [](const Kernels&, const Layer& layer, Scratch& s) {
       std::copy(layer.q3.begin(), layer.q3.end(), s.values.begin());
     }},
    {"decode_first",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneCursor cursor = cursor_of(layer.first);
       k.decode_first(cursor, layer.scales, tokens(layer), s.values.data());
     }},
    {"decode_refinement",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneCursor cursor = cursor_of(layer.refined);
       std::copy(layer.q3.begin(), layer.q3.end(), s.values.begin());
       k.decode_refinement(cursor, layer.finer_scales, tokens(layer), s.values.data());
     }},
    {"decode_residuals",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneCursor cursor = cursor_of(layer.residuals);
       std::copy(layer.restored.begin(), layer.restored.end(), s.elements.begin());
       k.decode_residuals(cursor, residual_shape(layer), tokens(layer), s.elements.data());
     }},
    {"to_channels",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       k.to_channels(layer.transform.model.basis, tokens(layer), s.values, s.group);
     }},
    {"restore_layer",  // with to_channels
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       restore_layer(
           layer.transform, Level::q3, layer.scales, layer.q3, k, s.layer, bytes_of(s.elements));
     }},
    {"transpose",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       k.transpose(layer.tensors.data(),
                   tokens(layer),
                   layer.transform.shape.channels,
                   bytes_of(s.elements).data());
     }},
    {"quantise_layer",  // with transpose and to_components
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       std::fill(s.energies.begin(), s.energies.end(), 0);
       quantise_layer(layer.transform, layer.tensors, s.values, k, s.energies, s.layer);
     }},
    {"to_components",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       k.to_components(layer.transform.model.basis, tokens(layer), s.values, s.group);
     }},
    {"add_first_costs",
     [](const Kernels& k, const Layer& layer, Scratch&) {
       CorrectionCosts costs{};
       k.add_first_costs(layer.scales, tokens(layer), layer.q3.data(), costs);
       benchmark::DoNotOptimize(costs);
     }},
    {"encode_first",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneSink sink = s.sink();
       k.encode_first(sink, layer.scales, tokens(layer), layer.q3.data());
     }},
    {"encode_refinement",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneSink sink = s.sink();
       k.encode_refinement(sink, layer.finer_scales, tokens(layer), layer.q2.data());
     }},
    {"count_residuals",
     [](const Kernels& k, const Layer& layer, Scratch& s) {
       k.count_residuals(residual_shape(layer),
                         tokens(layer),
                         layer.restored.data(),
                         layer.source.data(),
                         s.counts);
     }},
    {"encode_residuals", [](const Kernels& k, const Layer& layer, Scratch& s) {
       LaneSink sink = s.sink();
       k.encode_residuals(
           sink, residual_shape(layer), tokens(layer), layer.restored.data(), layer.source.data());
     }}};

void bench_stage(benchmark::State& state, const Page& page, const Kernels& kernels, Stage run) {
  Scratch scratch(page.layers.front());
  size_t elements = 0;
  for (const Layer& layer : page.layers) {
    elements += layer.q1.size();
  }
  for (auto _ : state) {
    for (const Layer& layer : page.layers) {
      run(kernels, layer, scratch);
      benchmark::ClobberMemory();
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(elements));
}

}  // namespace

void add_stage_benches(const std::string& name,
                       const Profile& profile,
                       const PageGeometry& geometry,
                       ByteSpan tensors,
                       uint64_t first_position) {
  const std::shared_ptr<Page> page = page_of(profile, geometry, tensors, first_position);
  for (const Kernels* kernels : {vector_kernels(), &scalar_kernels()}) {
    for (const NamedStage& stage : kStages) {
      if (kernels != nullptr) {
        benchmark::RegisterBenchmark(
            ("stage_" + name + "/" + stage.name + "/" + kernels->name).c_str(),
            [page, kernels, run = stage.run](benchmark::State& state) {
              bench_stage(state, *page, *kernels, run);
            });
      }
    }
  }
}

}  // namespace sluice::codec
