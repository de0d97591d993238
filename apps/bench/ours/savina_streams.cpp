// SPDX-License-Identifier: MIT
// savina_streams: the suite's programs in which values flow through actors.

#include "ours/workloads.hpp"
#include "savina_work.hpp"

#include <troupe/troupe.hpp>

namespace bench::ours {

namespace {

using namespace savina;

// -- radix sort ---------------------------------------------------------------

// Where sorted numbers arrive: gives their sum, or -1 if they are not sorted.
class order_check {
public:
  explicit order_check(finish& end) : end_(end) {}
  void take(std::int64_t x) {
    is_sorted_ = is_sorted_ && last_ <= x;
    last_ = x;
    sum_ += x % 1'000;
    if (--left_ == 0)
      end_.done(is_sorted_ ? sum_ : -1);
  }

private:
  finish& end_;
  int left_ = radix_values;
  bool is_sorted_ = true;
  std::int64_t last_ = 0, sum_ = 0;
};

class bit_sorter {
public:
  bit_sorter(int bit, troupe::ref<bit_sorter> next, troupe::ref<order_check> o)
    : mask_(std::int64_t{1} << bit),
      next_(std::move(next)),
      out_(std::move(o)) {}

  void take(std::int64_t x) {
    if ((x & mask_) == 0)
      pass(x);
    else
      ones_.push_back(x);
    if (--left_ == 0)
      for (auto one : ones_)
        pass(one);
  }

private:
  void pass(std::int64_t x) {
    if (next_)
      next_.tell<&bit_sorter::take>(x);
    else
      out_.tell<&order_check::take>(x);
  }

  std::int64_t mask_;
  troupe::ref<bit_sorter> next_;
  troupe::ref<order_check> out_;
  int left_ = radix_values;
  numbers ones_;
};

class number_source {
public:
  void run(const numbers& all, const troupe::ref<bit_sorter>& to) {
    for (auto x : all)
      to.tell<&bit_sorter::take>(x);
  }
};

// -- filter bank --------------------------------------------------------------

// Each stage knows the next one by its type.
template <class Next>
class delay {
public:
  explicit delay(troupe::ref<Next> next) : next_(std::move(next)) {}
  void take(double x) { next_.template tell<&Next::take>(line_.exchange(x)); }

private:
  troupe::ref<Next> next_;
  delay_line line_{bank_columns - 1};
};

template <class Next>
class filter {
public:
  filter(troupe::ref<Next> next, std::vector<double> by)
    : next_(std::move(next)),
      window_(std::move(by)) {}
  void take(double x) {
    double y = 0;
    if (window_.take(x, y))
      next_.template tell<&Next::take>(y);
  }

private:
  troupe::ref<Next> next_;
  filter_window window_;
};

template <class Next>
class sampler {
public:
  explicit sampler(troupe::ref<Next> next) : next_(std::move(next)) {}
  void take(double x) { next_.template tell<&Next::take>(sampler_.pass(x)); }

private:
  troupe::ref<Next> next_;
  down_sampler sampler_;
};

class bank_sink {
public:
  explicit bank_sink(finish& end) : end_(end) {}
  void take(double x) {
    sum_ += x;
    if (--left_ == 0)
      end_.done(static_cast<std::int64_t>(sum_));
  }

private:
  finish& end_;
  int left_ = bank_results;
  double sum_ = 0;
};

class combiner {
public:
  explicit combiner(troupe::ref<bank_sink> to) : to_(std::move(to)) {}
  void take(const std::vector<double>& row) {
    double sum = 0;
    for (auto x : row)
      sum += x;
    to_.tell<&bank_sink::take>(sum);
  }

private:
  troupe::ref<bank_sink> to_;
};

class integrator {
public:
  explicit integrator(troupe::ref<combiner> to) : to_(std::move(to)) {}
  void take(int channel, double x) {
    if (rows_.take(channel, x))
      to_.tell<&combiner::take>(rows_.first());
  }

private:
  troupe::ref<combiner> to_;
  channel_rows rows_;
};

class tagger {
public:
  tagger(troupe::ref<integrator> to, int channel)
    : to_(std::move(to)),
      channel_(channel) {}
  void take(double x) { to_.tell<&integrator::take>(channel_, x); }

private:
  troupe::ref<integrator> to_;
  int channel_;
};

using last_filter = filter<tagger>;
using last_delay = delay<last_filter>;
using middle = sampler<last_delay>;
using first_filter = filter<middle>;
using first_delay = delay<first_filter>;

class branches {
public:
  explicit branches(std::vector<troupe::ref<first_delay>> to)
    : to_(std::move(to)) {}
  void take(double x) {
    for (auto& b : to_)
      b.tell<&first_delay::take>(x);
  }

private:
  std::vector<troupe::ref<first_delay>> to_;
};

class sample_source {
public:
  void run(const troupe::ref<branches>& to) {
    for (int i = 0; i < bank_samples; ++i)
      to.tell<&branches::take>(i % bank_sample_max);
  }
};

troupe::ref<branches> make_bank(troupe::system& sys, finish& end) {
  auto sink = sys.spawn<bank_sink>(std::ref(end));
  auto sums = sys.spawn<integrator>(sys.spawn<combiner>(sink));
  std::vector<troupe::ref<first_delay>> banks;
  for (int c = 0; c < bank_channels; ++c) {
    auto f = sys.spawn<last_filter>(sys.spawn<tagger>(sums, c),
                                    coefficients(c, 1));
    auto m = sys.spawn<middle>(sys.spawn<last_delay>(f));
    auto h = sys.spawn<first_filter>(m, coefficients(c, 0));
    banks.push_back(sys.spawn<first_delay>(h));
  }
  return sys.spawn<branches>(banks);
}

// -- sieve --------------------------------------------------------------------

class prime_filter : public troupe::actor {
public:
  prime_filter(int first, finish& end) : primes_{first}, end_(end) {}
  void take(int x) {
    if (is_multiple(x, primes_))
      return;
    if (primes_.size() < sieve_local_primes)
      primes_.push_back(x);
    else if (next_)
      next_.tell<&prime_filter::take>(x);
    else
      next_ = spawn<prime_filter>(x, std::ref(end_));
  }
  void end(int count) {
    count += static_cast<int>(primes_.size());
    if (next_)
      next_.tell<&prime_filter::end>(count);
    else
      end_.done(count);
  }

private:
  std::vector<int> primes_;
  troupe::ref<prime_filter> next_;
  finish& end_;
};

class odd_source {
public:
  void run(const troupe::ref<prime_filter>& to) {
    for (int x = 3; x < sieve_below; x += 2)
      to.tell<&prime_filter::take>(x);
    to.tell<&prime_filter::end>(0);
  }
};

// -- bitonic sort -------------------------------------------------------------

class wire_ends {
public:
  explicit wire_ends(finish& end) : end_(end), values_(bitonic_values) {}
  void take(int wire, std::int64_t x) {
    values_[static_cast<std::size_t>(wire)] = x;
    if (--left_ == 0)
      end_.done(std::is_sorted(values_.begin(), values_.end())
                  ? low_bits_of_sum(values_)
                  : -1);
  }

private:
  finish& end_;
  int left_ = bitonic_values;
  numbers values_;
};

class comparator {
public:
  // Without a next one the value is at the end of its wire.
  comparator(comparison c, troupe::ref<comparator> low,
             troupe::ref<comparator> high, troupe::ref<wire_ends> ends)
    : wires_(c),
      low_(std::move(low)),
      high_(std::move(high)),
      ends_(std::move(ends)) {}

