// Codes pages with a profile and takes them apart again, without a daemon: for rows that libsluice
// puts no pages of, and for one-row profiles beside it.
//
//   page_coder PROFILE PAGE_TOKENS LOSSY_ROWS [exact] < TENSORS > RESULT
//
// TENSORS: bf16, pages of the profile's layers and planes in canonical order, keys half-split, from
// position 0 on. RESULT: u64, the bytes of all encoded pages, then what they decode to. Exits 1,
// with the error, where something is refused.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "codec/codec.h"

namespace sluice::codec {
namespace {

// Codes tensors in place; returns the page's encoded bytes.
Result<uint64_t> code(const PageSpec& spec,
                      MutByteSpan tensors,
                      Bytes& page,
                      Workspace& workspace) {
  SLUICE_TRY(size_t bytes, encode_page(spec, tensors, page, workspace));
  const ByteSpan encoded = ByteSpan(page).first(bytes);
  SLUICE_TRY(PageHeader header, parse_page_header(encoded));
  SLUICE_CHECK(decode_page(header, encoded, tensors, workspace, spec.profile));
  return bytes;
}

Result<uint64_t> code_all(PageSpec spec, Bytes& tensors) {
  const uint64_t page_bytes = spec.geometry.bytes();
  if (tensors.size() % page_bytes != 0) {
    return SLUICE_ERR(
        Errc::invalid_argument, "{} bytes of tensors, a page has {}", tensors.size(), page_bytes);
  }
  SLUICE_TRY(uint64_t bound, encode_bound(spec.geometry, kRowsMax));
  Bytes page(bound);
  Workspace workspace;
  uint64_t total = 0;
  for (size_t at = 0; at < tensors.size(); at += page_bytes) {
    MutByteSpan part = MutByteSpan(tensors).subspan(at, page_bytes);
    SLUICE_TRY(uint64_t bytes, code(spec, part, page, workspace));
    total += bytes;
    spec.first_position += spec.geometry.n_tokens;
  }
  return total;
}

PageGeometry geometry_of(const Profile& profile, uint32_t page_tokens) {
  PageGeometry geometry{.planes = profile.planes,
                        .layers = static_cast<uint32_t>(profile.layers.size()),
                        .n_tokens = page_tokens};
  for (Plane& plane : geometry.planes) {
    plane.dtype = DType::bf16;
  }
  return geometry;
}

Bytes read_all(std::istream& in) {
  constexpr size_t kStep = 16u << 20;
  Bytes out;
  while (in) {
    const size_t had = out.size();
    out.resize(had + kStep);
    in.read(reinterpret_cast<char*>(out.data() + had), kStep);
    out.resize(had + static_cast<size_t>(in.gcount()));
  }
  return out;
}

Status run(char** arguments, bool exact) {
  std::ifstream file(arguments[0], std::ios::binary);
  SLUICE_TRY(Profile profile, parse_profile(read_all(file), RopePairing::neox));
  Bytes tensors = read_all(std::cin);
  PageSpec spec{.encoding = Encoding::progressive,
                .geometry = geometry_of(profile, static_cast<uint32_t>(std::atoi(arguments[1]))),
                .profile = &profile,
                .lossy_rows = static_cast<uint32_t>(std::atoi(arguments[2])),
                .exact_row = exact};
  SLUICE_TRY(uint64_t bytes, code_all(spec, tensors));
  std::cout.write(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  std::cout.write(reinterpret_cast<const char*>(tensors.data()),
                  static_cast<std::streamsize>(tensors.size()));
  return {};
}

}  // namespace
}  // namespace sluice::codec

int main(int argc, char** argv) {
  const bool exact = argc == 5 && std::string_view(argv[4]) == "exact";
  if (argc != 4 && !exact) {
    std::fprintf(stderr, "page_coder PROFILE PAGE_TOKENS LOSSY_ROWS [exact]\n");
    return 2;
  }
  if (auto done = sluice::codec::run(argv + 1, exact); !done) {
    std::fprintf(stderr, "page_coder: %s\n", done.error().to_string().c_str());
    return 1;
  }
  return 0;
}
