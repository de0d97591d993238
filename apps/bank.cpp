// SPDX-License-Identifier: MIT
// bank: tellers that crash in the middle of transfers, and no money is lost
//
// Accounts and a journal are actors; tellers too, under a supervisor. A teller
// crashes at random moments of a transfer (the seed decides). The one that
// takes its place repeats what the journal says was begun; an account knows
// which transfers it has seen, so that nothing happens twice.
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>

namespace {

struct transfer {
  int number = 0; // of this teller; 0: none
  std::size_t from = 0, to = 0;
  int amount = 0;
};

class account {
public:
  explicit account(long balance) : balance_(balance) {}

  /// Once per teller and number, however often it is asked.
  void change(std::size_t teller, int number, int by) {
    auto& last = seen_[{teller, by < 0}];
    if (number <= last)
      return;
    last = number;
    balance_ += by;
  }
  long balance() const { return balance_; }

private:
  long balance_;
  std::map<std::pair<std::size_t, bool>, int> seen_;
};

/// What survives a crash of its teller.
class journal {
public:
  journal(std::uint64_t seed, std::size_t accounts, int transfers)
    : random_(seed),
      accounts_(accounts),
      left_(transfers) {}

  /// The transfer that was begun, else the next one; none at the end.
  transfer next() {
    if (now_.number == 0 && left_ > 0) {
      --left_;
      now_ = {++done_, random_() % accounts_, random_() % accounts_,
              static_cast<int>(random_() % 100)};
    }
    return now_;
  }
  void finish() { now_.number = 0; }
  /// Whether the teller is to crash now.
  bool crashes(int percent) {
    return static_cast<int>(random_() % 100) < percent;
  }

private:
  std::mt19937_64 random_;
  std::size_t accounts_;
  int left_, done_ = 0;
  transfer now_;
};

struct bank {
  std::vector<troupe::ref<account>> accounts;
  std::vector<troupe::ref<journal>> journals;
  std::atomic<int> crashes{0}, transfers{0};
  int crash_percent = 0;
};

class teller : public troupe::actor {
public:
  teller(std::shared_ptr<bank> b, std::size_t index, troupe::latch done)
    : bank_(std::move(b)),
      index_(index),
      done_(done) {}

  troupe::task<> on_start() {
    auto& mine = bank_->journals[index_];
    while (true) {
      auto t = co_await mine.ask<&journal::next>();
      if (t.number == 0)
        break;
      co_await maybe_crash();
      co_await bank_->accounts[t.from].ask<&account::change>(index_, t.number,
                                                             -t.amount);
      co_await maybe_crash();
      co_await bank_->accounts[t.to].ask<&account::change>(index_, t.number,
                                                           t.amount);
      co_await maybe_crash();
      co_await mine.ask<&journal::finish>();
      ++bank_->transfers;
    }
    co_await done_.count_down();
    stop();
  }

private:
  troupe::task<> maybe_crash() {
    auto is_time = co_await bank_->journals[index_].ask<&journal::crashes>(
      bank_->crash_percent);
    if (is_time) {
      ++bank_->crashes;
      throw std::runtime_error{"the teller crashes"};
    }
  }

  std::shared_ptr<bank> bank_; // the program may end before its tellers
  std::size_t index_;
  troupe::latch done_;
};

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    std::size_t accounts = 1000, tellers = 8;
    int transfers = 1000, percent = 1;
    std::uint64_t seed = 1;
    CLI::App app{
      "bank: tellers that crash in the middle of transfers, and no "
      "money is lost"};
    app.add_option("--accounts", accounts, "how many accounts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
    app.add_option("--tellers", tellers, "how many work at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
    app.add_option("--transfers", transfers, "transfers of each teller")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
    app.add_option("--crash-percent", percent, "chance at each step")
      ->capture_default_str()
      ->check(CLI::Range(0, 50));
    app.add_option("--seed", seed, "decides transfers and crashes")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }

    auto made = std::make_shared<bank>();
    auto& b = *made;
    b.crash_percent = percent;
    for (std::size_t i = 0; i < accounts; ++i)
      b.accounts.push_back(sys.spawn<account>(1000));
    troupe::latch done{sys, tellers};
    // Crashes are what this is about: no backoff, hardly a limit.
    troupe::supervisor_spec spec{
      .intensity = 1'000'000,
      .backoff = {.first = std::chrono::nanoseconds{0}}};
    for (std::size_t i = 0; i < tellers; ++i) {
      b.journals.push_back(sys.spawn<journal>(seed + i, accounts, transfers));
      spec.children.push_back(troupe::child<teller>(
        "teller " + std::to_string(i), troupe::transient, made, i, done));
    }
    auto sup = sys.supervise(spec);
    done.within(troupe::no_deadline).wait().get();
    sup.stop().get();
    long total = 0;
    for (auto& a : b.accounts)
      total += a.ask<&account::balance>().get();
    auto expected = static_cast<long>(accounts) * 1000;
    auto all = static_cast<int>(tellers) * transfers;
    auto is_right = total == expected && b.transfers == all;
    fmt::print("transfers {} of {}, crashes {}, total {} of {}, seed {}: {}\n",
               b.transfers.load(), all, b.crashes.load(), total, expected, seed,
               is_right ? "ok" : "WRONG");
    return is_right ? 0 : 1;
  };
  // Each crash would be logged as an error; here they are the point.
  return troupe::run(argc, argv, troupe::options{.log_level = "off"}, body);
}
