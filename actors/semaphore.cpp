// SPDX-License-Identifier: MIT
#include "troupe/semaphore.hpp"

#include <unordered_set>

#include "troupe/detail/count.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class semaphore_actor : public actor {
public:
  explicit semaphore_actor(std::size_t permits)
    : permits_(permits),
      free_(permits) {
    if (permits == 0 || permits > count_max)
      throw bad_argument{"semaphore: " + as_written(permits) + " permits; "
                         + least_and_most(1)};
  }

  future<lease> acquire(std::size_t n) {
    check(n);
    serve();
    if (line_.empty() && free_ >= n) {
      auto now = answer_later<lease>();
      lend(now, n);
      return now.get_future();
    }
    auto result = line_.park(n);
    watch_front();
    return result;
  }

  future<std::optional<lease>> try_acquire(std::size_t n) {
    check(n);
    serve();
    auto now = answer_later<std::optional<lease>>();
    if (line_.empty() && free_ >= n)
      lend(now, n);
    else
      now.set_value();
    return now.get_future();
  }

  void release(std::uint64_t id, std::size_t n) {
    if (lent_.erase(id) == 0)
      return; // can't be: a lease knows whether it was returned
    free_ += n;
    serve();
  }

  std::size_t available() const { return free_; }

  semaphore_state state() {
    line_.sweep();
    return {permits_, free_, lent_.size(), line_.size(), is_closed_};
  }

  void close() {
    is_closed_ = true;
    line_.fail_all(closed{"semaphore::acquire: the semaphore was closed"});
  }

private:
  void check(std::size_t n) const {
    if (is_closed_)
      throw closed{"semaphore::acquire after close"};
    if (n == 0 || n > permits_)
      throw bad_argument{"semaphore::acquire of " + as_written(n)
                         + " permits; there are " + std::to_string(permits_)};
  }

  // The lease is made inside the future, or not at all: a waiter that has
  // given up costs nothing.
  template <class R>
  bool lend(promise<R>& to, std::size_t n) {
    auto id = ++last_id_;
    ref<semaphore_actor> me = self();
    bool is_lent = false;
    if constexpr (std::is_same_v<R, lease>)
      is_lent = to.try_set_value(std::move(me), id, n);
    else
      is_lent = to.try_set_value(std::in_place, std::move(me), id, n);
    if (is_lent) {
      lent_.insert(id);
      free_ -= n;
    }
    return is_lent;
  }

  void serve() {
    while (auto* next = line_.first()) {
      if (next->request > free_)
        break;
      lend(next->answer, next->request);
      line_.pop();
    }
    watch_front();
  }

  // Free permits behind which somebody waits because the first wants more: if
  // it gives up, nobody tells us. So we look again, only as long as this lasts.
  void watch_front() {
    constexpr std::chrono::milliseconds period{5};
    if (is_watching_ || line_.size() < 2 || free_ == 0)
      return;
    is_watching_ = true;
    after(period, [this] {
      is_watching_ = false;
      serve();
    });
  }

  const std::size_t permits_;
  std::size_t free_;
  std::uint64_t last_id_ = 0;
  bool is_closed_ = false;
  bool is_watching_ = false;
  std::unordered_set<std::uint64_t> lent_;
  waiting_line<lease, std::size_t> line_;
};

void read_actor(wire::reader& in, ref<semaphore_actor>& actor) {
  wire::decode(in, actor);
}

} // namespace detail

using detail::semaphore_actor;

lease::lease(ref<semaphore_actor> lender, std::uint64_t id, std::size_t n)
  : lender_(std::move(lender)),
    id_(id),
    permits_(n) {}

lease::lease(lease&& other) noexcept
  : lender_(std::move(other.lender_)),
    id_(other.id_),
    permits_(std::exchange(other.permits_, 0)),
    keeper_(std::move(other.keeper_)) {}

lease& lease::operator=(lease&& other) noexcept {
  if (this != &other) {
    give_back();
    lender_ = std::move(other.lender_);
    id_ = other.id_;
    permits_ = std::exchange(other.permits_, 0);
    keeper_ = std::move(other.keeper_);
  }
  return *this;
}

lease::~lease() {
  give_back();
}

void lease::release() {
  if (permits_ == 0)
    throw bad_argument{"lease::release: these permits were returned before"};
  give_back();
}

void lease::give_back() noexcept {
  auto n = std::exchange(permits_, 0);
  if (n == 0)
    return;
  try {
    lender_.tell<&semaphore_actor::release>(id_, n);
  } catch (const std::exception&) {
    // Only without memory: the permits are lost with the process.
  }
  lender_ = {};
  keeper_ = {};
}

// This one keeps its handles until the message is on its way. Who returns the
// permits first, the other side or the keeper, does not matter.
void lease::leave_to(wire::writer& out) {
  if (permits_ != 0 && !keeper_)
    keeper_ = system_of(lender_).spawn<detail::keeper<lease>>(
      lease{lender_, id_, permits_});
  wire::encode(out, lender_);
  wire::encode(out, id_);
  wire::encode(out, permits_);
  wire::encode(out, keeper_);
  permits_ = 0;
}

void lease::come_from(wire::reader& in) {
  wire::decode(in, lender_);
  wire::decode(in, id_);
  wire::decode(in, permits_);
  wire::decode(in, keeper_);
}

semaphore::semaphore(system& sys, semaphore_options opts)
  : handle(sys.spawn<semaphore_actor>(opts.permits)) {}

future<lease> semaphore::acquire(std::size_t n) const {
  return ask<&semaphore_actor::acquire>(n);
}

future<std::optional<lease>> semaphore::try_acquire(std::size_t n) const {
  return ask<&semaphore_actor::try_acquire>(n);
}

future<std::size_t> semaphore::available() const {
  return ask<&semaphore_actor::available>();
}

future<semaphore_state> semaphore::state() const {
  return ask<&semaphore_actor::state>();
}

future<void> semaphore::close() const {
  return ask<&semaphore_actor::close>();
}

} // namespace troupe
