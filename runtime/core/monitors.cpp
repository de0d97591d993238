// SPDX-License-Identifier: MIT
// monitors: on_down for Troupe actors, on CAF's list of attachables, so that
// CAF's monitors and ours are told in the same order.
#include <caf/attachable.hpp>

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

// Not one of CAF's own numbers: theirs carry other pointers.
constexpr std::size_t monitor_token = 0x7472;

class monitor final : public caf::attachable {
public:
  monitor(cell* watcher, cell* other)
    : watcher_(watcher),
      other_(other),
      incarnation_(watcher->incarnation()) {
    retain_weak(watcher);
  }
  ~monitor() override { release_weak(watcher_); }
  void actor_exited(const caf::error&, caf::execution_unit*) override {
    if (!lock_weak(watcher_))
      return;
    down d;
    d.id = id_of(other_);
    d.name = plain_name(other_->info().name);
    d.reason = other_->why_ended();
    auto* m = new down_message{std::move(d), incarnation_};
    if (!watcher_->push_system(m))
      delete m;
    release(watcher_);
  }
  bool matches(const token& what) override {
    return what.subtype == monitor_token && what.ptr == watcher_;
  }

private:
  cell* const watcher_;
  cell* const other_; // whose list this is in
  const std::uint64_t incarnation_;
};

} // namespace

void monitor_cell(cell* watcher, cell* other) {
  if (other == nullptr)
    throw_null_ref();
  demonitor_cell(watcher, other); // one is enough
  other->attach(caf::attachable_ptr{new monitor{watcher, other}});
  // One that is down has told its monitors already. If it tells them at this
  // moment, ours is not in the list any more.
  if (other->is_down()
      && other->detach(caf::attachable::token{monitor_token, watcher}) > 0)
    monitor{watcher, other}.actor_exited({}, nullptr);
}

void demonitor_cell(cell* watcher, cell* other) noexcept {
  if (other != nullptr)
    other->detach(caf::attachable::token{monitor_token, watcher});
}

} // namespace troupe::detail
