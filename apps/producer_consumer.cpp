// SPDX-License-Identifier: MIT
// producer_consumer: a bounded queue that ends, and loses nothing on errors
//
// Producers put, consumers take until the queue is closed and empty: the
// program ends by itself. Every n-th item makes its consumer throw the first
// time: it is given back and done by whoever comes next. `join` is called
// before the first put and still waits for the last acknowledgement.
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

namespace {

class producer {
public:
  troupe::task<int> run(troupe::queue<int> q, int from, int to) {
    for (int i = from; i < to; ++i)
      co_await q.put(i);
    co_return to - from;
  }
};

struct work {
  long long sum = 0;
  int done = 0, failed = 0;
};

struct first_attempt {};

class consumer {
public:
  troupe::task<work> run(troupe::queue<int> q, int fail_every) {
    work mine;
    bool is_over = false;
    while (!is_over) {
      try {
        while (true) {
          auto item = co_await q.take();
          is_over = !item;
          if (is_over)
            break;
          if (fail_every > 0 && **item % fail_every == 0
              && item->attempts() == 0)
            throw first_attempt{};
          mine.sum += **item; // acknowledged when `item` goes
          ++mine.done;
        }
      } catch (const first_attempt&) {
        ++mine.failed; // given back on the way here
      }
    }
    co_return mine;
  }
};

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    int producers = 2, consumers = 3, items = 20'000, fail_every = 100;
    std::size_t capacity = 64;
    CLI::App app{
      "producer_consumer: a bounded queue that ends, and loses "
      "nothing on errors"};
    app.add_option("--producers", producers, "how many put")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
    app.add_option("--consumers", consumers, "how many take")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
    app.add_option("--items", items, "how many in all")
      ->capture_default_str()
      ->check(CLI::Range(0, 10'000'000));
    app.add_option("--capacity", capacity, "how many the queue holds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000'000));
    app
      .add_option("--fail-every", fail_every,
                  "every n-th item fails once; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000'000));
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }

    troupe::queue<int> q{sys, {.capacity = capacity}};
    auto joined = q.within(troupe::no_deadline).join(); // before any put
    std::vector<troupe::future<int>> in;
    std::vector<troupe::future<work>> out;
    for (int i = 0; i < consumers; ++i)
      out.push_back(sys.spawn<consumer>()
                      .within(troupe::no_deadline)
                      .ask<&consumer::run>(q, fail_every));
    for (int i = 0; i < producers; ++i) {
      auto part = [&](int k) {
        return static_cast<int>(static_cast<long long>(items) * k / producers);
      };
      in.push_back(sys.spawn<producer>()
                     .within(troupe::no_deadline)
                     .ask<&producer::run>(q, part(i), part(i + 1)));
    }
    int put = 0;
    for (auto& f : in)
      put += f.get();
    q.close().get();
    work all;
    for (auto& f : out) {
      auto w = f.get();
      all.sum += w.sum;
      all.done += w.done;
      all.failed += w.failed;
    }
    joined.get();
    auto state = q.state().get();
    auto expected = static_cast<long long>(items) * (items - 1) / 2;
    auto is_right = put == items && all.done == items && all.sum == expected
                    && state.acknowledged == static_cast<std::uint64_t>(items)
                    && state.given_back
                         == static_cast<std::uint64_t>(all.failed);
    fmt::print(
      "put {}, done {}, given back {}, acknowledged {}\n"
      "sum {}, expected {}: {}\n",
      put, all.done, state.given_back, state.acknowledged, all.sum, expected,
      is_right ? "ok" : "WRONG");
    return is_right ? 0 : 1;
  };
  return troupe::run(argc, argv, body);
}
