// SPDX-License-Identifier: MIT
#include "core/runtime.hpp"

#include <cxxabi.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include <caf/logger.hpp>

#include "core/caf_inlet.hpp"
#include "core/extras.hpp"
#include "core/log.hpp"
#include "core/own_thread.hpp"
#include "core/pool_core.hpp"
#include "core/wait_graph.hpp"
#include "sched/clock.hpp"
#include "sched/cpus.hpp"
#include "sched/futex.hpp"
#include "troupe/blocking.hpp"

namespace troupe::detail {

namespace {

// CAF makes the scheduler from a bare function; the configuration leads back.
caf::actor_system::module* make_scheduler(caf::actor_system& sys) {
  auto& cfg = static_cast<const caf_config&>(sys.config());
  auto& opts = cfg.rt.settings();
  sched::scheduler_options so;
  so.workers = opts.workers;
  so.throughput = opts.throughput;
  so.spares_max = opts.spare_workers_max;
  so.stall_ns = opts.stall_after.count();
  so.spin_max_ns = opts.spin_max.count();
  so.adopt = &adopt_caf_actor;
  auto* result = new sched::scheduler{sys, so};
  result->timers().set_after_fire(&flush_releases);
  return result;
}

thread_local std::vector<cell*> releases;

} // namespace

void release_later(cell* c) {
  releases.push_back(c);
}

void flush_releases() {
  auto list = std::exchange(releases, {});
  for (auto* c : list)
    release(c);
  flush_expiries();
}

// -- registry -----------------------------------------------------------------

void registry::spin_mutex::wait() {
  for (int i = 0; i < 64; ++i) {
    if (!locked_.load(std::memory_order_relaxed))
      return;
    sched::cpu_relax();
  }
  ::sched_yield();
}

void registry::add(cell* c) {
  auto& s = shards_[c->shard()];
  std::lock_guard guard{s.mutex};
  c->prev_live = nullptr;
  c->next_live = s.first;
  if (s.first != nullptr)
    s.first->prev_live = c;
  s.first = c;
  ++s.size;
  ++s.spawned;
}

void registry::remove(cell* c) {
  auto& s = shards_[c->shard()];
  std::lock_guard guard{s.mutex};
  if (c->prev_live != nullptr)
    c->prev_live->next_live = c->next_live;
  else
    s.first = c->next_live;
  if (c->next_live != nullptr)
    c->next_live->prev_live = c->prev_live;
  --s.size;
}

std::size_t registry::size() const {
  std::size_t n = 0;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    n += s.size;
  }
  return n;
}

std::uint64_t registry::spawned() const {
  std::uint64_t n = 0;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    n += s.spawned;
  }
  return n;
}

// -- runtime ------------------------------------------------------------------

runtime::runtime(system& facade, options opts)
  : facade_(facade),
    options_((check_options(opts), std::move(opts))),
    home_(new home_block),
    threads_(options_.blocking_threads_max),
    config_(*this) {
  auto level = spdlog::level::from_str(options_.log_level);
  log_ = root_log().clone("troupe");
  log_->set_level(level);
  root_log().set_level(level);
  if (options_.workers == 0)
    options_.workers = sched::usable_cpus();
  activities_ =
    std::vector<activity>(options_.workers + options_.spare_workers_max + 1024);
  static std::mutex kept_mutex;
  static auto* kept = new std::vector<home_block*>; // reachable for ever
  {
    std::lock_guard guard{kept_mutex};
    kept->push_back(home_);
  }
  home_->ask_deadline_ns = options_.ask_deadline.count();
  home_->rt = this;
  deallocate(allocate(1)); // finds the allocator now, not at the first spawn
  config_.module_factories.push_back(&make_scheduler);
  config_.set("scheduler.max-throughput", options_.throughput);
  config_.set("scheduler.max-threads", options_.workers);
  caf_ = std::make_unique<caf::actor_system>(config_);
  caf_->await_actors_before_shutdown(false);
  // CAF's constructor leaves its logger with this thread; its destructor, on
  // another thread, would wait for it for ever.
  caf::logger::set_current_actor_system(nullptr);
  home_->node = caf_->node();
  caf_own_ = caf_->registry().running();
  scheduler_ = static_cast<sched::scheduler*>(&caf_->scheduler());
  home_->timers = &scheduler_->timers();
}

runtime::~runtime() {
  stop(options_.stop_deadline.count());
}

