// Recovery of a log that was changed at will: whatever page is shown afterwards is as it was put.
//
// Input: orders of 12 bytes each, applied to the files of a small log before it is opened.
#include <algorithm>

#include "src/base/checksum.h"
#include "store/disk_tier.h"
#include "store/log_layout.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"
#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

constexpr uint64_t kPages = 12;
constexpr size_t kOrderBytes = 12;

Sample page(uint64_t i) {
  return make_sample({.seed = i, .bytes = 200 + i * 900, .key = key_of(i % 8)});
}

DiskTierConfig config() {
  DiskTierConfig config;
  config.segment_bytes = 64 << 10;
  config.capacity_bytes = 1 << 20;
  config.new_log_id = LogId{1, 2, 3};
  return config;
}

// Pages, some of them twice, and a tombstone, in a sealed segment and one that is not.
std::map<std::string, Bytes> sound_log() {
  SimDevice device(1);
  StepRunner runner(1);
  ManualClock clock;
  auto tier = *DiskTier::open(config(), device, runner, clock);
  for (uint64_t i = 0; i < kPages; ++i) {
    auto sample = std::make_shared<Sample>(page(i));
    DiskWrite write{.record = sample->record, .bytes = sample->bytes, .keep_alive = sample};
    SLUICE_ASSERT(tier->write(std::move(write), {}).has_value());
    RecordId gone{.key = key_of(3)};
    if (i == kPages / 2) {
      SLUICE_ASSERT(tier->erase({&gone, 1}, {}).has_value());
      tier->drain({});
    }
    runner.finish();
  }
  return device.image();
}

// What an order does: overwrite bytes, move an extent, cut, grow, or make a block's checksum fit.
void apply(ByteSpan order, std::map<std::string, Bytes>& image) {
  auto file = [&](uint8_t which) -> Bytes& {
    return std::next(image.begin(), static_cast<ptrdiff_t>(which % image.size()))->second;
  };
  Bytes& to = file(order[1]);
  size_t at = std::min<size_t>(load_le<uint16_t>(&order[2]), to.size());
  size_t block = at / kBlockBytes * kBlockBytes;
  switch (order[0] % 5) {
    case 0:
      std::copy_n(order.begin() + 4,
                  std::min<size_t>(8, to.size() - at),
                  to.begin() + static_cast<ptrdiff_t>(at));
      return;
    case 1: {
      const Bytes from = file(order[4]);
      size_t source = std::min<size_t>(order[5] * kBlockBytes, from.size());
      size_t length = std::min({order[6] * kBlockBytes, from.size() - source, to.size() - block});
      std::copy_n(from.begin() + static_cast<ptrdiff_t>(source),
                  length,
                  to.begin() + static_cast<ptrdiff_t>(block));
      return;
    }
    case 2:
      to.resize(at);
      return;
    case 3:
      to.resize(to.size() + order[4] * 512, order[5]);
      return;
    default:
      if (block + kBlockBytes <= to.size()) {
        uint64_t sum = xxh3_64(ByteSpan(to).subspan(block, layout::kBlockXxh3.at));
        store_le(to.data() + block + layout::kBlockXxh3.at, sum);
      }
  }
}

// A version of the key's page that was put, if it is shown.
void check(DiskTier& tier, StepRunner& runner, uint64_t key) {
  auto expect = [key](const Result<DiskPage>& got) {
    bool is_one = got.has_error();
    for (uint64_t i = key; i < kPages && !is_one; i += 8) {
      is_one = std::ranges::equal(got->bytes, page(i).bytes);
    }
    SLUICE_ASSERT(is_one);
  };
  if (tier.read(0, key_of(key), expect).has_value()) {
    runner.finish();
  }
}

}  // namespace
}  // namespace sluice::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::store;
  static const std::map<std::string, sluice::Bytes> sound = sound_log();
  std::map<std::string, sluice::Bytes> image = sound;
  size = std::min<size_t>(size, 64 * kOrderBytes);
  for (size_t at = 0; at + kOrderBytes <= size; at += kOrderBytes) {
    apply({data + at, kOrderBytes}, image);
  }
  SimDevice device(1);
  device.load(image);
  StepRunner runner(1);
  sluice::ManualClock clock;
  auto tier = DiskTier::open(config(), device, runner, clock);
  if (tier.has_error()) {
    SLUICE_ASSERT(!tier.error().text.empty());
    return 0;
  }
  for (uint64_t key = 0; key < 8; ++key) {
    check(**tier, runner, key);
  }
  return 0;
}
