// SPDX-License-Identifier: MIT
#include "node/host.hpp"

#include "core/log.hpp"
#include "node/listener.hpp"
#include "node/session.hpp"
#include "node/way.hpp"
#include "sched/worker.hpp"
#include "wire/block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <random>
#include <system_error>
#include <thread>

namespace troupe::nodes {

namespace {

using boost::system::error_code;

constexpr std::size_t handshakes_max = 64;
constexpr std::size_t connections_max = 1000;
constexpr std::size_t name_bytes_max = 256;
// One line each, then one for a thousand: strangers don't fill our disk.
constexpr std::uint64_t refusals_logged = 10;
constexpr std::chrono::seconds sweep_period{1};
constexpr std::chrono::milliseconds goodbye_limit{1500};
// A thread that looks around costs its core; answers come within this.
constexpr std::int64_t spin_ns = 100'000;

std::uint64_t random_number() {
  std::random_device source;
  std::uint64_t n = 0;
  while (n == 0)
    n = std::uint64_t{source()} << 32 | source();
  return n;
}

} // namespace

host& host::of(detail::runtime& rt) {
  return static_cast<host&>(
    rt.nodes([](detail::runtime& r) -> std::unique_ptr<detail::part> {
      return std::make_unique<host>(r);
    }));
}

host::host(detail::runtime& rt)
  : runtime_(rt),
    incarnation_(random_number()),
    loop_(rt.scheduler(),
          std::min<std::int64_t>(spin_ns, 2 * rt.settings().spin_max.count())),
    sweeper_(std::make_unique<asio::steady_timer>(*loop_.context())) {
  wire::open_blocks();
  loop_.post([this] { sweep(); });
}

host::~host() {
  stop();
  wire::close_blocks();
}

std::shared_ptr<credentials> host::keys() {
  const std::lock_guard guard{mutex_};
  if (keys_ == nullptr) {
    const auto folder = key_folder::by_default(runtime_.settings().keys);
    keys_ = std::make_shared<credentials>(folder);
    key_folder_ = folder.path();
  }
  return keys_;
}

std::string host::keys_or_own() {
  {
    const std::lock_guard guard{mutex_};
    const auto usual = key_folder::find_default(runtime_.settings().keys);
    if (keys_ == nullptr
        && (!usual || !std::filesystem::exists(usual->key_file()))) {
      auto name =
        (std::filesystem::temp_directory_path() / "troupe-keys-XXXXXX")
          .string();
      if (::mkdtemp(name.data()) == nullptr)
        throw std::system_error{errno, std::generic_category(), name};
      own_keys_ = name;
      const key_folder own{own_keys_ / "keys"};
      static_cast<void>(own.make());
      keys_ = std::make_shared<credentials>(own);
      key_folder_ = own.path();
    }
  }
  static_cast<void>(keys());
  const std::lock_guard guard{mutex_};
  return key_folder_;
}

connection_options host::settings() const {
  const auto& o = runtime_.settings();
  connection_options c;
  c.heartbeat = o.heartbeat;
  c.patience = o.patience;
  c.outbox_bytes_max = o.node_backlog_bytes_max * 4;
  // Answers to all asks that may be open, refusals of as many, and what of ours
  // has room: a frame is a header at least.
  c.outbox_frames_max = 2 * o.node_calls_max
                        + o.node_backlog_bytes_max
                            / wire::frame_header::size_bytes;
  c.incarnation = incarnation_;
  return c;
}

// -- who is there -------------------------------------------------------------

std::string host::listen(const std::string& address) {
  static_cast<void>(keys()); // nothing listens without them
  auto l = std::make_shared<listener>(*this, address);
  {
    const std::lock_guard guard{mutex_};
    if (leaving_.load())
      throw closed{"listen: the system is stopping"};
    listeners_.push_back(l);
  }
  l->start();
  return l->address();
}

std::shared_ptr<detail::node_core> host::connect(std::string address,
                                                 const connect_options& opts) {
  if (opts.deadline.ns() <= 0 || opts.backoff.count() <= 0
      || opts.backoff_max < opts.backoff)
    throw bad_argument{
      "connect: the deadline and the backoff must be above 0, "
      "and backoff_max not below backoff"};
  static_cast<void>(numeric(address)); // is it an address at all?
  static_cast<void>(keys());
  auto w = std::make_shared<way>(*this, std::move(address), opts);
  {
    const std::lock_guard guard{mutex_};
    if (stopped_.load()) // the loop is over: it would wait for nobody
      throw closed{"connect: the system has stopped"};
    std::erase_if(ways_, [](auto& c) { return c.expired(); });
    ways_.push_back(w);
  }
  w->connect_first();
  return w;
}

bool host::add(std::shared_ptr<session> s, bool is_strangers) {
  const std::lock_guard guard{mutex_};
  if (stopped_.load() || sessions_.size() >= connections_max
      || (is_strangers && shaking_.size() >= handshakes_max))
    return false;
  if (is_strangers)
    shaking_.insert(s.get());
  const auto* key = s.get();
  sessions_.emplace(key, std::move(s));
  return true;
}

void host::came_up(const session& s) {
  list_is_new_.store(true); // it was let in by the list of a moment ago
  const std::lock_guard guard{mutex_};
  shaking_.erase(&s);
}

void host::remove(const session& s) {
  std::shared_ptr<session> gone; // after the lock
  const std::lock_guard guard{mutex_};
  shaking_.erase(&s);
  if (auto i = sessions_.find(&s); i != sessions_.end()) {
    gone = std::move(i->second);
    sessions_.erase(i);
  }
  gone_.notify_all();
}

void host::log_refusal(const std::string& who_and_why) {
  const auto n = refusals_.fetch_add(1) + 1;
  if (n <= refusals_logged || n % 1000 == 0)
    detail::log().warn("node: refusal {}: {}", n, who_and_why);
}

std::vector<std::shared_ptr<session>> host::all() {
  std::vector<std::shared_ptr<session>> result;
  const std::lock_guard guard{mutex_};
  for (auto& [key, s] : sessions_)
    result.push_back(s);
  return result;
}

void host::add(std::weak_ptr<host_user> u) {
  const std::lock_guard guard{mutex_};
  if (stopped_.load())
    throw closed{"a pool on nodes: the system has stopped"};
  users_.push_back(std::move(u));
}

void host::remove(const host_user& u) {
  const std::lock_guard guard{mutex_};
  std::erase_if(users_, [&u](auto& weak) {
    const auto alive = weak.lock();
    return alive == nullptr || alive.get() == &u;
  });
}

std::vector<std::shared_ptr<host_user>> host::users() {
  std::vector<std::shared_ptr<host_user>> result;
  const std::lock_guard guard{mutex_};
  for (auto& weak : users_)
    if (auto alive = weak.lock())
      result.push_back(std::move(alive));
  return result;
}

void host::look_at_list() {
  std::shared_ptr<credentials> c;
  {
    const std::lock_guard guard{mutex_};
    c = keys_;
  }
  if (c == nullptr)
    return;
  auto stamp = c->keys().list_stamp();
  if (!list_is_new_.exchange(false) && stamp == list_seen_)
    return;
  std::set<const session*> doubted;
  for (auto& s : all()) {
    std::string why;
    if (s->incarnation() == 0 || c->keys().allows(s->key(), why))
      continue;
    doubted.insert(s.get());
    if (!doubted_.contains(s.get()))
      continue;
    detail::log().warn(
      "node: {} is cut off, its key is not let in any more: {}",
      s->road().peer_address(), why);
    s->road().close("its key is not let in any more", false);
  }
  // Nobody in doubt: this list needs no second look.
  if (doubted.empty())
    list_seen_ = std::move(stamp);
  else
    list_is_new_.store(true);
  doubted_ = std::move(doubted);
}

// Connections that nobody needs any more.
void host::sweep() {
  if (sweeper_ == nullptr)
    return; // the end was there first
  for (auto& s : all())
    if (s->incarnation() != 0 && s->is_orphan())
      s->road().close("nobody here needs it any more", true);
  look_at_list();
  wire::trim_blocks(sched::now_ns());
  sweeper_->expires_after(sweep_period);
  sweeper_->async_wait([this](error_code ec) {
    if (!ec)
      sweep();
  });
}

// -- names --------------------------------------------------------------------

void host::publish(const std::string& name, detail::cell* c) {
  detail::retain(c);
  detail::cell* before = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto& slot = published_[name];
    before = std::exchange(slot, c);
  }
  if (before != nullptr)
    detail::release(before);
}

