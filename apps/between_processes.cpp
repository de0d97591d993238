// SPDX-License-Identifier: MIT
// between_processes: a queue, an event, a pipe and memory for processes
//
// Whoever is spawned `in_process` lives in a process of its own. Handles are
// given to its methods like any value, and mean the same there as here.
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct settings {
  int items = 1000;
  int consumers = 3;
  int slots = 2;
};

bool check(const char* what, bool is_right, const std::string& text) {
  fmt::print("{:<14} {}: {}\n", what, text, is_right ? "ok" : "WRONG");
  return is_right;
}

// -- an event, a queue and a semaphore ----------------------------------------

class producer {
public:
  troupe::task<int> produce(troupe::latch ready, troupe::event go,
                            troupe::queue<int> q, int items) {
    co_await ready.count_down();
    co_await go.wait();
    for (int i = 1; i <= items; ++i)
      co_await q.put(i); // waits while it is full
    co_await q.close();
    co_return ::getpid();
  }
};

/// Who is in the section; it stands in the first process.
struct section {
  int inside = 0, most = 0;
};

struct share {
  int pid = 0;
  std::vector<int> taken;
};

class consumer {
public:
  troupe::task<share> consume(troupe::latch ready, troupe::event go,
                              troupe::queue<int> q, troupe::semaphore slots,
                              troupe::guarded<section> where) {
    co_await ready.count_down();
    co_await go.wait();
    share mine{::getpid(), {}};
    while (auto item = co_await q.take()) { // until it is closed and empty
      const auto lease = co_await slots.acquire();
      co_await where.with(
        [](section& s) { s.most = std::max(s.most, ++s.inside); });
      mine.taken.push_back(**item);
      co_await where.with([](section& s) { --s.inside; });
    } // the lease returns, the item is acknowledged
    co_return mine;
  }
};

bool queue_and_friends(troupe::system& sys, const settings& s) {
  const auto parties = static_cast<std::size_t>(s.consumers) + 1;
  troupe::queue<int> q{sys, {.capacity = 16}};
  troupe::semaphore slots{sys, {.permits = static_cast<std::size_t>(s.slots)}};
  troupe::guarded<section> where{sys};
  troupe::latch ready{sys, parties};
  troupe::event go{sys};
  auto one = sys.spawn<producer>(troupe::in_process{});
  auto produced = one.within(troupe::no_deadline)
                    .ask<&producer::produce>(ready, go, q, s.items);
  std::vector<troupe::ref<consumer>> others;
  std::vector<troupe::future<share>> shares;
  for (int i = 0; i < s.consumers; ++i) {
    others.push_back(sys.spawn<consumer>(troupe::in_process{}));
    shares.push_back(others.back()
                       .within(troupe::no_deadline)
                       .ask<&consumer::consume>(ready, go, q, slots, where));
  }
  ready.wait().get();
  const auto none_early = where.copy().get().most == 0;
  (void)go.set().get();
  std::set<int> pids{::getpid(), produced.get()}, taken;
  std::size_t count = 0;
  for (auto& f : shares) {
    const auto found = f.get();
    pids.insert(found.pid);
    taken.insert(found.taken.begin(), found.taken.end());
    count += found.taken.size();
  }
  q.join().get(); // all was acknowledged
  const auto items = static_cast<std::size_t>(s.items);
  const auto event =
    check("event", none_early && pids.size() == parties + 1,
          fmt::format("{} other processes waited until it was set", parties));
  const auto queue = check(
    "queue", count == items && taken.size() == items && *taken.begin() == 1,
    fmt::format("{} items put by one process, each taken once by {} others",
                items, s.consumers));
  const auto most = where.copy().get().most;
  const auto semaphore =
    check("semaphore", most >= 1 && most <= s.slots,
          fmt::format("never more than {} of them in the section", s.slots));
  return event && queue && semaphore;
}

// -- a pipe -------------------------------------------------------------------

class squarer {
public:
  troupe::task<int> answer(troupe::pipe_end<int> end) {
    while (auto x = co_await end.receive())
      co_await end.send(*x * *x);
    co_return ::getpid();
  }
};

