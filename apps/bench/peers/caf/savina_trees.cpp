// SPDX-License-Identifier: MIT
// savina_trees: the suite's programs that divide their work among actors.

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
using grow_atom = caf::atom_constant<caf::atom("grow")>;
using visit_atom = caf::atom_constant<caf::atom("visit")>;
using done_atom = caf::atom_constant<caf::atom("done")>;
using low_atom = caf::atom_constant<caf::atom("low")>;
using high_atom = caf::atom_constant<caf::atom("high")>;

// -- unbalanced cobwebbed tree ------------------------------------------------

struct node_state {
  std::vector<actor> children;
};

behavior web_node(stateful_actor<node_state>* self, const actor& root) {
  return {
    [=](start_atom) { self->send(root, grow_atom::value, actor{self}); },
    [=](grow_atom) {
      for (int i = 0; i < web_children; ++i) {
        auto child = self->spawn<lazy_init>(web_node, root);
        self->send(child, start_atom::value);
        self->state.children.push_back(std::move(child));
      }
    },
    [=](visit_atom) {
      for (auto& c : self->state.children)
        self->send(c, visit_atom::value);
      if (busy(web_work) > 0)
        self->send(root, visit_atom::value);
      self->quit();
    },
  };
}

struct root_state {
  actor top;
  sequence random{5};
  int nodes = 1, open = 1, visited = 0;
};

// Whether a node may have children is a throw of a coin, until there are
// enough; when all have asked, all are visited.
behavior web_root(stateful_actor<root_state>* self, finish* end) {
  return {
    [=](start_atom) {
      self->state.top = self->spawn<lazy_init>(web_node, actor{self});
      self->send(self->state.top, start_atom::value);
    },
    [=](grow_atom, const actor& node) {
      auto& s = self->state;
      --s.open;
      if (s.nodes + web_children <= web_nodes
          && (s.open == 0 || s.random.below(2) == 0)) {
        s.nodes += web_children;
        s.open += web_children;
        self->send(node, grow_atom::value);
      }
      if (s.open == 0)
        self->send(s.top, visit_atom::value);
    },
    [=](visit_atom) {
      auto& s = self->state;
      if (++s.visited < s.nodes)
        return;
      end->done(s.visited);
      self->quit();
    },
  };
}

// -- quick sort ---------------------------------------------------------------

struct sorter_state {
  numbers low, same, high;
  int missing = 2;
};

// The parent says by `side` which of its halves this is; the first one has no
// parent.
behavior sorter(stateful_actor<sorter_state>* self, const actor& parent,
                bool is_low, numbers* result, finish* end) {
  auto report = [=](numbers&& sorted) {
    if (!parent) {
      *result = std::move(sorted);
      end->done();
    } else if (is_low) {
      self->send(parent, low_atom::value, std::move(sorted));
    } else {
      self->send(parent, high_atom::value, std::move(sorted));
    }
    self->quit();
  };
  auto merge = [=] {
    auto& s = self->state;
    if (--s.missing > 0)
      return;
    auto all = std::move(s.low);
    all.insert(all.end(), s.same.begin(), s.same.end());
    all.insert(all.end(), s.high.begin(), s.high.end());
    report(std::move(all));
  };
  return {
    [=](start_atom, numbers& xs) {
      if (xs.size() < sorted_alone) {
        std::sort(xs.begin(), xs.end());
        report(std::move(xs));
        return;
      }
      auto parts = split(std::move(xs));
      self->state.same = std::move(parts.same);
      auto half = [=](bool low, numbers&& part) {
        self->send(
          self->spawn<lazy_init>(sorter, actor{self}, low, result, end),
          start_atom::value, std::move(part));
      };
      half(true, std::move(parts.low));
      half(false, std::move(parts.high));
    },
    [=](low_atom, numbers& xs) {
      self->state.low = std::move(xs);
      merge();
    },
    [=](high_atom, numbers& xs) {
      self->state.high = std::move(xs);
      merge();
    },
  };
}

// -- n-queens -----------------------------------------------------------------

struct foreman_state {
  std::vector<actor> workers;
  std::size_t next = 0;
  int open = 0;
  std::int64_t sum = 0;
};

// A board is sent as its three numbers.
behavior queens_worker(event_based_actor* self, const actor& foreman) {
  return {[=](start_atom, unsigned columns, unsigned left, unsigned right) {
    const board b{columns, left, right};
    std::int64_t solutions = 0;
    if (b.rows() >= queens_alone_from)
      solutions = count_solutions(b);
    else
      for_each_next(b, [=](const board& next) {
        self->send(foreman, start_atom::value, next.columns, next.left,
                   next.right);
      });
    self->send(foreman, done_atom::value, solutions);
  }};
}

