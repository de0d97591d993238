// SPDX-License-Identifier: MIT
// factorial: a thread pool, results as they come, and whether it was worth it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/multiprecision/cpp_int.hpp>

#include <troupe/troupe.hpp>

namespace {

using number = boost::multiprecision::cpp_int;
using std::chrono::steady_clock;

constexpr int largest = 100'000; // 456,574 digits: seconds of printing

struct settings {
  std::vector<int> numbers;
  int workers = 4;
  int runs = 5;
  bool in_full = false;
};

// What a task gives: the number stays with its result, whoever is first.
struct solved {
  int n = 0;
  number value;
  pid_t process = 0, thread = 0;
};

// low * ... * high: halves keep the factors alike in size, which is faster.
number product(int low, int high) {
  if (low >= high)
    return low > high ? 1 : low;
  auto middle = std::midpoint(low, high);
  return product(low, middle) * product(middle + 1, high);
}

solved factorial(int n) {
  if (n < 0)
    throw std::domain_error{"no factorial of " + std::to_string(n)};
  return {n, product(2, n), ::getpid(), ::gettid()};
}

std::string shown(const number& value, bool in_full) {
  auto digits = value.str();
  if (in_full || digits.size() <= 40)
    return digits;
  return digits.substr(0, 16) + "..." + digits.substr(digits.size() - 8) + " ("
         + std::to_string(digits.size()) + " digits)";
}

std::map<int, number> in_the_pool(troupe::thread_pool& pool,
                                  const std::vector<int>& numbers) {
  std::vector<troupe::future<solved>> futures;
  for (int n : numbers)
    futures.push_back(pool.submit(troupe::fn<&factorial>, n));
  std::map<int, number> found;
  for (auto& done : troupe::as_completed(futures)) {
    auto s = done.get();
    found[s.n] = std::move(s.value);
  }
  return found;
}

std::map<int, number> in_sequence(const std::vector<int>& numbers) {
  std::map<int, number> found;
  for (int n : numbers)
    found[n] = factorial(n).value;
  return found;
}

template <class F>
double median_us(int runs, F f) {
  std::vector<double> us;
  for (int i = 0; i < runs; ++i) {
    auto began = steady_clock::now();
    f();
    us.push_back(
      std::chrono::duration<double, std::micro>(steady_clock::now() - began)
        .count());
  }
  std::sort(us.begin(), us.end());
  return us[us.size() / 2];
}

void show_results(troupe::thread_pool& pool, const settings& s) {
  std::vector<troupe::future<solved>> futures;
  for (int n : s.numbers)
    futures.push_back(pool.submit(troupe::fn<&factorial>, n));
  std::set<pid_t> processes, threads;
  std::printf("as they are completed:\n");
  for (auto& done : troupe::as_completed(futures)) {
    auto found = done.get();
    std::printf("  %6d! = %s   (thread %d)\n", found.n,
                shown(found.value, s.in_full).c_str(), found.thread);
    processes.insert(found.process);
    threads.insert(found.thread);
  }
  std::printf("pool of %zu: %zu %s of it had a task:", pool.workers(),
              threads.size(), threads.size() == 1 ? "thread" : "threads");
  for (auto id : threads)
    std::printf(" %d", id);
  std::printf("; %zu process: %d\n", processes.size(), *processes.begin());
}

void compare(troupe::thread_pool& pool, const settings& s) {
  if (in_the_pool(pool, s.numbers) != in_sequence(s.numbers))
    throw std::logic_error{"the pool and the sequence disagree"};
  auto with = median_us(s.runs, [&] { in_the_pool(pool, s.numbers); });
  auto without = median_us(s.runs, [&] { in_sequence(s.numbers); });
  std::printf("median of %d runs: pool %.1f us, in sequence %.1f us\n", s.runs,
              with, without);
  if (with > without)
    std::printf(
      "the pool is %.1f times SLOWER: handing the tasks over costs "
      "more than it wins\nwith these numbers; try larger ones, such "
      "as 5000 6000 7000 8000\n",
      with / without);
  else
    std::printf("the pool is %.1f times faster\n", without / with);
}

int work(troupe::system& sys, const settings& s) {
  troupe::thread_pool pool{sys, {.workers = s.workers}};
  show_results(pool, s);
  compare(pool, s);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "factorial: a thread pool, results as they come, and whether it was "
        "worth it.\n\nIt teaches: submit gives a future; as_completed gives "
        "the futures as they settle,\nso each result brings its number along; "
        "a pool has a price, so measure.\nExit codes: 0 fine, 2 a number that "
        "has no factorial or a bad option."};
      app.add_option("N", s.numbers, "Numbers; 1 to 10 if none is given")
        ->check(CLI::Range(0, largest));
      app.add_option("--workers", s.workers, "Threads of the pool")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
      app.add_option("--runs", s.runs, "How often each way is timed")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
      app.add_flag("--full", s.in_full, "Print all digits");
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      if (s.numbers.empty()) {
        s.numbers.resize(10);
        std::iota(s.numbers.begin(), s.numbers.end(), 1);
      }
      return work(sys, s);
    });
}
