// SPDX-License-Identifier: MIT
// savina_streams: the suite's programs in which values flow through actors.

#include "peers/caf/setup.hpp"
#include "savina_work.hpp"

namespace bench::peer_caf {

namespace {

using namespace savina;
using caf::actor;
using caf::behavior;
using caf::event_based_actor;
using caf::lazy_init;
using caf::stateful_actor;

void stop(const actor& a) {
  caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
}

// -- radix sort ---------------------------------------------------------------

struct order_state {
  int left = radix_values;
  bool is_sorted = true;
  std::int64_t last = 0, sum = 0;
};

// Where sorted numbers arrive: gives their sum, or -1 if they are not sorted.
behavior order_check(stateful_actor<order_state>* self, finish* end) {
  return {[=](add_atom, std::int64_t x) {
    auto& s = self->state;
    s.is_sorted = s.is_sorted && s.last <= x;
    s.last = x;
    s.sum += x % 1'000;
    if (--s.left == 0) {
      end->done(s.is_sorted ? s.sum : -1);
      self->quit();
    }
  }};
}

struct sorter_state {
  actor next;
  int left = radix_values;
  numbers ones;
};

behavior bit_sorter(stateful_actor<sorter_state>* self, int bit,
                    const actor& next) {
  self->state.next = next;
  const auto mask = std::int64_t{1} << bit;
  return {[=](add_atom, std::int64_t x) {
    auto& s = self->state;
    if ((x & mask) == 0)
      self->send(s.next, add_atom::value, x);
    else
      s.ones.push_back(x);
    if (--s.left > 0)
      return;
    for (auto one : s.ones)
      self->send(s.next, add_atom::value, one);
    self->quit();
  }};
}

behavior number_source(event_based_actor* self, const actor& to) {
  return {[=](start_atom, const numbers& all) {
    for (auto x : all)
      self->send(to, add_atom::value, x);
    self->quit();
  }};
}

// -- filter bank --------------------------------------------------------------

struct delay_state {
  delay_line line{bank_columns - 1};
};

behavior delay(stateful_actor<delay_state>* self, const actor& next) {
  return {[=](add_atom, double x) {
    self->send(next, add_atom::value, self->state.line.exchange(x));
  }};
}

struct filter_state {
  filter_window window{{}};
};

behavior filter(stateful_actor<filter_state>* self, const actor& next,
                const std::vector<double>& by) {
  self->state.window = filter_window{by};
  return {[=](add_atom, double x) {
    double y = 0;
    if (self->state.window.take(x, y))
      self->send(next, add_atom::value, y);
  }};
}

struct sampler_state {
  down_sampler sampler;
};

behavior sampler(stateful_actor<sampler_state>* self, const actor& next) {
  return {[=](add_atom, double x) {
    self->send(next, add_atom::value, self->state.sampler.pass(x));
  }};
}

struct sink_state {
  int left = bank_results;
  double sum = 0;
};

behavior bank_sink(stateful_actor<sink_state>* self, finish* end) {
  return {[=](add_atom, double x) {
    auto& s = self->state;
    s.sum += x;
    if (--s.left == 0)
      end->done(static_cast<std::int64_t>(s.sum));
  }};
}

behavior combiner(event_based_actor* self, const actor& to) {
  return {[=](add_atom, const std::vector<double>& row) {
    double sum = 0;
    for (auto x : row)
      sum += x;
    self->send(to, add_atom::value, sum);
  }};
}

struct integrator_state {
  channel_rows rows;
};

behavior integrator(stateful_actor<integrator_state>* self, const actor& to) {
  return {[=](add_atom, int channel, double x) {
    if (self->state.rows.take(channel, x))
      self->send(to, add_atom::value, self->state.rows.first());
  }};
}

behavior tagger(event_based_actor* self, const actor& to, int channel) {
  return {
    [=](add_atom, double x) { self->send(to, add_atom::value, channel, x); }};
}

behavior branches(event_based_actor* self, const std::vector<actor>& to) {
  return {[=](add_atom, double x) {
    for (auto& b : to)
      self->send(b, add_atom::value, x);
  }};
}

behavior sample_source(event_based_actor* self, const actor& to) {
  return {[=](start_atom) {
    for (int i = 0; i < bank_samples; ++i)
      self->send(to, add_atom::value, i % bank_sample_max * 1.0);
    self->quit();
  }};
}

actor make_bank(caf::actor_system& sys, finish* end, std::vector<actor>& all) {
  auto keep = [&](actor a) {
    all.push_back(a);
    return a;
  };
  auto sink = keep(sys.spawn<lazy_init>(bank_sink, end));
  auto sums = keep(sys.spawn<lazy_init>(
    integrator, keep(sys.spawn<lazy_init>(combiner, sink))));
  std::vector<actor> banks;
  for (int c = 0; c < bank_channels; ++c) {
    auto next = keep(sys.spawn<lazy_init>(tagger, sums, c));
    next = keep(sys.spawn<lazy_init>(filter, next, coefficients(c, 1)));
    next = keep(sys.spawn<lazy_init>(delay, next));
    next = keep(sys.spawn<lazy_init>(sampler, next));
    next = keep(sys.spawn<lazy_init>(filter, next, coefficients(c, 0)));
    banks.push_back(keep(sys.spawn<lazy_init>(delay, next)));
  }
  return keep(sys.spawn<lazy_init>(branches, banks));
}

// -- sieve --------------------------------------------------------------------

using end_atom = caf::atom_constant<caf::atom("end")>;

struct prime_state {
  std::vector<int> primes;
  actor next;
};

behavior prime_filter(stateful_actor<prime_state>* self, int first,
                      finish* end) {
  self->state.primes.push_back(first);
  return {
    [=](add_atom, int x) {
      auto& s = self->state;
      if (is_multiple(x, s.primes))
        return;
      if (s.primes.size() < sieve_local_primes)
        s.primes.push_back(x);
      else if (s.next)
        self->send(s.next, add_atom::value, x);
      else
        s.next = self->spawn<lazy_init>(prime_filter, x, end);
    },
    [=](end_atom, int count) {
      auto& s = self->state;
      count += static_cast<int>(s.primes.size());
      if (s.next)
        self->send(s.next, end_atom::value, count);
      else
        end->done(count);
      self->quit();
    },
  };
}

behavior odd_source(event_based_actor* self, const actor& to) {
  return {[=](start_atom) {
    for (int x = 3; x < sieve_below; x += 2)
      self->send(to, add_atom::value, x);
    self->send(to, end_atom::value, 0);
    self->quit();
  }};
}

// -- bitonic sort -------------------------------------------------------------

struct ends_state {
  int left = bitonic_values;
  numbers values = numbers(bitonic_values);
};

behavior wire_ends(stateful_actor<ends_state>* self, finish* end) {
  return {[=](add_atom, int wire, std::int64_t x) {
    auto& s = self->state;
    s.values[static_cast<std::size_t>(wire)] = x;
    if (--s.left > 0)
      return;
    end->done(std::is_sorted(s.values.begin(), s.values.end())
                ? low_bits_of_sum(s.values)
                : -1);
    self->quit();
  }};
}

struct comparator_state {
  std::int64_t one = 0;
  bool has_one = false;
};

// Without a next one the value is at the end of its wire.
behavior comparator(stateful_actor<comparator_state>* self, comparison wires,
                    const actor& low, const actor& high, const actor& ends) {
  auto pass = [=](const actor& to, int wire, std::int64_t x) {
    if (to)
      self->send(to, add_atom::value, x);
    else
      self->send(ends, add_atom::value, wire, x);
  };
  return {[=](add_atom, std::int64_t x) {
    auto& s = self->state;
    if (!s.has_one) {
      s.one = x;
      s.has_one = true;
      return;
    }
    pass(low, wires.low, std::min(s.one, x));
    pass(high, wires.high, std::max(s.one, x));
    self->quit();
  }};
}

} // namespace

figures radix_sort(const setting& how) {
  const auto all = some_numbers(radix_values);
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  auto first = sys.spawn<lazy_init>(order_check, &end);
  for (int bit = radix_bits; bit-- > 0;)
    first = sys.spawn<lazy_init>(bit_sorter, bit, first);
  caf::anon_send(sys.spawn<lazy_init>(number_source, first), start_atom::value,
                 all);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the sum in order", sum, low_bits_of_sum(all));
  return {{"radix_sort", found}};
}

figures filter_bank(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  std::vector<actor> all;
  stopwatch watch;
  auto bank = make_bank(sys, &end, all);
  caf::anon_send(sys.spawn<lazy_init>(sample_source, bank), start_atom::value);
  auto sum = end.wait();
  auto found = ms(watch);
  std::for_each(all.begin(), all.end(), stop);
  expect("the sum of the samples", sum, bank_sum());
  return {{"filter_bank", found}};
}

figures sieve(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  auto two = sys.spawn<lazy_init>(prime_filter, 2, &end);
  caf::anon_send(sys.spawn<lazy_init>(odd_source, two), start_atom::value);
  auto count = end.wait();
  auto found = ms(watch);
  expect("the primes", count, sieve_primes);
  return {{"sieve", found}};
}

figures bitonic_sort(const setting& how) {
  const auto all = some_numbers(bitonic_values);
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  auto ends = sys.spawn<lazy_init>(wire_ends, &end);
  std::vector<actor> first(all.size()); // of each wire
  for_each_comparison_backwards([&](comparison c) {
    auto& low = first[static_cast<std::size_t>(c.low)];
    auto& high = first[static_cast<std::size_t>(c.high)];
    low = high = sys.spawn<lazy_init>(comparator, c, low, high, ends);
  });
  for (std::size_t i = 0; i < all.size(); ++i)
    caf::anon_send(first[i], add_atom::value, all[i]);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the sum in order", sum, low_bits_of_sum(all));
  return {{"bitonic_sort", found}};
}

} // namespace bench::peer_caf
