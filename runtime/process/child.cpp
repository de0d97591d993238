// SPDX-License-Identifier: MIT
#include "process/child.hpp"

#include "core/log.hpp"
#include "process/host.hpp"
#include "troupe/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace troupe::process {

namespace {

constexpr std::size_t scratch_bytes = std::size_t{64} << 10;
constexpr std::size_t stderr_tail_max = 4096;
constexpr std::size_t stderr_piece_bytes = 4096;
constexpr int stderr_patience_ms = 50;
constexpr std::int64_t backlog_look_ns = 1'000'000;
// A worker that never stops writing must not keep a thread: so much at a time.
constexpr int pieces_per_pump = 64;

std::pair<descriptor, descriptor> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::system_error{errno, std::generic_category(), "pipe2"};
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {descriptor{ends[0]}, descriptor{ends[1]}};
}

} // namespace

child::child(host& home, std::shared_ptr<child_owner> owner,
             std::uint64_t number)
  : host_(home),
    owner_(std::move(owner)),
    number_(number),
    memory_(shared_memory::make()),
    page_(memory_.page()),
    bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
    requests_(page_.requests, memory_.requests()),
    responses_(page_.responses, memory_.responses()),
    scratch_(scratch_bytes) {
  if (!bell_)
    throw std::system_error{errno, std::generic_category(), "eventfd"};
  std::tie(socket_, birth_.socket) = make_socket_pair();
  std::tie(stderr_, birth_.stderr_end) = make_pipe();
  birth_.memory = memory_.memfd();
  birth_.bell = bell_.get();
  arm(bell_mode::strict);
}

// -- sending ------------------------------------------------------------------

void child::offer(std::uint64_t call) noexcept {
  process::offer(page_, call);
}

bool child::withdraw(std::uint64_t call) noexcept {
  return move_claim(page_, call, claim::withdrawn);
}

bool child::has_begun(std::uint64_t call) const noexcept {
  return page_.claims[call % window].load(std::memory_order_acquire)
         == claim_word(call, claim::begun);
}

void child::send(const wire::frame_header& head,
                 std::span<const std::byte> payload,
                 const wire::attachments* road) {
  const std::lock_guard guard{send_mutex_};
  if (broken_)
    return;
  auto header = head;
  header.payload_bytes = payload.size();
  std::byte bytes[wire::frame_header::size_bytes];
  wire::store_header(bytes, header);
  try {
    const auto size = sizeof(bytes) + payload.size();
    if (backlog_.empty() && (road == nullptr || road->attached.empty())
        && requests_.has_room(size)) {
      requests_.write(bytes);
      requests_.write(payload);
      requests_.publish();
      wake();
      return;
    }
    pending late;
    late.bytes.reserve(size);
    late.bytes.append(bytes);
    late.bytes.append(payload);
    if (road != nullptr)
      late.fds = road->attached;
    backlog_bytes_.store(backlog_bytes() + size, std::memory_order_relaxed);
    backlog_.push_back(std::move(late));
    flush_locked();
  } catch (const decode_error& e) {
    broken_ = true;
    nonsense_.store(true, std::memory_order_relaxed);
    backlog_.clear();
    condemn(e.what(), SIGKILL);
  }
}

bool child::send_fds(std::vector<std::shared_ptr<const wire::segment>>& fds) {
  std::vector<int> raw;
  for (const auto& s : fds)
    raw.push_back(s->descriptor());
  const note n{note::kind::attachments, static_cast<std::uint32_t>(raw.size())};
  if (send_value(socket_.get(), n, raw) == transfer::again)
    return false;
  fds.clear();
  return true;
}

// What has no room yet: more when the worker says that there is, and at the
// host's next look.
void child::flush_locked() {
  while (!backlog_.empty()) {
    auto& first = backlog_.front();
    if (!first.fds.empty() && !send_fds(first.fds))
      break;
    const auto rest = first.bytes.bytes().subspan(first.at);
    const auto n = std::min(rest.size(), requests_.room());
    if (n != 0) {
      requests_.write(rest.first(n));
      requests_.publish();
      wake();
      first.at += n;
    }
    if (n == rest.size()) {
      backlog_bytes_.store(backlog_bytes() - first.bytes.size(),
                           std::memory_order_relaxed);
      backlog_.pop_front();
      continue;
    }
    page_.requests.writer_waits.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (requests_.room() == 0)
      break;
  }
  has_backlog_.store(!backlog_.empty(), std::memory_order_relaxed);
  // A full socket has no bell.
  if (!backlog_.empty())
    host_.tick_by(sched::now_ns() + backlog_look_ns);
}

