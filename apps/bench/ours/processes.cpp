// SPDX-License-Identifier: MIT
// processes: plain functions and actors in other processes.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <ranges>
#include <string>
#include <thread>

namespace bench::ours {

namespace {

int triple(int x) {
  return trivial(x);
}

std::size_t size_of_bytes(const std::vector<char>& bytes) {
  return bytes.size();
}

std::size_t size_of_blob(const troupe::blob& bytes) {
  return bytes.size();
}

class counter {
public:
  int triple(int x) { return trivial(x); }
};

template <class F>
double p50_us(int samples, F once) {
  std::vector<double> us;
  for (int i = 0; i < samples; ++i) {
    stopwatch watch;
    once(i);
    us.push_back(watch.seconds() * 1e6);
  }
  return quantile(std::move(us), 0.5);
}

} // namespace

figures process_round_trip(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = how.workers}};
  auto once = [&](int i) {
    expect("a result", pool.submit(troupe::fn<&triple>, i).get(), trivial(i));
  };
  p50_us(round_trip_samples / 10, once);
  return {{"process_round_trip", p50_us(round_trip_samples, once)}};
}

figures process_map_1(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = how.workers}};
  auto run = [&](int n) {
    std::int64_t sum = 0;
    stopwatch watch;
    for (int y :
         pool.map(troupe::fn<&triple>, std::views::iota(0, n), {.chunk = 1}))
      sum += y;
    auto ns = watch.ns_per(n);
    expect("the sum", sum, trivial_sum(n));
    return ns;
  };
  run(process_map_1_tasks / 10);
  return {{"process_map_1", run(process_map_1_tasks)}};
}

figures process_map(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = how.workers}};
  auto run = [&](int n) {
    std::int64_t sum = 0;
    stopwatch watch;
    for (int y : pool.map(troupe::fn<&triple>, std::views::iota(0, n)))
      sum += y;
    auto ns = watch.ns_per(n);
    expect("the sum", sum, trivial_sum(n));
    return ns;
  };
  run(map_elements / 10);
  return {{"process_map", run(map_elements)}};
}

figures process_bytes(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = how.workers}};
  const std::vector<char> bytes(large_bytes, 'x');
  auto by_value = [&](int) {
    expect("the size", pool.submit(troupe::fn<&size_of_bytes>, bytes).get(),
           large_bytes);
  };
  troupe::shared_buffer buffer{large_bytes};
  std::ranges::fill(buffer.bytes(), std::byte{'x'});
  const troupe::blob frozen = std::move(buffer).freeze();
  auto as_blob = [&](int) {
    expect("the size", pool.submit(troupe::fn<&size_of_blob>, frozen).get(),
           large_bytes);
  };
  by_value(0);
  as_blob(0);
  return {{"process_bytes", p50_us(large_samples, by_value) / 1e3},
          {"process_blob", p50_us(large_samples, as_blob) / 1e3}};
}

// Nothing was started before: the first time is the only one.
figures process_start(const setting& how) {
  counted_system sys{how};
  stopwatch watch;
  {
    troupe::process_pool pool{sys, {.workers = how.workers}};
    std::vector<troupe::future<int>> results;
    for (int i = 0; i < start_tasks; ++i)
      results.push_back(pool.submit(troupe::fn<&triple>, i));
    for (int i = 0; i < start_tasks; ++i)
      expect("a result", results[static_cast<std::size_t>(i)].get(),
             trivial(i));
  }
  return {{"process_start", watch.seconds() * 1e3}};
}

namespace {

// Says by a pipe of the bench's process that it has begun, and hangs.
void begin_and_hang(int pid, int pipe_end) {
  const auto name = "/proc/" + std::to_string(pid) + "/fd/"
                    + std::to_string(pipe_end);
  const int out = ::open(name.c_str(), O_WRONLY | O_CLOEXEC);
  if (out < 0 || ::write(out, "!", 1) != 1)
    throw std::runtime_error("cannot write to " + name);
  for (;;)
    std::this_thread::sleep_for(1s);
}

} // namespace

figures process_crash(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = 1}};
  (void)pool.submit(troupe::fn<&triple>, 1).get();
  std::vector<double> error;
  std::vector<double> serving;
  int begun[2];
  expect("pipe2", ::pipe2(begun, O_CLOEXEC), 0);
  for (int i = 0; i < crash_samples; ++i) {
    const auto pid = pool.submit([] { return ::getpid(); }).get();
    auto busy = pool.submit(troupe::fn<&begin_and_hang>, ::getpid(), begun[1]);
    char c = 0;
    expect("what a task says", ::read(begun[0], &c, 1), 1);
    stopwatch watch;
    ::kill(pid, SIGKILL);
    try {
      busy.get();
    } catch (const troupe::worker_died&) {
      error.push_back(watch.seconds() * 1e3);
    }
    (void)pool.submit(troupe::fn<&triple>, 1).get();
    serving.push_back(watch.seconds() * 1e3);
  }
  ::close(begun[0]);
  ::close(begun[1]);
  expect("errors", error.size(), serving.size());
  return {{"process_crash", quantile(std::move(error), 0.99)},
          {"process_crash_serving", quantile(std::move(serving), 0.99)}};
}

figures process_ask(const setting& how) {
  counted_system sys{how};
  troupe::process_pool pool{sys, {.workers = 1}};
  auto there = sys.spawn<counter>(troupe::in_process{});
  auto ask = [&](int i) {
    expect("an answer", there.ask<&counter::triple>(i).get(), trivial(i));
  };
  auto submit = [&](int i) {
    expect("a result", pool.submit(troupe::fn<&triple>, i).get(), trivial(i));
  };
  // In turns, so that both see the same machine.
  std::vector<double> asks;
  std::vector<double> submits;
  for (int round = 0; round < 21; ++round) {
    asks.push_back(p50_us(round_trip_samples / 20, ask));
    submits.push_back(p50_us(round_trip_samples / 20, submit));
  }
  const auto a = quantile(asks, 0.5);
  return {{"process_ask", a},
          {"process_ask_ratio", a / quantile(submits, 0.5)}};
}

} // namespace bench::ours
