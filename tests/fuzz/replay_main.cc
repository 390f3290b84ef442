// Runs a fuzz entry point without libFuzzer: every file of a corpus folder, then seeded mutations
// of it, the same on every machine. --trace prints each run before it starts, to find one that
// crashes.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr uint64_t kMutationsOfAFile = 4000;

using Input = std::vector<uint8_t>;

Input read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), {});
}

// Flips, overwrites, cuts, repeats and inserts, a few at a time.
Input mutated(Input input, uint64_t seed) {
  sluice::Prng prng(seed);
  for (uint64_t edits = 1 + prng.below(4); edits > 0 && !input.empty(); --edits) {
    size_t at = prng.below(input.size());
    size_t length = std::min<size_t>(1 + prng.below(16), input.size() - at);
    auto first = input.begin() + static_cast<ptrdiff_t>(at);
    switch (prng.below(6)) {
      case 0:
        *first ^= static_cast<uint8_t>(1 << prng.below(8));
        break;
      case 1:
        *first = static_cast<uint8_t>(prng.next());
        break;
      case 2:
        std::fill_n(first, length, static_cast<uint8_t>(prng.below(2) * 255));
        break;
      case 3:
        input.resize(at);
        break;
      case 4:
        input.erase(first, first + static_cast<ptrdiff_t>(length));
        break;
      default:
        input.insert(first, length, static_cast<uint8_t>(prng.next()));
        break;
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  bool trace = argc == 3 && std::string_view(argv[2]) == "--trace";
  if (argc < 2 || (argc > 2 && !trace) || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER [--trace]\n", argv[0]);
    return 2;
  }
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    Input input = read_file(file);
    LLVMFuzzerTestOneInput(input.data(), input.size());
    for (uint64_t seed = 0; seed < kMutationsOfAFile; ++seed) {
      if (trace) {
        std::fprintf(stderr, "%s mutation %llu\n", file.c_str(), (unsigned long long)(seed));
      }
      Input changed = mutated(input, seed);
      LLVMFuzzerTestOneInput(changed.data(), changed.size());
    }
  }
  std::printf("%zu corpus files, %llu mutations of each\n",
              files.size(),
              (unsigned long long)(kMutationsOfAFile));
  return files.empty() ? 1 : 0;
}
