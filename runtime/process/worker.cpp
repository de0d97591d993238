// SPDX-License-Identifier: MIT
#include "process/worker.hpp"

#include "core/context.hpp"
#include "process/channel.hpp"
#include "process/crash.hpp"
#include "process/keeper.hpp"
#include "process/zygote.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "troupe/detail/wire/names.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"
#include "wire/failure.hpp"
#include "wire/frame.hpp"

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <pthread.h>
#include <stop_token>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>

namespace troupe::process {

namespace {

constexpr unsigned results_per_bell = 16;
// What was read is told in pieces: each costs a full fence.
constexpr std::size_t unshown_bytes_max = ring_bytes / 8;
constexpr std::int64_t memory_look_ns = 5'000'000;

std::int64_t resident_bytes(int statm) {
  char text[128];
  auto n = ::pread(statm, text, sizeof(text) - 1, 0);
  if (n <= 0)
    return 0;
  text[n] = 0;
  long long size = 0;
  long long resident = 0;
  if (std::sscanf(text, "%lld %lld", &size, &resident) != 2)
    return 0;
  return resident * ::sysconf(_SC_PAGESIZE);
}

[[noreturn]] void end_group() {
  kill_descendants(::getpid());
  ::kill(0, SIGKILL); // our group, us included
  ::kill(::getpid(), SIGKILL);
  for (;;)
    ::pause();
}

} // namespace

worker::worker(descriptor socket, descriptor memory, descriptor bell,
               const worker_limits& limits)
  : socket_(std::move(socket)),
    bell_(std::move(bell)),
    memory_(shared_memory::map(std::move(memory))),
    page_(memory_.page()),
    requests_(page_.requests, memory_.requests()),
    responses_(page_.responses, memory_.responses()),
    memory_max_(limits.memory_bytes),
    statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)),
    loans_(limits.memory_bytes == 0) {
  node_ = "process " + std::to_string(::getpid());
}

// -- requests -----------------------------------------------------------------

void worker::run() {
  main_ = ::pthread_self();
  std::thread{[this] { watch(); }}.detach();
  wire::attachments none;
  send({.kind = wire::frame_kind::hello}, {}, none);
  {
    const std::lock_guard guard{send_mutex_};
    ring_bell();
  }
  while (!over_) {
    if (!has_request())
      show_room();
    wait_for([] { return false; });
    read_frame([this](auto& head, auto payload, auto& road) {
      handle(head, payload, road);
    });
  }
  end();
}

void worker::end() {
  ring_if_owed();
  std::exit(0);
}

void worker::consume_first() {
  consume(std::exchange(in_place_bytes_, 0));
}

void worker::consume(std::size_t n) {
  requests_.skip(n);
  unshown_bytes_ += n;
  if (unshown_bytes_ >= unshown_bytes_max)
    show_all_room();
}

void worker::show_all_room() {
  unshown_bytes_ = 0;
  requests_.show();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  auto& waits = page_.requests.writer_waits;
  if (waits.load(std::memory_order_relaxed) != 0) {
    waits.store(0, std::memory_order_relaxed);
    const std::lock_guard guard{send_mutex_};
    ring_bell();
  }
}

bool worker::begin(std::uint64_t call) {
  // Who is asked to cancel what has begun finds it running.
  const std::lock_guard guard{mutex_};
  if (!move_claim(page_, call, claim::begun)) {
    if (was_taken_back(page_, call))
      return false;
    // Who waits for it would wait for ever.
    std::fputs("troupe: a worker can't go on: its claims were overwritten\n",
               stderr);
    std::abort();
  }
  running_ = call;
  return true;
}

void worker::end_task() {
  const std::lock_guard guard{mutex_};
  running_ = 0;
  if (std::exchange(was_asked_, false))
    stop_ = std::stop_source{};
}

void worker::handle(const wire::frame_header& head,
                    std::span<const std::byte> payload, incoming& road) {
  if (head.kind == wire::frame_kind::spawn)
    host_actor(*this, head, payload, road);
  if (head.kind == wire::frame_kind::stop) {
    over_ = true;
    return;
  }
  const auto is_limited = head.deadline_us != wire::frame_header::no_deadline;
  const auto now = is_limited ? sched::now_ns() : 0;
  if (is_limited) // before it is seen to have begun
    page_.began_at.store(now, std::memory_order_relaxed);
  if (head.kind != wire::frame_kind::call || !begin(head.call))
    return; // taken back
  detail::current.deadline = INT64_MAX;
  if (is_limited)
    detail::current.deadline =
      now + static_cast<std::int64_t>(head.deadline_us) * 1'000;
  try {
    perform(head, payload, road);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "troupe: a worker can't go on: %s\n", e.what());
    std::abort();
  }
}

