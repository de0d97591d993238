// SPDX-License-Identifier: MIT
// sharing: one small example for each way to share data without a lock
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <thread>

namespace {

bool check(const char* what, auto in, auto out) {
  fmt::print("{:<10} expected {:>6}, got {:>6}  {}\n", what, in, out,
             in == out ? "ok" : "WRONG");
  return in == out;
}

// Runs `f(i)` in n threads and waits for them.
template <class F>
void in_threads(int n, F f) {
  std::vector<std::thread> all;
  for (int i = 0; i < n; ++i)
    all.emplace_back(f, i);
  for (auto& t : all)
    t.join();
}

bool a_guarded_value(troupe::system& sys) {
  troupe::guarded<std::vector<int>> list{sys};
  in_threads(4, [list](int i) {
    for (int k = 0; k < 100; ++k)
      list.with([=](auto& v) { v.push_back(i); }).get();
  });
  return check("guarded", std::size_t{400},
               list.with([](auto& v) { return v.size(); }).get());
}

bool a_queue(troupe::system& sys) {
  troupe::queue<int> q{sys, {.capacity = 10}};
  int sum = 0;
  std::thread consumer{[&sum, q] {
    while (auto item = q.take().get())
      sum += **item;
  }};
  for (int i = 1; i <= 100; ++i)
    q.put(i).get();
  q.close().get();
  q.join().get();
  consumer.join();
  return check("queue", 5050, sum);
}

bool a_semaphore(troupe::system& sys) {
  troupe::semaphore slots{sys, {.permits = 2}};
  std::atomic<int> inside{0}, most{0};
  in_threads(6, [&, slots](int) {
    auto mine = slots.acquire().get(); // returned at the end of the scope
    int now = ++inside;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);)
      ;
    --inside;
  });
  return check("semaphore", true, most <= 2);
}

bool an_event(troupe::system& sys) {
  troupe::event ready{sys};
  std::atomic<int> woken{0};
  std::thread setter{[ready] { (void)ready.set().get(); }};
  in_threads(3, [&, ready](int) {
    ready.wait().get();
    ++woken;
  });
  setter.join();
  return check("event", 3, woken.load());
}

bool a_latch(troupe::system& sys) {
  troupe::latch done{sys, 4};
  std::atomic<int> parts{0};
  in_threads(4, [&, done](int) {
    ++parts;
    done.count_down().get();
  });
  done.wait().get();
  return check("latch", 4, parts.load());
}

bool a_barrier(troupe::system& sys) {
  troupe::barrier meet{sys, 3};
  std::atomic<int> arrived{0}, early{0};
  in_threads(3, [&, meet](int) {
    ++arrived;
    (void)meet.arrive_and_wait().get();
    early += arrived < 3 ? 1 : 0;
  });
  return check("barrier", 0, early.load());
}

bool a_pipe(troupe::system& sys) {
  auto [here, there] = troupe::pipe<int>{sys};
  std::thread echo{[end = there] {
    while (auto x = end.receive().get())
      end.send(*x * *x).get();
  }};
  here.send(12).get();
  auto answer = *here.receive().get();
  here.close().get();
  echo.join();
  return check("pipe", 144, answer);
}

bool a_topic(troupe::system& sys) {
  troupe::topic<int> news{sys};
  std::vector<troupe::subscription<int>> readers;
  for (int i = 0; i < 3; ++i)
    readers.push_back(news.subscribe().get());
  for (int i = 1; i <= 10; ++i)
    (void)news.publish(i).get();
  news.close().get();
  int sum = 0;
  for (auto& r : readers)
    while (auto x = r.next().get())
      sum += *x;
  return check("topic", 165, sum);
}

bool an_actor(troupe::system& sys) {
  struct counter { // any class is one
    int value = 0;
    void add(int n) { value += n; }
    int get() const { return value; }
  };
  auto c = sys.spawn<counter>();
  in_threads(4, [c](int) {
    for (int k = 0; k < 250; ++k)
      c.tell<&counter::add>(1);
  });
  return check("actor", 1000, c.ask<&counter::get>().get());
}

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    CLI::App app{
      "sharing: one small example for each way to share data "
      "without a lock"};
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }
    int wrong = 0;
    for (auto* example : {an_actor, a_guarded_value, a_queue, a_semaphore,
                          an_event, a_latch, a_barrier, a_pipe, a_topic})
      wrong += example(sys) ? 0 : 1;
    return wrong;
  };
  return troupe::run(argc, argv, body);
}
