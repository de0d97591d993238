// SPDX-License-Identifier: MIT
// loop: the thread of all connections ("troupe.node") and those who help it.
//
//   post     anything, to be done by the loop
//   note     a connection has something to send
//   help     the calling thread does the loop's work while it waits
//
// Protocol: whoever has `driven_` drives: runs handlers, flushes. Everything
// that belongs to connections is touched by the driver alone, so handlers need
// no locks among themselves.
//   1. The thread drives, then looks around for a while (a wake-up costs more
//      than most answers take), then sleeps in epoll as the driver.
//   2. Who notes something pairs a store to the list with a load of `asleep_`;
//      the thread stores `asleep_` and then loads the list. One of them sees
//      the other.
//   3. While there are helpers, or were a moment ago, the thread naps instead
//      and looks after the loop only now and then: a call and its answer then
//      need no hand-over. It does so whether or not there are helpers: one that
//      the system has taken off its core between two turns drives nobody. A
//      helper that leaves without what it waited for wakes it.
#pragma once

#include "sched/adaptive_mutex.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "sched/scheduler.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace troupe::nodes {

namespace asio = boost::asio;

/// What can have bytes to send.
class flushable {
public:
  virtual ~flushable() = default;
  /// The driver's: begins to send what there is.
  virtual void flush() = 0;
};

class loop {
public:
  /// `workers` run what comes.
  loop(sched::scheduler& workers, std::int64_t spin_max_ns);
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Whatever has sockets or timers holds it, so that they can go after us.
  const std::shared_ptr<asio::io_context>& context() const noexcept {
    return context_;
  }

  sched::scheduler& workers() const noexcept { return workers_; }

  template <class F>
  void post(F f) {
    asio::post(*context_, std::move(f));
  }

  /// Any thread.
  void note(std::shared_ptr<flushable> who);

  /// Drives until `ready()` or for `limit_ns`.
  template <class Ready>
  void help(std::int64_t limit_ns, Ready ready) {
    const auto until = sched::now_ns() + limit_ns;
    helpers_.fetch_add(1);
    auto is_ready = ready();
    while (!is_ready && sched::now_ns() < until) {
      if (!try_turn())
        ::sched_yield(); // the other side may want this core
      is_ready = ready();
    }
    leave_help(is_ready);
  }

  /// Ends the thread.
  void stop();
  /// After that: runs what is ready, on the calling thread.
  void drain();

  [[nodiscard]] bool is_driver() const noexcept;

private:
  void run();
  bool try_turn();
  bool turn();
  bool take_over();
  void give_up_driving() { driven_.store(false, std::memory_order_release); }
  bool nap();
  void leave_help(bool is_ready);
  bool has_notes();
  void wake();

  sched::scheduler& workers_;
  const std::shared_ptr<asio::io_context> context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  const std::int64_t spin_max_ns_;
  std::atomic<bool> driven_{false};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> over_{false};
  std::atomic<std::uint32_t> helpers_{0};
  std::atomic<std::int64_t> helped_at_{0};
  std::atomic<std::uint32_t> nap_{0};
  sched::adaptive_mutex mutex_;
  std::vector<std::shared_ptr<flushable>> notes_; // mutex_
  std::vector<std::shared_ptr<flushable>> taken_; // the driver's
  std::thread thread_;
};

} // namespace troupe::nodes
