// SPDX-License-Identifier: MIT
// actor_host: the process of one actor. The worker's main thread reads frames
// and is the actor's own thread at the same time: a call needs no hand-over.
//
// While a method of the actor blocks (a get() on another actor's answer, say)
// somebody else has to read that answer: a second thread, which sleeps
// otherwise.
#include "core/extras.hpp"
#include "core/log.hpp"
#include "core/own_thread.hpp"
#include "core/runtime.hpp"
#include "process/worker.hpp"
#include "sched/worker.hpp"
#include "wire/peer.hpp"

#include <condition_variable>
#include <cstdlib>
#include <thread>

namespace troupe::process {

namespace {

constexpr std::int64_t look_ns = 50'000;

class hosted final : public wire::peer {
public:
  hosted(detail::runtime& rt, worker& w) : peer(rt), worker_(w) {
    reader_ = std::thread{[this] { read_for_main(); }};
    reader_.detach(); // until the process ends
  }

  /// Hands on what is there; any thread, one at a time.
  bool read() {
    const std::lock_guard guard{reading_};
    auto any = false;
    while (worker_.read_frame([this](auto& head, auto payload, auto& road) {
      take(head, payload, road);
    }))
      any = true;
    if (!any)
      worker_.show_room();
    return any;
  }

  /// The actor that this is all about.
  void hosts(detail::cell* c) {
    detail::retain_weak(c);
    actor_ = c;
    export_actor(c);
  }
  /// Told to end, or nobody over there has a handle to it any more; one that
  /// it gave away itself meanwhile counts.
  [[nodiscard]] bool is_over() {
    return over_.load() || (let_go_.load() && !is_exported(actor_));
  }
  /// Read: whoever lent it may have it back.
  void give_back() {
    wire::attachments none;
    worker_.send({.kind = wire::frame_kind::credit}, {}, none);
  }

  void look(detail::state_base& s) noexcept override {
    const auto until = sched::now_ns() + look_ns;
    while (!s.is_settled() && sched::now_ns() < until)
      if (!read())
        sched::cpu_relax();
  }

  // -- when the main thread blocks --------------------------------------------

  void main_blocks() {
    const std::lock_guard guard{mutex_};
    main_blocks_.store(true);
    changed_.notify_one();
  }
  void main_goes_on() {
    main_blocks_.store(false);
    std::atomic_thread_fence(std::memory_order_seq_cst); // before it is woken
    worker_.wake();
    // The worker's waiting is for one thread at a time.
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [this] { return !is_reading_; });
  }

protected:
  void transmit(const wire::frame_header& head,
                std::span<const std::byte> payload,
                wire::attachments& road) override {
    worker_.send(head, payload, road);
  }
  void transmit_buffer(const wire::frame_header& head, wire::buffer payload,
                       wire::attachments& road) override {
    auto header = head;
    if (payload.size() >= attached_bytes_min && attach_bytes(payload, road))
      header.flags |= attached_payload;
    worker_.send(header, payload.bytes(), road);
  }
  std::string name() const override { return worker_.name(); }
  void on_export_gone(const detail::cell& c, bool has_ended) override {
    if (&c != actor_)
      return;
    (has_ended ? over_ : let_go_).store(true);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    worker_.wake();
  }

private:
  void take(const wire::frame_header& head, std::span<const std::byte> payload,
            incoming& road) {
    if (head.kind == wire::frame_kind::stop && head.target == 0) {
      over_.store(true);
      return;
    }
    if ((head.flags & attached_payload) == 0) {
      receive(head, payload, road);
      return;
    }
    try {
      worker_.with_payload(head, payload, road,
                           [&](auto bytes) { receive(head, bytes, road); });
    } catch (...) {
      if (head.call == 0)
        throw;
      answer_error(head.call, std::current_exception());
    }
    give_back();
  }

  void read_for_main() {
    std::unique_lock guard{mutex_};
    for (;;) {
      changed_.wait(guard, [this] { return main_blocks_.load(); });
      is_reading_ = true;
      guard.unlock();
      while (main_blocks_.load())
        if (!read())
          worker_.wait_for([this] { return !main_blocks_.load(); });
      guard.lock();
      is_reading_ = false;
      changed_.notify_all();
    }
  }

  worker& worker_;
  std::mutex reading_;
  std::atomic<bool> over_{false};
  std::atomic<bool> let_go_{false};
  detail::cell* actor_ = nullptr; // a weak reference; set before it can go
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> main_blocks_{false};
  bool is_reading_ = false; // under mutex_
  std::thread reader_;
};

thread_local bool is_main = false;

void tell_main(void* of) {
  if (is_main) // it looks before it sleeps
    return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  static_cast<worker*>(of)->wake();
}

} // namespace

void host_actor(worker& w, const wire::frame_header& head,
                std::span<const std::byte> payload, incoming& road) {
  options opts;
  static_cast<void>(read_options(opts, {}));
  opts.workers = 1;
  is_main = true;
  // Never destroyed: the process ends with it.
  auto& sys = *new system{opts};
  auto peer = std::make_shared<hosted>(sys.runtime(), w);
  detail::making m{&sys.runtime(), {}, nullptr};
  m.options.own_thread = true;
  m.options.driver = {&tell_main, &w};
  try {
    w.with_payload(head, payload, road, [&](auto bytes) {
      peer->invoke(wire::entry_kind::actor, head.name, bytes, road, &m);
    });
  } catch (...) {
    peer->answer_error(head.call, std::current_exception());
    w.end();
  }
  if ((head.flags & attached_payload) != 0)
    peer->give_back();
  peer->hosts(m.made);
  peer->answer_void(head.call);
  const auto thread = m.made->extras().thread;
  detail::release(m.made);
  w.consume_first(); // the frame that we came from
  sched::on_block = {[](void* of) { static_cast<hosted*>(of)->main_blocks(); },
                     [](void* of) { static_cast<hosted*>(of)->main_goes_on(); },
                     peer.get()};
  while (!peer->is_over()) {
    const auto any = peer->read();
    if (thread->has_work())
      thread->step();
    else if (!any)
      w.wait_for([&] { return thread->has_work() || peer->is_over(); });
  }
  sched::on_block = {};
  // What it has started ends too; then what was answered has been written.
  sys.stop(std::chrono::seconds{1});
  w.end();
}

} // namespace troupe::process
