// SPDX-License-Identifier: MIT
// cell: making, running and ending actors.
#include "core/cell.hpp"

#include "core/caf_inlet.hpp"
#include "core/extras.hpp"
#include "core/lifetime.hpp"
#include "core/log.hpp"
#include "core/own_thread.hpp"
#include "core/remote.hpp"
#include "core/runtime.hpp"
#include "core/timers.hpp"
#include "sched/clock.hpp"

namespace troupe::detail {

constinit thread_local context current;

namespace {

constinit thread_local cell* constructing = nullptr;

// Actors that became unreachable while another one was being ended on this
// thread: they wait for their turn, so that chains don't recurse.
thread_local std::vector<cell*>* ending = nullptr;

remote_object& remote_of(cell& c) {
  return *static_cast<remote_object*>(c.object());
}

struct stop_message final : envelope, pooled {
  const std::uint64_t incarnation; // which one is meant

  explicit stop_message(std::uint64_t i) : envelope(&table), incarnation(i) {}
  static void run(envelope* e, cell& self, void*) {
    std::unique_ptr<stop_message> m{static_cast<stop_message*>(e)};
    if (m->incarnation != self.incarnation())
      return;
    if (self.has(cell::flag_remote) && !self.is_down())
      remote_of(self).link->stop(remote_of(self).target, false);
    else
      self.quit();
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<stop_message*>(e);
  }
  static constexpr message_ops table{&run, &drop, "stop", message_kind::system};
};

// Wakes an actor so that it sees its flags.
struct kill_message final : envelope, pooled {
  kill_message() : envelope(&table) {}
  static void run(envelope* e, cell&, void*) {
    delete static_cast<kill_message*>(e);
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<kill_message*>(e);
  }
  static constexpr message_ops table{&run, &drop, "kill", message_kind::urgent};
};

void destroy_block(caf::actor_control_block* block) {
  // The node id is a borrowed copy (runtime::take_node): not destroyed.
  delete cell::extras_slot(block).load(std::memory_order_acquire);
  deallocate(block);
}

void destroy_cell(caf::abstract_actor* a) {
  auto* c = static_cast<cell*>(a);
  if (c->let_go())
    c->~cell();
}

caf::actor_config plain_config;

// A thread that `stop` does not join.
bool is_outside(const runtime* rt) {
  return current.home != rt && runtime::of_this_thread() != rt;
}

// One of those that a counter of home_block counts, if this thread is outside.
template <std::atomic<std::size_t> home_block::* Counter>
class outside_count {
public:
  explicit outside_count(home_block& home) : outside_count(home, home.rt) {}
  /// For who is not counted yet, and might see `home.rt` being cleared.
  outside_count(home_block& home, const runtime* rt)
    : home_(is_outside(rt) ? &home : nullptr) {}
  ~outside_count() {
    if (home_ != nullptr)
      (home_->*Counter).fetch_sub(1);
  }
  outside_count(const outside_count&) = delete;
  outside_count& operator=(const outside_count&) = delete;
  void begin() {
    if (home_ != nullptr)
      (home_->*Counter).fetch_add(1);
  }
  void go_on() { home_ = nullptr; }

private:
  home_block* home_;
};

// From make_cell until commit_cell or abandon_cell, all on one thread.
using outside_spawn = outside_count<&home_block::spawning>;
using outside_end = outside_count<&home_block::ending>;

[[noreturn]] void throw_stopping(const class_info& info) {
  throw closed{"spawn<" + plain_name(info.name) + ">: the system is stopping"};
}

} // namespace

// -- making -------------------------------------------------------------------

cell::cell(caf::actor_config& cfg, const spawn_options&, std::uint8_t shard)
  : monitorable_actor(cfg),
    flags_(std::uint32_t{shard} << 24) {}

// The extras stay until the block goes: deadlock walkers read them.
cell::~cell() = default;

cell* cell::make(runtime& rt, const class_info& info, const spawn_options& o) {
  static_assert(sizeof(caf::actor_control_block) == 56);
  static_assert(sizeof(cell) + sizeof(extras_slot_type) == 176,
                "idle actors should stay this small");
  if (rt.is_stopping())
    throw_stopping(info);
  if (o.bounded && o.box.max == 0)
    throw bad_argument{"spawn<" + plain_name(info.name)
                       + ">: mailbox.max is 0; the least is 1"};
  if (o.bounded && o.box.full == full_policy::caller_runs)
    throw bad_argument{"spawn<" + plain_name(info.name)
                       + ">: caller_runs is for pools, not for mailboxes"};
  auto extra = info.align > 8 ? info.align : 0;
  auto* memory = static_cast<char*>(allocate(CAF_CACHE_LINE_SIZE + sizeof(cell)
                                             + sizeof(extras_slot_type)
                                             + info.size + extra));
  auto node = rt.take_node();
  auto& sys = rt.caf();
  ::new (static_cast<void*>(memory)) caf::actor_control_block(
    sys.next_actor_id(), node, &sys, &destroy_cell, &destroy_block);
  auto* w = sched::worker::current();
  auto shard = w == nullptr ? registry::shards - 1
                            : w->index() % (registry::shards - 1);
  auto* c = ::new (static_cast<void*>(memory + CAF_CACHE_LINE_SIZE))
    cell(plain_config, o, static_cast<std::uint8_t>(shard));
  ::new (static_cast<void*>(&extras_slot(c->block())))
    extras_slot_type{nullptr};
  entry_slot(c) = rt.entry_for(info);
  if (o.bounded) {
    c->extras().box = std::make_unique<bounded_box>(o.box);
    c->set(flag_bounded);
  }
  if (o.is_remote) {
    c->extras().remote = std::make_unique<remote_part>();
    c->set(flag_remote);
  }
  if (o.is_restartable) {
    c->extras().restart = std::make_unique<restart_part>(o.calls);
    c->set(flag_restartable);
  }
  if (o.own_thread) {
    c->extras().thread = std::make_shared<own_thread>(c, o.driver);
    c->set(flag_own_thread);
  }
  return c;
}

void cell::abandon() noexcept {
  // Its constructor may have given refs to others and started timers.
  set(flag_ended | flag_killed);
  if (extras_or_null() != nullptr)
    remove_timers(*this);
  drop_all(inbox::closed);
  cleanup(to_caf_error(why_ended()), nullptr);
  leave();
  release(this);
}

cell* make_cell(runtime& rt, const class_info& info, const spawn_options& o) {
  if (rt.is_stopping())
    throw_stopping(info);
  // Counted first, then looked again: `stop` does it the other way round.
  outside_spawn counted{rt.home(), &rt};
  counted.begin();
  auto* c = cell::make(rt, info, o);
  counted.go_on();
  // It may be spawned by a base that comes before `actor`: that one goes on
  // being made after it. The link is free until it is listed.
  c->next_live = std::exchange(constructing, info.has_self ? c : nullptr);
  return c;
}

void* object_of(cell* c) noexcept {
  return c->object();
}

void abandon_cell(cell* c) noexcept {
  constructing = c->next_live;
  outside_spawn counted{c->home()};
  c->abandon();
}

void commit_cell(cell* c, envelope* first) {
  constructing = std::exchange(c->next_live, nullptr);
  outside_spawn counted{c->home()};
  auto& rt = *c->home().rt;
  auto cancel = [&] {
    if (first != nullptr)
      first->ops->drop(first, drop_reason::stopped);
    c->cancel_start();
  };
  if (rt.is_stopping()) {
    cancel();
    throw_stopping(c->info());
  }
  if (c->has(cell::flag_own_thread)) {
    auto thread = c->extras().thread;
    if (!thread->is_driven()
        && !rt.threads().run_now([thread] { thread->loop(); })) {
      cancel();
      throw rejected{
        "spawn<" + plain_name(c->info().name) + ">: all "
        + std::to_string(rt.settings().blocking_threads_max)
        + " threads for blocking code are taken (option blocking_threads_max)"};
    }
  }
  rt.live().add(c);
  c->begin(first);
  // A stop that began meanwhile has not seen it in the list.
  if (rt.is_stopping()) {
    c->set(cell::flag_shutdown);
    c->stop();
  }
}

// The first turn. Until here it counts as running, so that messages which its
// constructor caused wait until the object is whole and `first` has run.
void cell::begin(envelope* first) {
  if (first != nullptr) {
    first->next = first;
    append_pending(first, first, 1);
    schedule();
  } else if (has(flag_quit | flag_killed) || !try_rest()) {
    schedule(); // its constructor may have stopped it
  }
}

// Before it was listed: destroys the object; the ref that spawn made frees it.
void cell::cancel_start() {
  set(flag_ended | flag_killed);
  remove_timers(*this);
  drop_all(inbox::closed);
  destroy_object();
  cleanup(to_caf_error(why_ended()), nullptr);
  extras().thread = nullptr;
  leave();
}

void constructing_as(cell* c) {
  constructing = c;
}

cell* constructing_cell() {
  return std::exchange(constructing, nullptr);
}

cell_extras& cell::extras() {
  auto& slot = extras_slot(block());
  auto* x = slot.load(std::memory_order_acquire);
  if (x != nullptr)
    return *x;
  auto* made = new cell_extras{this};
  if (slot.compare_exchange_strong(x, made))
    return *made;
  delete made;
  return *x;
}

// -- running ------------------------------------------------------------------

call_record* cell::records_of(const cell* c) {
  auto* x = extras_slot(block_of(c)).load(std::memory_order_acquire);
  return x == nullptr ? nullptr : x->active.load(); // seq_cst: wait_graph.hpp
}

// Whether one of its methods waits.
bool cell::waits() const {
  auto* x = extras_or_null();
  return x != nullptr && x->active.load(std::memory_order_relaxed) != nullptr;
}

bool cell::is_suspended() const {
  auto* x = extras_or_null();
  return x != nullptr
         && ((x->active.load(std::memory_order_relaxed) != nullptr
              && !info().is_reentrant)
             || has(flag_down));
}

void cell::run_message(envelope* e, activity& at) {
  begin_turn();
  if (has(flag_remote) && e->ops->kind == message_kind::call) [[unlikely]] {
    auto& object = remote_of(*this);
    object.link->forward(*this, object.target, e);
    return;
  }
  current.op = e->ops;
  current.deadline = INT64_MAX;
  at.op.store(e->ops, std::memory_order_relaxed);
  try {
    e->ops->run(e, *this, object());
  } catch (...) {
    fail(std::current_exception());
  }
}

void cell::fail(std::exception_ptr e) noexcept {
  auto& x = extras();
  report_actor_failure(*this, current.op == nullptr ? "" : current.op->name, e);
  if (!x.failure)
    set_failure(std::move(e));
  set(flag_quit);
}

// Gives the right to run away unless something came in.
bool cell::try_rest() {
  if (has(flag_bounded)) [[unlikely]]
    return try_rest_bounded();
  if (inbox_.rest(is_suspended(), waits()))
    return true;
  look_at_references();
  return false;
}

bool cell::try_rest_bounded() {
  retain_self(this); // the box is looked at when the right to run is gone
  const auto suspended = is_suspended();
  auto rests = inbox_.rest(suspended, waits());
  // A bounded message may have come between our look and our rest; if its
  // sender has seen us resting, it has scheduled us.
  if (rests && !suspended && !extras().box->is_empty())
    rests = !inbox_.claim();
  release(this);
  if (!rests)
    look_at_references();
  return rests;
}

// Where there is nothing to do, nor to wait for, and the last who had a
// reference has left it to us. It may have come while we tried to rest.
void cell::look_at_references() {
  if (!inbox_.is_but_held() || waits()) [[likely]]
    return;
  auto has_more = [this] {
    return !inbox_.is_but_held()
           || (has(flag_bounded) && !is_suspended()
               && !extras().box->is_empty());
  };
  switch (take_last(block()->strong_refs, has_more)) {
    case found::others:
      inbox_.unhold();
      release(this);
      break;
    case found::more:
      break;
    case found::nobody:
      set(flag_unreachable | flag_quit); // nobody locks a weak one any more
      if (has_last_words())
        block()->strong_refs.store(1, std::memory_order_release);
  }
}

// Whether its end runs code that may ask for a reference to it.
bool cell::has_last_words() const {
  return info().on_stop != nullptr || info().has_self || has(flag_own_thread);
}

void cell::leave() {
  auto* b = block();
  if (!inbox_.leave())
    return;
  if (b->strong_refs.load(std::memory_order_relaxed) != 0) {
    release(this);
    return;
  }
  this->~cell(); // the one that was left to us was the last, and we took it
  caf::intrusive_ptr_release_weak(b);
}

caf::resumable::resume_result cell::resume(caf::execution_unit* host,
                                           std::size_t max) {
  auto result = run_for(host, max);
  if (result == resume_later)
    return result;
  if (result == done)
    leave();
  return sched::run_and_gone;
}

// `done`: it has ended; `awaiting_message`: it rests, and may be gone.
caf::resumable::resume_result cell::run_for(caf::execution_unit* host,
                                            std::size_t max) {
  constexpr auto ends = flag_killed | flag_quit;
  auto* w = static_cast<sched::worker*>(host);
  auto& at = w != nullptr ? home().rt->activity_of(w->index())
                          : extras().thread->at;
  context_scope scope{this, home().rt};
  at.self.store(this, std::memory_order_relaxed);
  if (w == nullptr)
    at.since.store(sched::coarse_now_ns(), std::memory_order_relaxed);
  std::size_t handled = 0;
  auto box_next = true; // the box and the inbox go by turns
  auto result = awaiting_message;
  for (;;) {
    if (has(ends)) [[unlikely]] {
      if (come_down())
        continue;
      result = done;
      break;
    }
    if (handled >= max) {
      result = resume_later;
      break;
    }
    if (!is_suspended()) {
      auto* e = pop_pending();
      if (e == nullptr && has(flag_bounded)
          && (box_next || inbox_.size() == 0)) {
        e = extras().box->take();
        box_next = false;
      }
      if (e != nullptr) {
        run_message(e, at);
        handled += 1 + std::exchange(current.also_handled, 0);
        continue;
      }
    }
    envelope* urgent = nullptr;
    box_next = true;
    if (take_inbox(urgent)) {
      if (refuses()) [[unlikely]]
        drop_pending();
      while (urgent != nullptr) {
        auto* e = urgent;
        urgent = e->next;
        ++handled;
        if (has(ends) && !has(flag_down)) [[unlikely]]
          append_pending(e, e, 1); // dropped when nobody waits for it any more
        else
          run_message(e, at);
      }
    } else if (try_rest()) {
      break;
    }
  }
  at.self.store(nullptr, std::memory_order_relaxed);
  if (w != nullptr)
    w->count_messages(handled);
  else
    at.messages.store(at.messages.load(std::memory_order_relaxed) + handled,
                      std::memory_order_relaxed);
  return result;
}

// -- ending -------------------------------------------------------------------

stop_reason cell::why_ended() {
  stop_reason r;
  auto* x = extras_or_null();
  std::unique_lock<std::mutex> guard;
  if (x != nullptr && x->restart)
    guard = std::unique_lock{x->restart->mutex};
  if (has(flag_down))
    return x->restart->last;
  if (x != nullptr && x->failure) {
    r.kind = stop_reason::failed;
    r.error = x->failure;
    r.text = text_of(r.error);
  } else if (has(flag_shutdown)) {
    r.kind = stop_reason::shutdown;
  } else if (has(flag_killed)) {
    r.kind = stop_reason::killed;
  } else if (has(flag_unreachable)) {
    r.kind = stop_reason::unreachable;
  }
  return r;
}

stop_reason cell::why_told() {
  if (!has(flag_restartable) || has(flag_told))
    return why_ended();
  auto& part = *extras_or_null()->restart;
  std::lock_guard guard{part.mutex};
  return part.last;
}

void cell::set_failure(std::exception_ptr e) noexcept {
  auto& x = extras();
  std::unique_lock<std::mutex> guard;
  if (x.restart)
    guard = std::unique_lock{x.restart->mutex};
  std::swap(x.failure, e); // what was there goes without the lock
}

void cell::destroy_object() noexcept {
  try {
    info().destroy(object());
  } catch (...) {
    detail::log().error("{}: its destructor threw: {}", name_of(*this),
                        text_of(std::current_exception()));
  }
}

// What is in the inbox; `then` are the tags that it has from now on.
void cell::drop_inbox(inbox::word then) {
  auto* e = inbox_.close(then);
  // Newest first on the stack: turn it round, so that drops are in order too.
  envelope* rest = nullptr;
  while (e != nullptr) {
    auto* next = e->next;
    e->next = rest;
    rest = e;
    e = next;
  }
  while (rest != nullptr) {
    e = rest;
    rest = e->next;
    drop(e);
  }
}

void cell::drop(envelope* e) {
  if (e->ops->kind == message_kind::call)
    dead_letter_to(*this, e, drop_reason::stopped);
  else
    e->ops->drop(e, drop_reason::stopped);
}

// What has been taken from the inbox, and what a bounded one holds.
void cell::drop_pending(bool reopens) {
  while (auto* e = pop_pending())
    drop(e);
  if (!has(flag_bounded))
    return;
  auto& box = *extras().box;
  for (auto* e = reopens ? box.empty_out() : box.close(); e != nullptr;) {
    auto* next = e->next;
    drop(e);
    e = next;
  }
}

void cell::drop_all(inbox::word then) {
  drop_pending(then == 0);
  drop_inbox(then);
}

// What goes before the object does.
void cell::end_work(const stop_reason& reason) noexcept {
  // Coroutines that wait will not go on: their locals go first.
  while (auto* r = records())
    r->abandon(r);
  if (info().on_stop != nullptr) {
    try {
      info().on_stop(object(), reason);
    } catch (...) {
      detail::log().error("{}: on_stop threw: {}", name_of(*this),
                          text_of(std::current_exception()));
    }
  }
}

void cell::end(const stop_reason& reason) {
  if (has(flag_ended))
    return;
  current.ending = true;
  auto has_object = !has(flag_down);
  if (has_object)
    end_work(reason);
  set(flag_ended);
  if (auto* x = extras_or_null()) {
    remove_timers(*this);
    home().rt->scheduler().timers().remove(x->deadline);
  }
  drop_all(inbox::closed);
  if (has_object)
    destroy_object();
  current.ending = false;
  // Monitors first: whoever sees the actor gone from the list may rely on it.
  if (is_unseen()) {
    setf(is_terminated_flag | is_cleaned_up_flag);
  } else {
    auto* w = sched::worker::current();
    auto here = w != nullptr && &w->system() == block()->home_system;
    cleanup(to_caf_error(reason), here ? w : nullptr);
  }
  home().rt->live().remove(this);
  if (auto* x = extras_or_null(); x != nullptr && x->thread)
    x->thread->finish();
}

// Nobody monitors it, and nobody can any more: it has no strong reference, and
// gets none. Without the lock of those who could, hence.
bool cell::is_unseen() const {
  return block()->strong_refs.load(std::memory_order_relaxed) == 0
         && extras_or_null() == nullptr && attachables_head_ == nullptr;
}

// On any thread. False when others will destroy it: then it must not be touched
// any more.
bool cell::let_go() {
  switch (detail::let_go(inbox_, block()->strong_refs, block()->weak_refs)) {
    case last_step::nothing:
      return false;
    case last_step::free:
      return true;
    default:
      return end_unreachable();
  }
}

bool cell::claim_at_rest() {
  for (auto seen = inbox_.look(); !inbox::is_running(seen);)
    if (inbox_.claim_from(seen))
      return true;
  return false;
}

// It has no reference, and we have the right to run it.
bool cell::end_unreachable() {
  auto* b = block();
  if (has_last_words() || waits()) {
    // It ends as itself, in its own turn, when none of its methods waits.
    outside_end counted{home()};
    counted.begin();
    b->weak_refs.fetch_add(1, std::memory_order_relaxed);
    b->strong_refs.store(1, std::memory_order_release);
    for (auto seen = inbox_.look(); !inbox_.hold(seen);) {}
    schedule();
    return false;
  }
  set(flag_unreachable); // nobody locks a weak one any more
  if (ending != nullptr) {
    b->weak_refs.fetch_add(1, std::memory_order_relaxed);
    ending->push_back(this);
    return false;
  }
  std::vector<cell*> others;
  ending = &others;
  auto end_one = [](cell& c) {
    outside_end counted{c.home()};
    counted.begin();
    context_scope scope{&c, c.home().rt};
    c.end(c.why_ended());
  };
  end_one(*this);
  while (!others.empty()) {
    auto* c = others.back();
    others.pop_back();
    auto* its = c->block();
    end_one(*c);
    c->~cell();
    caf::intrusive_ptr_release_weak(its);
  }
  ending = nullptr;
  return true;
}

bool cell::cleanup(caf::error&& reason, caf::execution_unit* host) {
  flags_.fetch_or(flag_told);
  tell_our_monitors(*this);
  return monitorable_actor::cleanup(std::move(reason), host);
}

// -- requests -----------------------------------------------------------------

void cell::ring() {
  // The box's lock lies between: see `try_rest`.
  if (inbox_.is_idle() && inbox_.claim())
    schedule();
}

bool cell::push_system(envelope* e) {
  if (!has(flag_bounded))
    return push(e, false);
  // Held: `e` may hold the last reference, and is handled as soon as it is in.
  auto is_held = lock_ending(this);
  auto taken = extras().box->offer(e) == bounded_box::verdict::taken;
  if (taken)
    ring();
  if (is_held)
    release(this);
  return taken;
}

void cell::push_stop() {
  auto* e = new stop_message{incarnation()};
  if (!push_system(e))
    delete e;
}

void cell::stop() {
  if (current.open != nullptr)
    close_tell();
  if (!is_down())
    push_stop();
  if (has(flag_shutdown | flag_retired) && has(flag_restartable))
    look(); // it may be down, or about to come up
}

void cell::kill() {
  set(flag_killed);
  auto* e = new kill_message;
  if (!push(e, true))
    delete e;
}

void stop_cell(cell* c) noexcept {
  c->stop();
}

void kill_cell(cell* c) noexcept {
  c->kill();
}

void quit_cell(cell* c) noexcept {
  c->quit();
}

void fail_actor(cell& self, std::exception_ptr e) noexcept {
  self.fail(std::move(e));
}

// -- references ---------------------------------------------------------------

void retain(cell* c) noexcept {
  intrusive_ptr_add_ref(c->block());
}

void release(cell* c) noexcept {
  intrusive_ptr_release(c->block());
}

void retain_weak(cell* c) noexcept {
  intrusive_ptr_add_weak_ref(cell::block_of(c));
}

void release_weak(cell* c) noexcept {
  intrusive_ptr_release_weak(cell::block_of(c));
}

namespace {

// Weak references that a worker has in stock, of the actor that it asked last:
// who asks one again and again counts in no shared memory. They keep a block,
// no actor.
struct weak_stock {
  static constexpr std::size_t most = 64;

