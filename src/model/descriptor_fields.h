// The table of descriptor fields: how each is written, read and shown. Internal to descriptor.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/model/descriptor.h"

namespace sluice {

struct DescriptorField {
  std::string_view name;
  void (*write)(const Descriptor&, ByteWriter&);
  // Reads the field's bytes to their end; descriptor.cc checks the values afterwards.
  Status (*read)(ByteReader&, Descriptor&);
  std::string (*text)(const Descriptor&);
};

// Field i has id i + 1.
std::span<const DescriptorField> descriptor_fields();

}  // namespace sluice
