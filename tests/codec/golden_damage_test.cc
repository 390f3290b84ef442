// Golden pages with rows, a byte of them changed: the error names the section that the byte is in,
// and where that begins.
#include <gtest/gtest.h>

#include <string>

#include "codec/codec.h"
#include "tests/codec/golden.h"
#include "tests/codec/restamp.h"

namespace sluice::codec {
namespace {

struct Damaged {
  const char* page;
  const char* profile;
  RopePairing pairing;
};

constexpr Damaged kPages[] = {{"rows_bf16", "givens", RopePairing::interleaved},
                              {"rows_f16", "matrices", RopePairing::neox},
                              {"edges_f16", "edges", RopePairing::neox},
                              {"edges_f32", "edges", RopePairing::interleaved},
                              {"forged_bf16", "hostile", RopePairing::neox}};

class DamagedGoldenPage : public testing::TestWithParam<Damaged> {
 protected:
  Status decode(const PageHeader& header, ByteSpan page) const {
    Bytes out(header.geometry.bytes());
    Workspace workspace;
    return decode_page(header, page, out, workspace, &profile_);
  }

  size_t section_of(size_t at) const {
    size_t section = 0;
    while (header_.section_offset(section + 1) <= at) {
      ++section;
    }
    return section;
  }

  std::string name_of(size_t section) const {
    return fmt::format("section {} at offset {}:", section, header_.section_offset(section));
  }

  Bytes page_ = read_golden(std::string(GetParam().page) + ".page");
  Profile profile_ =
      parse_profile(read_golden(std::string(GetParam().profile) + ".profile"), GetParam().pairing)
          .value();
  PageHeader header_ = verify_page(page_).value();
};

TEST_P(DamagedGoldenPage, IsNamedBySectionAndOffsetOfEveryByte) {
  for (size_t at = header_.header_bytes(); at < page_.size(); ++at) {
    const auto flip = static_cast<uint8_t>(1 << at % 8);
    page_[at] ^= flip;
    const std::string name = name_of(section_of(at));
    const Result<PageHeader> verified = verify_page(page_);
    ASSERT_TRUE(verified.has_error()) << at;
    EXPECT_EQ(verified.error().code, Errc::bad_checksum);
    EXPECT_NE(verified.error().text.find(name), std::string::npos) << verified.error().text;
    const Status status = decode(header_, page_);
    ASSERT_TRUE(status.has_error()) << at;
    EXPECT_EQ(status.error().code, Errc::bad_checksum);
    EXPECT_NE(status.error().text.find(name), std::string::npos) << status.error().text;
    page_[at] ^= flip;
  }
}

TEST_P(DamagedGoldenPage, IsNotReadWithAnyByteOfItsHeaderChanged) {
  for (size_t at = 0; at < header_.header_bytes(); ++at) {
    page_[at] ^= static_cast<uint8_t>(1 << at % 8);
    EXPECT_TRUE(parse_page_header(page_).has_error()) << at;
    page_[at] ^= static_cast<uint8_t>(1 << at % 8);
  }
}

// With checksums that fit, the section itself is damaged, or one of its later rows, which go on
// from what it says; or it is KV of some other tokens.
TEST_P(DamagedGoldenPage, ForgedNamesTheSectionOrOneOfItsLaterRows) {
  const size_t row_sections = header_.sections.size() / header_.rows.size();
  size_t named = 0, itself = 0;
  for (size_t at = header_.header_bytes(); at < page_.size(); at += 13) {
    Bytes forged = page_;
    forged[at] ^= static_cast<uint8_t>(1 << at % 8);
    restamp(forged);
    const Status status = decode(parse_page_header(forged).value(), forged);
    if (status.has_value()) {
      continue;
    }
    EXPECT_EQ(status.error().code, Errc::damaged);
    bool found = false;
    for (size_t section = section_of(at); section < header_.sections.size();
         section += row_sections) {
      found = found || status.error().text.find(name_of(section)) != std::string::npos;
    }
    EXPECT_TRUE(found) << at << ": " << status.error().text;
    itself += status.error().text.find(name_of(section_of(at))) != std::string::npos;
    ++named;
  }
  EXPECT_GT(named, page_.size() / 13 / 2);
  EXPECT_GT(itself, named / 2);
}

INSTANTIATE_TEST_SUITE_P(WithRows,
                         DamagedGoldenPage,
                         testing::ValuesIn(kPages),
                         [](const auto& its) { return std::string(its.param.page); });

}  // namespace
}  // namespace sluice::codec