  const cell* of = nullptr;
  std::size_t n = 0; // 0: `of` may be gone

  void clear() noexcept {
    auto left = std::exchange(n, 0);
    if (left == 0)
      return;
    auto* b = cell::block_of(of);
    if (b->weak_refs.fetch_sub(left, std::memory_order_acq_rel) == left)
      b->block_dtor(b);
  }
};

constinit thread_local weak_stock stock{};

// Apart, so that the stock itself is found without a guard.
struct stock_end {
  bool is_used = false;
  ~stock_end() { stock.clear(); }
};
thread_local stock_end at_thread_end;

} // namespace

void retain_callee(cell* c) noexcept {
  if (stock.of == c && stock.n != 0) {
    --stock.n;
    return;
  }
  auto n = std::size_t{1};
  if (sched::worker::current() != nullptr) {
    if (stock.of == c) { // for the second time
      at_thread_end.is_used = true;
      stock.n = weak_stock::most / 2;
      n += stock.n;
    } else {
      stock.clear();
      stock.of = c;
    }
  }
  cell::block_of(c)->weak_refs.fetch_add(n, std::memory_order_relaxed);
}

void release_callee(cell* c) noexcept {
  if (stock.of == c && stock.n != 0 && stock.n < weak_stock::most)
    ++stock.n;
  else
    release_weak(c);
}

// Without a reference it ends, unless somebody runs it: then whoever let the
// last one go is about to leave one with them.
bool lock_ending(cell* c) noexcept {
  for (;;) {
    if (intrusive_ptr_upgrade_weak(cell::block_of(c)))
      return true;
    if (c->saw(cell::flag_unreachable | cell::flag_ended))
      return false;
    std::this_thread::yield();
  }
}

bool lock_weak(cell* c) noexcept {
  if (!lock_ending(c))
    return false;
  // CAF's own step is relaxed: acquires what stands before the store of the
  // reference that it has counted on.
  static_cast<void>(
    cell::block_of(c)->strong_refs.load(std::memory_order_acquire));
  if (!c->saw(cell::flag_unreachable))
    return true;
  release(c); // the one that it has for its last words
  return false;
}

void retain_self(cell* c) noexcept {
  if (!lock_ending(c))
    std::abort(); // its last words ask for a reference: see has_last_words
}

std::uint64_t id_of(const cell* c) noexcept {
  return cell::block_of(c)->id();
}

bool is_alive(const cell* c) noexcept {
  return !c->saw(cell::flag_ended | cell::flag_down);
}

std::string describe(const cell* c) {
  return name_of(*c);
}

void throw_null_ref() {
  throw bad_argument{
    "this ref refers to no actor (default-made or moved "
    "from)"};
}

void check_class(cell* c, std::string_view name) {
  if (c->info().name != name)
    throw bad_argument{"self() of " + name_of(*c) + " is no ref<"
                       + plain_name(name) + ">"};
}

} // namespace troupe::detail

namespace troupe {

bool is_ending() noexcept {
  return detail::current.ending;
}

} // namespace troupe

namespace troupe::detail {

system& system_of(cell* c) {
  return c->home().rt->facade();
}

bool begin_ask(state_base& s) noexcept {
  if (s.due != INT64_MAX) {
    if (s.due <= sched::coarse_now_ns())
      s.expire(sched::now_ns());
    current.deadline = s.due;
  }
  return s.claim();
}

// -- CAF ----------------------------------------------------------------------

const char* cell::name() const {
  return info().name.data();
}

caf::resumable::subtype_t cell::subtype() const {
  return unspecified;
}

// What schedulers know as the reference of a job is the right to run it. They
// give that up when they stop.
void cell::intrusive_ptr_add_ref_impl() {}

void cell::intrusive_ptr_release_impl() {
  leave();
}

void cell::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) {
  accept_caf(*this, std::move(what));
}

} // namespace troupe::detail
