// Damage of every kind against one promise: no read ever shows bytes that were not put under its
// key.
//
// A trial takes a log with pages, replacements, tombstones and cuts, in sealed and unsealed
// segments; damages it, or lets a device lie while the log is written; opens it and reads every
// key. What was put is kept outside, byte for byte. SLUICE_TRIALS sets how many trials (3000 by
// default), SLUICE_JSON where their count goes (bench/results/damage.json).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "store/disk_tier.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"
#include "tests/store/log_fixture.h"

namespace sluice::store {
namespace {

constexpr uint64_t kKeys = 16;
constexpr uint64_t kTrialsAnImage = 100;

enum class Damage : uint8_t {
  flipped_bits,
  swapped_in_a_file,
  swapped_between_files,
  copied_extent,
  stale_extent,  // of the log as it was before, at the same place
  cut_file,
  lying_device,
  changed_in_memory,
};

constexpr uint64_t kDamages = 8;

using Image = std::map<std::string, Bytes>;
using Puts = std::map<uint64_t, std::vector<std::shared_ptr<Sample>>>;  // by key number

class Subject {
 public:
  Subject(uint64_t seed, Puts& puts)
      : prng_(seed), device_(seed * 3 + 1), runner_(seed), puts_(puts) {}

  SimDevice& device() { return device_; }

  bool open() {
    tier_.reset();
    runner_.forget();
    DiskTierConfig config;
    config.segment_bytes = 64 << 10;
    config.capacity_bytes = 1 << 20;
    config.batch_bytes = 8 << 10;
    config.new_log_id = sample_log_id();
    auto tier = DiskTier::open(config, device_, runner_, clock_);
    if (tier.has_value()) {
      tier_ = *std::move(tier);
    }
    return tier.has_value();
  }

  void write_some(int ops) {
    for (int i = 0; i < ops; ++i) {
      uint64_t number = prng_.below(kKeys);
      uint64_t choice = prng_.below(10);
      if (choice == 0) {
        RecordId key{.key = key_of(number)};
        EXPECT_TRUE(tier_->erase({&key, 1}, {}).has_value());
      } else if (choice == 1) {
        cut(number);
      } else {
        put(number);
      }
      if (prng_.below(3) == 0) {
        runner_.finish();
      }
    }
    runner_.finish();
  }

  // Reads every key, and says how many showed; wrong bytes fail the test.
  uint64_t read_all() {
    uint64_t shown = 0;
    for (uint64_t number = 0; number < kKeys; ++number) {
      static_cast<void>(tier_->read(0, key_of(number), [&, number](Result<DiskPage> page) {
        if (page.has_value()) {
          ++shown;
          check(number, *page);
        }
      }));
    }
    runner_.finish();
    return shown;
  }

 private:
  void put(uint64_t number) {
    auto page = std::make_shared<Sample>(make_sample({.seed = prng_.next(),
                                                      .bytes = 200 + prng_.below(12'000),
                                                      .key = key_of(number),
                                                      .row_a_section = true}));
    page->record.anchor = key_of(prng_.next());
    page->record.space_id = key_of(prng_.next());
    page->record.rows.ends[0].quality_kl = static_cast<uint32_t>(prng_.next());
    puts_[number].push_back(page);
    DiskWrite write{.record = page->record,
                    .bytes = page->bytes,
                    .keep_alive = page,
                    .want_durable = prng_.below(2) == 0};
    EXPECT_TRUE(tier_->write(std::move(write), {}).has_value());
  }

  void cut(uint64_t number) {
    auto found = std::make_shared<std::optional<DiskPage>>();
    static_cast<void>(tier_->read(0, key_of(number), [found](Result<DiskPage> page) {
      if (page.has_value()) {
        *found = *page;
      }
    }));
    runner_.finish();
    if (*found && (*found)->record.rows.count > 1) {
      static_cast<void>(tier_->cut(
          {.key = key_of(number), .encoding_id = (*found)->record.encoding_id, .rows = kCutRows},
          {}));
    }
  }

  // The bytes and what is said of them are those of one that was put, or its front to a declared
  // cut.
  void check(uint64_t number, const DiskPage& page) {
    const auto is_shown = [&](const std::shared_ptr<Sample>& put) {
      Record record = put->record;
      if (page.record.rows.count < record.rows.count) {
        record.shorten(kCutRows);
      }
      return record == page.record && record.bytes() == page.bytes.size() &&
             std::equal(page.bytes.begin(), page.bytes.end(), put->bytes.begin());
    };
    const auto& puts = puts_[number];
    EXPECT_TRUE(std::any_of(puts.begin(), puts.end(), is_shown)) << "wrong page " << number;
  }

  static constexpr uint32_t kCutRows = 1;

  Prng prng_;
  SimDevice device_;
  StepRunner runner_;
  ManualClock clock_;
  Puts& puts_;
  std::unique_ptr<DiskTier> tier_;
};

// A log of several lives: segments sealed when full, at a restart, and one that is not.
struct Grown {
  Puts puts;
  Image before;  // the log when it was half as old
  Image image;