void child::flush() {
  if (!has_backlog())
    return;
  const std::lock_guard guard{send_mutex_};
  try {
    if (!broken_)
      flush_locked();
  } catch (const decode_error& e) {
    broken_ = true;
    nonsense_.store(true, std::memory_order_relaxed);
    backlog_.clear();
    condemn(e.what(), SIGKILL);
  }
}

void child::wake() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake_other(page_.requests.reader_waits);
}

void child::ask_to_stop(std::uint64_t call) noexcept {
  send_value(socket_.get(), note{note::kind::cancel, 0, call});
}

void child::ping(std::uint64_t number) noexcept {
  send_value(socket_.get(), note{note::kind::ping, 0, number});
}

std::uint64_t child::last_pong() const noexcept {
  return page_.beat.load(std::memory_order_acquire);
}

void child::signal(int number) noexcept {
  const std::lock_guard guard{look_mutex_};
  if (pidfd_)
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

void child::condemn(std::string why, int number) {
  {
    const std::lock_guard guard{look_mutex_};
    if (condemned_.empty())
      condemned_ = std::move(why);
  }
  signal(number);
}

// -- receiving ----------------------------------------------------------------

bool child::pump() {
  auto any = false;
  // Somebody who came while we were in here was sent away: look again for him.
  //   he: sees bytes, finds us in here         (his exchange is a full barrier)
  //   we: leave, full fence, look for bytes
  // Without the fence our look may come before our leaving is seen: he is sent
  // away, we have not seen his bytes, and nobody comes back for them.
  for (int round = 0;
       !deaf_.load(std::memory_order_relaxed) && !responses_.is_empty();
       ++round) {
    if (round == 2) { // it writes as fast as we read: others have a turn
      host_.tick_by(sched::now_ns());
      break;
    }
    if (pumping_.test_and_set(std::memory_order_seq_cst))
      return any;
    // It may have died, and its owner have been told, since we looked.
    if (!deaf_.load(std::memory_order_relaxed))
      any = drain() || any;
    pumping_.clear(std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  flush();
  return any;
}

bool child::drain() {
  auto any = false;
  try {
    for (int piece = 0; piece < pieces_per_pump; ++piece) {
      const auto there = responses_.peek();
      if (there.empty())
        break;
      any = true;
      // Never decode from memory that the worker can still write to.
      const auto n = std::min(there.size(), scratch_.size());
      std::memcpy(scratch_.data(), there.data(), n);
      responses_.consume(n);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      wake_other(page_.responses.writer_waits);
      feed({scratch_.data(), n});
    }
  } catch (const std::exception& e) {
    nonsense_.store(true, std::memory_order_relaxed);
    deaf_.store(true, std::memory_order_relaxed);
    condemn(fmt::format("it wrote what can't be understood: {}", e.what()),
            SIGKILL);
  }
  if (any) {
    ++pumps_;
    owner_->on_pumped(*this);
  }
  return any;
}

void child::feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (!decoder_.is_midway()) {
      if (const auto frame = wire::next_frame(bytes)) {
        deliver(frame->head, frame->payload);
        bytes = bytes.subspan(frame->size_bytes());
        continue;
      }
    }
    bytes = bytes.subspan(decoder_.push(bytes));
    if (decoder_.is_ready()) {
      const auto frame = decoder_.take();
      deliver(frame.head, frame.payload.bytes());
    }
  }
}

void child::deliver(const wire::frame_header& head,
                    std::span<const std::byte> payload) {
  incoming road;
  if (head.attachments == 0) {
    owner_->on_frame(*this, head, payload, road);
    return;
  }
  // They were sent before the frame: if they are not there, they never come.
  note what;
  auto got = receive_record(socket_.get(),
                            std::as_writable_bytes(std::span{&what, 1}));
  road.fds = std::move(got.fds);
  if ((head.flags & attached_payload) == 0) {
    owner_->on_frame(*this, head, payload, road);
    return;
  }
  std::uint64_t size = 0;
  if (road.fds.empty() || payload.size() != sizeof(size)) {
    owner_->on_frame(*this, head, {}, road); // the size alone is no result
    return;
  }
  std::memcpy(&size, payload.data(), sizeof(size));
  std::shared_ptr<const wire::segment> bytes;
  try {
    bytes = wire::segment::adopt(road.fds.back().release(), size);
  } catch (const decode_error&) {
    owner_->on_frame(*this, head, {}, road); // only this one is concerned
    return;
  }
  road.fds.pop_back();
  owner_->on_frame(*this, head, {bytes->data(), bytes->size_bytes()}, road);
}

void child::begin_look() noexcept {
  lookers_.fetch_add(1);
  page_.responses.reader_waits.store(
    static_cast<std::uint32_t>(bell_mode::quiet), std::memory_order_relaxed);
}

void child::end_look() noexcept {
  if (lookers_.fetch_sub(1) == 1 && arm(bell_mode::strict))
    pump();
}

bool child::arm(bell_mode mode) noexcept {
  if (lookers_.load() != 0)
    return false;
  page_.responses.reader_waits.store(static_cast<std::uint32_t>(mode),
                                     std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return !deaf_.load(std::memory_order_relaxed) && !responses_.is_empty();
}

// -- birth and death ----------------------------------------------------------

void child::was_born(std::int32_t pid, descriptor pidfd) {
  auto late = false;
  {
    const std::lock_guard guard{look_mutex_};
    pidfd_ = std::move(pidfd);
    late = !condemned_.empty();
  }
  pid_.store(pid);
  if (late) // condemned before it had a name
    signal(SIGKILL);
}

bool child::read_stderr() {
  char text[stderr_piece_bytes];
  for (int round = 0; round < 64; ++round) {
    const auto n = ::read(stderr_.get(), text, sizeof(text));
    if (n <= 0)
      return n != 0;
    const auto size = static_cast<std::size_t>(n);
    show_stderr({text, size});
    const std::lock_guard guard{look_mutex_};
    stderr_tail_.append(text, size);
    if (stderr_tail_.size() > stderr_tail_max)
      stderr_tail_.erase(0, stderr_tail_.size() - stderr_tail_max);
  }
  return true;
}

// What workers write to stderr comes out of ours. Who reads that and has
// stopped to would hold up all workers: what finds no room is dropped, and that
// is said as soon as there is some.
void child::show_stderr(std::string_view text) {
  static_assert(stderr_piece_bytes <= PIPE_BUF); // fits, once there is room
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&room, 1, unshown_bytes_ == 0 ? stderr_patience_ms : 0) == 0) {
    unshown_bytes_ += text.size();
    return;
  }
  const auto write = [](std::string_view what) {
    static_cast<void>(!::write(STDERR_FILENO, what.data(), what.size()));
  };
  if (const auto n = std::exchange(unshown_bytes_, 0); n != 0)
    write(
      fmt::format("\ntroupe: {} bytes of process {} are left out here: "
                  "nobody read them\n",
                  n, pid_.load()));
  write(text);
}

