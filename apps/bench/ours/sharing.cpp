// SPDX-License-Identifier: MIT
// sharing: what others share by locks, and a chain of actors.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

namespace bench::ours {

namespace {

class incrementer {
public:
  void post(troupe::guarded<std::int64_t> value, int times) {
    for (int i = 0; i < times; ++i)
      value.post([](std::int64_t& v) { ++v; });
  }

  troupe::task<> with(troupe::guarded<std::int64_t> value, int times) {
    for (int i = 0; i < times; ++i)
      co_await value.with([](std::int64_t& v) { ++v; });
  }
};

template <auto Method>
double count(troupe::system& sys) {
  constexpr auto each = counter_increments / counter_sharers;
  troupe::guarded<std::int64_t> value{sys, 0};
  std::vector<troupe::future<void>> all;
  stopwatch watch;
  for (int i = 0; i < counter_sharers; ++i)
    all.push_back(sys.spawn<incrementer>().ask<Method>(value, each));
  for (auto& f : all)
    f.get();
  auto result = value.copy().get();
  auto ns = watch.ns_per(counter_increments);
  expect("the count", result, std::int64_t{counter_increments});
  return ns;
}

class worker_in_section {
public:
  void post(troupe::guarded<std::uint64_t> value, int times, int steps) {
    for (int i = 0; i < times; ++i)
      value.post([steps](std::uint64_t& v) { v = work(v, steps); });
  }

  troupe::task<> with(troupe::guarded<std::uint64_t> value, int times,
                      int steps) {
    for (int i = 0; i < times; ++i)
      co_await value.with([steps](std::uint64_t& v) { v = work(v, steps); });
  }
};

template <auto Method>
double share_section(troupe::system& sys, int steps) {
  auto each = section_calls(steps) / counter_sharers;
  troupe::guarded<std::uint64_t> value{sys, 1u};
  std::vector<troupe::future<void>> all;
  stopwatch watch;
  for (int i = 0; i < counter_sharers; ++i)
    all.push_back(
      sys.spawn<worker_in_section>().ask<Method>(value, each, steps));
  for (auto& f : all)
    f.get();
  auto result = value.copy().get();
  auto ns = watch.ns_per(each * counter_sharers);
  expect("the chain", result, work(1, each * counter_sharers * steps));
  return ns;
}

class producer {
public:
  troupe::task<> in_batches(troupe::queue<int> q, int first) {
    std::vector<int> some;
    for (int x = first; x < queue_items; x += queue_sides) {
      some.push_back(x);
      if (some.size() == queue_batch)
        co_await q.put_all(std::exchange(some, {}));
    }
    co_await q.put_all(std::move(some));
  }

  troupe::task<> one_by_one(troupe::queue<int> q, int first) {
    for (int x = first; x < queue_items_single; x += queue_sides)
      co_await q.put(x);
  }
};

class consumer {
public:
  troupe::task<std::int64_t> in_batches(troupe::queue<int> q) {
    std::int64_t sum = 0;
    while (true) {
      auto some = co_await q.take_some(queue_batch);
      if (!some)
        break;
      for (int x : some)
        sum += x;
    }
    co_return sum;
  }

  troupe::task<std::int64_t> one_by_one(troupe::queue<int> q) {
    std::int64_t sum = 0;
    while (true) {
      auto x = co_await q.take();
      if (!x)
        break;
      sum += **x;
    }
    co_return sum;
  }
};

template <auto Put, auto Take>
double transfer(troupe::system& sys, std::int64_t items) {
  troupe::queue<int> q{sys, {.capacity = queue_capacity}};
  std::vector<troupe::future<void>> in;
  std::vector<troupe::future<std::int64_t>> out;
  stopwatch watch;
  for (int i = 0; i < queue_sides; ++i) {
    out.push_back(sys.spawn<consumer>().ask<Take>(q));
    in.push_back(sys.spawn<producer>().ask<Put>(q, i));
  }
  for (auto& f : in)
    f.get();
  q.close().get();
  std::int64_t sum = 0;
  for (auto& f : out)
    sum += f.get();
  auto ns = watch.ns_per(items);
  expect("the sum", sum, items * (items - 1) / 2);
  return ns;
}

// Tells each item to the next.
class stage {
public:
  stage(troupe::ref<stage> next, gate& done)
    : next_(std::move(next)),
      done_(done) {}

