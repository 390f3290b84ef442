#include "tests/codec/golden.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string_view>

#include "codec/kernels.h"

namespace sluice::codec {
namespace {

std::string path_of(const std::string& name) {
  return SLUICE_SOURCE_DIR "/tests/golden/codec/" + name;
}

}  // namespace

Bytes read_golden(const std::string& name) {
  std::ifstream file(path_of(name), std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path_of(name);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

bool writes_golden() {
  const char* flag = std::getenv("SLUICE_WRITE_GOLDEN");
  return flag != nullptr && std::string_view(flag) == "1";
}

void write_golden(const std::string& name, ByteSpan bytes) {
  std::ofstream file(path_of(name), std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path_of(name);
}

Hash32 sample_key() {
  Hash32 key;
  for (size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<uint8_t>(i);
  }
  return key;
}

Bytes decoded_by_all(const PageHeader& header, ByteSpan page, const Profile* profile) {
  Bytes out(header.geometry.bytes()), twin(out.size());
  Workspace plain{.kernels = &scalar_kernels()}, best;
  const Status status = decode_page(header, page, out, plain, profile);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  EXPECT_TRUE(decode_page(header, page, twin, best, profile).has_value());
  EXPECT_EQ(twin, out) << best.kernels->name;
  return out;
}

}  // namespace sluice::codec
