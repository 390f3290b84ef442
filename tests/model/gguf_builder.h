// Writes small GGUF files for tests: metadata and tensors, version 3 unless told otherwise.
#pragma once

#include <bit>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"

namespace sluice {

class GgufBuilder {
 public:
  explicit GgufBuilder(uint32_t version = 3) : version_(version) {}

  GgufBuilder& u32(std::string_view key, uint32_t value) {
    metadata_.write_bytes(start(key, 4).write(value).bytes());
    return *this;
  }

  GgufBuilder& f32(std::string_view key, float value) {
    metadata_.write_bytes(start(key, 6).write(std::bit_cast<uint32_t>(value)).bytes());
    return *this;
  }

  GgufBuilder& boolean(std::string_view key, bool value) {
    metadata_.write_bytes(start(key, 7).write(uint8_t{value}).bytes());
    return *this;
  }

  GgufBuilder& text(std::string_view key, std::string_view value) {
    ByteWriter writer = start(key, 8);
    write_text(writer, value);
    metadata_.write_bytes(writer.bytes());
    return *this;
  }

  GgufBuilder& i32s(std::string_view key, const std::vector<int32_t>& values) {
    ByteWriter writer = start(key, 9);
    writer.write(uint32_t{5}).write(uint64_t{values.size()});
    for (int32_t value : values) {
      writer.write(static_cast<uint32_t>(value));
    }
    metadata_.write_bytes(writer.bytes());
    return *this;
  }

  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
    ByteWriter writer = start(key, 9);
    writer.write(uint32_t{8}).write(uint64_t{values.size()});
    for (const std::string& value : values) {
      write_text(writer, value);
    }
    metadata_.write_bytes(writer.bytes());
    return *this;
  }

  // Any value, by its type number and raw bytes.
  GgufBuilder& raw(std::string_view key, uint32_t type, ByteSpan value) {
    metadata_.write_bytes(start(key, type).write_bytes(value).bytes());
    return *this;
  }

  GgufBuilder& f32_tensor(std::string_view name, const std::vector<float>& values) {
    ++tensor_count_;
    write_text(tensors_, name);
    tensors_.write(uint32_t{1}).write(uint64_t{values.size()}).write(uint32_t{0});
    tensors_.write(uint64_t{data_.bytes().size()});
    for (float value : values) {
      data_.write(std::bit_cast<uint32_t>(value));
    }
    data_.write_zeros((32 - data_.bytes().size() % 32) % 32);
    return *this;
  }

  Bytes build() const {
    ByteWriter out;
    out.write(uint32_t{0x46554747}).write(version_).write(tensor_count_).write(key_count_);
    out.write_bytes(metadata_.bytes()).write_bytes(tensors_.bytes());
    out.write_zeros((32 - out.bytes().size() % 32) % 32).write_bytes(data_.bytes());
    return std::move(out).take();
  }

  void save(const std::string& path) const {
    Bytes bytes = build();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

 private:
  static void write_text(ByteWriter& writer, std::string_view text) {
    writer.write(uint64_t{text.size()}).write_bytes(as_bytes(text));
  }

  ByteWriter start(std::string_view key, uint32_t type) {
    ++key_count_;
    ByteWriter writer;
    write_text(writer, key);
    writer.write(type);
    return writer;
  }

  uint32_t version_;
  uint64_t key_count_ = 0;
  uint64_t tensor_count_ = 0;
  ByteWriter metadata_;
  ByteWriter tensors_;
  ByteWriter data_;
};

// The keys that every architecture has: `layers` layers, 8 heads of 64 dims, 2 kv heads.
inline GgufBuilder tiny_gguf(const std::string& architecture, uint32_t layers) {
  GgufBuilder builder;
  builder.text("general.architecture", architecture).text("general.name", "tiny");
  builder.u32(architecture + ".context_length", 4096).u32(architecture + ".block_count", layers);
  builder.u32(architecture + ".embedding_length", 512);
  builder.u32(architecture + ".attention.head_count", 8);
  return builder.u32(architecture + ".attention.head_count_kv", 2);
}

}  // namespace sluice
