// Which record goes next: orphans first, then leaves, each by last use; never an inner one.
//
// A record whose anchor is not there is an orphan: a reader takes pages as a prefix, so nothing can
// reach it. A record that another names as its anchor is inner: without it the other is lost too.
// Everything else is a leaf, so a chain goes from its end.
//
// Pure: no bytes, no clock, no I/O. One object a tenant; one thread. The owner's `now` is a count
// that rises with each call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>

#include "store/record.h"

namespace sluice::store {

enum class VictimKind : uint8_t { orphan, leaf };

struct Victim {
  Key key{};
  VictimKind kind = VictimKind::leaf;
  uint64_t last_use = 0;

  // Whether this one goes before the other.
  bool before(const Victim& other) const {
    return kind != other.kind ? kind == VictimKind::orphan : last_use < other.last_use;
  }
};

class EvictionOrder {
 public:
  EvictionOrder() = default;
  EvictionOrder(const EvictionOrder&) = delete;
  EvictionOrder& operator=(const EvictionOrder&) = delete;

  // Adds a record, used now; one that is there already gets the new anchor.
  // Complexity: logarithmic; where others already name the key as their anchor, linear in these and
  // in the depth. Errors: invalid_argument (the record would hang on itself, directly or through
  // others: such a ring would have no leaf and never go).
  Status insert(const Key& key, const Key& anchor, uint64_t now);

  // Takes a record out; those that hang on it become orphans. Requires: it is there.
  void remove(const Key& key);

  // Marks a record used. Requires: it is there.
  void touch(const Key& key, uint64_t now);

  // Counts a record that is on its way as hanging on `anchor`, so that making room for it does not
  // cost its own anchor. kNoAnchor is allowed. Each claim needs one release.
  void claim(const Key& anchor);
  void release(const Key& anchor);

  // The record to evict next, or nothing where all that is left is inner.
  std::optional<Victim> victim() const;

 private:
  struct Node;
  using Queue = std::map<uint64_t, Node*>;  // by last use

  // A key that is a record, or that records or claims name as their anchor.
  struct Node {
    const Key* key = nullptr;
    bool present = false;
    uint32_t claims = 0;
    uint64_t last_use = 0;
    Queue* queue = nullptr;  // where this node stands, if anywhere
    Node* anchor = nullptr;
    Node* first_child = nullptr;
    Node* next_sibling = nullptr;
    Node* previous_sibling = nullptr;
  };

  Node& node_of(const Key& key);
  void link(Node& node, Node* anchor);
  void unlink(Node& node);
  // Puts a node into the queue that its state asks for, or forgets a node that nothing names.
  void settle(Node& node);
  static void leave_queue(Node& node);

  std::unordered_map<Key, Node, KeyHash> nodes_;
  Queue orphans_;
  Queue leaves_;
};

}  // namespace sluice::store
