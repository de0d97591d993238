// SPDX-License-Identifier: MIT
// timer_wheel: when things are due, at 1 ms; adding and removing are O(1).
//
// Six levels of 64 slots: a slot of level n spans 64^n ticks, so that the wheel
// reaches 2^36 ms (2 years); what is due later is looked at again then.
// Invariants: (1) a node is in at most one slot. (2) a level's bit is set if
//             and only if that slot has nodes. (3) nothing due at or before
//             `elapsed` is in a slot.
// Not thread-safe; time is an argument. Source: Varghese and Lauck (1987), in
// the form of Tokio's time driver.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace troupe::sched {

/// What a due time belongs to; embed it, it must not move while linked.
struct timer_node {
  static constexpr std::uint8_t no_part = 0xff;

  /// Called when due, under the owner's lock: be brief, do not throw.
  void (*fire)(timer_node*) noexcept = nullptr;
  timer_node* prev = nullptr;
  timer_node* next = nullptr;
  std::uint64_t due = 0; // ticks
  std::uint8_t level = 0, slot = 0;
  bool linked = false;
  std::atomic<std::uint8_t> part{no_part}; // which wheel of several; stays
};

class timer_wheel {
public:
  static constexpr std::uint64_t never = UINT64_MAX;

  /// Links `node`, due at tick `due`; what is due already fires at the next
  /// `advance`.
  void add(timer_node& node, std::uint64_t due) {
    node.due = due;
    node.linked = true;
    ++size_;
    place(node);
  }

  /// Unlinks `node`; false when it was not linked.
  bool remove(timer_node& node) {
    if (!node.linked)
      return false;
    unlink(node);
    node.linked = false;
    --size_;
    return true;
  }

  /// Fires everything due at or before tick `now`, unlinked first; how many.
  std::size_t advance(std::uint64_t now) {
    std::size_t fired = 0;
    for (;;) {
      auto at = next_event();
      if (at > now)
        break;
      auto [level, slot] = next_slot_;
      if (at > elapsed_)
        elapsed_ = at;
      auto* list = slots_[level][slot];
      slots_[level][slot] = nullptr;
      occupied_[level] &= ~(1ULL << slot);
      while (list != nullptr) {
        auto* node = list;
        list = list->next;
        if (node->due > elapsed_) {
          place(*node);
        } else {
          node->linked = false;
          --size_;
          ++fired;
          node->fire(node);
        }
      }
    }
    if (now > elapsed_)
      elapsed_ = now;
    return fired;
  }

  /// The tick at which `advance` has something to do; `never` when empty.
  std::uint64_t next_event() {
    for (std::uint8_t level = 0; level < levels; ++level) {
      if (occupied_[level] == 0)
        continue;
      auto shift = 6u * level;
      auto now_slot = static_cast<int>((elapsed_ >> shift) & 63);
      auto ahead = std::countr_zero(std::rotr(occupied_[level], now_slot));
      auto slot = static_cast<std::uint8_t>((now_slot + ahead) & 63);
      auto range = 1ULL << (shift + 6);
      auto at = (elapsed_ & ~(range - 1))
                + (static_cast<std::uint64_t>(slot) << shift);
      if (at + (1ULL << shift) <= elapsed_)
        at += range; // the top level has wrapped
      next_slot_ = {level, slot};
      return at < elapsed_ ? elapsed_ : at;
    }
    return never;
  }

  std::size_t size() const { return size_; }

private:
  static constexpr std::uint8_t levels = 6;
  // Less than once around: a slot of the top level never means two times.
  static constexpr std::uint64_t reach = 63ULL << 30;

  void place(timer_node& node) {
    auto due = node.due < elapsed_ ? elapsed_ : node.due;
    if (due - elapsed_ > reach)
      due = elapsed_ + reach;
    auto differ = (elapsed_ ^ due) | 63;
    auto level = (63 - std::countl_zero(differ)) / 6;
    if (level >= levels)
      level = levels - 1;
    node.level = static_cast<std::uint8_t>(level);
    node.slot = static_cast<std::uint8_t>((due >> (6 * level)) & 63);
    auto*& head = slots_[node.level][node.slot];
    node.prev = nullptr;
    node.next = head;
    if (head != nullptr)
      head->prev = &node;
    head = &node;
    occupied_[node.level] |= 1ULL << node.slot;
  }

  void unlink(timer_node& node) {
    auto*& head = slots_[node.level][node.slot];
    if (node.prev != nullptr)
      node.prev->next = node.next;
    else
      head = node.next;
    if (node.next != nullptr)
      node.next->prev = node.prev;
    if (head == nullptr)
      occupied_[node.level] &= ~(1ULL << node.slot);
  }

  struct place_of {
    std::uint8_t level = 0, slot = 0;
  };

  std::array<std::array<timer_node*, 64>, levels> slots_{};
  std::array<std::uint64_t, levels> occupied_{};
  std::uint64_t elapsed_ = 0;
  std::size_t size_ = 0;
  place_of next_slot_;
};

} // namespace troupe::sched
