// SPDX-License-Identifier: MIT
// savina_trees: the suite's programs that divide their work among actors.

#include "ours/workloads.hpp"
#include "savina_work.hpp"

#include <troupe/troupe.hpp>

namespace bench::ours {

namespace {

using namespace savina;

// -- unbalanced cobwebbed tree ------------------------------------------------

class web_root;

class web_node : public troupe::actor {
public:
  explicit web_node(troupe::ref<web_root> root) : root_(std::move(root)) {}
  void begin();
  void grow();
  void traverse();

private:
  troupe::ref<web_root> root_;
  std::vector<troupe::ref<web_node>> children_;
};

// Whether a node may have children is a throw of a coin, until there are
// enough; when all have asked, all are visited.
class web_root : public troupe::actor {
public:
  explicit web_root(finish& end) : end_(end) {}
  void begin() {
    top_ = spawn<web_node>(self());
    top_.tell<&web_node::begin>();
  }
  void may_grow(const troupe::ref<web_node>& node) {
    --open_;
    if (nodes_ + web_children <= web_nodes
        && (open_ == 0 || random_.below(2) == 0)) {
      nodes_ += web_children;
      open_ += web_children;
      node.tell<&web_node::grow>();
    }
    if (open_ == 0)
      top_.tell<&web_node::traverse>();
  }
  void visited() {
    if (++visited_ < nodes_)
      return;
    top_ = {};
    end_.done(visited_);
  }

private:
  finish& end_;
  troupe::ref<web_node> top_;
  sequence random_{5};
  int nodes_ = 1, open_ = 1, visited_ = 0;
};

void web_node::begin() {
  root_.tell<&web_root::may_grow>(self());
}

void web_node::grow() {
  for (int i = 0; i < web_children; ++i) {
    children_.push_back(spawn<web_node>(root_));
    children_.back().tell<&web_node::begin>();
  }
}

void web_node::traverse() {
  for (auto& c : children_)
    c.tell<&web_node::traverse>();
  if (busy(web_work) > 0)
    root_.tell<&web_root::visited>();
}

// -- quick sort ---------------------------------------------------------------

class sorter : public troupe::actor {
public:
  troupe::task<numbers> sort(numbers xs) {
    if (xs.size() < sorted_alone) {
      std::sort(xs.begin(), xs.end());
      co_return std::move(xs); // g++ 12 copies a parameter
    }
    auto parts = split(std::move(xs));
    auto low = spawn<sorter>().ask<&sorter::sort>(std::move(parts.low));
    auto high = spawn<sorter>().ask<&sorter::sort>(std::move(parts.high));
    auto all = co_await std::move(low);
    all.insert(all.end(), parts.same.begin(), parts.same.end());
    auto rest = co_await std::move(high);
    all.insert(all.end(), rest.begin(), rest.end());
    co_return all;
  }
};

// -- n-queens -----------------------------------------------------------------

class queens_foreman;

class queens_worker {
public:
  explicit queens_worker(troupe::ref<queens_foreman> f)
    : foreman_(std::move(f)) {}
  void work(board b);

private:
  troupe::ref<queens_foreman> foreman_;
};

// Gives each board to a worker; a worker gives boards back.
class queens_foreman : public troupe::actor {
public:
  explicit queens_foreman(finish& end) : end_(end) {}
  void begin() {
    for (int i = 0; i < searchers; ++i)
      workers_.push_back(spawn<queens_worker>(self()));
    give({});
  }
  void give(board b) {
    ++open_;
    workers_[next_++ % searchers].tell<&queens_worker::work>(b);
  }
  void done(std::int64_t solutions) {
    sum_ += solutions;
    if (--open_ > 0)
      return;
    workers_.clear();
    end_.done(sum_);
  }

private:
  finish& end_;
  std::vector<troupe::ref<queens_worker>> workers_;
  std::size_t next_ = 0;
  int open_ = 0;
  std::int64_t sum_ = 0;
};

void queens_worker::work(board b) {
  std::int64_t solutions = 0;
  if (b.rows() >= queens_alone_from)
    solutions = count_solutions(b);
  else
    for_each_next(b, [&](const board& next) {
      foreman_.tell<&queens_foreman::give>(next);
    });
  foreman_.tell<&queens_foreman::done>(solutions);
}

// -- A* -----------------------------------------------------------------------

class search_foreman;

class search_worker {
public:
  search_worker(troupe::ref<search_foreman> f, grid& g)
    : foreman_(std::move(f)),
      grid_(g) {}
  void work(int node);

private:
  troupe::ref<search_foreman> foreman_;
  grid& grid_;
  std::vector<int> open_;
};

class search_foreman : public troupe::actor {
public:
  search_foreman(grid& g, finish& end) : grid_(g), end_(end) {}
  void begin() {
    for (int i = 0; i < searchers; ++i)
      workers_.push_back(spawn<search_worker>(self(), std::ref(grid_)));
    give(0);
  }
  void give(int node) {
    ++open_;
    workers_[next_++ % searchers].tell<&search_worker::work>(node);
  }
  void done(int visited) {
    visited_ += visited;
    if (--open_ > 0)
      return;
    workers_.clear();
    end_.done(visited_);
  }

private:
  grid& grid_;
  finish& end_;
  std::vector<troupe::ref<search_worker>> workers_;
  std::size_t next_ = 0;
  int open_ = 0, visited_ = 0;
};

void search_worker::work(int node) {
  auto visited = grid_.search(node, open_);
  for (auto next : open_)
    foreman_.tell<&search_foreman::give>(next);
  foreman_.tell<&search_foreman::done>(visited);
}

// -- Fibonacci ----------------------------------------------------------------

class fibonacci_actor : public troupe::actor {
public:
  troupe::task<int> compute(int n) {
    if (n <= 2)
      co_return 1;
    auto a = spawn<fibonacci_actor>().ask<&fibonacci_actor::compute>(n - 1);
    auto b = spawn<fibonacci_actor>().ask<&fibonacci_actor::compute>(n - 2);
    const int sum = co_await a;
    co_return sum + co_await b;
  }
};

} // namespace

figures cobwebbed_tree(const setting& how) {
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto root = sys.spawn<web_root>(std::ref(end));
  root.tell<&web_root::begin>();
  auto visited = end.wait();
  auto found = ms(watch);
  expect("the nodes", visited, web_nodes);
  return {{"cobwebbed_tree", found}};
}

figures quick_sort(const setting& how) {
  auto all = some_numbers(sorted_values);
  const auto sum = low_bits_of_sum(all);
  counted_system sys{how};
  stopwatch watch;
  auto sorted = sys.spawn<sorter>().ask<&sorter::sort>(std::move(all)).get();
  auto found = ms(watch);
  expect("how many", sorted.size(), sorted_values);
  expect("whether they are sorted",
         std::is_sorted(sorted.begin(), sorted.end()), true);
  expect("their sum", low_bits_of_sum(sorted), sum);
  return {{"quick_sort", found}};
}

figures n_queens(const setting& how) {
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto f = sys.spawn<queens_foreman>(std::ref(end));
  f.tell<&queens_foreman::begin>();
  auto solutions = end.wait();
  auto found = ms(watch);
  expect("the solutions", solutions, queens_solutions);
  return {{"n_queens", found}};
}

figures a_star(const setting& how) {
  grid g;
  finish end{1};
  counted_system sys{how};
  stopwatch watch;
  auto f = sys.spawn<search_foreman>(std::ref(g), std::ref(end));
  f.tell<&search_foreman::begin>();
  auto visited = end.wait();
  auto found = ms(watch);
  expect("the visited nodes", visited, grid::size);
  expect("whether there is a way", g.way_back() >= grid_side - 1, true);
  return {{"a_star", found}};
}

figures fibonacci(const setting& how) {
  counted_system sys{how};
  stopwatch watch;
  auto sum = sys.spawn<fibonacci_actor>()
               .ask<&fibonacci_actor::compute>(fibonacci_of)
               .get();
  auto found = ms(watch);
  expect("the number", sum, fibonacci_is);
  return {{"fibonacci", found}};
}

} // namespace bench::ours
