// SPDX-License-Identifier: MIT
// savina_messages: the suite's small programs, which are about messages.

#include "ours/workloads.hpp"
#include "savina.hpp"

#include <troupe/troupe.hpp>

namespace bench::ours {

namespace {

using namespace savina;

class ring_member {
public:
  ring_member(int index, finish& end) : index_(index), end_(end) {}
  void join(troupe::ref<ring_member> next) { next_ = std::move(next); }
  void hop(int left) {
    if (left == 0)
      end_.done(index_);
    else
      next_.tell<&ring_member::hop>(left - 1);
  }

private:
  int index_;
  finish& end_;
  troupe::ref<ring_member> next_;
};

class counter {
public:
  void add() { ++count_; }
  int count() const { return count_; }

private:
  int count_ = 0;
};

class counting_producer {
public:
  explicit counting_producer(troupe::ref<counter> c) : counter_(std::move(c)) {}
  troupe::task<int> run(int n) {
    for (int i = 0; i < n; ++i)
      counter_.tell<&counter::add>();
    co_return co_await counter_.ask<&counter::count>();
  }

private:
  troupe::ref<counter> counter_;
};

class forked {
public:
  forked(int messages, finish& end) : left_(messages), end_(end) {}
  void work(int x) {
    sum_ += fork_work(x);
    ++done_;
    if (--left_ == 0)
      end_.done(sum_ > 0 ? done_ : 0);
  }

private:
  int left_, done_ = 0;
  double sum_ = 0;
  finish& end_;
};

class mall;

class chameneo {
public:
  chameneo(colour c, finish& end) : colour_(c), end_(end) {}
  void enter(const troupe::ref<mall>& m, const troupe::ref<chameneo>& me);
  void meet(const troupe::ref<mall>& m, const troupe::ref<chameneo>& me,
            const troupe::ref<chameneo>& other, colour its);
  void change(const troupe::ref<mall>& m, const troupe::ref<chameneo>& me,
              colour its);
  void leave() { end_.done(met_); }

private:
  colour colour_;
  finish& end_;
  int met_ = 0;
};

class mall {
public:
  explicit mall(troupe::ref<mall>* me) : me_(me) {}
  void enter(troupe::ref<chameneo> who, colour its) {
    if (left_ == 0) {
      who.tell<&chameneo::leave>();
    } else if (waiting_) {
      --left_;
      waiting_.tell<&chameneo::meet>(*me_, waiting_, std::move(who), its);
      waiting_ = {};
    } else {
      waiting_ = std::move(who);
    }
  }

private:
  troupe::ref<mall>* me_;
  int left_ = meetings;
  troupe::ref<chameneo> waiting_;
};

void chameneo::enter(const troupe::ref<mall>& m,
                     const troupe::ref<chameneo>& me) {
  m.tell<&mall::enter>(me, colour_);
}

void chameneo::meet(const troupe::ref<mall>& m, const troupe::ref<chameneo>& me,
                    const troupe::ref<chameneo>& other, colour its) {
  other.tell<&chameneo::change>(m, other, colour_);
  change(m, me, its);
}

void chameneo::change(const troupe::ref<mall>& m,
                      const troupe::ref<chameneo>& me, colour its) {
  ++met_;
  colour_ = complement(colour_, its);
  enter(m, me);
}

class pinger {
public:
  pinger(int index, finish& end)
    : random_(static_cast<std::uint64_t>(index)),
      end_(end) {}
  void start(std::shared_ptr<const std::vector<troupe::ref<pinger>>> all,
             troupe::ref<pinger> me) {
    all_ = std::move(all);
    me_ = std::move(me);
    next();
  }
  void ping(const troupe::ref<pinger>& from) { from.tell<&pinger::pong>(); }
  void pong() {
    if (++pongs_ < big_pings) {
      next();
    } else {
      me_ = {};
      end_.done(pongs_);
    }
  }

private:
  void next() {
    (*all_)[static_cast<std::size_t>(random_.below(big_actors))]
      .tell<&pinger::ping>(me_);
  }

  sequence random_;
  finish& end_;
  int pongs_ = 0;
  std::shared_ptr<const std::vector<troupe::ref<pinger>>> all_;
  troupe::ref<pinger> me_;
};

} // namespace

figures thread_ring(const setting& how) {
  finish end{1};
  counted_system sys{how};
  std::vector<troupe::ref<ring_member>> all;
  stopwatch watch;
  for (int i = 0; i < ring_actors; ++i)
    all.push_back(sys.spawn<ring_member>(i, std::ref(end)));
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].tell<&ring_member::join>(all[(i + 1) % all.size()]);
  all[0].tell<&ring_member::hop>(ring_hops);
  auto last = end.wait();
  auto found = ms(watch);
  expect("who had the token last", last, ring_hops % ring_actors);
  return {{"thread_ring", found}};
}

figures counting(const setting& how) {
  counted_system sys{how};
  stopwatch watch;
  auto p = sys.spawn<counting_producer>(sys.spawn<counter>());
  auto count = p.ask<&counting_producer::run>(counts).get();
  auto found = ms(watch);
  expect("the count", count, counts);
  return {{"counting", found}};
}

figures fork_join(const setting& how) {
  finish end{fork_actors};
  counted_system sys{how};
  std::vector<troupe::ref<forked>> all;
  stopwatch watch;
  for (int i = 0; i < fork_actors; ++i)
    all.push_back(sys.spawn<forked>(fork_messages, std::ref(end)));
  for (int i = 0; i < fork_messages; ++i)
    for (auto& a : all)
      a.tell<&forked::work>(i);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the messages", sum, std::int64_t{fork_actors} * fork_messages);
  return {{"fork_join", found}};
}

figures fork_join_create(const setting& how) {
  finish end{fork_creates};
  counted_system sys{how};
  stopwatch watch;
  for (int i = 0; i < fork_creates; ++i)
    sys.spawn<forked>(1, std::ref(end)).tell<&forked::work>(i);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the actors", sum, fork_creates);
  return {{"fork_join_create", found}};
}

figures chameneos(const setting& how) {
  finish end{savina::chameneos};
  troupe::ref<mall> m;
  counted_system sys{how};
  stopwatch watch;
  m = sys.spawn<mall>(&m);
  for (int i = 0; i < savina::chameneos; ++i) {
    auto c = sys.spawn<chameneo>(static_cast<colour>(i % 3), std::ref(end));
    c.tell<&chameneo::enter>(m, c);
  }
  auto met = end.wait();
  auto found = ms(watch);
  expect("who has met", met, 2 * meetings);
  return {{"chameneos", found}};
}

figures big(const setting& how) {
  finish end{big_actors};
  counted_system sys{how};
  auto all = std::make_shared<std::vector<troupe::ref<pinger>>>();
  stopwatch watch;
  for (int i = 0; i < big_actors; ++i)
    all->push_back(sys.spawn<pinger>(i, std::ref(end)));
  for (auto& p : *all)
    p.tell<&pinger::start>(all, p);
  auto pongs = end.wait();
  auto found = ms(watch);
  expect("the pongs", pongs, big_actors * big_pings);
  return {{"big", found}};
}

} // namespace bench::ours
