// SPDX-License-Identifier: MIT
// threads_or_processes: the same work on both, and what each costs.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct settings {
  int tasks = 40;
  int workers = 0; // 0: usable CPUs
  int work_ms = 5;
  std::size_t transfer_mb = 16;
};

// -- the work -----------------------------------------------------------------

// Waits, as for a disk or another machine.
int wait_for(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds{ms});
  return ms;
}

// Computes.
int compute_for(int ms) {
  const auto until = steady_clock::now() + std::chrono::milliseconds{ms};
  auto x = 1u;
  while (steady_clock::now() < until)
    for (int i = 0; i < 1000; ++i)
      x = x * 1'664'525u + 1'013'904'223u;
  return x == 0 ? 0 : ms;
}

// Every tenth crashes; a thread would take the program along.
int crash_or(int number) {
  if (number % 10 == 3)
    ::raise(SIGSEGV);
  return number;
}

std::size_t bytes_in(const std::vector<char>& bytes) {
  return bytes.size();
}

// -- measuring ----------------------------------------------------------------

double ms_since(steady_clock::time_point began) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - began)
    .count();
}

double resident_mb(int pid) {
  std::ifstream statm{fmt::format("/proc/{}/statm", pid)};
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * 4096 / 1e6;
}

struct result {
  double start_ms = 0, transfer_ms = 0, wait_ms = 0, compute_ms = 0,
         memory_mb = 0;
};

template <class Pool, class F>
double map_ms(Pool& pool, F f, const std::vector<int>& inputs) {
  const auto began = steady_clock::now();
  const auto found = pool.map(f, inputs, {.chunk = 1}).to_vector();
  if (found != inputs)
    throw std::logic_error{"the results are wrong"};
  return ms_since(began);
}

template <class Pool>
result measure(Pool& pool, steady_clock::time_point began, const settings& s) {
  result r;
  (void)pool.submit(troupe::fn<&wait_for>, 0).get();
  r.start_ms = ms_since(began);
  const std::vector<char> bytes(s.transfer_mb << 20, 'x');
  for (int i = 0; i < 2; ++i) { // the second time counts
    const auto sent = steady_clock::now();
    if (pool.submit(troupe::fn<&bytes_in>, bytes).get() != bytes.size())
      throw std::logic_error{"bytes were lost"};
    r.transfer_ms = ms_since(sent);
  }
  const std::vector<int> inputs(static_cast<std::size_t>(s.tasks), s.work_ms);
  r.wait_ms = map_ms(pool, troupe::fn<&wait_for>, inputs);
  r.compute_ms = map_ms(pool, troupe::fn<&compute_for>, inputs);
  return r;
}

result in_sequence(const settings& s) {
  result r;
  auto began = steady_clock::now();
  for (int i = 0; i < s.tasks; ++i)
    wait_for(s.work_ms);
  r.wait_ms = ms_since(began);
  began = steady_clock::now();
  for (int i = 0; i < s.tasks; ++i)
    compute_for(s.work_ms);
  r.compute_ms = ms_since(began);
  return r;
}

void print(const char* name, const result& r) {
  fmt::print("{:<12} {:>9.2f} {:>12.2f} {:>11.1f} {:>11.1f} {:>10.1f}\n", name,
             r.start_ms, r.transfer_ms, r.wait_ms, r.compute_ms, r.memory_mb);
}

// Only processes: what is left of `tasks` when every tenth crashes.
bool show_crashes(troupe::process_pool& pool, const settings& s) {
  std::vector<troupe::future<int>> futures;
  for (int i = 0; i < s.tasks; ++i)
    futures.push_back(pool.submit(troupe::fn<&crash_or>, i));
  int done = 0;
  int died = 0;
  int wanted = 0;
  for (int i = 0; i < s.tasks; ++i) {
    wanted += i % 10 == 3;
    try {
      done += futures[static_cast<std::size_t>(i)].get() == i;
    } catch (const troupe::worker_died&) {
      ++died;
    }
  }
  fmt::print(
    "crash-prone: of {} tasks on processes {} came back, {} took "
    "their process along, nobody else noticed.\nOn threads the first "
    "of them would have ended this program.\n",
    s.tasks, done, died);
  return died == wanted && done + died == s.tasks;
}

void advise(const result& none, const result& threads, const result& processes,
            int workers) {
  fmt::print("\nadvice, from these figures:\n");
  fmt::print(
    "- work that waits: {} threads are {:.1f} times as fast as none, "
    "processes {:.1f} times: use threads\n",
    workers, none.wait_ms / threads.wait_ms, none.wait_ms / processes.wait_ms);
  const auto t = none.compute_ms / threads.compute_ms;
  const auto p = none.compute_ms / processes.compute_ms;
  fmt::print(
    "- work that computes: threads {:.1f} times, processes {:.1f} "
    "times{}\n",
    t, p,
    t > p * 0.9 ? ": C++ threads share no lock, processes gain nothing"
                : ": processes won here");
  fmt::print(
    "- large arguments: {:.1f} ms to a thread (it is handed over), "
    "{:.1f} ms to a process (it is copied twice; a blob is not)\n",
    threads.transfer_ms, processes.transfer_ms);
  fmt::print(
    "- code that may crash, leak or must be killed: processes; that "
    "is what they are for\n");
}

int work(troupe::system& sys, settings s) {
  if (s.workers == 0)
    s.workers = static_cast<int>(sys.workers());
  const auto none = in_sequence(s);
  auto began = steady_clock::now();
  result threads;
  {
    const auto before = resident_mb(::getpid());
    troupe::thread_pool pool{sys, {.workers = s.workers}};
    threads = measure(pool, began, s);
    threads.memory_mb = std::max(0.0, resident_mb(::getpid()) - before);
  }
  began = steady_clock::now();
  troupe::process_pool pool{sys, {.workers = s.workers, .spares = 0}};
  auto processes = measure(pool, began, s);
  for (const auto pid : pool.pids())
    processes.memory_mb += resident_mb(pid);
  fmt::print("{} tasks of {} ms, {} workers, {} usable cores\n\n", s.tasks,
             s.work_ms, s.workers, sys.workers());
  fmt::print("{:<12} {:>9} {:>12} {:>11} {:>11} {:>10}\n", "", "start ms",
             fmt::format("{} MB there", s.transfer_mb), "waiting ms",
             "computing ms", "memory MB");
  print("in sequence", none);
  print("threads", threads);
  print("processes", processes);
  fmt::print("\n");
  const auto fine = show_crashes(pool, s);
  advise(none, threads, processes, s.workers);
  return fine ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "threads_or_processes: the same work on both, and what each costs."
        "\n\nIt teaches: the two pools have the same words; what starting, "
        "carrying data,\ncomputing and memory cost on each; and that a crash "
        "is the reason for processes.\nExit codes: 0 all results were right, 1 "
        "not, 2 a bad option."};
      app.add_option("--tasks", s.tasks, "How many")
        ->check(CLI::Range(1, 100'000))
        ->capture_default_str();
      app.add_option("--workers", s.workers, "Of each pool; 0: usable CPUs")
        ->check(CLI::Range(0, 256))
        ->capture_default_str();
      app.add_option("--work-ms", s.work_ms, "Each task's wait or computing")
        ->check(CLI::Range(0, 10'000))
        ->capture_default_str();
      app.add_option("--transfer-mb", s.transfer_mb, "Size of the argument")
        ->check(CLI::Range(1, 512))
        ->capture_default_str();
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      return work(sys, s);
    });
}
