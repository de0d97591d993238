// SPDX-License-Identifier: MIT
// philosophers: forks that many want, and nobody starves or waits for ever
//
// Each fork is a semaphore with one permit. In order, the lower fork first, no
// cycle can close. With --naive all take their left fork first, which may close
// one: a deadline ends the wait, the leases return by themselves, they retry.
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <atomic>
#include <memory>

namespace {

using namespace std::chrono_literals;

struct table {
  std::vector<troupe::semaphore> forks;
  std::vector<std::atomic<int>> in_use; // the proof: never above 1
  std::atomic<int> clashes{0}, retries{0};

  table(troupe::system& sys, std::size_t n) : in_use(n) {
    for (std::size_t i = 0; i < n; ++i)
      forks.emplace_back(sys);
  }
};

class philosopher {
public:
  philosopher(std::shared_ptr<table> t, std::size_t first, std::size_t second)
    : table_(std::move(t)),
      first_(first),
      second_(second) {}

  troupe::task<int> dine(int meals) {
    int eaten = 0;
    while (eaten < meals) {
      try {
        auto one = co_await table_->forks[first_].within(20ms).acquire();
        auto other = co_await table_->forks[second_].within(20ms).acquire();
        for (auto fork : {first_, second_})
          table_->clashes += ++table_->in_use[fork] > 1 ? 1 : 0;
        ++eaten;
        for (auto fork : {first_, second_})
          --table_->in_use[fork];
      } catch (const troupe::timeout&) {
        ++table_->retries;
      }
    }
    co_return eaten;
  }

private:
  std::shared_ptr<table> table_; // the program may end before its guests
  std::size_t first_, second_;
};

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    std::size_t guests = 5;
    int meals = 1000;
    bool is_naive = false;
    CLI::App app{
      "philosophers: forks that many want, and nobody starves or "
      "waits for ever"};
    app.add_option("--guests", guests, "how many sit at the table")
      ->capture_default_str()
      ->check(CLI::Range(2, 1000));
    app.add_option("--meals", meals, "how often each eats")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
    app.add_flag("--naive", is_naive, "everybody takes the left fork first");
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }

    auto made = std::make_shared<table>(sys, guests);

    auto& t = *made;
    std::vector<troupe::future<int>> all;
    for (std::size_t i = 0; i < guests; ++i) {
      auto left = i, right = (i + 1) % guests;
      if (!is_naive && left > right)
        std::swap(left, right);
      all.push_back(sys.spawn<philosopher>(made, left, right)
                      .within(troupe::no_deadline)
                      .ask<&philosopher::dine>(meals));
    }
    int eaten = 0;
    for (auto& f : all)
      eaten += f.get();
    auto expected = static_cast<int>(guests) * meals;
    auto is_right = eaten == expected && t.clashes == 0;
    fmt::print(
      "meals {} of {}, forks used by two {}, gave up and retried {}: "
      "{}\n",
      eaten, expected, t.clashes.load(), t.retries.load(),
      is_right ? "ok" : "WRONG");
    return is_right ? 0 : 1;
  };
  return troupe::run(argc, argv, body);
}