// They stand in the last descriptor.
loan worker::take_loan(std::span<const std::byte> payload, incoming& road) {
  std::uint64_t size = 0;
  if (road.fds.empty() || payload.size() != sizeof(size))
    throw decode_error{"large arguments that did not come"};
  std::memcpy(&size, payload.data(), sizeof(size));
  auto memfd = std::move(road.fds.back());
  road.fds.pop_back();
  return loans_.take(std::move(memfd), size);
}

void worker::perform(const wire::frame_header& head,
                     std::span<const std::byte> payload, incoming& road) {
  out_.clear();
  wire::attachments results;
  std::exception_ptr error;
  const wire::entry* entry = nullptr;
  try {
    entry = &wire::name_table::get().find(wire::entry_kind::task, head.name);
    wire::frame_writer frame{
      out_,
      {.kind = wire::frame_kind::result, .call = head.call},
      {},
      &results};
    with_payload(head, payload, road, [&](auto bytes) {
      wire::reader args{bytes, {}, &road};
      wire::invocation call{args, frame.payload(), nullptr, stop_.get_token()};
      entry->invoke(call);
    });
    frame.header().attachments =
      static_cast<std::uint32_t>(results.attached.size());
    frame.finish();
  } catch (...) {
    error = std::current_exception();
  }
  end_task();
  if (error) {
    out_.clear();
    results.attached.clear();
    wire::frame_writer frame{
      out_, {.kind = wire::frame_kind::error, .call = head.call}};
    wire::encode(
      frame.payload(),
      wire::describe(error, entry == nullptr ? "" : entry->name(), 0, node_));
    frame.finish();
  } else if (out_.size() >= attached_bytes_min) {
    attach_payload(out_, results);
  }
  {
    const std::lock_guard guard{send_mutex_};
    if (!results.attached.empty())
      send_fds(results);
    send_bytes(out_.bytes());
    published();
  }
  if (out_.capacity() > (std::size_t{4} << 20))
    out_ = {};
}

// -- responses ----------------------------------------------------------------

void worker::send(const wire::frame_header& head,
                  std::span<const std::byte> payload, wire::attachments& road) {
  auto header = head;
  header.payload_bytes = payload.size();
  header.attachments = static_cast<std::uint32_t>(road.attached.size());
  std::byte bytes[wire::frame_header::size_bytes];
  wire::store_header(bytes, header);
  const std::lock_guard guard{send_mutex_};
  if (!road.attached.empty())
    send_fds(road);
  if (responses_.has_room(sizeof(bytes) + payload.size())) {
    responses_.write(bytes); // seen as one, so that it is read in one piece
    responses_.write(payload);
    responses_.publish();
  } else {
    send_bytes(bytes);
    send_bytes(payload);
  }
  published();
}

void worker::ring_if_owed() {
  const std::lock_guard guard{send_mutex_};
  if (unrung_ != 0)
    ring_bell();
}

void worker::send_bytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto n = responses_.has_room(bytes.size())
                     ? bytes.size()
                     : std::min(responses_.room(), bytes.size());
    if (n != 0) {
      responses_.write(bytes.first(n));
      responses_.publish();
      bytes = bytes.subspan(n);
      continue;
    }
    auto& waits = page_.responses.writer_waits;
    waits.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (responses_.room() != 0)
      continue;
    ring_bell();
    sleep_on(waits, 1, -1);
  }
}

void worker::send_fds(const wire::attachments& road) {
  std::vector<int> fds;
  for (const auto& s : road.attached)
    fds.push_back(s->descriptor());
  const note n{note::kind::attachments, static_cast<std::uint32_t>(fds.size())};
  while (send_value(socket_.get(), n, fds) == transfer::again) {
    ring_bell();
    pollfd writable{socket_.get(), POLLOUT, 0};
    ::poll(&writable, 1, 100);
  }
}

void worker::ring_bell() {
  unrung_ = 0;
  page_.responses.reader_waits.store(0, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(bell_.get(), &one, sizeof(one)));
}

// Something stands in the ring: whether the parent must be told.
void worker::published() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto mode = static_cast<bell_mode>(
    page_.responses.reader_waits.load(std::memory_order_relaxed));
  if (mode == bell_mode::quiet) {
    unrung_ = 0;
    return;
  }
  if (mode == bell_mode::strict || ++unrung_ >= results_per_bell)
    ring_bell();
}

