// A space as a client uses it: page keys, lookup, put with encode, get with decode.
//
// Not engine layouts (llama_cache.h). Belongs to one Client, which must outlive it; one thread at a
// time. Tensors are canonical, [layer][plane][token][head][dim], and stay the caller's. What comes
// from the daemon is untrusted: whatever does not agree with key, space and checksums is reported
// as DAMAGED and counts as missing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "codec/codec.h"
#include "src/base/result.h"
#include "src/client/byte_budget.h"
#include "src/client/client.h"
#include "src/client/profile_set.h"
#include "src/model/chain.h"
#include "src/model/descriptor.h"

namespace sluice::client {

// What a transfer moved; added up over calls.
struct Transfer {
  uint32_t pages = 0;
  uint32_t pages_kept = 0;     // of a put: the daemon had them, as good or better
  uint32_t pages_damaged = 0;  // of a get: refused and reported
  uint64_t raw_bytes = 0;      // tensors of the pages moved
  uint64_t stored_bytes = 0;   // the same pages encoded, headers included
};

// Pages that lie behind one another in a prefix chain.
struct Chain {
  std::span<const Hash32> keys;
  uint32_t first_page = 0;  // index of keys[0] from the root
};

// What is wanted of each page.
struct Wanted {
  uint32_t max_kl = 0;       // the worst quality; no more is fetched than makes it
  uint32_t first_layer = 0;  // of the page's layers, counted from 0
  uint32_t layers = 0;       // so many; 0 (and first_layer 0): all
};

// A page as it is stored: the header and its first rows, as far as they were fetched.
struct EncodedPage {
  codec::EncodingId encoding_id{};  // what the daemon calls it
  uint32_t rows = 0;
  Bytes bytes;
};

// Where get() puts the pages, which it names by their index from the root. Called in any order.
class PageTarget {
 public:
  virtual ~PageTarget() = default;

  // Memory for the tensors of a page, or of the layers wanted of it. Valid until the next call.
  virtual MutByteSpan tensors(uint32_t page) = 0;

  // The tensors are there and verified.
  virtual Status done(uint32_t page) = 0;
};

// Micro-nats of next-token KL; 0 is exact.
struct Quality {
  uint32_t worst_kl = 0;   // the worst that this process may ever load; stamped on every put
  uint32_t put_kl = 0;     // the worst to store, where a profile was measured to keep within it
  bool exact_row = false;  // and behind that what gives readers who want it the exact KV
};

// Why pages that are there count as missing, once a get() found it out.
inline constexpr std::string_view kUnreadable =
    "the page was coded with a profile that neither client nor daemon had, when it was last asked "
    "for";

// Profiles that a space keeps beside those that its client was given.
inline constexpr size_t kFetchedMax = 16;

class Space {
 public:
  // Opens the space, with those of the client's profiles that fit it by now. Errors: bad_value,
  // bad_version, truncated, too_large (descriptor), identity_mismatch, as Client::requester.
  static Result<std::unique_ptr<Space>> open(Client& client,
                                             ByteSpan descriptor,
                                             Quality quality = {});

  const Hash32& id() const { return id_; }

  // The canonical bytes of the descriptor.
  ByteSpan descriptor() const { return descriptor_; }

  const PageGeometry& page_geometry() const { return geometry_; }

  size_t page_bytes() const { return geometry_.bytes(); }

  // The worst quality that may be loaded.
  uint32_t worst_kl() const { return quality_.worst_kl; }

  // What encoding costs the pages that put() stores, with all their rows: their profile's quality,
  // or 0.
  uint32_t encoded_kl() const {
    return put_rows_.profile == nullptr || quality_.exact_row
               ? 0
               : put_rows_.profile->rows[put_rows_.lossy_rows - 1].kl;
  }

  // Keys of the full pages of a sequence from position 0.
  std::vector<Hash32> keys(std::span<const uint32_t> tokens) const;

  // The handle under the live connection. Errors: as open().
  Result<uint32_t> handle();

  // How many of the keys, from the first on, are no pages that a get() found coded with a profile
  // that neither client nor daemon has, in the last minute, and this space did not put again since.
  // Asks the daemon for the profile of the first such. Errors: as a request.
  Result<size_t> readable(std::span<const Hash32> keys);

  // The same of one page, without asking.
  bool is_readable(const Hash32& key) const;

  // How many of the keys, from the first on, the daemon can serve within max_kl, and readable().
  // Errors: as a request.
  Result<uint32_t> lookup(std::span<const Hash32> keys, uint32_t max_kl);

  // What a get of no more than `budget_bytes` should ask for (fit_bytes), within max_kl and
  // Quality::worst_kl. Errors: as a request.
  Result<Fit> fit(std::span<const Hash32> keys, uint32_t max_kl, uint64_t budget_bytes);