// Gives each piece of work to a worker; a worker gives pieces back.
template <class... Work>
behavior foreman(stateful_actor<foreman_state>* self, finish* end) {
  return {
    [=](start_atom, Work... what) {
      auto& s = self->state;
      ++s.open;
      self->send(s.workers[s.next++ % s.workers.size()], start_atom::value,
                 what...);
    },
    [=](done_atom, std::int64_t n) {
      auto& s = self->state;
      s.sum += n;
      if (--s.open > 0)
        return;
      end->done(s.sum);
      for (auto& w : s.workers)
        self->send_exit(w, caf::exit_reason::user_shutdown);
      s.workers.clear();
      self->quit();
    },
  };
}

behavior queens_foreman(stateful_actor<foreman_state>* self, finish* end) {
  for (int i = 0; i < searchers; ++i)
    self->state.workers.push_back(
      self->spawn<lazy_init>(queens_worker, actor{self}));
  return foreman<unsigned, unsigned, unsigned>(self, end);
}

// -- A* -----------------------------------------------------------------------

behavior search_worker(event_based_actor* self, const actor& foreman, grid* g) {
  return {[=](start_atom, int node) {
    std::vector<int> open;
    auto visited = std::int64_t{g->search(node, open)};
    for (auto next : open)
      self->send(foreman, start_atom::value, next);
    self->send(foreman, done_atom::value, visited);
  }};
}

behavior search_foreman(stateful_actor<foreman_state>* self, grid* g,
                        finish* end) {
  for (int i = 0; i < searchers; ++i)
    self->state.workers.push_back(
      self->spawn<lazy_init>(search_worker, actor{self}, g));
  return foreman<int>(self, end);
}

// -- Fibonacci ----------------------------------------------------------------

struct fibonacci_state {
  int sum = 0, missing = 2;
};

behavior fibonacci_actor(stateful_actor<fibonacci_state>* self,
                         const actor& parent, finish* end) {
  auto report = [=](int x) {
    if (parent)
      self->send(parent, sum_atom::value, x);
    else
      end->done(x);
    self->quit();
  };
  return {
    [=](start_atom, int n) {
      if (n <= 2) {
        report(1);
        return;
      }
      for (int k : {n - 1, n - 2})
        self->send(self->spawn<lazy_init>(fibonacci_actor, actor{self}, end),
                   start_atom::value, k);
    },
    [=](sum_atom, int x) {
      auto& s = self->state;
      s.sum += x;
      if (--s.missing == 0)
        report(s.sum);
    },
  };
}

} // namespace

figures cobwebbed_tree(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(web_root, &end), start_atom::value);
  auto visited = end.wait();
  auto found = ms(watch);
  expect("the nodes", visited, web_nodes);
  return {{"cobwebbed_tree", found}};
}

figures quick_sort(const setting& how) {
  auto all = some_numbers(sorted_values);
  const auto sum = low_bits_of_sum(all);
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  numbers sorted;
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(sorter, actor{}, true, &sorted, &end),
                 start_atom::value, std::move(all));
  end.wait();
  auto found = ms(watch);
  expect("how many", sorted.size(), sorted_values);
  expect("whether they are sorted",
         std::is_sorted(sorted.begin(), sorted.end()), true);
  expect("their sum", low_bits_of_sum(sorted), sum);
  return {{"quick_sort", found}};
}

figures n_queens(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(queens_foreman, &end), start_atom::value,
                 0u, 0u, 0u);
  auto solutions = end.wait();
  auto found = ms(watch);
  expect("the solutions", solutions, queens_solutions);
  return {{"n_queens", found}};
}

figures a_star(const setting& how) {
  grid g;
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(search_foreman, &g, &end),
                 start_atom::value, 0);
  auto visited = end.wait();
  auto found = ms(watch);
  expect("the visited nodes", visited, grid::size);
  expect("whether there is a way", g.way_back() >= grid_side - 1, true);
  return {{"a_star", found}};
}

figures fibonacci(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  caf::anon_send(sys.spawn<lazy_init>(fibonacci_actor, actor{}, &end),
                 start_atom::value, fibonacci_of);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the number", sum, fibonacci_is);
  return {{"fibonacci", found}};
}

} // namespace bench::peer_caf
