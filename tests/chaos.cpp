// SPDX-License-Identifier: MIT
// chaos: process pools under load while everything goes wrong at random.
//
//   chaos [SECONDS] [SEED]     also CHAOS_SECONDS, TROUPE_SEED
//
// An episode is a pool with random options, two threads that submit tasks of
// all kinds (also such that crash, hang, eat memory, send what can't be read),
// and one that kills and stops workers. It ends in one of several ways. Then:
//   - every future has settled, exactly once, and values are right;
//   - a task not declared idempotent began once at most, one whose cancel said
//     that it had not begun never did, others no more often than allowed;
//   - what was accepted is what was done, failed or cancelled;
//   - at the end of all: no child, descriptor or thread is left, no growth.
#include "support/processes.hpp"

#include <functional>
#include <mutex>
#include <random>
#include <variant>

#include "troupe/serialize.hpp"

namespace {

using namespace std::chrono_literals;
using test::word;
using troupe::fn;
using troupe::process_pool;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#else
constexpr bool is_sanitized = false;
#endif

std::atomic<int> faults{0};
std::uint64_t the_seed = 0;

void fault(const std::string& what) {
  std::fprintf(stderr, "chaos: FAULT (seed %llu): %s\n",
               static_cast<unsigned long long>(the_seed), what.c_str());
  if (++faults >= 20)
    std::_Exit(1);
}

class dice {
public:
  explicit dice(std::uint64_t seed) : engine_(seed) {}
  std::size_t below(std::size_t end) { return engine_() % end; }
  bool chance(unsigned per_mille) { return below(1000) < per_mille; }
  std::uint64_t number() { return engine_(); }

private:
  std::mt19937_64 engine_;
};

// -- tasks: each says first that it has begun ---------------------------------

void begin(word runs) {
  test::at(runs).fetch_add(1);
}

int square(word runs, int x) {
  begin(runs);
  return x * x;
}

int slow(word runs, int x) {
  begin(runs);
  ::usleep(static_cast<unsigned>(x % 5) * 1'000); // sleeps: a slow task
  return x;
}

int crash(word runs, int how) {
  begin(runs);
  switch (how % 5) {
    case 0:
      ::raise(SIGSEGV);
      break;
    case 1:
      ::raise(SIGKILL);
      break;
    case 2:
      std::abort();
    case 3:
      ::_exit(how % 256);
    default:
      std::exit(3);
  }
  return 0;
}

// Crashes the first time.
int crash_once(word runs, int x) {
  if (test::at(runs).fetch_add(1) == 0)
    ::raise(SIGKILL);
  return x;
}

int throws(word runs, int x) {
  begin(runs);
  throw std::domain_error{std::to_string(x)};
}

int hang(word runs, int how) {
  begin(runs);
  if (how % 2 == 0)
    ::signal(SIGTERM, SIG_IGN);
  for (;;)
    if (how % 3 == 0)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    else
      ::pause();
}

int wait_to_be_asked(std::stop_token stop, word runs, int x) {
  begin(runs);
  while (!stop.stop_requested())
    ::usleep(200); // sleeps: it is busy
  return x;
}

int bomb(word runs, int) {
  begin(runs);
  std::vector<std::vector<char>> all;
  for (;;) {
    all.emplace_back(std::size_t{4} << 20, 'x');
    ::usleep(300); // sleeps: not to take the machine's
  }
}

std::uint64_t sum_of(const std::vector<char>& v) {
  std::uint64_t n = v.size();
  for (std::size_t i = 0; i < v.size(); i += 4093)
    n = n * 31 + static_cast<unsigned char>(v[i]);
  return n;
}

std::uint64_t add_up(word runs, const std::vector<char>& v) {
  begin(runs);
  return sum_of(v);
}

std::vector<char> give_back(word runs, std::vector<char> v) {
  begin(runs);
  return v;
}

// Can't be encoded, or decoded.
struct odd {
  std::int32_t home = 0;
  bool on_load = false;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(home, on_load);
    if (home != 0 && (::getpid() == home) == on_load
        && on_load == Archive::is_loading::value)
      throw std::range_error{"odd"};
  }
};

odd give_odd(word runs, odd x) {
  begin(runs);
  return x;
}

// -- what is known of a task --------------------------------------------------

struct record {
  word runs;
  std::uint32_t runs_max = 1;
  bool may_be_late = false;
  std::atomic<bool> cancel_asked{false};
  std::atomic<bool> cancel_done{false}; // said: it had not begun
  std::atomic<int> settled{0};
  // Of the future: empty if as expected.
  std::function<std::string()> check;
  std::function<bool()> cancel;
  std::function<bool(std::chrono::nanoseconds)> wait;
  std::string name;
};

struct tally {
  std::atomic<std::uint64_t> tasks{0}, values{0}, deaths{0}, late{0},
    cancelled{0}, errors{0}, refused{0};
};

class episode {
public:
  episode(troupe::system& sys, std::uint64_t seed, tally& all)
    : dice_(seed),
      all_(all),
      options_(random_options()),
      pool_(std::make_unique<process_pool>(sys, options_)) {}

