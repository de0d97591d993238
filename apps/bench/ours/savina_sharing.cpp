// SPDX-License-Identifier: MIT
// savina_sharing: the suite's programs about what many want at a time.

#include "ours/workloads.hpp"
#include "savina.hpp"

#include <troupe/troupe.hpp>

#include <algorithm>
#include <array>
#include <list>
#include <unordered_map>

namespace bench::ours {

namespace {

using namespace savina;

// -- dictionary and sorted list -----------------------------------------------

class key_table {
public:
  int write(int key, int value) {
    values_[key] = value;
    return value;
  }
  int read(int key) const {
    auto i = values_.find(key);
    return i == values_.end() ? key : i->second;
  }

private:
  std::unordered_map<int, int> values_;
};

class dictionary_user {
public:
  // Whatever is written under a key is congruent to it.
  troupe::task<int> run(troupe::ref<key_table> d, int index) {
    sequence random{static_cast<std::uint64_t>(index)};
    int right = 0;
    for (int i = 0; i < table_requests; ++i) {
      auto key = random.below(table_keys);
      int found = 0;
      if (random.below(100) < table_write_percent)
        found = co_await d.ask<&key_table::write>(key, key + i * table_keys);
      else
        found = co_await d.ask<&key_table::read>(key);
      right += found % table_keys == key ? 1 : 0;
    }
    co_return right;
  }
};

class number_list {
public:
  void add(int x) {
    auto at = values_.begin();
    while (at != values_.end() && *at < x)
      ++at;
    values_.insert(at, x);
  }
  bool contains(int x) const {
    for (int y : values_)
      if (y >= x)
        return y == x;
    return false;
  }
  int size() const { return static_cast<int>(values_.size()); }
  bool is_sorted() const {
    return std::is_sorted(values_.begin(), values_.end());
  }

private:
  std::list<int> values_;
};

class list_user {
public:
  troupe::task<int> run(troupe::ref<number_list> l, int index) {
    sequence random{static_cast<std::uint64_t>(index)};
    int added = 0;
    for (int i = 0; i < list_requests; ++i) {
      auto what = random.below(100);
      auto x = random.below(list_keys);
      if (what < list_size_percent) {
        (void)co_await l.ask<&number_list::size>();
      } else if (what < list_size_percent + list_write_percent) {
        co_await l.ask<&number_list::add>(x);
        ++added;
      } else {
        (void)co_await l.ask<&number_list::contains>(x);
      }
    }
    co_return added;
  }
};

// -- producers and consumers --------------------------------------------------

class maker {
public:
  troupe::task<> run(troupe::queue<int> q) {
    for (int i = 0; i < made_items; ++i)
      co_await q.put(busy(made_work) > 0 ? 1 : 0);
  }
};

class user {
public:
  troupe::task<int> run(troupe::queue<int> q) {
    int sum = 0;
    while (true) {
      auto x = co_await q.take();
      if (!x)
        break;
      sum += busy(made_work) > 0 ? **x : 0;
    }
    co_return sum;
  }
};

// -- dining philosophers ------------------------------------------------------

class arbiter {
public:
  bool take(int seat) {
    auto left = static_cast<std::size_t>(seat);
    auto right = (left + 1) % diners;
    if (forks_[left] || forks_[right])
      return false;
    return forks_[left] = forks_[right] = true;
  }
  void give_back(int seat) {
    auto left = static_cast<std::size_t>(seat);
    forks_[left] = forks_[(left + 1) % diners] = false;
    ++meals_;
  }
  int meals() const { return meals_; }

private:
  std::array<bool, diners> forks_{};
  int meals_ = 0;
};

class philosopher {
public:
  troupe::task<> dine(troupe::ref<arbiter> table, int seat) {
    for (int i = 0; i < dinners; ++i) {
      while (true) {
        bool is_given = co_await table.ask<&arbiter::take>(seat);
        if (is_given)
          break;
      }
      table.tell<&arbiter::give_back>(seat);
    }
  }
};

// -- cigarette smokers --------------------------------------------------------

class guest {
public:
  guest(troupe::semaphore table, finish& end)
    : table_(std::move(table)),
      end_(end) {}
  troupe::task<> smoke(int steps) {
    (void)co_await table_.acquire();
    end_.done(busy(steps) > 0 ? 1 : 0);
  }

private:
  troupe::semaphore table_;
  finish& end_;
};

// -- sleeping barber ----------------------------------------------------------

class hairdresser {
public:
  bool cut() { return busy(haircut_work) > 0; }
};

class waiting_room {
public:
  bool enter() {
    if (seated_ == waiting_seats)
      return false;
    ++seated_;
    return true;
  }
  void leave() { --seated_; }

private:
  int seated_ = 0;
};

class customer {
public:
  customer(troupe::ref<waiting_room> r, troupe::ref<hairdresser> b, finish& end)
    : room_(std::move(r)),
      barber_(std::move(b)),
      end_(end) {}
  troupe::task<> visit() {
    while (true) {
      bool is_in = co_await room_.ask<&waiting_room::enter>();
      if (is_in)
        break;
    }
    bool is_cut = co_await barber_.ask<&hairdresser::cut>();
    room_.tell<&waiting_room::leave>();
    end_.done(is_cut ? 1 : 0);
  }

private:
  troupe::ref<waiting_room> room_;
  troupe::ref<hairdresser> barber_;
  finish& end_;
};

// -- logistic map series ------------------------------------------------------

class rate {
public:
  explicit rate(double r) : rate_(r) {}
  double next(double x) const { return rate_ * x * (1 - x); }

private:
  double rate_;
};

class series_worker {
public:
  troupe::task<double> run(troupe::ref<rate> r, double x) {
    for (int n = 0; n < series_terms; ++n)
      x = co_await r.ask<&rate::next>(x);
    co_return x;
  }
};

// -- bank transaction ---------------------------------------------------------

class account {
public:
  void credit(int amount) { balance_ += amount; }
  troupe::task<> debit(int amount, troupe::ref<account> to) {
    balance_ -= amount;
    co_await to.ask<&account::credit>(amount);
  }
  std::int64_t balance() const { return balance_; }

private:
  std::int64_t balance_ = bank_balance;
};

template <class F>
auto sum_of(F& all) {
  typename std::decay_t<decltype(all[0].get())> sum{};
  for (auto& f : all)
    sum += f.get();
  return sum;
}

} // namespace

figures dictionary(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::future<int>> all;
  stopwatch watch;
  auto d = sys.spawn<key_table>();
  for (int i = 0; i < table_actors; ++i)
    all.push_back(
      sys.spawn<dictionary_user>().ask<&dictionary_user::run>(d, i));
  auto right = sum_of(all);
  auto found = ms(watch);
  expect("the right answers", right, table_actors * table_requests);
  return {{"dictionary", found}};
}

figures sorted_list(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::future<int>> all;
  stopwatch watch;
  auto l = sys.spawn<number_list>();
  for (int i = 0; i < list_actors; ++i)
    all.push_back(sys.spawn<list_user>().ask<&list_user::run>(l, i));
  auto added = sum_of(all);
  auto found = ms(watch);
  expect("the list's size", l.ask<&number_list::size>().get(), added);
  expect("whether it is sorted", l.ask<&number_list::is_sorted>().get(), true);
  return {{"sorted_list", found}};
}

figures bounded_buffer(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::future<void>> in;
  std::vector<troupe::future<int>> out;
  stopwatch watch;
  troupe::queue<int> q{sys, {.capacity = buffer_places}};
  for (int i = 0; i < made_sides; ++i) {
    out.push_back(sys.spawn<user>().ask<&user::run>(q));
    in.push_back(sys.spawn<maker>().ask<&maker::run>(q));
  }
  for (auto& f : in)
    f.get();
  q.close().get();
  auto used = sum_of(out);
  auto found = ms(watch);
  expect("the items", used, made_sides * made_items);
  return {{"bounded_buffer", found}};
}

figures philosophers(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::future<void>> all;
  stopwatch watch;
  auto table = sys.spawn<arbiter>();
  for (int i = 0; i < diners; ++i)
    all.push_back(sys.spawn<philosopher>().ask<&philosopher::dine>(table, i));
  for (auto& f : all)
    f.get();
  auto meals = table.ask<&arbiter::meals>().get();
  auto found = ms(watch);
  expect("the meals", meals, diners * dinners);
  return {{"philosophers", found}};
}

figures smokers(const setting& how) {
  finish end{smoke_rounds};
  counted_system sys{how};
  stopwatch watch;
  troupe::semaphore table{sys};
  std::vector<troupe::ref<guest>> all;
  for (int i = 0; i < savina::smokers; ++i)
    all.push_back(sys.spawn<guest>(table, std::ref(end)));
  sequence random{7};
  for (int i = 0; i < smoke_rounds; ++i) {
    auto who = static_cast<std::size_t>(random.below(savina::smokers));
    all[who].tell<&guest::smoke>(random.below(1'000) + 1);
  }
  auto smoked = end.wait();
  auto found = ms(watch);
  expect("the smokes", smoked, smoke_rounds);
  return {{"smokers", found}};
}

figures barber(const setting& how) {
  finish end{customers};
  counted_system sys{how};
  stopwatch watch;
  auto b = sys.spawn<hairdresser>();
  auto room = sys.spawn<waiting_room>();
  for (int i = 0; i < customers; ++i)
    sys.spawn<customer>(room, b, std::ref(end)).tell<&customer::visit>();
  auto cut = end.wait();
  auto found = ms(watch);
  expect("the haircuts", cut, customers);
  return {{"barber", found}};
}

figures logistic_map(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::future<double>> all;
  stopwatch watch;
  for (int i = 0; i < series; ++i)
    all.push_back(sys.spawn<series_worker>().ask<&series_worker::run>(
      sys.spawn<rate>(series_rate(i)), i * 0.01));
  std::vector<double> ends;
  for (auto& f : all)
    ends.push_back(f.get());
  auto found = ms(watch);
  for (int i = 0; i < series; ++i)
    expect("a series' end", ends[static_cast<std::size_t>(i)], series_end(i));
  return {{"logistic_map", found}};
}

figures bank_transaction(const setting& how) {
  counted_system sys{how};
  std::vector<troupe::ref<account>> accounts;
  std::vector<troupe::future<void>> all;
  stopwatch watch;
  for (int i = 0; i < bank_accounts; ++i)
    accounts.push_back(sys.spawn<account>());
  // Money goes upwards only, as in the paper: so nobody waits in a circle.
  sequence random{3};
  for (int i = 0; i < bank_transfers; ++i) {
    auto from = static_cast<std::size_t>(random.below(bank_accounts * 8 / 10));
    auto to = from + 1
              + static_cast<std::size_t>(
                random.below(bank_accounts - static_cast<int>(from) - 1));
    all.push_back(
      accounts[from].ask<&account::debit>(random.below(1'000), accounts[to]));
  }
  for (auto& f : all)
    f.get();
  auto found = ms(watch);
  std::int64_t total = 0;
  for (auto& a : accounts)
    total += a.ask<&account::balance>().get();
  expect("the money", total, std::int64_t{bank_accounts} * bank_balance);
  return {{"bank_transaction", found}};
}

} // namespace bench::ours
