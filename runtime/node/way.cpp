// SPDX-License-Identifier: MIT
#include "node/way.hpp"

#include "core/log.hpp"
#include "node/host.hpp"
#include "node/listener.hpp"
#include "node/session.hpp"
#include "sched/worker.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::nodes {

namespace {

using boost::system::error_code;
using time_point = std::chrono::steady_clock::time_point;

time_point point(std::int64_t steady_ns) {
  return time_point{std::chrono::nanoseconds{steady_ns}};
}

std::exception_ptr lost(const std::string& text) {
  return std::make_exception_ptr(node_lost{text});
}

// The same error for another thread, which may throw it while others do.
[[noreturn]] void throw_again(const std::exception_ptr& why) {
  std::rethrow_exception(why);
}

} // namespace

way::way(host& h, std::string address, const connect_options& opts)
  : host_(h),
    address_(std::move(address)),
    options_(opts),
    context_(h.loop().context()),
    pause_(*context_),
    backoff_(opts.backoff),
    why_(lost(address_ + ": it is being connected")) {}

// -- for users ----------------------------------------------------------------

void way::connect_first() {
  host_.loop().post([self = self()] { self->attempt(); });
  const auto until = detail::due_after(options_.deadline);
  {
    const sched::blocking_section section;
    std::unique_lock guard{mutex_};
    auto over = [this] { return was_up_ || closed_; };
    if (until == INT64_MAX)
      changed_.wait(guard, over);
    else
      changed_.wait_until(guard, point(until), over);
    if (was_up_)
      return;
    if (closed_)
      throw_again(why_);
  }
  close();
  throw timeout{fmt::format("connect to {}: not there within {} ms", address_,
                            options_.deadline.ns() / 1'000'000)};
}

std::shared_ptr<nodes::session> way::session() {
  const std::lock_guard guard{mutex_};
  if (session_ == nullptr)
    throw_again(why_);
  return session_;
}

std::string way::key() const {
  auto& self = const_cast<way&>(*this);
  const std::lock_guard guard{self.mutex_};
  return key_;
}

bool way::await_up(std::int64_t limit_ns) {
  const auto until =
    detail::due_after(time_limit{std::chrono::nanoseconds{limit_ns}});
  const sched::blocking_section section;
  std::unique_lock guard{mutex_};
  auto over = [this] { return session_ != nullptr || closed_; };
  if (until == INT64_MAX)
    changed_.wait(guard, over);
  else
    changed_.wait_until(guard, point(until), over);
  return session_ != nullptr;
}

std::vector<std::shared_ptr<detail::node_watcher>> way::watchers() {
  std::vector<std::shared_ptr<detail::node_watcher>> all;
  const std::lock_guard guard{mutex_};
  std::erase_if(watchers_, [](auto& w) { return w.expired(); });
  for (auto& w : watchers_)
    if (auto alive = w.lock())
      all.push_back(std::move(alive));
  return all;
}

void way::watch(std::weak_ptr<detail::node_watcher> w) {
  std::shared_ptr<nodes::session> present;
  std::exception_ptr end;
  auto watcher = w.lock();
  {
    const std::lock_guard guard{mutex_};
    present = session_;
    if (closed_)
      end = why_;
    const auto is_known =
      std::any_of(watchers_.begin(), watchers_.end(), [&w](auto& known) {
        return !known.owner_before(w) && !w.owner_before(known);
      });
    if (!is_known)
      watchers_.push_back(std::move(w));
  }
  if (watcher != nullptr && present != nullptr)
    watcher->came_up(*this, std::move(present));
  else if (watcher != nullptr && end != nullptr)
    watcher->went_for_good(*this, end);
}

void way::tell_end(const std::exception_ptr& why) {
  for (auto& w : watchers())
    w->went_for_good(*this, why);
}

void way::close() {
  std::shared_ptr<nodes::session> last;
  std::shared_ptr<connection> begun;
  std::exception_ptr why;
  {
    const std::lock_guard guard{mutex_};
    if (std::exchange(closed_, true))
      return;
    last = std::move(session_);
    session_ = nullptr;
    begun = std::move(begun_);
    incarnation_.store(0);
    why = why_ = lost(address_ + ": closed here");
  }
  changed_.notify_all();
  tell_end(why);
  if (last != nullptr)
    last->road().close("closed here", true);
  else if (begun != nullptr)
    begun->close("closed here", false);
}