  void run() {
    std::jthread mischief{[this, seed = dice_.number()](std::stop_token stop) {
      disturb(stop, seed);
    }};
    const auto tasks = 100 + dice_.below(500);
    {
      std::vector<std::jthread> threads;
      for (int k = 0; k < 2; ++k)
        threads.emplace_back(
          [this, tasks, seed = dice_.number()] { load(tasks, seed); });
      if (dice_.chance(200)) // in the middle of it
        end();
    }
    if (dice_.chance(500)) {
      mischief.request_stop();
      mischief.join();
    }
    end();
    mischief = {};
    for (auto& r : records_)
      judge(*r);
    const auto r = pool_->shutdown();
    if (r.running != 0)
      fault("tasks are still at workers: " + std::to_string(r.running));
    if (r.done + r.failed + r.cancelled != records_.size())
      fault(std::to_string(records_.size()) + " accepted, " + to_string(r));
    if (r.done != values_)
      fault(std::to_string(values_) + " values, " + to_string(r));
    pool_.reset();
  }

  std::string describe() const {
    const auto s = pool_->stats();
    return "queued " + std::to_string(s.queued) + ", running "
           + std::to_string(s.running) + ", workers "
           + std::to_string(s.workers) + ", busy " + std::to_string(s.busy)
           + ", started " + std::to_string(s.started);
  }

private:
  troupe::process_pool_options random_options() {
    troupe::process_pool_options o;
    o.workers = 1 + static_cast<std::ptrdiff_t>(dice_.below(8));
    if (dice_.chance(300))
      o.workers_min = 1;
    o.spares = static_cast<std::ptrdiff_t>(dice_.below(3));
    o.retries = static_cast<int>(dice_.below(3));
    o.quarantine_after = 1 + static_cast<int>(dice_.below(4));
    if (dice_.chance(300))
      o.tasks_per_worker_max = 1 + static_cast<std::ptrdiff_t>(dice_.below(30));
    if (!is_sanitized)
      o.memory_max_bytes = std::size_t{160} << 20;
    if (dice_.chance(300))
      o.queue_tasks_max = 1 + static_cast<std::ptrdiff_t>(dice_.below(50));
    o.grace = std::chrono::milliseconds{1 + dice_.below(10)};
    o.heartbeat = 250ms;
    o.idle_after = 20ms;
    return o;
  }