  // Encodes and puts those pages of a chain that the daemon lacks, or that a get() could not read
  // (readable()); these as `direct`, which everybody reads. The daemon gets the profile that they
  // are coded with; where it cannot keep it, all are sent, as `direct`. `load(page)` gives
  // the tensors of a page by its index from the root, valid until its next call; anchors[i] is what
  // keys[i] is evicted with. Stops at the first refusal, which names its page: those behind it
  // could not be reached, but for what is under way with it (put_window.h). Ack::disk: no crash can
  // lose any of them afterwards; all are sent, since the daemon may have one in RAM only. Requires:
  // as many anchors as keys. Errors: unsupported (Ack::disk without a disk tier), invalid_argument,
  // no_space, draining, not_found (the daemon lost the profile meanwhile: the next put brings it),
  // protocol_error, as a request; what `load` answers. `out` counts what was moved before an error
  // too.
  Status put(const Chain& chain,
             std::span<const Hash32> anchors,
             const std::function<Result<ByteSpan>(uint32_t page)>& load,
             transport::Ack ack,
             Transfer& out);

  // Takes pages out of the daemon; returns how many were there. Errors: as a request.
  Result<uint32_t> erase(std::span<const Hash32> keys);

  // One page as it is stored, unchecked: its first rows within max_kl, and more that are stored up
  // to least_rows. Errors: not_found, damaged, as a request.
  Result<EncodedPage> get_encoded(const Hash32& key, uint32_t max_kl, uint32_t least_rows = 0);

  // Gets those rows that the page lacks for max_kl, and nothing again. Errors: not_found (the
  // daemon has this encoding no more, or not within max_kl: get the page anew), damaged (what came
  // does not continue the page), as a request.
  Status refine(const Hash32& key, uint32_t max_kl, EncodedPage& page);

  // Decodes all rows of the page, which is number page_index of its chain: the same tensors,
  // whether the rows came at once or not. Shape: `tensors` is page_bytes() long. Errors: damaged,
  // and what codec::decode_layers answers: the page is reported to the daemon; identity_mismatch (a
  // profile that neither client nor daemon has), invalid_argument (worse than Quality::worst_kl).
  Status decode_encoded(const Hash32& key,
                        uint32_t page_index,
                        const EncodedPage& page,
                        MutByteSpan tensors);

  // The key in the header of an encoded page whose header, shape and rows are whole, so that a
  // PutWindow may send it. Errors: as verify_rows (encoded_page.h), bad_value (a page of another
  // shape).
  Result<Hash32> check_encoded(ByteSpan page) const;

  // Gets pages, or layers of them, until one is missing or damaged. Returns how many are whole,
  // from the first on; some behind these may have been written too. A profile that the client was
  // not given comes from the daemon; a page whose profile that has neither counts as missing, and
  // Client::miss_reason names it. Errors: invalid_argument (layers that the page does not have, a
  // max_kl above Quality::worst_kl), as a request, and what `target` answers.
  Result<size_t> get(const Chain& chain, const Wanted& wanted, PageTarget& target, Transfer& out);

 private:
  friend class PutWindow;
  class Receiver;

  Space(Client& client, Bytes descriptor, Quality quality);

  // The requester and this space's handle on its connection.
  struct Opened {
    std::shared_ptr<transport::Requester> requester;
    uint32_t handle = 0;
  };

  Result<Opened> opened();
  const codec::Profile* profile(const Hash32& digest) const;
  Result<bool> offer_put_profile();
  Status fetch_profile(const Hash32& digest);
  Result<size_t> get_batch(const Chain& chain,
                           const Wanted& wanted,
                           PageTarget& target,
                           Transfer& out);

  // A page that came.
  struct Arrived {
    Hash32 key{};
    uint32_t page_index = 0;  // from the root
    codec::EncodingId encoding_id{};
    uint32_t rows = 0;
    ByteSpan bytes;
  };

  Result<transport::LookupReply> look_up(std::span<const Hash32> keys, uint32_t max_kl);
  Result<EncodedPage> fetch(const transport::GetPageRequest& page, uint32_t max_kl);
  Result<size_t> encode(const Hash32& key, uint32_t page_index, ByteSpan tensors, bool has_profile);

  struct UnreadablePage {
    Hash32 profile{};
    uint64_t until_ns = 0;  // then it is asked for again: somebody may have put another one
  };

  void note_unreadable(std::span<const Hash32> keys, const Hash32& profile);
  Status check_quality(uint32_t max_kl) const;
  Status check_wanted(const Wanted& wanted) const;
  Status check(const codec::PageHeader& header, const Arrived& page, const Wanted& wanted) const;
  Status decode(const Arrived& page, const Wanted& wanted, MutByteSpan tensors);
  Status report_damage(const Hash32& key, const codec::EncodingId& encoding_id);

  Client& client_;
  Bytes descriptor_;
  Descriptor parsed_;
  Hash32 id_{};
  PageGeometry geometry_;
  Quality quality_;
  std::vector<codec::Profile> profiles_;  // those that fit
  PutRows put_rows_;                      // of one of them, or put() is exact
  // From the daemon, for pages that name them: nothing where one does not fit.
  std::map<Hash32, std::optional<codec::Profile>> fetched_;
  uint64_t fetches_ = 0;         // counts them
  uint64_t offer_again_ns_ = 0;  // after the daemon could not keep the profile of puts
  // Pages that a get() could not read, until they are put again, a get() brings them or the daemon
  // has the profile; those behind one are taken for such too.
  std::map<Hash32, UnreadablePage> unreadable_;
  uint32_t handle_ = 0;
  uint64_t generation_ = 0;  // of the connection that handle_ belongs to
  codec::Workspace workspace_;
  Bytes encoded_;  // one page as it travels
  Bytes rounded_;  // layers of one, where more come than are wanted
};

}  // namespace sluice::client