// -- the loop's ---------------------------------------------------------------

void way::attempt() {
  {
    const std::lock_guard guard{mutex_};
    if (closed_)
      return;
  }
  if (host_.is_leaving())
    return fail(lost(address_ + ": the system is stopping"));
  try {
    auto where = numeric(address_);
    if (!where.empty())
      return begin(std::move(where));
  } catch (...) {
    return fail(std::current_exception());
  }
  // The resolver may take its time: on a thread that may.
  host_.runtime().threads().run([weak = weak_from_this(), this] {
    auto alive = weak.lock();
    if (alive == nullptr)
      return;
    try {
      host_.loop().post(
        [alive, this, where = resolve(address_)] { begin(where); });
    } catch (...) {
      host_.loop().post(
        [alive, this, why = std::current_exception()] { fail(why); });
    }
  });
}

void way::begin(std::vector<tcp::endpoint> where) {
  try {
    auto options = host_.settings();
    if (options_.deadline.ns() != time_limit::none)
      options.handshake = std::chrono::nanoseconds{options_.deadline.ns()};
    options.fingerprint = options_.fingerprint;
    auto s = std::make_shared<nodes::session>(host_, weak_from_this());
    auto c = connection::connecting(host_.loop(), host_.keys(),
                                    std::move(options));
    s->start(c);
    if (!host_.add(s, false))
      return fail(std::make_exception_ptr(
        rejected{address_ + ": too many connections are open"}));
    {
      const std::lock_guard guard{mutex_};
      if (closed_) {
        host_.remove(*s);
        return;
      }
      begun_ = c;
    }
    c->begin(s, std::move(where), address_);
  } catch (...) {
    fail(std::current_exception());
  }
}

void way::came_up(std::shared_ptr<nodes::session> s) {
  auto is_closed = false;
  {
    const std::lock_guard guard{mutex_};
    begun_ = nullptr;
    is_closed = closed_;
    if (!closed_) {
      session_ = s;
      key_ = s->key();
      incarnation_.store(s->incarnation());
      was_up_ = true;
    }
  }
  if (is_closed) {
    s->road().close("closed here", false);
    return;
  }
  backoff_ = options_.backoff;
  changed_.notify_all();
  for (auto& w : watchers())
    w->came_up(*this, s);
}

void way::went_down(std::exception_ptr why) {
  fail(std::move(why));
}

void way::fail(std::exception_ptr why) {
  std::shared_ptr<nodes::session> last;
  auto is_over = false;
  {
    const std::lock_guard guard{mutex_};
    last = std::move(session_);
    session_ = nullptr;
    begun_ = nullptr;
    incarnation_.store(0);
    if (closed_)
      return;
    why_ = why;
    is_over = !was_up_ || !options_.reconnect || host_.is_leaving();
    if (is_over)
      closed_ = true;
    else
      try_later();
  }
  changed_.notify_all();
  if (is_over)
    tell_end(why);
}

void way::try_later() {
  const auto fifth = backoff_.count() / 5 + 1;
  const auto wait = backoff_.count()
                    + static_cast<std::int64_t>(
                      jitter_() % static_cast<std::uint64_t>(2 * fifth))
                    - fifth;
  backoff_ = std::min(backoff_ * 2, options_.backoff_max);
  pause_.expires_after(std::chrono::nanoseconds{wait});
  pause_.async_wait([weak = weak_from_this()](error_code ec) {
    auto alive = weak.lock();
    if (!ec && alive != nullptr)
      static_cast<way&>(*alive).attempt();
  });
}

} // namespace troupe::nodes

namespace troupe {

detail::node_core& node::checked() const {
  if (core_ == nullptr)
    throw bad_argument{"this node is none (default-made or moved from)"};
  return *core_;
}

} // namespace troupe

namespace troupe::detail {

std::string address_of(const node_core& n) {
  return n.address();
}

std::string fingerprint_of(const node_core& n) {
  return n.key();
}

std::uint64_t incarnation_of(const node_core& n) noexcept {
  return static_cast<const troupe::nodes::way&>(n).incarnation();
}

bool await_up(node_core& n, std::int64_t limit_ns) {
  return n.await_up(limit_ns);
}

void close_node(node_core& n) {
  n.close();
}

} // namespace troupe::detail