bool host::unpublish(const std::string& name) {
  detail::cell* before = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = published_.find(name);
    if (i == published_.end())
      return false;
    before = i->second;
    published_.erase(i);
  }
  detail::release(before);
  return true;
}

detail::cell* host::published(const std::string& name,
                              const std::string& class_name) {
  const std::lock_guard guard{mutex_};
  auto i = published_.find(name);
  if (i == published_.end() || !detail::is_alive(i->second))
    throw bad_argument{fmt::format("no actor is published as \"{}\"", name)};
  if (i->second->info().name != class_name)
    throw bad_argument{fmt::format("\"{}\" is a {}, not a {}", name,
                                   detail::plain_name(i->second->info().name),
                                   detail::plain_name(class_name))};
  detail::retain(i->second);
  return i->second;
}

// -- the end ------------------------------------------------------------------

bool host::is_idle() {
  if (!leaving_.exchange(true)) {
    std::vector<std::shared_ptr<listener>> listeners;
    {
      const std::lock_guard guard{mutex_};
      listeners.swap(listeners_);
    }
    for (auto& l : listeners)
      loop_.post([l] { l->close(); });
    for (auto& s : all())
      if (s->incarnation() != 0)
        s->say_leaving();
  }
  const auto sessions = all();
  const auto pools = users();
  return std::none_of(sessions.begin(), sessions.end(),
                      [](auto& s) { return s->is_busy(); })
         && std::all_of(pools.begin(), pools.end(),
                        [](auto& p) { return p->is_idle(); });
}

