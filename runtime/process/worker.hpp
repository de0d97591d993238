// SPDX-License-Identifier: MIT
// worker: what runs in a forked process. Its main thread takes requests from
// the ring, one by one; a watcher thread looks after the socket: the parent's
// end (then the whole group goes, busy or not), pings, cancels, descriptors,
// and the limit of memory. The first request says what it is: a worker of a
// pool, or the host of an actor (actor_host.cpp).
#pragma once

#include "process/channel.hpp"
#include "process/loans.hpp"
#include "process/zygote.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "sched/yield_pace.hpp"
#include "wire/frame.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <stop_token>

namespace troupe::process {

inline constexpr std::int64_t spin_least_ns = 2'000, spin_most_ns = 50'000;

class worker {
public:
  worker(descriptor socket, descriptor memory, descriptor bell,
         const worker_limits& limits);

  [[noreturn]] void run();

  black_box& box() { return page_.box; }

  // -- for a host of actors ---------------------------------------------------

  /// The next frame, if one is there: `take(head, payload, road)` is called.
  template <class Take>
  bool read_frame(Take take);
  [[nodiscard]] bool has_request() const { return !requests_.is_empty(); }
  /// Tells the parent of all the room that there is: whoever reads does so
  /// before he sleeps.
  void show_room() {
    if (unshown_bytes_ != 0)
      show_all_room();
  }
  /// Sleeps until a request is there or `wake` was called or `ready()`.
  template <class Ready>
  void wait_for(Ready ready);
  void wake() { wake_other(page_.requests.reader_waits); }
  /// Any thread. Blocks while the parent's ring is full.
  void send(const wire::frame_header& head, std::span<const std::byte> payload,
            wire::attachments& road);
  [[nodiscard]] const std::string& name() const { return node_; }
  /// Calls `use` with the payload of a frame, wherever it stands.
  /// Errors: decode_error (it stands nowhere).
  template <class Use>
  void with_payload(const wire::frame_header& head,
                    std::span<const std::byte> payload, incoming& road,
                    Use use);
  /// The frame that is being handled is over, though `take` does not return.
  void consume_first();
  /// Ends the process in good order.
  [[noreturn]] void end();

private:
  // -- main thread ------------------------------------------------------------

  void consume(std::size_t n);
  void show_all_room();
  void handle(const wire::frame_header& head,
              std::span<const std::byte> payload, incoming& road);
  bool begin(std::uint64_t call);
  void end_task();
  void perform(const wire::frame_header& head,
               std::span<const std::byte> payload, incoming& road);
  loan take_loan(std::span<const std::byte> payload, incoming& road);
  void send_bytes(std::span<const std::byte> frame);
  void send_fds(const wire::attachments& road);
  void ring_bell();
  void ring_if_owed();
  void published();

  // -- watcher thread ---------------------------------------------------------

  void watch();
  bool read_notes(bool& has_fds);
  static void request_stop(const std::stop_source& stop);
  void check_memory();
  std::vector<descriptor> take_fds(std::size_t n);

  descriptor socket_, bell_;
  shared_memory memory_;
  shared_page& page_;
  ring_reader requests_;
  std::mutex send_mutex_;
  ring_writer responses_; // under send_mutex_
  unsigned unrung_ = 0;   // under send_mutex_
  const std::int64_t memory_max_;
  const descriptor statm_;
  loans loans_;
  pthread_t main_{};
  std::string node_;
  std::int64_t spin_ns_ = spin_most_ns;
  sched::yield_pace pace_;
  wire::buffer out_;
  wire::frame_decoder decoder_;

  std::mutex mutex_;
  std::condition_variable has_fds_;
  std::deque<std::vector<descriptor>> fds_; // under mutex_
  std::uint64_t running_ = 0;               // under mutex_
  std::stop_source stop_;                   // under mutex_
  bool was_asked_ = false;                  // likewise: it is used up
  std::atomic<std::int64_t> baseline_{0};   // resident when it began
  std::size_t in_place_bytes_ = 0; // of the frame that is being handled
  std::size_t unshown_bytes_ = 0;  // read, and the parent does not know
  bool over_ = false;
};

template <class Take>
bool worker::read_frame(Take take) {
  const auto bytes = requests_.peek();
  if (bytes.empty())
    return false;
  // A frame in one piece is read where it is: the parent is trusted, and does
  // not write there before we say so.
  if (!decoder_.is_midway()) {
    if (const auto frame = wire::next_frame(bytes)) {
      incoming road;
      if (frame->head.attachments != 0)
        road.fds = take_fds(frame->head.attachments);
      in_place_bytes_ = frame->size_bytes();
      take(frame->head, frame->payload, road);
      consume(in_place_bytes_);
      return true;
    }
  }
  consume(decoder_.push(bytes));
  if (decoder_.is_ready()) {
    const auto frame = decoder_.take();
    incoming road;
    if (frame.head.attachments != 0)
      road.fds = take_fds(frame.head.attachments);
    take(frame.head, frame.payload.bytes(), road);
  }
  return true;
}

template <class Use>
void worker::with_payload(const wire::frame_header& head,
                          std::span<const std::byte> payload, incoming& road,
                          Use use) {
  if ((head.flags & attached_payload) == 0)
    use(payload);
  else
    use(take_loan(payload, road).bytes());
}

template <class Ready>
void worker::wait_for(Ready ready) {
  auto is_there = [&] { return has_request() || ready(); };
  if (is_there())
    return;
  ring_if_owed();
  const auto began = sched::now_ns();
  const auto until = began + spin_ns_;
  for (auto now = began; now < until; now = sched::now_ns()) {
    if (pace_.wants_sleep())
      break;
    if (pace_.is_due(now - began))
      pace_.yield(now);
    for (int i = 0; i < 32; ++i) {
      if (is_there())
        return;
      sched::cpu_relax();
    }
  }
  auto& asleep = page_.requests.reader_waits;
  for (;;) {
    asleep.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (is_there())
      break;
    sleep_on(asleep, 1, -1);
  }
  asleep.store(0, std::memory_order_relaxed);
  spin_ns_ = sched::now_ns() - began < 2 * spin_most_ns
               ? spin_most_ns
               : std::max(spin_least_ns, spin_ns_ / 2);
}

/// Serves as the process of one actor, from the frame on that says which.
[[noreturn]] void host_actor(worker& w, const wire::frame_header& head,
                             std::span<const std::byte> payload,
                             incoming& road);

} // namespace troupe::process