  void pass(int x) {
    if (next_)
      next_.tell<&stage::pass>(x + 1);
    else if (x < 0)
      done_.open();
    else
      sum_ += x;
  }

  void feed(int items) {
    for (int i = 0; i < items; ++i)
      next_.tell<&stage::pass>(i);
    next_.tell<&stage::pass>(pipeline_end);
  }

  std::int64_t sum() const { return sum_; }

private:
  troupe::ref<stage> next_;
  gate& done_;
  std::int64_t sum_ = 0;
};

double pass_on(troupe::system& sys) {
  gate done;
  auto last = sys.spawn<stage>(troupe::ref<stage>{}, done);
  auto first = last;
  for (int i = 1; i < pipeline_stages; ++i)
    first = sys.spawn<stage>(first, done);
  auto source = sys.spawn<stage>(first, done);
  stopwatch watch;
  source.tell<&stage::feed>(pipeline_items);
  done.pass();
  auto ns = watch.ns_per(pipeline_items);
  expect("the sum", last.ask<&stage::sum>().get(), pipeline_sum);
  return ns;
}

class mortal {
public:
  void die() { throw std::runtime_error{"for the benchmark"}; }
  int serve() { return number_; }

private:
  static inline int made_ = 0;
  int number_ = ++made_;
};

// The answer of the child that comes after `before`. A call that was waiting
// when its child died fails.
int serve_after(int before, const troupe::ref<mortal>& child) {
  for (;;) {
    try {
      if (auto who = child.ask<&mortal::serve>().get(); who != before)
        return who;
    } catch (const troupe::actor_stopped&) {}
  }
}

} // namespace

figures guarded_counter(const setting& how) {
  counted_system sys{how};
  return {{"guarded_counter", count<&incrementer::post>(sys)},
          {"guarded_counter_waited", count<&incrementer::with>(sys)}};
}

figures section(const setting& how) {
  counted_system sys{how};
  figures found;
  for (auto steps : section_steps) {
    auto name = section_row(steps);
    found[name] = share_section<&worker_in_section::post>(sys, steps);
    found[name + "_waited"] = share_section<&worker_in_section::with>(sys,
                                                                      steps);
  }
  return found;
}

figures queue(const setting& how) {
  counted_system sys{how};
  return {
    {"queue",
     transfer<&producer::in_batches, &consumer::in_batches>(sys, queue_items)},
    {"queue_single", transfer<&producer::one_by_one, &consumer::one_by_one>(
                       sys, queue_items_single)}};
}

figures pipeline(const setting& how) {
  counted_system sys{how};
  return {{"pipeline", pass_on(sys)}};
}

figures restart(const setting& how) {
  auto options = options_of(how);
  options.log_level = "off";
  counted_system sys{options};
  auto sup = sys.supervise(
    {.intensity = restart_samples + 1,
     .backoff = {.first = 0s},
     .children = {troupe::child<mortal>("mortal", troupe::permanent)}});
  auto child = sup.child<mortal>("mortal");
  std::vector<double> us;
  for (int i = 0; i < restart_samples; ++i) {
    auto before = child.ask<&mortal::serve>().get();
    stopwatch watch;
    child.tell<&mortal::die>();
    expect("who answers", serve_after(before, child), before + 1);
    us.push_back(watch.ns_per(1) / 1000);
  }
  return {{"restart", quantile(std::move(us), 0.5)}};
}

} // namespace bench::ours