std::string host::would_cut() {
  const auto pools = users();
  const auto n = std::count_if(pools.begin(), pools.end(),
                               [](auto& p) { return !p->is_idle(); });
  return n == 0 ? "" : fmt::format("tasks of {} pools on nodes", n);
}

void host::stop() {
  static_cast<void>(is_idle());
  if (stopped_.exchange(true))
    return;
  for (auto& u : users())
    u->on_stop();
  std::vector<std::weak_ptr<way>> ways;
  {
    const std::lock_guard guard{mutex_};
    ways.swap(ways_);
  }
  for (auto& weak : ways)
    if (auto w = weak.lock())
      w->close();
  for (auto& s : all())
    s->road().close("the system has stopped", true);
  const auto until = std::chrono::steady_clock::now() + goodbye_limit;
  {
    std::unique_lock guard{mutex_};
    gone_.wait_until(guard, until, [this] { return sessions_.empty(); });
  }
  loop_.stop();
  sweeper_.reset();
  for (auto& s : all())
    s->road().abandon(std::make_exception_ptr(
      node_lost{s->road().peer_address() + ": the system has stopped"}));
  loop_.drain();
  std::map<std::string, detail::cell*, std::less<>> published;
  {
    const std::lock_guard guard{mutex_};
    published.swap(published_);
  }
  for (auto& [name, c] : published)
    detail::release(c);
  std::error_code ignored;
  if (!own_keys_.empty())
    std::filesystem::remove_all(own_keys_, ignored);
}

} // namespace troupe::nodes

namespace troupe::detail {

void publish_cell(runtime& rt, const std::string& name, cell* c) {
  if (c == nullptr)
    throw_null_ref();
  if (name.empty() || name.size() > nodes::name_bytes_max)
    throw bad_argument{
      fmt::format("publish: a name of {} bytes; 1..{} are allowed", name.size(),
                  nodes::name_bytes_max)};
  nodes::host::of(rt).publish(name, c);
}

} // namespace troupe::detail

namespace troupe {

node system::connect(std::string address) {
  return connect(std::move(address), {});
}

node system::connect(std::string address, connect_options opts) {
  return node{nodes::host::of(*runtime_).connect(std::move(address), opts)};
}

std::string system::listen(const std::string& address) {
  return nodes::host::of(*runtime_).listen(address);
}

bool system::unpublish(const std::string& name) {
  return nodes::host::of(*runtime_).unpublish(name);
}

} // namespace troupe
