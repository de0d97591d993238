// SPDX-License-Identifier: MIT
// monitors: on_down for Troupe actors. They have a list of their own: CAF's is
// linear in everything and is destroyed recursively, a stack frame per monitor.
// None is lost: an end marks the cell as told, then looks for a list; whoever
// monitors adds to the list, then looks for the mark (seq_cst on both sides).
#include "core/extras.hpp"
#include "core/runtime.hpp"

namespace troupe::detail {

namespace {

struct down_message final : envelope, pooled {
  down what;
  std::uint64_t incarnation; // of the watcher

  down_message(down d, std::uint64_t i)
    : envelope(&table),
      what(std::move(d)),
      incarnation(i) {}
  static void run(envelope* e, cell& self, void* object) {
    std::unique_ptr<down_message> m{static_cast<down_message*>(e)};
    if (self.info().on_down != nullptr && self.incarnation() == m->incarnation)
      self.info().on_down(object, m->what);
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<down_message*>(e);
  }
  static constexpr message_ops table{&run, &drop, "on_down",
                                     message_kind::system};
};

void tell(cell& watcher, std::uint64_t incarnation, cell& ended) {
  if (!lock_weak(&watcher))
    return;
  down d;
  d.id = id_of(&ended);
  d.name = plain_name(ended.info().name);
  d.reason = ended.why_told();
  auto* m = new down_message{std::move(d), incarnation};
  if (!watcher.push_system(m))
    delete m;
  release(&watcher);
}

monitor_list& monitors_of(cell& c) {
  auto& slot = c.extras().monitors;
  auto* list = slot.load();
  if (list != nullptr)
    return *list;
  auto* made = new monitor_list;
  if (slot.compare_exchange_strong(list, made))
    return *made;
  delete made;
  return *list;
}

// False when it was told, or is at this moment.
bool take_out(monitor_list& list, cell* watcher) {
  std::lock_guard guard{list.mutex};
  return list.watchers.erase(watcher) != 0;
}

} // namespace

void tell_our_monitors(cell& ended) {
  auto* x = ended.extras_or_null();
  auto* list = x == nullptr ? nullptr : x->monitors.load();
  if (list == nullptr)
    return;
  std::unordered_map<cell*, std::uint64_t> watchers;
  {
    std::lock_guard guard{list->mutex};
    watchers.swap(list->watchers);
  }
  for (auto [w, incarnation] : watchers) {
    tell(*w, incarnation, ended);
    release_weak(w);
  }
}

void monitor_cell(cell* watcher, cell* other) {
  if (other == nullptr)
    throw_null_ref();
  auto& list = monitors_of(*other);
  {
    std::lock_guard guard{list.mutex};
    auto [i, is_new] = list.watchers.try_emplace(watcher, 0);
    i->second = watcher->incarnation();
    if (is_new) // one is enough
      retain_weak(watcher);
  }
  // Itself alone: others may wait for the end of an object that comes after.
  if (other->is_told() && take_out(list, watcher)) {
    tell(*watcher, watcher->incarnation(), *other);
    release_weak(watcher);
  }
}

void demonitor_cell(cell* watcher, cell* other) noexcept {
  auto* x = other == nullptr ? nullptr : other->extras_or_null();
  auto* list = x == nullptr ? nullptr : x->monitors.load();
  if (list != nullptr && take_out(*list, watcher))
    release_weak(watcher);
}

} // namespace troupe::detail
