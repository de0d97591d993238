// SPDX-License-Identifier: MIT
// pool: the ledger of a node_pool: where each task is, and what each node is
// at.
//
//   queued ──sent──▶ at a node ──its answer──▶ settled
//     ▲                 │
//     └──refused────────┘   not begun there; or lost with it and idempotent
//
// Invariants: (1) a task is in the queue, at one place, or over. (2) A place
//             has no more calls open than its node has workers; a call whose
//             task was given up (null) holds its worker until its answer.
//             (3) Nobody is called with the lock held: answers are decoded and
//             futures settled outside.
// A place is where a node stands: it is away (no session), asked how many
// workers it has, ready, or leaving (no more tasks).
#pragma once

#include "node/host.hpp"
#include "node/session.hpp"
#include "troupe/node_pool.hpp"
#include "wire/tasks.hpp"

#include <boost/asio/steady_timer.hpp>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace troupe::detail {

class node_pool_core final : public remote_pool,
                             public node_watcher,
                             public nodes::task_sender,
                             public nodes::host_user {
public:
  static constexpr std::size_t workers_most = 1024; // of one node

  node_pool_core(runtime& rt, const node_pool_options& opts);

  void start(const std::vector<node>& first);
  void add(const node& n);
  void remove(const node& n);
  void close() noexcept;
  node_pool_statistics stats();
  std::vector<node_load> nodes();

  // -- remote_pool ------------------------------------------------------------

  void submit(remote_task& t, bool may_reject) override;
  void stop_task(remote_task& t) noexcept override;
  void help(remote_task& t) noexcept override;
  drain_report shut_down(shutdown_mode mode, std::int64_t limit_ns) override;
  [[nodiscard]] std::size_t workers() const noexcept override;
  [[nodiscard]] bool has_attachments() const noexcept override { return false; }
  void seal(remote_task&) override {}

  // -- node_watcher, task_sender, host_user -----------------------------------

  void came_up(node_core& n, std::shared_ptr<nodes::session> s) override;
  void went_for_good(node_core& n, const std::exception_ptr& why) override;
  void on_answer(nodes::session& from, const wire::frame_header& head,
                 std::span<const std::byte> payload) override;
  void on_end(nodes::session& from, const std::exception_ptr& why) override;
  bool is_idle() override;
  void on_stop() override;

private:
  struct place {
    std::uint64_t number = 0;
    std::shared_ptr<node_core> node;
    std::shared_ptr<nodes::session> session; // null: away
    std::size_t workers = 0;                 // 0: not known yet
    bool ready = false;
    bool leaving = false;
    std::uint64_t setup = 0;          // the call that asks how many workers
    std::int64_t asks_at = INT64_MAX; // again, since that was refused
    std::int64_t rest_until = 0;      // it has refused a task
    std::uint64_t used = 0;           // when, for turns
    std::uint64_t answered = 0, lost = 0;
    std::unordered_map<std::uint64_t, remote_task*> calls;
  };

  std::shared_ptr<node_pool_core> self() {
    return std::static_pointer_cast<node_pool_core>(shared_from_this());
  }

  // The lock, and what is to be settled once it is free. Until that is done the
  // pool is not drained.
  struct section {
    node_pool_core& core;
    std::unique_lock<std::mutex> lock;
    verdicts out;

    explicit section(node_pool_core& c) : core(c), lock(c.mutex_) {}
    ~section() {
      if (!out.empty())
        settle_now();
    }
    section(const section&) = delete;
    section& operator=(const section&) = delete;

    void settle_now() {
      const auto n = out.size();
      core.settling_ += n;
      lock.unlock();
      settle(out);
      lock.lock();
      core.settling_ -= n;
      if (core.is_drained())
        core.changed_.notify_all();
    }
  };

  remote_task* take_answer(nodes::session& from, const wire::frame_header& head,
                           std::span<const std::byte> payload);

  // All of these: with mutex_ held.
  place* find(const node_core& n);
  place* find(const nodes::session& s);
  place* find(std::uint64_t number);
  place* place_for_next(std::int64_t now);
  void dispatch(verdicts& out);
  bool send(place& p, remote_task& t, std::int64_t now);
  void ask_for_workers(place& p);
  void ask_again(std::int64_t now);
  void take_workers(place& p, const wire::frame_header& head,
                    std::span<const std::byte> payload);
  void lose(place& p, remote_task& t, const std::exception_ptr& why,
            verdicts& out);
  void take_back(place& p, remote_task* t, verdicts& out);
  void drop(remote_task& t, verdicts& out);
  void drop_cancelled(verdicts& out);
  void give_up_late(std::int64_t now, verdicts& out);
  void fail_queue(const std::exception_ptr& why, verdicts& out);
  void stop_running();
  void forget_if_done(place& p);
  void note_change();
  [[nodiscard]] bool is_alone() const;
  [[nodiscard]] bool is_drained() const {
    return queue_.empty() && running_ == 0 && settling_ == 0;
  }
  [[nodiscard]] std::exception_ptr why_closed() const;
  [[nodiscard]] std::int64_t limit_of(const remote_task& t) const;
  void tick_by(std::int64_t due);
  [[nodiscard]] node_load load_of(const place& p) const;

  void tick();
  void refuse_in_loop(const char* what) const;

  nodes::host& host_;
  const node_pool_options options_;
  const std::size_t workers_each_; // 0: as many as a node has
  const std::size_t queue_max_;
  const std::shared_ptr<nodes::asio::io_context> context_;
  nodes::asio::steady_timer timer_; // the loop's

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  task_queue queue_;
  std::vector<std::unique_ptr<place>> places_;
  std::deque<node_load> gone_;
  std::size_t running_ = 0;  // sent and not settled
  std::size_t settling_ = 0; // verdicts on their way
  std::size_t waiting_ = 0;  // threads, for room
  std::uint64_t last_place_ = 0, last_use_ = 0;
  std::int64_t next_tick_ = INT64_MAX;
  std::int64_t alone_since_ = 0;
  std::exception_ptr last_loss_;
  node_pool_statistics counts_;
  bool closed_ = false;
  bool stopped_ = false;
  bool was_clean_ = true; // no shutdown has cancelled
};

/// A moment `limit` ns from `now`.
inline std::int64_t after(std::int64_t now, std::int64_t limit) {
  return limit >= INT64_MAX - now ? INT64_MAX : now + limit;
}

} // namespace troupe::detail