  // Kills and stops. Only workers that it has seen before: a pool whose workers
  // all die at birth gives up, as it should.
  void disturb(std::stop_token stop, std::uint64_t seed) {
    dice d{seed};
    std::vector<std::int32_t> seen;
    while (!stop.stop_requested()) {
      ::usleep(1'000 + static_cast<unsigned>(d.below(8'000))); // sleeps: a beat
      auto pids = pool_->pids();
      const auto old = std::exchange(seen, pids);
      std::erase_if(pids, [&](int pid) {
        return std::find(old.begin(), old.end(), pid) == old.end();
      });
      if (pids.empty())
        continue;
      constexpr int numbers[] = {SIGKILL, SIGKILL, SIGSEGV,
                                 SIGTERM, SIGSTOP, SIGABRT};
      ::kill(pids[d.below(pids.size())], numbers[d.below(std::size(numbers))]);
      if (d.chance(20))
        for (int zygote : test::children_of(::getpid()))
          ::kill(zygote, SIGKILL);
    }
  }

  void load(std::size_t tasks, std::uint64_t seed) {
    dice d{seed};
    std::vector<std::shared_ptr<record>> mine;
    try {
      for (std::size_t i = 0; i < tasks; ++i) {
        mine.push_back(submit(d));
        if (d.chance(60))
          cancel(*mine[d.below(mine.size())]);
        if (d.chance(100))
          mine[d.below(mine.size())]->wait(
            std::chrono::microseconds{d.below(3'000)});
      }
    } catch (const troupe::closed&) {
      ++all_.refused; // it was shut down meanwhile
    }
    // What hangs without a deadline is cancelled; or the drain would not end.
    for (auto& r : mine)
      if (r->name == "hang" || r->name == "wait")
        cancel(*r);
  }

  static void cancel(record& r) {
    r.cancel_asked = true;
    if (r.cancel())
      r.cancel_done = true;
  }

  std::shared_ptr<record> submit(dice& d) {
    const auto x = static_cast<int>(d.below(1000));
    const auto y = std::to_string(x);
    const auto runs = test::new_word();
    const auto what = d.below(1000);
    if (what < 450)
      return start(d, "square", runs, x * x, fn<&square>, runs, x);
    if (what < 550)
      return start(d, "slow", runs, x, fn<&slow>, runs, x);
    if (what < 650)
      return start(d, "idempotent", runs, x * x,
                   troupe::idempotent(fn<&square>), runs, x);
    if (what < 700)
      return start(d, "crash", runs, -1, fn<&crash>, runs, x);
    if (what < 750)
      return start(d, "crash_once", runs, x,
                   troupe::idempotent(fn<&crash_once>), runs, x);
    if (what < 820)
      return start(d, "throws", runs, -1, fn<&throws>, runs, x);
    if (what < 840)
      return start(d, "hang", runs, -1, fn<&hang>, runs, x);
    if (what < 860)
      return start(d, "wait", runs, x, fn<&wait_to_be_asked>, runs, x);
    if (what < 863 && !is_sanitized)
      return start(d, "bomb", runs, -1, fn<&bomb>, runs, x);
    if (what < 900)
      return start(d, "odd", runs, -1, fn<&give_odd>, runs,
                   odd{::getpid(), d.chance(500)});
    std::vector<char> bytes(what == 999 ? 100'000'000 : d.below(3'000'000));
    for (std::size_t i = 0; i < bytes.size(); i += 4093)
      bytes[i] = static_cast<char>(d.number());
    if (what < 950) {
      auto copy = bytes;
      return start(d, "bytes", runs, copy, fn<&give_back>, runs, bytes);
    }
    return start(d, "sum", runs, sum_of(bytes), fn<&add_up>, runs, bytes);
  }

  template <class Value, class F, class... As>
  std::shared_ptr<record> start(dice& d, const char* name, word runs,
                                Value expected, F f, As&&... args) {
    auto r = std::make_shared<record>();
    r->name = name;
    r->runs = runs;
    if (troupe::detail::is_idempotent<F>)
      r->runs_max = static_cast<std::uint32_t>(options_.retries) + 1;
    troupe::task_options o{.priority = static_cast<int>(d.below(3))};
    if (d.chance(150) || (r->name == "hang" && d.chance(500))) {
      o.deadline = std::chrono::milliseconds{1 + d.below(60)};
      r->may_be_late = true;
    }
    auto future = pool_->with(o).submit(f, std::forward<As>(args)...);
    ++all_.tasks;
    r->cancel = [future] { return future.cancel(); };
    r->wait = [future](auto limit) { return future.wait_for(limit); };
    if (d.chance(300))
      (void)future.then([r](decltype(future)) { ++r->settled; });
    else
      r->settled = 1;
    r->check = [this, r = r.get(), future, expected = std::move(expected)] {
      return verdict(*r, future, expected);
    };
    const std::lock_guard guard{mutex_};
    records_.push_back(r);
    return r;
  }

  // Of a settled future.
  template <class R, class Value>
  std::string verdict(record& r, const troupe::future<R>& f,
                      const Value& expected) {
    const auto runs = test::at(r.runs).load();
    try {
      const R value = f.get();
      ++values_;
      ++all_.values;
      if constexpr (std::is_same_v<R, odd>)
        return "a value that can't be";
      else if (!(value == static_cast<R>(expected)))
        return "a wrong value";
      if (runs == 0)
        return "a value, but it never ran";
    } catch (const troupe::worker_died&) {
      ++all_.deaths; // perhaps between its claim and its first line
    } catch (const troupe::timeout&) {
      ++all_.late;
      if (!r.may_be_late)
        return "late without a deadline";
    } catch (const troupe::cancelled&) {
      ++all_.cancelled;
      if (!r.cancel_asked && !cancels_)
        return "cancelled by nobody";
      if (f.is_cancelled() && runs != 0)
        return "cancelled before it began, but it ran";
    } catch (const std::domain_error&) {
      ++all_.errors;
      if (r.name != "throws")
        return "an error of another task";
    } catch (const std::range_error&) {
      ++all_.errors;
      if (r.name != "odd")
        return "an error of another task";
    } catch (const std::exception& e) {
      return std::string{"an unexpected error: "} + e.what();
    }
    return {};
  }

  void judge(record& r) {
    const auto runs = [&] { return test::at(r.runs).load(); };
    if (!r.wait(30s)) {
      fault(r.name + ": it did not settle; " + describe());
      return;
    }
    if (const auto text = r.check(); !text.empty())
      fault(r.name + ": " + text);
    if (runs() > r.runs_max)
      fault(r.name + " ran " + std::to_string(runs()) + " times");
    if (r.cancel_done && runs() != 0)
      fault(r.name + " ran though its cancel said that it had not begun");
    if (!test::eventually(10s, [&] { return r.settled == 1; }))
      fault(r.name + " settled " + std::to_string(r.settled) + " times");
  }

  void end() {
    switch (dice_.below(4)) {
      case 0:
        pool_->shutdown(troupe::drain, 20s);
        break;
      case 1:
        cancels_ = true;
        pool_->shutdown(troupe::cancel_pending,
                        std::chrono::milliseconds{dice_.below(30)});
        break;
      case 2:
        cancels_ = true;
        pool_->shutdown(troupe::drain,
                        std::chrono::milliseconds{dice_.below(100)});
        break;
      default:
        pool_->shutdown();
    }
  }

  dice dice_;
  tally& all_;
  const troupe::process_pool_options options_;
  std::unique_ptr<process_pool> pool_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<record>> records_;
  std::uint64_t values_ = 0;
  std::atomic<bool> cancels_{false}; // what runs or waits may be cancelled
};

std::size_t resident_mib() {
  std::ifstream statm{"/proc/self/statm"};
  std::size_t total = 0, pages = 0;
  statm >> total >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) >> 20;
}

// Ends the program when an episode takes far too long.
class watchdog {
public:
  void begins(episode* e) {
    const std::lock_guard guard{mutex_};
    current_ = e;
    began_ = std::chrono::steady_clock::now();
  }

private:
  void watch(std::stop_token stop) {
    while (!stop.stop_requested()) {
      ::usleep(100'000); // sleeps: between two looks
      const std::lock_guard guard{mutex_};
      if (current_ == nullptr
          || std::chrono::steady_clock::now() - began_ < 120s)
        continue;
      std::fprintf(stderr, "chaos: an episode hangs (seed %llu): %s\n",
                   static_cast<unsigned long long>(the_seed),
                   current_->describe().c_str());
      std::abort();
    }
  }

  std::mutex mutex_;
  episode* current_ = nullptr;
  std::chrono::steady_clock::time_point began_;
  std::jthread thread_{[this](std::stop_token stop) { watch(stop); }};
};

void check_that_nothing_is_left(std::size_t files, std::size_t threads,
                                std::size_t children) {
  auto left = [&] {
    return std::tuple{test::open_files(), test::threads(),
                      test::children_of(::getpid()).size()};
  };
  if (test::eventually(
        10s, [&] { return left() == std::tuple{files, threads, children}; }))
    return;
  auto [f, t, c] = left();
  fault("descriptors " + std::to_string(files) + " -> " + std::to_string(f)
        + ", threads " + std::to_string(threads) + " -> " + std::to_string(t)
        + ", children " + std::to_string(children) + " -> "
        + std::to_string(c));
}

int chaos(std::chrono::seconds limit) {
  std::printf("chaos: seed %llu, %lld s\n",
              static_cast<unsigned long long>(the_seed),
              static_cast<long long>(limit.count()));
  std::fflush(stdout);
  dice seeds{the_seed};
  tally all;
  test::new_word(); // its memfd is no leak
  const auto until = std::chrono::steady_clock::now() + limit;
  const auto third = until - 2 * limit / 3;
  std::size_t grown_from = 0;
  watchdog dog;
  const auto files = test::open_files(), threads = test::threads(),
             children = test::children_of(::getpid()).size();
  int episodes = 0;
  while (std::chrono::steady_clock::now() < until) {
    troupe::system sys{{.workers = 2, .log_level = "off"}};
    for (int i = 0; i < 10 && std::chrono::steady_clock::now() < until; ++i) {
      episode e{sys, seeds.number(), all};
      dog.begins(&e);
      e.run();
      dog.begins(nullptr);
      test::forget_words();
      ++episodes;
    }
    sys.stop();
    if (grown_from == 0 && std::chrono::steady_clock::now() > third)
      grown_from = resident_mib();
  }
  check_that_nothing_is_left(files, threads, children);
  if (const auto now = resident_mib();
      !is_sanitized && grown_from != 0 && now > grown_from + 250)
    fault("grown from " + std::to_string(grown_from) + " MiB to "
          + std::to_string(now));
  std::printf(
    "chaos: %d episodes, %llu tasks: %llu values, %llu deaths, %llu "
    "late, %llu cancelled, %llu errors; %d faults\n",
    episodes, static_cast<unsigned long long>(all.tasks.load()),
    static_cast<unsigned long long>(all.values.load()),
    static_cast<unsigned long long>(all.deaths.load()),
    static_cast<unsigned long long>(all.late.load()),
    static_cast<unsigned long long>(all.cancelled.load()),
    static_cast<unsigned long long>(all.errors.load()), faults.load());
  return faults == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(argc, argv, [](troupe::system&, std::span<char*> args) {
    const char* seconds = args.size() > 1 ? args[1]
                                          : std::getenv("CHAOS_SECONDS");
    const char* seed = args.size() > 2 ? args[2] : std::getenv("TROUPE_SEED");
    the_seed = seed != nullptr ? std::strtoull(seed, nullptr, 0)
                               : std::random_device{}();
    return chaos(std::chrono::seconds{
      seconds != nullptr ? std::strtol(seconds, nullptr, 10) : 10});
  });
}
