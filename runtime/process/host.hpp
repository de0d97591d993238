// SPDX-License-Identifier: MIT
// host: all child processes of one system: the zygote that they are forked
// from, and the thread that listens to them ("troupe.process").
//
//   thread: epoll over the zygote's socket, and of each child its bell and its
//           stderr; it hands on what they wrote, tells owners of deaths, and
//           looks at their deadlines. It sleeps when nothing happens.
//
// How eagerly children ring (channel.hpp): a child that wrote something lately
// is armed lazily and looked at again half a millisecond later; one that was
// silent then rings at once.
// A death of the zygote: children go on, the next one comes from a new zygote.
// One that is silent for 10 s while a birth or a death is due is killed.
#pragma once

#include "core/runtime.hpp"
#include "process/child.hpp"

#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace troupe::process {

class host final : public detail::part {
public:
  /// The host of a system, made on first need.
  /// Errors: not_sendable (a program whose main doesn't call troupe::run),
  /// closed.
  static host& of(detail::runtime& rt);

  explicit host(detail::runtime& rt);
  ~host() override;

  /// Starts a worker; returns at once. What is sent to it waits until it is
  /// there. That it could not be started is told by `on_end`.
  /// Errors: std::system_error (no more descriptors or memory), closed.
  std::shared_ptr<child> start(std::shared_ptr<child_owner> owner,
                               const worker_limits& limits);

  /// `owner.tick` is called now and then from here on, and by `due` at the
  /// latest. Removed: it is not being called any more.
  void add(std::shared_ptr<child_owner> owner);
  void remove(const child_owner* owner);
  void tick_by(std::int64_t due);

  /// Ends all children and the zygote.
  void stop() override;
  bool is_idle() override;

  [[nodiscard]] detail::runtime& runtime() const noexcept { return runtime_; }

private:
  enum class source : std::uint64_t { wake, zygote, bell, err, pid };
  static std::uint64_t key(source s, std::uint64_t number) {
    return static_cast<std::uint64_t>(s) << 56 | number;
  }

  void loop();
  void listen_to(int fd, source s, std::uint64_t number);
  void wake() noexcept;
  void handle(std::uint64_t what);
  void read_reports();
  void take_report(const report& r, std::vector<descriptor> fds);
  void bury(std::uint64_t number, const report* seen, std::string why);
  void zygote_died();
  void start_zygote_locked();
  void send_order_locked(const std::shared_ptr<child>& c,
                         const worker_limits& limits);
  void send_orders_locked();
  void retry_orders();
  std::int64_t arm_all();
  std::int64_t tick_all();
  std::shared_ptr<child> find(std::uint64_t number);
  void end_zygote();
  void await_report_locked(std::uint64_t number);
  void has_ended(child& c);
  std::int64_t look_at_zygote();

  detail::runtime& runtime_;
  std::uint64_t memory_kills_; // of the machine, as we last looked
  descriptor epoll_, wake_;
  // When the thread comes again, and whether it sleeps until then:
  //   tick_by: lowers next_look_, then looks at asleep_    (and wakes)
  //   thread:  sets asleep_, then looks at next_look_      (and sleeps)
  // both in one order for all, so that one of them sees the other. While the
  // thread is awake nobody wakes it; it takes the lowest wish before it sleeps.
  std::atomic<std::int64_t> next_look_{0};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> over_{false};
  std::thread thread_;

  struct waiting_order {
    std::shared_ptr<child> to;
    order what;
    child::birth fds;
  };

  std::mutex mutex_;
  descriptor zygote_;           // mutex_
  std::int32_t zygote_pid_ = 0; // mutex_
  // Who the zygote owes a report, and by when it has to send one of them.
  std::unordered_set<std::uint64_t> awaited_;                     // mutex_
  std::int64_t report_due_ns_ = 0;                                // mutex_
  std::uint64_t last_number_ = 0;                                 // mutex_
  std::unordered_map<std::uint64_t, std::shared_ptr<child>> all_; // mutex_
  std::deque<waiting_order> orders_;                              // mutex_
  std::vector<std::shared_ptr<child_owner>> owners_;              // mutex_
  bool stopped_ = false;                                          // mutex_
  std::vector<std::shared_ptr<child>> snapshot_; // the thread's
  std::atomic<bool> changed_{true};
  std::mutex tick_mutex_; // held while an owner is called
};

} // namespace troupe::process
