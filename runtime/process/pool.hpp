// SPDX-License-Identifier: MIT
// pool: the ledger of a process_pool: where each task is, and what each worker
// is at.
//
//   queued ──sent──▶ at a worker ──its answer──▶ settled
//     ▲                 │
//     └──taken back─────┘   not begun: for an idle worker, at a death, to
//     cancel ▲                 │ └──tried again────┘   begun and idempotent,
//     its worker died
//
// Invariants: (1) a task is in the queue, at one place, or settled. (2) A place
//             sees calls in the order of their numbers; `first` is the oldest
//             without an answer. (3) Who ends a running call takes back all
//             that stand behind it first, so that no signal meets another task;
//             if one of those has begun, the call is over and nothing is ended.
//             (4) Nobody is called with the lock held: answers are decoded and
//             futures settled outside.
// A place is where a worker stands: it is starting (no tasks before its
// initializer is through), ready, or leaving.
#pragma once

#include "process/host.hpp"
#include "troupe/process_pool.hpp"
#include "wire/tasks.hpp"

#include <array>
#include <condition_variable>
#include <random>

namespace troupe::detail {

class process_core final : public process::child_owner, public remote_pool {
public:
  process_core(runtime& rt, const process_pool_options& opts);
  ~process_core() override;

  void start();
  void close() noexcept;
  process_pool_statistics stats();
  std::vector<std::int32_t> pids();
  std::vector<quarantined_task> quarantined();

  // -- remote_pool ------------------------------------------------------------

  void submit(remote_task& t, bool may_reject) override;
  void stop_task(remote_task& t) noexcept override;
  void help(remote_task& t) noexcept override;
  drain_report shut_down(shutdown_mode mode, std::int64_t limit_ns) override;
  [[nodiscard]] std::size_t workers() const noexcept override { return most_; }
  [[nodiscard]] bool has_attachments() const noexcept override { return true; }
  void seal(remote_task& t) override;

  // -- child_owner ------------------------------------------------------------

  void on_frame(process::child& from, const wire::frame_header& head,
                std::span<const std::byte> payload,
                process::incoming& road) override;
  void on_pumped(process::child& from) override;
  void on_end(process::child& from, certificate why) override;
  std::int64_t tick(std::int64_t now) override;
  bool is_idle() override;
  void on_stop() override;

private:
  /// For a worker that was told to end.
  static constexpr std::int64_t end_limit_ns = 5'000'000'000;

  enum class stage : std::uint8_t { none, asked, term, abort, kill };

  struct place {
    std::uint64_t number = 0;
    std::shared_ptr<process::child> worker;
    bool ready = false;
    bool spare = false;
    bool leaving = false; // gets no more tasks
    bool told_to_end = false;
    bool greeted = false;    // it is there
    bool served = false;     // a task has begun here
    std::uint64_t first = 1; // the oldest call without an answer
    std::uint64_t next = 1;  // the number of the next call
    std::size_t live = 0;    // calls in between that were not taken back
    std::uint64_t setup = 0; // the initializer's or finalizer's call
    std::array<remote_task*, process::window> calls{};
    std::uint64_t tasks = 0; // sent
    std::uint64_t tasks_max = UINT64_MAX;
    std::int64_t head_began = 0;  // when `first` began, as far as is known
    std::uint64_t known_call = 0; // whose beginning the worker has told
    std::int64_t task_ns = 0;     // what tasks take here, roughly
    std::int64_t last_answer = 0;
    std::size_t answers = 0; // since then
    std::int64_t idle_since = 0;
    stage ending = stage::none;
    std::uint64_t ending_call = 0;
    std::int64_t next_stage = 0;
    std::string why_ending;
    std::uint64_t pings = 0, pongs = 0;
    std::int64_t heard = 0, pinged_at = 0;
    std::int64_t end_by = 0; // of leaving: killed then

    [[nodiscard]] bool pid_unknown() const { return worker->pid() == 0; }
  };

  struct answered {
    remote_task* task = nullptr;
    bool is_setup = false;
    bool is_settled = false; // given up: late
  };

  std::shared_ptr<process_core> self() {
    return std::static_pointer_cast<process_core>(shared_from_this());
  }

  answered take_answer(const process::child& from,
                       const wire::frame_header& head);
  void end_setup(const process::child& from, const std::exception_ptr& error);

  // All of these: with mutex_ held.
  void open_place(bool spare, verdicts& out);
  void make_places(verdicts& out);
  void dispatch(verdicts& out);
  place* place_for_next();
  bool has_room(place& p);
  place* grow(verdicts& out);
  void send(place& p, remote_task& t);
  void send_setup(place& p, const wire::entry& e);
  bool rebalance();
  bool take_back(place& p, std::uint64_t call);
  void take_back_all(place& p, std::vector<remote_task*>& out);
  void requeue(std::vector<remote_task*>& tasks);
  void unqueue(remote_task& t);
  void begin_ending(place& p, remote_task& t, std::string why);
  void look_at_ending(place& p, std::int64_t now);
  void look_at_deadline(place& p, std::int64_t now, verdicts& out);
  std::int64_t began(place& p, const remote_task& t, std::int64_t now);
  void look_at_heartbeat(place& p, std::int64_t now);
  void tell_to_end(place& p, std::int64_t limit_ns);
  void kill_all(const char* why);
  void note_bad_start(const std::string& why, verdicts& out);
  void brake();
  void cancel_queue(verdicts& out);
  void drop(remote_task& t, verdicts& out);
  void take_back_behind(place& p, std::uint64_t call);
  static bool has_passed(const place& p, std::uint64_t call);
  remote_task* head_of(place& p);
  std::size_t standing(bool spare) const;
  void fail_queue(const std::exception_ptr& why, verdicts& out);
  void break_pool(std::exception_ptr why, verdicts& out);
  void bury_task(remote_task& t, certificate why, verdicts& out);
  bool is_drained() const { return queue_.empty() && running_ == 0; }
  std::exception_ptr why_closed() const;
  place* find(const process::child& c);
  std::int64_t deadline_of(const remote_task& t) const;
  std::int64_t next_look(place& p, std::int64_t now);

  process::host& host_;
  const process_pool_options options_;
  const std::size_t most_, least_, queue_max_;
  const process::worker_limits limits_;

  std::mutex mutex_;
  std::condition_variable changed_;
  task_queue queue_;
  std::size_t waiting_ = 0; // threads, for room
  std::size_t wanted_;      // places, spares apart
  std::size_t running_ = 0; // sent and not settled
  std::vector<std::unique_ptr<place>> places_;
  std::uint64_t last_place_ = 0;
  bool closed_ = false;
  bool stopped_ = false;
  std::exception_ptr broken_;
  int bad_starts_ = 0; // in a row
  int brakes_ = 0;     // likewise, with workers that came to nothing later
  std::int64_t start_again_ = 0;
  process_pool_statistics counts_;
  std::deque<quarantined_task> quarantine_;
  std::minstd_rand jitter_;
  bool was_clean_ = true; // no shutdown has cancelled or killed
  bool wants_spares_ = false;
};

} // namespace troupe::detail
