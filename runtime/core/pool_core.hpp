// SPDX-License-Identifier: MIT
// pool_core: the queue and the runners of a thread_pool.
//
// Protocol:
// 1. submit pushes to `inbox_` (a stack, one CAS), then makes sure that a
// runner
//    is active unless all are.
// 2. A runner takes work from its deque, then from `ready_` (under mutex_; it
//    empties the inbox into it, in order), then from other runners' deques.
// 3. A runner that finds nothing leaves `active_` and looks once more: a submit
//    that saw it active has pushed before (seq_cst on both sides).
// 4. How many tasks a runner takes at once adapts: more only while a batch
//    takes microseconds, so that a long task never has short ones behind it
//    that others could not take (they can steal them too).
// 5. A turn ends after so many tasks or after a millisecond: the actors of the
//    same worker get theirs.
// 6. Once dropping_ is set, what a runner still finds is dropped, not run.
// 7. A runner that is scheduled or in resume holds a reference to the pool;
//    the last one frees it. So neither end waits for the other.
// 8. A task that waits for another runs it. One that waits for what hangs on
//    others (when_all, when_any, then, whose function may submit more) leaves
//    `active_` meanwhile, and as many stand-ins as there are such waits may
//    take what is left to do. A stand-in keeps nothing for itself and leaves as
//    soon as it is one too many.
// 9. Accepted == submitted_ - the sum of what runners, helpers and drops have
//    finished; nobody counts a task twice (pool_task::end::elsewhere).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <caf/resumable.hpp>

#include "core/runtime.hpp"
#include "sched/deque.hpp"
#include "sched/worker.hpp"
#include "troupe/thread_pool.hpp"

namespace troupe::detail {

struct pool_counts {
  std::atomic<std::uint64_t> done{0}, failed{0}, cancelled{0};

  void count(pool_task::end how) {
    auto& n = how == pool_task::end::done     ? done
              : how == pool_task::end::failed ? failed
                                              : cancelled;
    n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  std::uint64_t sum() const {
    return done.load(std::memory_order_acquire)
           + failed.load(std::memory_order_acquire)
           + cancelled.load(std::memory_order_acquire);
  }
};

class pool_core {
public:
  pool_core(runtime& rt, const thread_pool_options& opts);
  ~pool_core();

  void submit(pool_task* t, bool may_reject);

  /// Drains, then gives the owner's reference back.
  void close();

  drain_report shut_down(shutdown_mode mode, std::int64_t limit_ns);

  /// The system has stopped: nothing will run any more.
  void orphan();

  std::size_t workers() const { return workers_; }
  /// The workers that are in a task now.
  std::size_t running() const;
  bool is_current() const;
  void count_elsewhere(pool_task::end how);
  void begin_stoppable(stoppable& s) noexcept;
  void end_stoppable(stoppable& s) noexcept;

private:
  // One of `workers_` places at which tasks run; a job of the scheduler.
  class runner : public caf::resumable, private sched::wait_listener {
  public:
    resume_result resume(caf::execution_unit*, std::size_t max) override;
    subtype_t subtype() const override { return function_object; }
    void intrusive_ptr_add_ref_impl() override {
      pool->refs_.fetch_add(1, std::memory_order_relaxed);
    }
    void intrusive_ptr_release_impl() override { pool->release(); }

    pool_core* pool = nullptr;
    std::size_t index = 0;
    std::atomic<bool> active{false};
    std::size_t batch = 1;
    std::int64_t batch_began = 0;
    sched::job_deque<pool_task, 256> deque;
    alignas(64) pool_counts counts;
    std::atomic<bool> in_task{false};

  private:
    virtual bool is_surplus() const { return false; }
    virtual void count(pool_task::end how) { counts.count(how); }
    virtual void leave() {
      active.store(false);
      pool->active_.fetch_sub(1);
    }
    virtual bool come_back();
    void run_one(pool_task* t);
    void wait_begins() override;
    void wait_ends() override;
  };

  // Runs tasks while others wait (rule 8); owned by the scheduler.
  class stand_in final : public runner {
  public:
    explicit stand_in(pool_core& p);
    void intrusive_ptr_release_impl() override {
      auto* p = pool;
      delete this;
      p->release();
    }

    void leave() override;

  private:
    bool is_surplus() const override;
    void count(pool_task::end how) override { pool->count_elsewhere(how); }
    bool come_back() override;
  };

  bool activate_one();
  bool call_stand_in();
  pool_task* take(runner& r);
  pool_task* take_ready(runner& r);
  pool_task* steal(const runner& thief);
  bool has_work();
  bool is_initialized();
  bool initialize();
  pool_task::end finish(pool_task* t);
  void release() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }
  void drain_inbox_locked();
  void drop_queued(std::exception_ptr why);
  std::uint64_t finished() const;
  bool is_drained() const { return finished() == submitted_.load(); }
  template <class Done>
  bool await(Done done, std::int64_t until);
  void drop_initializer();
  bool has_room(std::uint64_t n);
  bool wait_for_room(std::uint64_t n);
  void ask_to_stop();
  std::exception_ptr why_closed();
  std::uint64_t cancelled() const;
  bool schedule(runner& r);
  void signal();

  home_block& home_;
  runtime* const rt_; // gone once orphaned_
  sched::scheduler* const scheduler_;
  const std::size_t workers_;
  const std::size_t most_;
  const full_policy full_;
  std::function<void()> initializer_; // those in initializing_ use it
  const bool has_initializer_;
  const std::uint64_t id_;
  std::vector<std::unique_ptr<runner>> runners_;
  std::atomic<std::uint32_t> refs_{1}; // the owner's, and the scheduler's
  alignas(64) std::atomic<pool_task*> inbox_{nullptr};
  std::atomic<std::uint64_t> submitted_{0};
  alignas(64) std::atomic<std::uint32_t> active_{0};
  std::atomic<std::uint32_t> waits_{0};      // tasks that wait
  std::atomic<std::uint32_t> stand_ins_{0};  // <= waits_ when one is called
  std::atomic<std::uint64_t> room_until_{0}; // submitted_ may grow to this
  std::atomic<std::uint32_t> waiting_{0};    // threads in await_* below
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> dropping_{false};
  std::atomic<bool> has_dropped_{false};
  std::atomic<bool> orphaned_{false};
  std::mutex schedule_mutex_; // scheduling against orphan()
  std::mutex mutex_;
  pool_task* ready_first_ = nullptr; // under mutex_
  pool_task* ready_last_ = nullptr;  // under mutex_
  std::size_t ready_size_ = 0;       // under mutex_
  std::atomic<std::size_t> ready_hint_{0};
  pool_counts elsewhere_;     // under mutex_ to write
  std::exception_ptr broken_; // under mutex_; why, if not by shutdown
  std::atomic<bool> is_broken_{false};
  std::vector<std::uint64_t> initialized_;     // under mutex_: threads' numbers
  bool is_initializer_over_ = false;           // under mutex_
  std::atomic<std::uint32_t> initializing_{0}; // grows under mutex_
  std::mutex stoppable_mutex_;
  stoppable* stoppable_ = nullptr; // under stoppable_mutex_
};

} // namespace troupe::detail