bool a_pipe(troupe::system& sys) {
  auto [here, there] = troupe::pipe<int>{sys};
  auto other = sys.spawn<squarer>(troupe::in_process{});
  auto pid = other.ask<&squarer::answer>(there);
  std::vector<int> sent{1, 2, 3}, received;
  for (const int x : sent) {
    here.send(x).get();
    received.push_back(here.receive().get().value());
  }
  here.close().get();
  return check("pipe",
               received == std::vector{1, 4, 9} && pid.get() != ::getpid(),
               fmt::format("{} went out, {} came back", fmt::join(sent, " "),
                           fmt::join(received, " ")));
}

// -- shared memory ------------------------------------------------------------

struct part {
  troupe::blob numbers;
  std::size_t first = 0, count = 0;
};

struct part_sum {
  std::uint64_t sum = 0;
  bool is_shared = false;
};

// In a worker: the pages that the parent has filled, not a copy of them.
part_sum sum_of(const part& p) {
  part_sum found{0, p.numbers.is_shared()};
  for (const auto x : p.numbers.as<std::uint32_t>().subspan(p.first, p.count))
    found.sum += x;
  return found;
}

bool shared_memory(troupe::system& sys) {
  constexpr std::size_t numbers = std::size_t{1} << 20, parts = 8;
  troupe::shared_buffer buffer{numbers * sizeof(std::uint32_t)};
  std::uint32_t next = 0;
  for (auto& x : buffer.as<std::uint32_t>())
    x = ++next;
  const auto frozen = std::move(buffer).freeze(); // nobody writes any more
  std::vector<part> all;
  for (std::size_t i = 0; i < parts; ++i)
    all.push_back({frozen, i * (numbers / parts), numbers / parts});
  troupe::process_pool pool{sys, {.workers = 2}};
  std::uint64_t sum = 0;
  auto uncopied = true;
  for (const auto& found : pool.map(troupe::fn<&sum_of>, all)) {
    sum += found.sum;
    uncopied = uncopied && found.is_shared;
  }
  return check("shared memory", uncopied && sum == numbers * (numbers + 1) / 2,
               fmt::format("workers added 1 to {} in one buffer of 4 MiB, "
                           "without a copy",
                           numbers));
}

// -- a prepared pool ----------------------------------------------------------

// In each worker, and never in the parent: what its tasks share.
std::vector<int> prepared_squares;
int tasks_of_this_worker = 0;

void prepare() {
  for (int i = 0; i < 100; ++i)
    prepared_squares.push_back(i * i);
}

struct looked_up {
  int square = 0, tasks = 0;
};

looked_up look_up(int x) {
  return {prepared_squares.at(static_cast<std::size_t>(x)),
          ++tasks_of_this_worker};
}

bool a_prepared_pool(troupe::system& sys) {
  constexpr int tasks = 40;
  troupe::process_pool pool{sys,
                            {.workers = 2,
                             .tasks_per_worker_max = 5, // a tenth more or less
                             .initializer = [] { prepare(); }}};
  std::vector<int> numbers;
  for (int i = 0; i < tasks; ++i)
    numbers.push_back(i);
  auto right = true;
  int most = 0, i = 0;
  for (const auto& found :
       pool.map(troupe::fn<&look_up>, numbers, {.chunk = 1})) {
    right = right && found.square == i * i;
    most = std::max(most, found.tasks);
    ++i;
  }
  return check("process pool",
               right && i == tasks && most <= 6 && prepared_squares.empty(),
               fmt::format("{} tasks found what the initializer had made, in "
                           "workers replaced after about 5",
                           tasks));
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "between_processes: a queue, an event, a pipe and memory for "
        "processes.\n\nIt teaches: handles are given to actors in other "
        "processes like any value; a blob\nis memory that processes share; an "
        "initializer prepares the workers of a pool.\nExit codes: 0 all came "
        "out as it should, 1 not, 2 a bad option."};
      app.add_option("--items", s.items, "What goes through the queue")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
      app.add_option("--consumers", s.consumers, "Processes that take")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
      app
        .add_option("--slots", s.slots, "How many of them may be in a section")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      int wrong = queue_and_friends(sys, s) ? 0 : 1;
      for (auto* example : {a_pipe, shared_memory, a_prepared_pool})
        wrong += example(sys) ? 0 : 1;
      return wrong == 0 ? 0 : 1;
    });
}
