// SPDX-License-Identifier: MIT
// savina_sharing: the suite's programs about what many want at a time.

#include "peers/caf/setup.hpp"
#include "savina.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <list>
#include <unordered_map>

namespace bench::peer_caf {

namespace {

using namespace savina;
using caf::actor;
using caf::behavior;
using caf::event_based_actor;
using caf::infinite;
using caf::lazy_init;
using caf::stateful_actor;
using put_atom = caf::atom_constant<caf::atom("put")>;
using take_atom = caf::atom_constant<caf::atom("take")>;
using full_atom = caf::atom_constant<caf::atom("full")>;

void stop(const actor& a) {
  caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
}

// -- dictionary and sorted list -----------------------------------------------

struct table_state {
  std::unordered_map<int, int> values;
};

behavior key_table(stateful_actor<table_state>* self) {
  return {
    [=](put_atom, int key, int value) {
      self->state.values[key] = value;
      return value;
    },
    [=](get_atom, int key) {
      auto i = self->state.values.find(key);
      return i == self->state.values.end() ? key : i->second;
    },
  };
}

struct user_state {
  sequence random{0};
  int done = 0, right = 0;
};

behavior table_user(stateful_actor<user_state>* self, int index,
                    const actor& table, finish* end) {
  self->state.random = sequence{static_cast<std::uint64_t>(index)};
  return {[=](start_atom) {
    auto& s = self->state;
    auto key = s.random.below(table_keys);
    auto next = [=](int found) {
      auto& mine = self->state;
      mine.right += found % table_keys == key ? 1 : 0;
      if (++mine.done < table_requests)
        self->send(self, start_atom::value);
      else
        end->done(mine.right);
    };
    if (s.random.below(100) < table_write_percent)
      self
        ->request(table, infinite, put_atom::value, key,
                  key + s.done * table_keys)
        .then(next);
    else
      self->request(table, infinite, get_atom::value, key).then(next);
  }};
}

struct list_state {
  std::list<int> values;
};

using size_atom = caf::atom_constant<caf::atom("size")>;
using check_atom = caf::atom_constant<caf::atom("check")>;

behavior number_list(stateful_actor<list_state>* self, finish* look) {
  return {
    [=](put_atom, int x) {
      auto& all = self->state.values;
      auto at = all.begin();
      while (at != all.end() && *at < x)
        ++at;
      all.insert(at, x);
      return 1;
    },
    [=](get_atom, int x) {
      for (int y : self->state.values)
        if (y >= x)
          return y == x ? 1 : 0;
      return 0;
    },
    [=](size_atom) { return static_cast<int>(self->state.values.size()); },
    [=](check_atom) {
      auto& all = self->state.values;
      auto size = static_cast<std::int64_t>(all.size());
      look->done(std::is_sorted(all.begin(), all.end()) ? size : -1);
    },
  };
}

behavior list_user(stateful_actor<user_state>* self, int index,
                   const actor& list, finish* end) {
  self->state.random = sequence{static_cast<std::uint64_t>(index)};
  return {[=](start_atom) {
    auto& s = self->state;
    auto what = s.random.below(100);
    auto x = s.random.below(list_keys);
    auto next = [=](int) {
      if (++self->state.done < list_requests)
        self->send(self, start_atom::value);
      else
        end->done(self->state.right);
    };
    if (what < list_size_percent) {
      self->request(list, infinite, size_atom::value).then(next);
    } else if (what < list_size_percent + list_write_percent) {
      ++s.right;
      self->request(list, infinite, put_atom::value, x).then(next);
    } else {
      self->request(list, infinite, get_atom::value, x).then(next);
    }
  }};
}

// -- producers and consumers --------------------------------------------------

// The paper's manager: tells producers to go on, gives consumers work.
struct manager_state {
  std::deque<int> items;
  std::deque<actor> idle, held;
};

behavior manager(stateful_actor<manager_state>* self) {
  return {
    [=](put_atom, int x, actor& from) {
      auto& s = self->state;
      if (s.idle.empty()) {
        s.items.push_back(x);
      } else {
        self->send(s.idle.front(), take_atom::value, x);
        s.idle.pop_front();
      }
      if (s.items.size() < buffer_places)
        self->send(from, start_atom::value);
      else
        s.held.push_back(std::move(from));
    },
    [=](take_atom, actor& from) {
      auto& s = self->state;
      if (s.items.empty()) {
        s.idle.push_back(std::move(from));
        return;
      }
      self->send(from, take_atom::value, s.items.front());
      s.items.pop_front();
      if (!s.held.empty()) {
        self->send(s.held.front(), start_atom::value);
        s.held.pop_front();
      }
    },
  };
}

behavior maker(stateful_actor<user_state>* self, const actor& to) {
  return {[=](start_atom) {
    if (self->state.done++ < made_items)
      self->send(to, put_atom::value, busy(made_work) > 0 ? 1 : 0, actor{self});
    else
      self->quit();
  }};
}

behavior user(event_based_actor* self, const actor& from, finish* end) {
  return {
    [=](start_atom) { self->send(from, take_atom::value, actor{self}); },
    [=](take_atom, int x) {
      end->done(busy(made_work) > 0 ? x : 0);
      self->send(from, take_atom::value, actor{self});
    },
  };
}

// -- dining philosophers ------------------------------------------------------

struct arbiter_state {
  std::array<bool, diners> forks{};
};

behavior arbiter(stateful_actor<arbiter_state>* self) {
  return {
    [=](take_atom, int seat) {
      auto& forks = self->state.forks;
      auto left = static_cast<std::size_t>(seat);
      auto right = (left + 1) % diners;
      if (forks[left] || forks[right])
        return false;
      return forks[left] = forks[right] = true;
    },
    [=](put_atom, int seat) {
      auto left = static_cast<std::size_t>(seat);
      self->state.forks[left] = self->state.forks[(left + 1) % diners] = false;
    },
  };
}

behavior philosopher(stateful_actor<user_state>* self, int seat,
                     const actor& table, finish* end) {
  return {[=](start_atom) {
    self->request(table, infinite, take_atom::value, seat)
      .then([=](bool is_given) {
        if (is_given) {
          self->send(table, put_atom::value, seat);
          ++self->state.done;
        }
        if (self->state.done < dinners)
          self->send(self, start_atom::value);
        else
          end->done(self->state.done);
      });
  }};
}

// -- cigarette smokers --------------------------------------------------------

// The arbiter of the paper: the next one smokes when this one has begun.
struct table_of_smokers {
  std::vector<actor> all;
  sequence random{7};
  int left = smoke_rounds;
};

behavior smoker(event_based_actor* self, finish* end) {
  return {[=](start_atom, int steps, const actor& table) {
    self->send(table, start_atom::value);
    end->done(busy(steps) > 0 ? 1 : 0);
  }};
}

behavior smokers_table(stateful_actor<table_of_smokers>* self, finish* end) {
  for (int i = 0; i < savina::smokers; ++i)
    self->state.all.push_back(self->spawn<lazy_init>(smoker, end));
  return {[=](start_atom) {
    auto& s = self->state;
    if (s.left-- > 0) {
      auto who = static_cast<std::size_t>(s.random.below(savina::smokers));
      self->send(s.all[who], start_atom::value, s.random.below(1'000) + 1,
                 actor{self});
    } else {
      s.all.clear();
      self->quit();
    }
  }};
}

// -- sleeping barber ----------------------------------------------------------

behavior hairdresser(event_based_actor*) {
  return {[](get_atom) { return busy(haircut_work) > 0; }};
}

behavior waiting_room(stateful_actor<user_state>* self) {
  return {
    [=](take_atom) {
      if (self->state.done == waiting_seats)
        return false;
      ++self->state.done;
      return true;
    },
    [=](put_atom) { --self->state.done; },
  };
}

behavior customer(event_based_actor* self, const actor& room,
                  const actor& barber, finish* end) {
  return {[=](start_atom) {
    self->request(room, infinite, take_atom::value).then([=](bool is_in) {
      if (!is_in) {
        self->send(self, start_atom::value);
        return;
      }
      self->request(barber, infinite, get_atom::value).then([=](bool is_cut) {
        self->send(room, put_atom::value);
        end->done(is_cut ? 1 : 0);
        self->quit();
      });
    });
  }};
}

// -- logistic map series ------------------------------------------------------

behavior rate(event_based_actor*, double r) {
  return {[=](get_atom, double x) { return r * x * (1 - x); }};
}

behavior series_worker(stateful_actor<user_state>* self, const actor& r,
                       double* result, finish* end) {
  return {[=](start_atom, double x) {
    self->request(r, infinite, get_atom::value, x).then([=](double y) {
      if (++self->state.done < series_terms) {
        self->send(self, start_atom::value, y);
      } else {
        *result = y;
        end->done();
      }
    });
  }};
}

// -- bank transaction ---------------------------------------------------------

struct account_state {
  std::int64_t balance = bank_balance;
};

behavior account(stateful_actor<account_state>* self, finish* end,
                 finish* total) {
  return {
    [=](put_atom, int amount) {
      self->state.balance += amount;
      return true;
    },
    [=](take_atom, int amount, const actor& to) {
      self->state.balance -= amount;
      // `await`: no other message until the money has come.
      self->request(to, infinite, put_atom::value, amount).await([=](bool) {
        end->done();
      });
    },
    [=](get_atom) { total->done(self->state.balance); },
  };
}

} // namespace

figures dictionary(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{table_actors};
  std::vector<actor> all;
  stopwatch watch;
  all.push_back(sys.spawn<lazy_init>(key_table));
  for (int i = 0; i < table_actors; ++i) {
    all.push_back(sys.spawn<lazy_init>(table_user, i, all[0], &end));
    caf::anon_send(all.back(), start_atom::value);
  }
  auto right = end.wait();
  auto found = ms(watch);
  std::for_each(all.begin(), all.end(), stop);
  expect("the right answers", right, table_actors * table_requests);
  return {{"dictionary", found}};
}

figures sorted_list(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{list_actors}, look{1};
  std::vector<actor> all;
  stopwatch watch;
  all.push_back(sys.spawn<lazy_init>(number_list, &look));
  for (int i = 0; i < list_actors; ++i) {
    all.push_back(sys.spawn<lazy_init>(list_user, i, all[0], &end));
    caf::anon_send(all.back(), start_atom::value);
  }
  auto added = end.wait();
  auto found = ms(watch);
  caf::anon_send(all[0], check_atom::value);
  auto size = look.wait();
  std::for_each(all.begin(), all.end(), stop);
  expect("the size of the sorted list", size, added);
  return {{"sorted_list", found}};
}

figures bounded_buffer(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{made_sides * made_items};
  std::vector<actor> all;
  stopwatch watch;
  all.push_back(sys.spawn<lazy_init>(manager));
  for (int i = 0; i < made_sides; ++i) {
    all.push_back(sys.spawn<lazy_init>(user, all[0], &end));
    caf::anon_send(all.back(), start_atom::value);
    caf::anon_send(sys.spawn<lazy_init>(maker, all[0]), start_atom::value);
  }
  auto used = end.wait();
  auto found = ms(watch);
  std::for_each(all.begin(), all.end(), stop);
  expect("the items", used, made_sides * made_items);
  return {{"bounded_buffer", found}};
}

figures philosophers(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{diners};
  std::vector<actor> all;
  stopwatch watch;
  all.push_back(sys.spawn<lazy_init>(arbiter));
  for (int i = 0; i < diners; ++i) {
    all.push_back(sys.spawn<lazy_init>(philosopher, i, all[0], &end));
    caf::anon_send(all.back(), start_atom::value);
  }
  auto meals = end.wait();
  auto found = ms(watch);
  std::for_each(all.begin(), all.end(), stop);
  expect("the meals", meals, diners * dinners);
  return {{"philosophers", found}};
}

figures smokers(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{smoke_rounds};
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(smokers_table, &end), start_atom::value);
  auto smoked = end.wait();
  auto found = ms(watch);
  expect("the smokes", smoked, smoke_rounds);
  return {{"smokers", found}};
}

figures barber(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{customers};
  stopwatch watch;
  auto b = sys.spawn<lazy_init>(hairdresser);
  auto room = sys.spawn<lazy_init>(waiting_room);
  for (int i = 0; i < customers; ++i)
    caf::anon_send(sys.spawn<lazy_init>(customer, room, b, &end),
                   start_atom::value);
  auto cut = end.wait();
  auto found = ms(watch);
  expect("the haircuts", cut, customers);
  return {{"barber", found}};
}

figures logistic_map(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{series};
  std::array<double, series> ends{};
  std::vector<actor> all;
  stopwatch watch;
  for (int i = 0; i < series; ++i) {
    auto r = sys.spawn<lazy_init>(rate, series_rate(i));
    all.push_back(sys.spawn<lazy_init>(
      series_worker, r, &ends[static_cast<std::size_t>(i)], &end));
    caf::anon_send(all.back(), start_atom::value, i * 0.01);
  }
  end.wait();
  auto found = ms(watch);
  std::for_each(all.begin(), all.end(), stop);
  for (int i = 0; i < series; ++i)
    expect("a series' end", ends[static_cast<std::size_t>(i)], series_end(i));
  return {{"logistic_map", found}};
}

figures bank_transaction(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{bank_transfers}, total{bank_accounts};
  std::vector<actor> all;
  stopwatch watch;
  for (int i = 0; i < bank_accounts; ++i)
    all.push_back(sys.spawn<lazy_init>(account, &end, &total));
  sequence random{3};
  for (int i = 0; i < bank_transfers; ++i) {
    auto from = static_cast<std::size_t>(random.below(bank_accounts * 8 / 10));
    auto to = from + 1
              + static_cast<std::size_t>(
                random.below(bank_accounts - static_cast<int>(from) - 1));
    caf::anon_send(all[from], take_atom::value, random.below(1'000), all[to]);
  }
  end.wait();
  auto found = ms(watch);
  for (auto& a : all)
    caf::anon_send(a, get_atom::value);
  auto money = total.wait();
  std::for_each(all.begin(), all.end(), stop);
  expect("the money", money, std::int64_t{bank_accounts} * bank_balance);
  return {{"bank_transaction", found}};
}

} // namespace bench::peer_caf
