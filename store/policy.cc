#include "store/policy.h"

namespace sluice::store {

Status EvictionOrder::insert(const Key& key, const Key& anchor, uint64_t now) {
  Node& node = node_of(key);
  Node* above = anchor == kNoAnchor ? nullptr : &node_of(anchor);
  // Only a record that others hang on can close a ring; or one that hangs on itself.
  for (Node* at = above; at != nullptr && (node.first_child != nullptr || at == &node);
       at = at->anchor) {
    if (at == &node) {
      Error error = SLUICE_ERR(Errc::invalid_argument,
                               "record {}: its anchor {} hangs on the record itself",
                               to_hex(key),
                               to_hex(anchor));
      settle(node);
      return error;
    }
  }
  leave_queue(node);
  Node* left = node.anchor;
  unlink(node);
  link(node, above);
  if (left != nullptr && left != above) {
    settle(*left);
  }
  node.last_use = now;
  if (!node.present) {
    node.present = true;
    for (Node* child = node.first_child; child != nullptr; child = child->next_sibling) {
      settle(*child);
    }
  }
  settle(node);
  if (above != nullptr) {
    settle(*above);
  }
  return {};
}

void EvictionOrder::remove(const Key& key) {
  auto found = nodes_.find(key);
  SLUICE_ASSERT(found != nodes_.end() && found->second.present);
  Node& node = found->second;
  node.present = false;
  for (Node* child = node.first_child; child != nullptr; child = child->next_sibling) {
    settle(*child);
  }
  Node* above = node.anchor;
  unlink(node);
  settle(node);
  if (above != nullptr) {
    settle(*above);
  }
}

void EvictionOrder::touch(const Key& key, uint64_t now) {
  auto found = nodes_.find(key);
  SLUICE_ASSERT(found != nodes_.end() && found->second.present);
  leave_queue(found->second);
  found->second.last_use = now;
  settle(found->second);
}

void EvictionOrder::claim(const Key& anchor) {
  if (anchor != kNoAnchor) {
    Node& node = node_of(anchor);
    node.claims += 1;
    settle(node);
  }
}

void EvictionOrder::release(const Key& anchor) {
  if (anchor != kNoAnchor) {
    Node& node = node_of(anchor);
    SLUICE_ASSERT(node.claims > 0);
    node.claims -= 1;
    settle(node);
  }
}

std::optional<Victim> EvictionOrder::victim() const {
  if (!orphans_.empty()) {
    auto [last_use, node] = *orphans_.begin();
    return Victim{*node->key, VictimKind::orphan, last_use};
  }
  if (!leaves_.empty()) {
    auto [last_use, node] = *leaves_.begin();
    return Victim{*node->key, VictimKind::leaf, last_use};
  }
  return std::nullopt;
}

EvictionOrder::Node& EvictionOrder::node_of(const Key& key) {
  auto [place, added] = nodes_.try_emplace(key);
  place->second.key = &place->first;
  return place->second;
}

void EvictionOrder::link(Node& node, Node* anchor) {
  node.anchor = anchor;
  if (anchor == nullptr) {
    return;
  }
  node.next_sibling = anchor->first_child;
  if (node.next_sibling != nullptr) {
    node.next_sibling->previous_sibling = &node;
  }
  anchor->first_child = &node;
}

void EvictionOrder::unlink(Node& node) {
  if (node.anchor == nullptr) {
    return;
  }
  if (node.previous_sibling != nullptr) {
    node.previous_sibling->next_sibling = node.next_sibling;
  } else {
    node.anchor->first_child = node.next_sibling;
  }
  if (node.next_sibling != nullptr) {
    node.next_sibling->previous_sibling = node.previous_sibling;
  }
  node.anchor = node.next_sibling = node.previous_sibling = nullptr;
}

void EvictionOrder::settle(Node& node) {
  leave_queue(node);
  bool named = node.first_child != nullptr || node.claims > 0;
  if (!node.present) {
    if (!named) {
      nodes_.erase(*node.key);
    }
    return;
  }
  if (node.anchor != nullptr && !node.anchor->present) {
    node.queue = &orphans_;
  } else if (!named) {
    node.queue = &leaves_;
  } else {
    return;
  }
  node.queue->emplace(node.last_use, &node);
}

void EvictionOrder::leave_queue(Node& node) {
  if (node.queue != nullptr) {
    node.queue->erase(node.last_use);
    node.queue = nullptr;
  }
}

}  // namespace sluice::store