// -- the watcher --------------------------------------------------------------

void worker::watch() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  ::prctl(PR_SET_NAME, "troupe.watcher");
  const auto limited = memory_max_ > 0 && statm_;
  auto has_loans = false; // mapped, maybe: looked after
  baseline_ = resident_bytes(statm_.get());
  for (;;) {
    pollfd readable{socket_.get(), POLLIN, 0};
    const auto wait_ns = limited     ? memory_look_ns
                         : has_loans ? wire::idle_ns / 2
                                     : -1'000'000;
    const auto n = ::poll(&readable, 1, static_cast<int>(wait_ns / 1'000'000));
    if (n > 0 && !read_notes(has_loans))
      end_group();
    if (n == 0 && has_loans) {
      has_loans = loans_.trim(sched::now_ns());
      const std::lock_guard guard{mutex_};
      has_loans = has_loans || !fds_.empty();
    }
    if (limited)
      check_memory();
  }
}

bool worker::read_notes(bool& has_fds) {
  for (;;) {
    note what;
    auto got = receive_record(socket_.get(),
                              std::as_writable_bytes(std::span{&what, 1}));
    if (got.how == transfer::again)
      return true;
    if (got.how == transfer::ended)
      return false;
    const std::lock_guard guard{mutex_};
    switch (what.what) {
      case note::kind::ping:
        page_.beat.store(what.number, std::memory_order_release);
        break;
      case note::kind::cancel:
        if (running_ == what.number && !std::exchange(was_asked_, true))
          request_stop(stop_);
        break;
      case note::kind::attachments:
        fds_.push_back(std::move(got.fds));
        has_fds_.notify_one();
        has_fds = true;
        break;
    }
  }
}

// Users' callbacks run in there, for as long as they like: on a thread of its
// own. Requires: all signals are blocked here.
void worker::request_stop(const std::stop_source& stop) {
  try {
    std::thread{[stop]() mutable { stop.request_stop(); }}.detach();
  } catch (const std::system_error&) {
    // No thread to be had: the signals come next.
  }
}

void worker::check_memory() {
  const auto more = resident_bytes(statm_.get()) - baseline_;
  if (more <= memory_max_)
    return;
  page_.box.memory_bytes = static_cast<std::uint64_t>(more);
  // Where it was is in the backtrace.
  ::pthread_kill(main_, SIGABRT);
  ::usleep(200'000);
  end_group();
}

std::vector<descriptor> worker::take_fds(std::size_t n) {
  std::unique_lock guard{mutex_};
  // They were sent before the frame.
  has_fds_.wait_for(guard, std::chrono::seconds{10},
                    [this] { return !fds_.empty(); });
  if (fds_.empty())
    return {};
  auto fds = std::move(fds_.front());
  fds_.pop_front();
  fds.resize(n);
  return fds;
}

namespace {

// -- birth --------------------------------------------------------------------

void limit(__rlimit_resource_t what, std::int64_t soft, std::int64_t grace) {
  rlimit now{};
  ::getrlimit(what, &now);
  now.rlim_cur = std::min<rlim_t>(static_cast<rlim_t>(soft), now.rlim_max);
  now.rlim_max = std::min<rlim_t>(static_cast<rlim_t>(soft + grace),
                                  now.rlim_max);
  ::setrlimit(what, &now);
}

void apply(const worker_limits& limits) {
  rlimit no_core{0, RLIM_INFINITY};
  ::getrlimit(RLIMIT_CORE, &no_core);
  no_core.rlim_cur = 0;
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (limits.cpu_seconds > 0)
    limit(RLIMIT_CPU, limits.cpu_seconds, 1);
  if (limits.open_files > 0)
    limit(RLIMIT_NOFILE, limits.open_files, 0);
  if (limits.nice != 0)
    static_cast<void>(!::nice(limits.nice));
  // When memory runs out, a worker goes before its parent.
  if (const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
      fd >= 0) {
    static_cast<void>(!::write(fd, "500", 3));
    ::close(fd);
  }
}

} // namespace

void worker_main(descriptor socket, descriptor memory, descriptor bell,
                 const worker_limits& limits) {
  ::prctl(PR_SET_NAME, "troupe.worker");
  // Daemons of its tasks stay below it, and go when it does.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    // Never destroyed: its watcher goes on until the process is gone.
    static auto* self = new worker{std::move(socket), std::move(memory),
                                   std::move(bell), limits};
    apply(limits);
    watch_crashes(self->box());
    self->run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "troupe: a worker can't start: %s\n", e.what());
    std::_Exit(71);
  }
}

} // namespace troupe::process