void child::enter() noexcept {
  while (pumping_.test_and_set(std::memory_order_acquire))
    sched::cpu_relax();
}

void child::has_died(const report* seen, std::string why, bool memory_killer) {
  {
    const std::lock_guard guard{send_mutex_};
    broken_ = true;
    backlog_.clear();
    has_backlog_.store(false, std::memory_order_relaxed);
  }
  enter();
  // What it had written counts: no more than fits, though its descendants may
  // still write there.
  if (!deaf_.load(std::memory_order_relaxed))
    drain();
  deaf_.store(true, std::memory_order_relaxed);
  ended_.store(true);
  pumping_.clear(std::memory_order_release);
  static_cast<void>(read_stderr());
  if (unshown_bytes_ != 0)
    show_stderr({});
  certificate c;
  c.pid = pid_.load();
  c.reason = std::move(why);
  {
    const std::lock_guard guard{look_mutex_};
    c.stderr_tail = std::move(stderr_tail_);
    if (!condemned_.empty())
      c.reason = condemned_;
    pidfd_.reset();
  }
  if (seen != nullptr) {
    c.peak_rss_bytes = seen->peak_rss_bytes;
    c.cpu_time = std::chrono::nanoseconds{seen->cpu_ns};
    c.backtrace.assign(seen->backtrace,
                       ::strnlen(seen->backtrace, sizeof(seen->backtrace)));
    if (seen->code == CLD_EXITED)
      c.exit_code = seen->status;
    else
      c.signal = seen->status;
  }
  if (const auto had = page_.box.memory_bytes; had != 0) {
    c.out_of_memory = true;
    if (c.reason.empty())
      c.reason = fmt::format("its limit of memory: it had taken {} MiB",
                             had >> 20);
  }
  if (c.reason.empty() && c.signal == SIGXCPU)
    c.reason = "its limit of CPU time";
  if (c.reason.empty() && c.signal == SIGKILL && memory_killer) {
    c.out_of_memory = true;
    c.reason = "the system's memory killer";
  }
  // It may hold us: from here on nobody pumps, and nobody asks for it.
  const auto owner = std::move(owner_);
  owner->on_end(*this, std::move(c));
}

} // namespace troupe::process