  explicit Grown(uint64_t seed) {
    Subject subject(seed, puts);
    EXPECT_TRUE(subject.open());
    subject.write_some(20);
    subject.device().kill();
    EXPECT_TRUE(subject.open());
    before = subject.device().image();
    subject.write_some(25);
    image = subject.device().image();
  }
};

// A place of whole blocks in a file.
struct Extent {
  Bytes* file = nullptr;
  uint64_t at = 0;
};

Extent any_extent(Image& image, Prng& prng, uint64_t bytes) {
  auto file = std::next(image.begin(), static_cast<ptrdiff_t>(prng.below(image.size())));
  uint64_t blocks = file->second.size() / kBlockBytes;
  uint64_t last = blocks - std::min(blocks, bytes / kBlockBytes);
  return {&file->second, prng.below(last + 1) * kBlockBytes};
}

void swap_extents(const Extent& a, const Extent& b, uint64_t bytes) {
  bytes = std::min({bytes, a.file->size() - a.at, b.file->size() - b.at});
  if (a.file == b.file && a.at < b.at + bytes && b.at < a.at + bytes) {
    return;
  }
  std::swap_ranges(a.file->begin() + static_cast<ptrdiff_t>(a.at),
                   a.file->begin() + static_cast<ptrdiff_t>(a.at + bytes),
                   b.file->begin() + static_cast<ptrdiff_t>(b.at));
}

void copy_extent(const Bytes& from, uint64_t at, const Extent& to, uint64_t bytes) {
  bytes = std::min({bytes, from.size() - std::min(from.size(), at), to.file->size() - to.at});
  std::copy_n(from.begin() + static_cast<ptrdiff_t>(std::min(from.size(), at)),
              bytes,
              to.file->begin() + static_cast<ptrdiff_t>(to.at));
}

void damage(Image& image, const Image& before, Damage kind, Prng& prng) {
  uint64_t bytes = (1 + prng.below(4)) * kBlockBytes;
  Extent a = any_extent(image, prng, bytes);
  Extent b = any_extent(image, prng, bytes);
  switch (kind) {
    case Damage::flipped_bits:
      for (uint64_t i = 0; i <= prng.below(16); ++i) {
        Extent place = any_extent(image, prng, kBlockBytes);
        (*place.file)[place.at + prng.below(kBlockBytes)] ^=
            static_cast<uint8_t>(1 << prng.below(8));
      }
      return;
    case Damage::swapped_in_a_file:
      b = {a.file, prng.below(a.file->size() / kBlockBytes) * kBlockBytes};
      swap_extents(a, b, bytes);
      return;
    case Damage::swapped_between_files:
      swap_extents(a, b, bytes);
      return;
    case Damage::copied_extent:
      copy_extent(Bytes(*a.file), a.at, b, bytes);
      return;
    case Damage::stale_extent: {
      auto old = std::next(before.begin(), static_cast<ptrdiff_t>(prng.below(before.size())));
      auto now = image.find(old->first);
      if (now != image.end()) {
        copy_extent(old->second, a.at, {&now->second, std::min(a.at, now->second.size())}, bytes);
      }
      return;
    }
    case Damage::cut_file:
      a.file->resize(prng.below(a.file->size() + 1));
      return;
    case Damage::lying_device:
    case Damage::changed_in_memory:
      return;  // damages itself while it is written to
  }
}

void let_lie(SimDevice& device, Damage kind) {
  if (kind == Damage::changed_in_memory) {
    device.faults.flipped_write = 300;
    return;
  }
  device.faults.lost_write = 50;
  device.faults.torn_write = 50;
  device.faults.misdirected_write = 50;
  device.faults.stale_read = 50;
  device.faults.misdirected_read = 50;
  device.faults.flipped_read = 50;
}

// Returns how many keys showed at the end.
uint64_t trial(uint64_t seed, const Grown& grown) {
  Prng prng(seed * 11 + 5);
  auto kind = static_cast<Damage>(prng.below(kDamages));
  Puts puts = grown.puts;
  Subject subject(seed, puts);
  Image image = grown.image;
  for (uint64_t i = 0; i <= prng.below(3); ++i) {
    damage(image, grown.before, kind, prng);
  }
  subject.device().load(image);
  bool is_live = kind == Damage::lying_device || kind == Damage::changed_in_memory;
  if (!subject.open()) {
    ADD_FAILURE() << "seed " << seed << ": the log does not open";
    return 0;
  }
  uint64_t shown = subject.read_all();
  if (is_live) {
    let_lie(subject.device(), kind);
    subject.write_some(10);
    subject.read_all();
    subject.device().faults = {};
    subject.device().kill();
    EXPECT_TRUE(subject.open());
    shown = subject.read_all();
  }
  return shown;
}

TEST(DiskDamage, NoReadShowsBytesThatWereNotPut) {
  const char* wanted = std::getenv("SLUICE_TRIALS");
  uint64_t trials = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 3000;
  uint64_t shown = 0;
  std::unique_ptr<Grown> grown;
  for (uint64_t seed = 0; seed < trials && !HasFailure(); ++seed) {
    if (seed % kTrialsAnImage == 0) {
      grown = std::make_unique<Grown>(seed / kTrialsAnImage + 1);
    }
    shown += trial(seed, *grown);
    EXPECT_FALSE(HasFailure()) << "seed " << seed;
  }
  // Most pages survive the damage of others.
  EXPECT_GT(shown, trials * kKeys / 2);
  if (const char* path = std::getenv("SLUICE_JSON"); path != nullptr && !HasFailure()) {
    std::ofstream(path) << fmt::format(
        R"({{"trials": {}, "kinds_of_damage": {}, "pages_shown": {}, "wrong_pages": 0}})"
        "\n",
        trials,
        kDamages,
        shown);
  }
}

}  // namespace
}  // namespace sluice::store
