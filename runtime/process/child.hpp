// SPDX-License-Identifier: MIT
// child: a worker as its parent sees it.
// Who may call: any thread. Locks: `pump` is entered by one thread at a time,
//               others go away (whoever is in there sees their bytes too);
//               sending has a lock of its own, inside of the owner's.
// A death:      bytes that it had written come first, then `on_end`, once.
//               Nobody ever blocks on a child: what its ring has no room for
//               waits here.
#pragma once

#include "process/channel.hpp"
#include "process/zygote.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "sched/yield_pace.hpp"
#include "troupe/certificate.hpp"
#include "wire/frame.hpp"

#include <atomic>
#include <deque>
#include <mutex>

namespace troupe::process {

class child;
class host;

/// Who owns children. Called by whoever pumps, never by two threads for one
/// child at the same time.
class child_owner {
public:
  /// A frame came; its bytes are ours alone, and valid during the call.
  virtual void on_frame(child& from, const wire::frame_header& head,
                        std::span<const std::byte> payload, incoming& road) = 0;
  /// All that was there has been handed over.
  virtual void on_pumped(child& from) = 0;
  /// It is gone, or could not be started (pid 0).
  virtual void on_end(child& from, certificate why) = 0;
  /// The time to look at deadlines; returns when to come again.
  virtual std::int64_t tick(std::int64_t now) = 0;
  /// Nothing is under way.
  virtual bool is_idle() = 0;
  /// The system has stopped: children end now, all that is left fails.
  virtual void on_stop() = 0;

protected:
  ~child_owner() = default;
};

class child {
public:
  child(host& home, std::shared_ptr<child_owner> owner, std::uint64_t number);

  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] std::int32_t pid() const noexcept { return pid_.load(); }
  [[nodiscard]] host& home() const noexcept { return host_; }

  // -- calls ------------------------------------------------------------------

  /// Puts a frame into its ring, with the descriptors that belong to it.
  /// Requires of a call: its claim was `offer`ed.
  void send(const wire::frame_header& head, std::span<const std::byte> payload,
            const wire::attachments* road = nullptr);

  void offer(std::uint64_t call) noexcept;
  /// Takes a call back; false when it has begun.
  bool withdraw(std::uint64_t call) noexcept;
  [[nodiscard]] bool has_begun(std::uint64_t call) const noexcept;
  /// It wrote what can't be understood: its word is worth nothing.
  [[nodiscard]] bool wrote_nonsense() const noexcept {
    return nonsense_.load(std::memory_order_relaxed);
  }

  /// When the call that runs began, by its word (not to be trusted). Known of
  /// calls with a deadline.
  [[nodiscard]] std::int64_t began_at() const noexcept {
    return page_.began_at.load(std::memory_order_relaxed);
  }

  /// Wishes; lost if it is gone.
  void ask_to_stop(std::uint64_t call) noexcept;
  void ping(std::uint64_t number) noexcept;
  [[nodiscard]] std::uint64_t last_pong() const noexcept;
  void signal(int number) noexcept;
  /// Ends it by force; `why` is for the certificate, the first one stays.
  void condemn(std::string why, int number);

  /// Hands on what it has written. False when another thread is at it, or
  /// nothing was there.
  bool pump();

  /// Pumps until `done()` or `until`; meanwhile it need not ring its bell.
  template <class Done>
  void pump_until(std::int64_t until, Done done) {
    static constinit thread_local sched::yield_pace pace;
    begin_look();
    auto now = sched::now_ns();
    for (auto idle_since = now; !done() && now < until; now = sched::now_ns()) {
      if (pace.is_due(now - idle_since))
        pace.yield(now);
      for (int i = 0; i < 16; ++i) {
        if (pump()) {
          idle_since = now;
          break;
        }
        sched::cpu_relax();
      }
    }
    end_look();
  }

  // -- for the host -----------------------------------------------------------

  /// What the zygote needs; the child's ends are closed once it goes.
  struct birth {
    descriptor socket, stderr_end;
    int memory = -1;
    int bell = -1;
  };
  birth take_birth() { return std::move(birth_); }
  void was_born(std::int32_t pid, descriptor pidfd);
  /// `seen` is null when nobody could look how.
  void has_died(const report* seen, std::string why, bool memory_killer);
  /// False when nothing will come any more.
  bool read_stderr();
  void show_stderr(std::string_view text);
  /// Sets how eagerly it rings from now on, unless somebody looks anyway; true
  /// if something is there already.
  bool arm(bell_mode mode) noexcept;
  /// Something waits for room at the worker.
  [[nodiscard]] bool has_backlog() const noexcept {
    return has_backlog_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t backlog_bytes() const noexcept {
    return backlog_bytes_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] int bell() const noexcept { return bell_.get(); }
  [[nodiscard]] int stderr_end() const noexcept { return stderr_.get(); }
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] bool has_ended() const noexcept { return ended_.load(); }

  void* owners_note = nullptr;        // for the owner
  bell_mode armed = bell_mode::quiet; // the host's
  std::uint64_t pumped = 0;           // likewise
  bool orphaned = false;              // likewise: its zygote has ended
  [[nodiscard]] std::uint64_t pumps() const noexcept { return pumps_.load(); }

private:
  struct pending {
    wire::buffer bytes;
    std::size_t at = 0;
    std::vector<std::shared_ptr<const wire::segment>> fds;
  };

  void begin_look() noexcept;
  void end_look() noexcept;
  bool drain();
  void feed(std::span<const std::byte> bytes);
  void deliver(const wire::frame_header& head,
               std::span<const std::byte> payload);
  void flush();
  void flush_locked();
  bool send_fds(std::vector<std::shared_ptr<const wire::segment>>& fds);
  void wake() noexcept;
  void enter() noexcept;

  host& host_;
  std::shared_ptr<child_owner> owner_; // whoever pumps; null once it has ended
  const std::uint64_t number_;
  shared_memory memory_;
  shared_page& page_;
  descriptor socket_, bell_, stderr_, pidfd_;
  birth birth_;
  std::atomic<std::int32_t> pid_{0};
  std::atomic<bool> ended_{false};

  std::mutex send_mutex_;
  ring_writer requests_;                      // under send_mutex_
  std::deque<pending> backlog_;               // under send_mutex_
  bool broken_ = false;                       // under send_mutex_
  std::atomic<bool> has_backlog_{false};      // written under send_mutex_
  std::atomic<std::size_t> backlog_bytes_{0}; // likewise

  std::atomic_flag pumping_;
  std::atomic<std::uint32_t> lookers_{0};
  // These belong to whoever pumps.
  ring_reader responses_;
  wire::frame_decoder decoder_;
  std::vector<std::byte> scratch_;
  std::atomic<bool> deaf_{false}; // nothing is read any more
  std::atomic<bool> nonsense_{false};
  std::atomic<std::uint64_t> pumps_{0};

  std::mutex look_mutex_;
  std::string stderr_tail_;       // under look_mutex_
  std::size_t unshown_bytes_ = 0; // of stderr; the host's thread
  std::string condemned_;         // under look_mutex_
};

} // namespace troupe::process