caf::node_id runtime::take_node() const {
  // A copy that is never counted: actors are freed without releasing it, and
  // one counted copy is kept for ever in the home block's name.
  static_assert(sizeof(caf::node_id) == sizeof(void*));
  alignas(caf::node_id) char bits[sizeof(caf::node_id)];
  // NOLINTNEXTLINE(bugprone-undefined-memory-manipulation): said above
  std::memcpy(bits, &home_->node, sizeof(bits));
  return std::move(*reinterpret_cast<caf::node_id*>(bits));
}

const class_entry* runtime::entry_for(const class_info& info) {
  struct remembered {
    const home_block* home = nullptr;
    const class_info* info = nullptr;
    const class_entry* entry = nullptr;
  };
  static thread_local remembered last[8];
  auto& slot = last[(reinterpret_cast<std::uintptr_t>(&info) >> 5) % 8];
  if (slot.home == home_ && slot.info == &info)
    return slot.entry;
  std::lock_guard guard{entries_mutex_};
  auto& entry = entries_[&info];
  if (entry == nullptr) {
    home_->entries.push_back(
      std::make_unique<const class_entry>(class_entry{&info, home_}));
    entry = home_->entries.back().get();
  }
  slot = {home_, &info, entry};
  return entry;
}

runtime* runtime::of_this_thread() {
  if (current.home != nullptr)
    return current.home;
  auto* w = sched::worker::current();
  if (w == nullptr)
    return nullptr;
  return &static_cast<const caf_config&>(w->system().config()).rt;
}

spdlog::logger& log() {
  auto* rt = runtime::of_this_thread();
  return rt == nullptr ? root_log() : rt->log();
}

bool runtime::is_own_thread() const {
  return of_this_thread() == this;
}

// -- stop ---------------------------------------------------------------------

part& runtime::processes(std::unique_ptr<part> (*make)(runtime&)) {
  const std::lock_guard guard{parts_mutex_};
  if (is_stopping())
    throw closed{"worker processes: the system is stopping"};
  if (processes_ == nullptr)
    processes_ = make(*this);
  return *processes_;
}

part& runtime::nodes(std::unique_ptr<part> (*make)(runtime&)) {
  const std::lock_guard guard{parts_mutex_};
  if (is_stopping())
    throw closed{"other nodes: the system is stopping"};
  if (nodes_ == nullptr)
    nodes_ = make(*this);
  return *nodes_;
}

part* runtime::nodes_now() {
  const std::lock_guard guard{parts_mutex_};
  return nodes_.get();
}

part* runtime::processes_now() {
  const std::lock_guard guard{parts_mutex_};
  return processes_.get();
}

bool runtime::is_quiet() {
  // Nodes are asked first: this is how they hear of the end.
  if (auto* p = nodes_now(); p != nullptr && !p->is_idle())
    return false;
  if (!scheduler_->is_idle() || !threads_.is_idle())
    return false;
  if (auto* p = processes_now(); p != nullptr && !p->is_idle())
    return false;
  auto quiet = true;
  live_.for_each([&](cell& c) {
    if (auto* x = c.extras_or_null(); x != nullptr && x->thread)
      quiet = quiet && x->thread->at.self.load() == nullptr
              && c.mailbox_size() == 0;
  });
  return quiet;
}

void runtime::stop_actors(std::uint32_t flag, bool kill) {
  // References first: an actor may end, and leave the list, as soon as it is
  // told.
  std::vector<cell*> all;
  live_.for_each([&](cell& c) {
    if (lock_ending(&c))
      all.push_back(&c);
  });
  std::sort(all.begin(), all.end(),
            [](cell* a, cell* b) { return id_of(a) > id_of(b); });
  for (auto* c : all) {
    c->set(flag);
    if (kill)
      c->kill();
    else
      c->stop();
    release(c);
  }
}