  void take(std::int64_t x) {
    if (!has_one_) {
      one_ = x;
      has_one_ = true;
      return;
    }
    pass(low_, wires_.low, std::min(one_, x));
    pass(high_, wires_.high, std::max(one_, x));
  }

private:
  void pass(const troupe::ref<comparator>& to, int wire, std::int64_t x) {
    if (to)
      to.tell<&comparator::take>(x);
    else
      ends_.tell<&wire_ends::take>(wire, x);
  }

  comparison wires_;
  troupe::ref<comparator> low_, high_;
  troupe::ref<wire_ends> ends_;
  std::int64_t one_ = 0;
  bool has_one_ = false;
};

} // namespace

figures radix_sort(const setting& how) {
  const auto all = some_numbers(radix_values);
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto out = sys.spawn<order_check>(std::ref(end));
  troupe::ref<bit_sorter> first;
  for (int bit = radix_bits; bit-- > 0;)
    first = sys.spawn<bit_sorter>(bit, first, out);
  sys.spawn<number_source>().tell<&number_source::run>(all, first);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the sum in order", sum, low_bits_of_sum(all));
  return {{"radix_sort", found}};
}

figures filter_bank(const setting& how) {
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto bank = make_bank(sys, end);
  sys.spawn<sample_source>().tell<&sample_source::run>(bank);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the sum of the samples", sum, bank_sum());
  return {{"filter_bank", found}};
}

figures sieve(const setting& how) {
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto two = sys.spawn<prime_filter>(2, std::ref(end));
  sys.spawn<odd_source>().tell<&odd_source::run>(two);
  auto count = end.wait();
  auto found = ms(watch);
  expect("the primes", count, sieve_primes);
  return {{"sieve", found}};
}

figures bitonic_sort(const setting& how) {
  const auto all = some_numbers(bitonic_values);
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto ends = sys.spawn<wire_ends>(std::ref(end));
  std::vector<troupe::ref<comparator>> first(all.size()); // of each wire
  for_each_comparison_backwards([&](comparison c) {
    auto& low = first[static_cast<std::size_t>(c.low)];
    auto& high = first[static_cast<std::size_t>(c.high)];
    low = high = sys.spawn<comparator>(c, low, high, ends);
  });
  for (std::size_t i = 0; i < all.size(); ++i)
    first[i].tell<&comparator::take>(all[i]);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the sum in order", sum, low_bits_of_sum(all));
  return {{"bitonic_sort", found}};
}

} // namespace bench::ours