stop_report runtime::stop(std::int64_t deadline_ns) {
  std::lock_guard guard{stop_mutex_};
  if (stopped_)
    return report_;
  stopped_ = true;
  auto begin = sched::now_ns();
  auto until = deadline_ns > sched::never_ns - begin ? sched::never_ns
                                                     : begin + deadline_ns;
  auto await = [](std::int64_t limit, auto done) {
    for (std::int64_t pause = 20'000;;) {
      if (done())
        return true;
      if (sched::now_ns() >= limit)
        return false;
      std::this_thread::sleep_for(std::chrono::nanoseconds{pause});
      pause = std::min<std::int64_t>(pause * 2, 2'000'000);
    }
  };
  // What runs and waits may finish; endless talk gets half of the time.
  auto drain_until = begin + std::max<std::int64_t>(0, until - begin) / 2;
  await(drain_until, [&] { return is_quiet(); });
  stopping_.store(true); // seq_cst: before the look at home_->spawning
  stop_actors(cell::flag_shutdown, false);
  auto gone = [&] {
    return home_->spawning.load() == 0 && live_.size() == 0
           && home_->ending.load() == 0
           && caf_->registry().running() <= caf_own_;
  };
  if (!await(until, gone)) {
    report_.clean = false;
    report_.in_the_way = stragglers(100);
    auto dropped = home_->dead_letters.load();
    stop_actors(cell::flag_shutdown, true);
    // Killed actors end as fast as they can, which takes a while with millions
    // of messages: given up only when nothing has moved for 200 ms, or after
    // 5 s: a method that does not return may send to the dead for ever.
    auto give_up = sched::now_ns() + 5'000'000'000;
    auto seen = dropped + live_.size() + 1;
    auto now = dropped + live_.size();
    while (seen != now && sched::now_ns() < give_up
           && !await(sched::now_ns() + 200'000'000, gone)) {
      seen = now;
      now = home_->dead_letters.load() + live_.size();
    }
    report_.messages_dropped = home_->dead_letters.load() - dropped;
  }
  if (auto* p = processes_now()) {
    if (!await(until, [p] { return p->is_idle(); })) {
      report_.clean = false;
      report_.in_the_way.push_back(
        {.actor = "worker processes", .method = "tasks, which end with them"});
    }
    p->stop();
  }
  if (auto* p = nodes_now()) {
    if (!await(until, [p] { return p->would_cut().empty(); })) {
      report_.clean = false;
      report_.in_the_way.push_back(
        {.actor = "other nodes", .method = p->would_cut()});
    }
    p->stop();
  }
  // What is left is inside a method that does not return.
  auto least = sched::now_ns()
               + std::int64_t{report_.clean ? 5'000 : 500} * 1'000'000;
  auto patience = std::clamp(until, least, sched::never_ns / 2);
  stuck_ = !scheduler_->stop_workers(patience - sched::now_ns());
  auto blocking_ended = threads_.stop(patience);
  if (stuck_)
    report_tasks();
  if (stuck_ && report_.in_the_way.empty()) // else it is one of those
    report_.in_the_way.push_back(
      {.actor = "worker threads", .method = "a task that does not return"});
  if (!blocking_ended
      && !threads_.is_idle()) // not only actors, which are named
    report_.in_the_way.push_back({.actor = "troupe::blocking",
                                  .method = "a function that does not return"});
  stuck_ = stuck_ || !blocking_ended;
  // A constructor that a thread outside runs: it finds everything in place.
  stuck_ = !await(patience, [&] { return home_->spawning.load() == 0; })
           || stuck_;
  {
    std::lock_guard pools_guard{home_->pools_mutex};
    home_->pools_closed = true;
    for (auto* p : home_->pools)
      p->orphan();
    home_->pools.clear();
  }
  if (!stuck_ && !await(patience, [&] { return end_the_rest(); })) {
    stuck_ = true;
    auto late = stragglers(100);
    report_.in_the_way.insert(report_.in_the_way.end(), late.begin(),
                              late.end());
  }
  if (!stuck_) {
    // No timer fires any more; then nobody may find them.
    scheduler_->timers().stop();
    {
      std::lock_guard timers_guard{home_->timers_mutex};
      home_->timers = nullptr;
    }
    home_->rt = nullptr;
    home_->dead_letter_observer.set({});
  }
  {
    std::lock_guard looking{look_mutex_};
    last_stats_ = stats_now();
    gone_ = true;
  }
  if (!stuck_)
    stuck_ = !destroy_caf(patience);
  if (stuck_)
    report_.clean = false;
  return report_;
}

// The tasks of pools that the workers don't come back from.
void runtime::report_tasks() {
  const std::lock_guard guard{home_->pools_mutex};
  for (auto* p : home_->pools)
    if (auto n = p->running(); n != 0)
      report_.in_the_way.push_back({.actor = "a thread_pool",
                                    .method = std::to_string(n)
                                              + (n == 1 ? " task" : " tasks")
                                              + " in progress"});
}

// No thread of ours is left: what has not ended (a worker left before its turn
// came) ends here, so that forgotten handles find it closed. False while a
// thread outside ends one: it lets the last handle go, and needs all this.
bool runtime::end_the_rest() {
  std::vector<cell*> rest;
  live_.for_each([&](cell& c) {
    if (lock_ending(&c))
      rest.push_back(&c);
  });
  for (auto* c : rest) {
    {
      context_scope scope{c, this};
      c->set(cell::flag_shutdown);
      // Else it is in a queue, or a thread left before its turn came.
      auto is_ours = c->claim_at_rest() || c->has(cell::flag_own_thread);
      c->end(c->why_ended());
      if (is_ours)
        c->leave();
    }
    release(c);
  }
  // In this order: one that was not counted yet was still in the list.
  return live_.size() == 0 && home_->ending.load() == 0;
}

// CAF's own end waits for threads of plain CAF actors without a limit, so it
// is given a thread of its own and is left behind if it takes too long.
bool runtime::destroy_caf(std::int64_t until) {
  struct handover {
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
  };
  auto shared = std::make_shared<handover>();
  // This thread may have made CAF actors: CAF left its logger with it.
  caf::logger::set_current_actor_system(nullptr);
  std::thread t{[shared, sys = caf_.release()] {
    delete sys;
    std::lock_guard guard{shared->mutex};
    shared->done = true;
    shared->ended.notify_all();
  }};
  std::unique_lock guard{shared->mutex};
  auto when = std::chrono::steady_clock::time_point{
    std::chrono::nanoseconds{std::max(until, sched::now_ns() + 2'000'000'000)}};
  auto done = shared->ended.wait_until(guard, when,
                                       [&] { return shared->done; });
  guard.unlock();
  if (done)
    t.join();
  else
    t.detach();
  return done;
}

std::vector<straggler> runtime::stragglers(std::size_t most) {
  struct seen {
    const message_ops* op;
    std::int64_t ns;
  };
  std::map<const cell*, seen> running;
  scheduler_->for_each_worker([&](const sched::worker& w) {
    auto& at = activities_[w.index()];
    if (auto* c = at.self.load())
      running[c] = {at.op.load(), w.looked_at_for_ns()};
  });
  std::vector<straggler> result;
  live_.for_each([&](cell& c) {
    if (result.size() >= most)
      return;
    straggler s;
    s.id = id_of(&c);
    s.actor = plain_name(c.info().name);
    s.mailbox = c.mailbox_size();
    if (auto* x = c.extras_or_null(); x != nullptr && x->thread) {
      auto& at = x->thread->at;
      if (at.self.load() != nullptr)
        running[&c] = {at.op.load(), sched::now_ns() - at.since.load()};
    }
    if (auto i = running.find(&c); i != running.end()) {
      if (i->second.op != nullptr)
        s.method = plain_name(i->second.op->name);
      s.running = std::chrono::nanoseconds{i->second.ns};
    } else if (auto wait = describe_wait(c); !wait.empty()) {
      s.method = wait;
    } else if (c.is_down()) {
      s.method = "down, to be restarted";
    } else if (c.block()->strong_refs.load() == 0) {
      s.method = "in its destructor: its last handle went";
    }
    result.push_back(std::move(s));
  });
  if (home_->spawning.load() > 0)
    result.push_back({0, "spawn", "in a constructor, on a thread outside"});
  return result;
}

// -- looking ------------------------------------------------------------------

statistics runtime::stats() {
  std::lock_guard looking{look_mutex_};
  return gone_ ? last_stats_ : stats_now();
}

statistics runtime::stats_now() {
  statistics s;
  auto counts = scheduler_->counts();
  scheduler_->for_each_worker(
    [&](const sched::worker& w) { s.messages += w.messages(); });
  live_.for_each([&](cell& c) {
    if (auto* x = c.extras_or_null(); x != nullptr && x->thread)
      s.messages += x->thread->at.messages.load(std::memory_order_relaxed);
  });
  s.actors_alive = live_.size();
  s.actors_spawned = live_.spawned();
  s.dead_letters = home_->dead_letters.load(std::memory_order_relaxed);
  s.resumes = counts.resumes;
  s.steals = counts.steals;
  s.parks = counts.parks;
  s.wakes = counts.wakes;
  s.injected = counts.injected;
  s.stalls = counts.stalls;
  s.workers = options_.workers;
  s.threads = counts.threads;
  s.blocking_threads = threads_.size();
  return s;
}

std::string runtime::describe() {
  std::lock_guard looking{look_mutex_};
  if (gone_)
    return "the system has stopped\n";
  auto counts = scheduler_->counts();
  auto text = std::to_string(live_.size()) + " actors, "
              + std::to_string(counts.threads) + " worker threads ("
              + std::to_string(counts.awake) + " awake), "
              + std::to_string(counts.queued) + " queued, "
              + std::to_string(threads_.size()) + " blocking threads\n";
  std::size_t quiet = 0;
  for (auto& s : stragglers(1000)) {
    if (s.method.empty() && s.mailbox == 0) {
      ++quiet;
      continue;
    }
    text += "  " + s.actor + "#" + std::to_string(s.id) + ": "
            + (s.method.empty() ? "idle" : s.method);
    if (s.running.count() > 0)
      text += " for " + std::to_string(s.running.count() / 1'000'000) + " ms";
    text += ", " + std::to_string(s.mailbox) + " messages wait\n";
  }
  if (quiet > 0)
    text += "  " + std::to_string(quiet) + " idle with empty mailboxes\n";
  return text;
}

// -- names and dead letters ---------------------------------------------------

std::string plain_name(std::string_view name) {
  std::string text{name};
  for (std::string_view noise :
       {"{anonymous}::", "(anonymous namespace)::", "<unnamed>::"})
    for (std::size_t at; (at = text.find(noise)) != std::string::npos;)
      text.erase(at, noise.size());
  return text;
}

std::string name_of(const cell& c) {
  return plain_name(cell::info_of(&c).name) + "#" + std::to_string(id_of(&c));
}

void count_dead_letter(cell& to, const std::string& message,
                       const char* why) noexcept {
  auto& home = to.home();
  home.dead_letters.fetch_add(1, std::memory_order_relaxed);
  try {
    home.dead_letter_observer.tell(
      {id_of(&to), plain_name(to.info().name), message, why});
  } catch (...) {
    log().error("on_dead_letter: {}", text_with_type(std::current_exception()));
  }
}

void note_dead_letter(cell& to, const message_ops* ops,
                      drop_reason why) noexcept {
  auto& home = to.home();
  if (home.dead_letter_observer.is_set())
    count_dead_letter(to, plain_name(ops->name),
                      why == drop_reason::stopped ? "stopped" : "full");
  else
    home.dead_letters.fetch_add(1, std::memory_order_relaxed);
}

void dead_letter_to(cell& to, envelope* e, drop_reason why) noexcept {
  note_dead_letter(to, e->ops, why);
  e->ops->drop(e, why);
}

void post_or_drop(cell* to, envelope* e) {
  if (to->has(cell::flag_bounded) ? !to->push_system(e) : !to->push(e, false))
    dead_letter_to(*to, e, drop_reason::stopped);
}

void run_blocking(runtime* rt, std::function<void()> f) {
  if (rt == nullptr)
    rt = runtime::of_this_thread();
  if (rt == nullptr)
    throw bad_argument{
      "blocking(f) outside of an actor or task: use "
      "blocking(sys, f)"};
  rt->threads().run([rt, f = std::move(f), due = current.deadline] {
    context_scope scope{nullptr, rt};
    current.deadline = due;
    f();
  });
}

} // namespace troupe::detail

// -- system -------------------------------------------------------------------

namespace troupe {

system::system(options opts)
  : runtime_(new detail::runtime{*this, std::move(opts)},
             [](detail::runtime* rt) {
               // A method that does not return still uses it: left behind.
               rt->stop(rt->settings().stop_deadline.count());
               if (!rt->is_stuck())
                 delete rt;
             }) {}

system::~system() {
  if (!runtime_->is_own_thread()) {
    auto report = runtime_->stop(runtime_->settings().stop_deadline.count());
    if (!report.clean)
      runtime_->log().warn("{}", to_string(report));
    return;
  }
  // On one of its own threads a system can't wait for itself: another thread
  // does, and frees it. Actors that need the facade are gone by then.
  runtime_->log().error(
    "a troupe::system is destroyed on one of its own threads; it "
    "ends in the background");
  auto* rt = runtime_.release();
  std::thread{[rt] {
    rt->stop(rt->settings().stop_deadline.count());
    if (!rt->is_stuck())
      delete rt;
  }}.detach();
}

stop_report system::stop(time_limit deadline) {
  if (runtime_->is_own_thread())
    throw bad_argument{
      "system::stop is called by one of its own actors or "
      "tasks and would wait for itself"};
  return runtime_->stop(std::max<std::int64_t>(0, deadline.ns()));
}

stop_report system::stop() {
  return stop(runtime_->settings().stop_deadline);
}

bool system::is_stopping() const {
  return runtime_->is_stopping();
}

std::uint64_t system::dead_letters() const {
  return runtime_->home().dead_letters.load(std::memory_order_relaxed);
}

void system::on_dead_letter(std::function<void(const dead_letter&)> f) {
  runtime_->home().dead_letter_observer.set(std::move(f));
}

statistics system::stats() const {
  return runtime_->stats();
}

std::string system::describe() const {
  return runtime_->describe();
}

std::size_t system::workers() const {
  return runtime_->settings().workers;
}

const options& system::settings() const {
  return runtime_->settings();
}

} // namespace troupe
