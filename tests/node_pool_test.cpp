// SPDX-License-Identifier: MIT
// node_pool: the contract of all pools, over two nodes; then nodes that come,
// go, drain, freeze and die while it runs.
//
// Of the contract these don't apply to nodes, and why: initializers, workers
// that are replaced after some tasks, limits, certificates, quarantine and
// ending by force (A33, A34, A37 to A42, A46, A57, A65 to A70, B11 to B18) are
// those of worker processes: a node is prepared, limited and started again by
// whoever runs it, and it isn't killed for one task. Crash of a worker (A44,
// A47 to A53, B01, B02) is here the crash of a node.
#define BOOST_TEST_MODULE node_pool
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "support/processes.hpp"
#include "support/seed.hpp"

#include <map>
#include <set>

#include "troupe/node_pool.hpp"
#include "troupe/serialize.hpp"

namespace test {

/// A pool on two nodes that serve all cases.
class pool_on_two : public troupe::node_pool {
public:
  struct options {
    std::ptrdiff_t workers = 2; // of both together
  };
  pool_on_two(troupe::system& sys, options o)
    : troupe::node_pool(sys, over_two(sys, o)) {}

private:
  static troupe::node_pool_options over_two(troupe::system& sys, options o) {
    static const auto set = [] {
      return ::setenv("TROUPE_KEYS", (keys() / "keys").c_str(), 1);
    }();
    static node_process one, two;
    BOOST_TEST_REQUIRE(set == 0);
    if (o.workers < 2)
      return {.nodes = {sys.connect(one.address())}, .workers = o.workers};
    return {.nodes = {sys.connect(one.address()), sys.connect(two.address())},
            .workers = o.workers / 2};
  }
};

struct on_nodes : on_processes {
  using pool = pool_on_two;
  using options = pool_on_two::options;
  static constexpr bool is_far = true;
};

using executor_backends = std::tuple<on_nodes>;

} // namespace test

#include "support/executor_suite.hpp"

TROUPE_TEST_MAIN

namespace {

using namespace std::chrono_literals;
using test::contains;
using test::eventually;
using test::live_system;
using test::node_process;
using test::on_processes;
using test::text_thrown;
using test::word;
using troupe::fn;
using troupe::idempotent;
using troupe::node_pool;

std::uint32_t value(word w) {
  return test::at(w).load();
}

// Says that it runs, waits for the gate, says that it has run.
int pass_through(word inside, word gate, word through) {
  test::at(inside).fetch_add(1);
  test::await_word(gate);
  test::at(through).fetch_add(1);
  return ::getpid();
}

struct gated {
  word inside = test::new_word(), gate = test::new_word(),
       through = test::new_word();
  void open() const { test::set_word(gate, 1); }
  ~gated() { open(); }
};

// Some nodes, and a system that is connected to them.
struct cluster {
  std::vector<std::unique_ptr<node_process>> processes;
  live_system live;
  std::vector<troupe::node> nodes;

  explicit cluster(int n, troupe::options o = {.workers = 2},
                   troupe::connect_options c = {})
    : live(test::with_keys(std::move(o))) {
    for (int i = 0; i < n; ++i)
      start(c);
  }
  void start(const troupe::connect_options& c = {}) {
    processes.push_back(std::make_unique<node_process>());
    nodes.push_back(live.sys.connect(processes.back()->address(), c));
  }
  void kill(std::size_t i) {
    processes[i]->signal(SIGKILL);
    processes[i]->wait();
  }
};

int slow_square(int x) {
  std::this_thread::sleep_for(1ms); // sleeps: it is work
  return x * x;
}

std::string refusal(const troupe::node_pool_options& o) {
  live_system live;
  return text_thrown<troupe::bad_argument>([&] { node_pool{live.sys, o}; });
}

} // namespace

// -- options ------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(options_out_of_range)

BOOST_AUTO_TEST_CASE(are_refused_with_value_and_range) {
  using troupe::node_pool_options;
  const std::vector<std::tuple<node_pool_options, const char*, const char*>>
    bad{
      {{.workers = 0}, "workers is 0", "1..1024"},
      {{.workers = 1025}, "workers is 1025", "1..1024"},
      {{.deadline = 0ms}, "deadline (ns) is 0", "above 0"},
      {{.retries = -1}, "retries is -1", "0..1000"},
      {{.queue_tasks_max = 0}, "queue_tasks_max is 0", "1..1000000000"},
      {{.patience = 0ms}, "patience (ns) is 0", "above 0"},
      {{.nodes = {troupe::node{}}}, "node is none", ""},
    };
  for (auto& [opts, seen, range] : bad) {
    const auto text = refusal(opts);
    BOOST_TEST(contains(text, seen), text << " / " << seen);
    BOOST_TEST(contains(text, range), text << " / " << range);
  }
  BOOST_TEST(contains(refusal({.full = troupe::full_policy::caller_runs}),
                      "wait or reject"));
}

BOOST_AUTO_TEST_SUITE_END()

// -- nodes --------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(nodes)

BOOST_AUTO_TEST_CASE(are_asked_how_many_workers_they_have) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes}};
  BOOST_TEST(eventually(5s, [&] { return pool.stats().workers == 4; }));
  BOOST_TEST(pool.workers() == 4u);
  BOOST_TEST(pool.stats().nodes == 2u);
}

BOOST_AUTO_TEST_CASE(get_no_more_than_run_there_and_the_least_loaded_first) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 2}};
  gated g;
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 20; ++i)
    fs.push_back(pool.submit(fn<&pass_through>, g.inside, g.gate, g.through));
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 4; }));
  BOOST_TEST(!eventually(50ms, [&] { return value(g.inside) > 4; }));
  BOOST_TEST(pool.stats().queued == 16u);
  for (auto& n : pool.nodes())
    BOOST_TEST(n.running == 2u);
  // What waits is taken back exactly, what runs is not.
  BOOST_TEST(!fs.front().cancel());
  BOOST_TEST(fs.back().cancel());
  g.open();
  std::map<int, int> by_pid;
  for (std::size_t i = 0; i + 1 < fs.size(); ++i)
    ++by_pid[fs[i].get()];
  BOOST_TEST(by_pid.size() == 2u);
  BOOST_TEST(value(g.through) == 19u);
}

BOOST_AUTO_TEST_CASE(that_is_taken_out_and_put_back_serves_at_once) {
  cluster c{1};
  node_pool pool{
    c.live.sys,
    {.nodes = c.nodes, .workers = 2, .patience = troupe::no_deadline}};
  gated g;
  auto running = pool.submit(fn<&pass_through>, g.inside, g.gate, g.through);
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  pool.remove(c.nodes[0]);
  auto waiting = pool.submit(fn<&test::square>, 3);
  BOOST_TEST(!waiting.wait_for(20ms));
  pool.add(c.nodes[0]);
  BOOST_TEST(waiting.get_for(10s) == 9); // beside the one that runs
  g.open();
  running.get();
}

BOOST_AUTO_TEST_CASE(that_refuses_to_say_how_large_it_is_is_asked_again) {
  // Its only call is taken while it is asked.
  node_process process{{"--troupe-node-calls-max=1"}};
  live_system live{test::with_keys()};
  const auto n = live.sys.connect(process.address());
  gated g;
  node_pool small{live.sys, {.nodes = {n}, .workers = 1}};
  auto running = small.submit(fn<&pass_through>, g.inside, g.gate, g.through);
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  node_pool pool{live.sys, {.nodes = {n}}};
  auto waiting = pool.submit(fn<&test::square>, 3);
  BOOST_TEST(!waiting.wait_for(50ms));
  BOOST_TEST(pool.stats().nodes == 0u);
  g.open();
  running.get();
  BOOST_TEST(waiting.get_for(10s) == 9);
  BOOST_TEST(pool.stats().workers == 2u);
}

BOOST_AUTO_TEST_CASE(may_join_and_leave_while_it_runs) {
  cluster c{1};
  node_pool pool{c.live.sys, {.workers = 1}};
  gated first, second;
  auto early = pool.submit(fn<&pass_through>, first.inside, first.gate,
                           first.through); // there is no node yet
  BOOST_TEST(!early.wait_for(20ms));
  pool.add(c.nodes[0]);
  pool.add(c.nodes[0]); // it is there already
  BOOST_TEST(eventually(5s, [&] { return value(first.inside) == 1; }));
  auto next = pool.submit(fn<&pass_through>, second.inside, second.gate,
                          second.through);
  BOOST_TEST(!next.wait_for(20ms)); // one at a time
  c.start();
  pool.add(c.nodes[1]);
  BOOST_TEST(eventually(5s, [&] { return value(second.inside) == 1; }));
  // It is taken out: what runs there ends there, nothing more goes there.
  pool.remove(c.nodes[0]);
  BOOST_TEST(pool.stats().nodes == 1u);
  second.open();
  BOOST_TEST(next.get() == c.processes[1]->pid());
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(pool.submit([] { return ::getpid(); }).get()
               == c.processes[1]->pid());
  first.open();
  BOOST_TEST(early.get() == c.processes[0]->pid());
  BOOST_TEST(eventually(5s, [&] { return pool.nodes()[0].is_gone; }));
  BOOST_TEST(pool.nodes()[0].answered == 1u);
}

BOOST_AUTO_TEST_CASE(that_are_closed_leave_by_themselves) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1}};
  c.nodes[0].close();
  BOOST_TEST(eventually(5s, [&] { return pool.stats().nodes == 1; }));
  BOOST_TEST(pool.map(fn<&test::square>, test::numbers(50)).to_vector()
               == test::squares(50),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(serve_several_pools_at_a_time) {
  cluster c{1};
  node_pool one{c.live.sys, {.nodes = c.nodes}};
  node_pool two{c.live.sys, {.nodes = c.nodes}};
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 200; ++i)
    fs.push_back((i % 2 == 0 ? one : two).submit(fn<&test::square>, i));
  for (int i = 0; i < 200; ++i)
    BOOST_TEST(fs[static_cast<std::size_t>(i)].get() == i * i);
}

BOOST_AUTO_TEST_CASE(that_are_drained_end_what_runs_and_get_no_more) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1}};
  gated g;
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 10; ++i)
    fs.push_back(pool.submit(fn<&pass_through>, g.inside, g.gate, g.through));
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 2; }));
  c.processes[0]->signal(SIGTERM);
  // Wait until it has said so, or it may still get one, and give it back.
  BOOST_TEST(!fs[0].wait_for(50ms));
  g.open();
  for (auto& f : fs)
    BOOST_TEST(f.get() > 0);
  BOOST_TEST(value(g.through) == 10u);
  BOOST_TEST(pool.shutdown().done == 10u);
  BOOST_TEST(pool.stats().lost == 0u);
  BOOST_TEST(c.processes[0]->wait() == 143);
}

BOOST_AUTO_TEST_SUITE_END()

// -- a node that dies ---------------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_node_that_dies)

BOOST_AUTO_TEST_CASE(costs_its_tasks_their_attempt_and_nothing_else) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 2}};
  gated g;
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 12; ++i)
    fs.push_back(pool.submit(fn<&pass_through>, g.inside, g.gate, g.through));
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 4; }));
  const auto address = c.processes[0]->address();
  c.kill(0);
  BOOST_TEST(eventually(5s, [&] { return pool.stats().lost == 2; }));
  g.open();
  int lost = 0;
  for (auto& f : fs) {
    try {
      BOOST_TEST(f.get() == c.processes[1]->pid());
    } catch (const troupe::node_lost& e) {
      ++lost;
      BOOST_TEST(contains(e.what(), "pass_through"), e.what());
      BOOST_TEST(contains(e.what(), address), e.what());
      BOOST_TEST(contains(e.what(), "attempt 1"), e.what());
    }
  }
  BOOST_TEST(lost == 2);
  BOOST_TEST(value(g.inside) == 12u); // nothing ran twice
  const auto r = pool.shutdown();
  BOOST_TEST(r.done == 10u);
  BOOST_TEST(r.failed == 2u);
  BOOST_TEST(pool.nodes()[0].lost + pool.nodes()[1].lost == 2u);
}

BOOST_AUTO_TEST_CASE(lets_idempotent_tasks_run_elsewhere) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 2}};
  gated g;
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 12; ++i)
    fs.push_back(
      pool.submit(idempotent(fn<&pass_through>), g.inside, g.gate, g.through));
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 4; }));
  c.kill(0);
  BOOST_TEST(eventually(5s, [&] { return pool.stats().retried == 2; }));
  g.open();
  for (auto& f : fs)
    BOOST_TEST(f.get() == c.processes[1]->pid());
  BOOST_TEST(value(g.inside) == 14u);
  BOOST_TEST(value(g.through) == 12u);
}

BOOST_AUTO_TEST_CASE(b01_in_the_middle_of_a_map_leaves_it_whole) {
  cluster c{3};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 2}};
  auto results = pool.map(idempotent(fn<&slow_square>), test::numbers(2000),
                          {.chunk = 5});
  std::vector<int> found;
  for (int y : results) {
    found.push_back(y);
    if (found.size() == 300)
      c.kill(1);
  }
  BOOST_TEST(found == test::squares(2000), boost::test_tools::per_element());
  const auto s = pool.stats();
  BOOST_TEST(s.nodes == 2u);
  BOOST_TEST(s.lost == s.retried);
}

BOOST_AUTO_TEST_CASE(takes_no_more_tries_than_were_allowed) {
  cluster c{3};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1, .retries = 1}};
  auto f = pool.submit(idempotent(fn<&::_exit>), 7);
  const auto text = text_thrown<troupe::node_lost>([&] { f.get(); });
  BOOST_TEST(contains(text, "attempt 2"), text);
  // The third one is untouched.
  BOOST_TEST(pool.submit(fn<&test::square>, 3).get() == 9);
  BOOST_TEST(pool.stats().lost == 2u);
}

BOOST_AUTO_TEST_CASE(and_comes_back_takes_part_again) {
  cluster c{1};
  node_pool pool{c.live.sys, {.nodes = c.nodes}};
  BOOST_TEST(pool.submit(fn<&test::square>, 3).get() == 9);
  const auto address = c.processes[0]->address();
  c.kill(0);
  BOOST_TEST(eventually(5s, [&] { return pool.stats().nodes == 0; }));
  auto f = pool.submit([] { return ::getpid(); });
  BOOST_TEST(!f.wait_for(50ms));
  node_process again{{}, address};
  BOOST_TEST(f.get() == again.pid());
  BOOST_TEST(pool.stats().nodes == 1u);
}

BOOST_AUTO_TEST_CASE(as_the_last_one_fails_what_waits_after_patience) {
  cluster c{1, {.workers = 2}, {.reconnect = false}};
  node_pool pool{c.live.sys,
                 {.nodes = c.nodes, .workers = 1, .patience = 100ms}};
  gated g;
  auto running = pool.submit(fn<&pass_through>, g.inside, g.gate, g.through);
  auto waiting = pool.submit(fn<&test::square>, 2);
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  c.kill(0);
  BOOST_CHECK_THROW(running.get(), troupe::node_lost);
  const auto text =
    text_thrown<troupe::node_lost>([&] { (void)waiting.get_for(5s); });
  BOOST_TEST(contains(text, "no node was there for 100 ms"), text);
  BOOST_TEST(contains(text, c.processes[0]->address()), text);
  // The next one waits just as long.
  auto later = pool.submit(fn<&test::square>, 2);
  BOOST_TEST(!later.wait_for(20ms));
  BOOST_CHECK_THROW((void)later.get_for(5s), troupe::node_lost);
  // And one that joins serves again.
  c.start();
  pool.add(c.nodes[1]);
  BOOST_TEST(pool.submit(fn<&test::square>, 2).get() == 4);
}

BOOST_AUTO_TEST_CASE(by_freezing_is_found_by_patience) {
  cluster c{2,
            {.workers = 2, .heartbeat = 50ms, .patience = 300ms},
            {.reconnect = false}};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1}};
  gated g;
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 4; ++i)
    fs.push_back(
      pool.submit(idempotent(fn<&pass_through>), g.inside, g.gate, g.through));
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 2; }));
  c.processes[0]->freeze();
  BOOST_TEST(eventually(5s, [&] { return pool.stats().retried == 1; }));
  g.open();
  for (auto& f : fs)
    BOOST_TEST(f.get() == c.processes[1]->pid());
  c.processes[0]->signal(SIGCONT);
}

BOOST_AUTO_TEST_CASE(leaves_a_cancelled_task_cancelled) {
  cluster c{2};
  node_pool pool{c.live.sys, {.nodes = {c.nodes[0]}, .workers = 1}};
  gated g;
  auto f = pool.submit(idempotent(fn<&pass_through>), g.inside, g.gate,
                       g.through);
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  BOOST_TEST(!f.cancel());
  pool.add(c.nodes[1]);
  c.kill(0);
  BOOST_CHECK_THROW(f.get(), troupe::cancelled);
  BOOST_TEST(pool.shutdown().failed == 1u);
  BOOST_TEST(value(g.inside) == 1u); // it was not tried again
}

// What is to happen to what was accepted, whatever dies: everything settles;
// idempotent tasks have their value, others ran once at most.
BOOST_AUTO_TEST_CASE(chaos) {
  TEST_WITH_SEED() {
    test::random_source random;
    cluster c{3};
    node_pool pool{c.live.sys,
                   {.nodes = c.nodes, .workers = 2, .retries = 100}};
    const int n = test::rounds(3000);
    std::vector<troupe::future<int>> again;
    std::vector<troupe::future<int>> once;
    std::vector<word> ran;
    std::atomic<bool> over{false};
    std::thread killer{[&] {
      while (!over.load()) {
        const auto i = random.below(c.processes.size());
        const auto pause = 1ms * static_cast<int>(20 + random.below(60));
        if (eventually(pause, [&] { return over.load(); }))
          break;
        const auto address = c.processes[i]->address();
        c.kill(i);
        c.processes[i] =
          std::make_unique<node_process>(std::vector<std::string>{}, address);
      }
    }};
    for (int i = 0; i < n; ++i) {
      if (i % 3 == 0) {
        ran.push_back(test::new_word());
        once.push_back(pool.submit(fn<&on_processes::count>, ran.back()));
      } else {
        again.push_back(pool.submit(idempotent(fn<&slow_square>), i));
      }
    }
    std::size_t k = 0;
    for (int i = 0; i < n; ++i)
      if (i % 3 != 0)
        BOOST_TEST_REQUIRE(again[k++].get_for(30s) == i * i);
    std::uint64_t lost = 0;
    for (std::size_t i = 0; i < once.size(); ++i) {
      BOOST_TEST_REQUIRE(once[i].wait_for(30s));
      BOOST_TEST(value(ran[i]) <= 1u);
      if (once[i].exception() == nullptr)
        BOOST_TEST(value(ran[i]) == 1u);
      else
        ++lost;
    }
    over = true;
    killer.join();
    const auto r = pool.shutdown();
    BOOST_TEST(r.done + r.failed == static_cast<std::uint64_t>(n));
    BOOST_TEST(r.failed == lost);
    BOOST_TEST(pool.stats().lost == pool.stats().retried + lost);
    BOOST_TEST_MESSAGE(pool.stats().lost << " attempts lost, " << lost
                                         << " tasks");
  }
}

BOOST_AUTO_TEST_SUITE_END()

// -- tasks --------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(tasks)

struct picky {
  int n = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    if (n == 13)
      throw std::invalid_argument{"13 does not travel"};
    ar(n);
    if (n == 14)
      throw std::invalid_argument{"14 can't be read"};
  }
};

picky make_picky(int n) {
  return {n};
}

BOOST_AUTO_TEST_CASE(a18_what_cant_travel_is_the_tasks_own_error) {
  test::bench_of<test::on_nodes> t;
  BOOST_CHECK_THROW((void)t.pool.submit([](picky p) { return p.n; }, picky{13}),
                    std::invalid_argument);
  // Its result can't be written there.
  BOOST_CHECK_THROW(t.pool.submit(fn<&make_picky>, 13).get(),
                    std::invalid_argument);
  BOOST_TEST(t.pool.submit(fn<&make_picky>, 3).get().n == 3);
  BOOST_TEST(t.pool.stats().nodes == 2u);
}

BOOST_AUTO_TEST_CASE(a75_large_things_travel_both_ways) {
  test::bench_of<test::on_nodes> t;
  for (std::size_t n : {std::size_t{1} << 16, (std::size_t{1} << 20) + 1,
                        std::size_t{16} << 20}) {
    std::string text(n, 'x');
    text[n / 2] = 'y';
    auto back = t.pool.submit(
      [](std::string s) {
        s[0] = 'z';
        return s;
      },
      text);
    text[0] = 'z';
    BOOST_TEST((back.get() == text), n);
  }
}

BOOST_AUTO_TEST_CASE(b07_5_gib_are_refused_at_once) {
  test::bench_of<test::on_nodes> t;
  // Pages that nobody has touched take no memory.
  troupe::shared_buffer buffer{std::size_t{5} << 30};
  const auto large = std::move(buffer).freeze();
  BOOST_TEST(contains(text_thrown<troupe::error>([&] {
                        (void)t.pool.submit(
                          [](const troupe::blob& b) { return b.size(); },
                          large);
                      }),
                      "limit"));
  BOOST_TEST(t.pool.submit(fn<&test::square>, 2).get() == 4);
}

BOOST_AUTO_TEST_CASE(a_deadline_fails_the_future_and_asks_the_task_to_end) {
  cluster c{1};
  node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1}};
  auto ended = test::new_word();
  auto obedient = [](std::stop_token stop, word w) {
    while (!stop.stop_requested())
      ::usleep(100); // sleeps: it is busy
    test::set_word(w, 1);
  };
  auto f = pool.with({.deadline = 30ms}).submit(obedient, ended);
  const auto text = text_thrown<troupe::timeout>([&] { f.get(); });
  BOOST_TEST(!text.empty());
  BOOST_TEST(eventually(5s, [&] { return value(ended) == 1; }));
  BOOST_TEST(pool.submit(fn<&test::square>, 3).get() == 9);
  for (auto bad : {0ms, -1ms})
    BOOST_CHECK_THROW(
      (void)pool.with({.deadline = bad}).submit(fn<&test::square>, 2),
      troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(past_its_deadline_holds_nobody_up_at_the_end) {
  gated g;
  cluster c{1};
  {
    node_pool pool{c.live.sys, {.nodes = c.nodes, .workers = 1}};
    auto f = pool.with({.deadline = 30ms})
               .submit(fn<&pass_through>, g.inside, g.gate, g.through);
    BOOST_CHECK_THROW(f.get(), troupe::timeout);
    // Its place is taken as long as it runs.
    auto next = pool.submit(fn<&test::square>, 2);
    BOOST_TEST(!next.wait_for(20ms));
    next.cancel();
  }
  BOOST_TEST(value(g.through) == 0u);
}

BOOST_AUTO_TEST_CASE(a_tasks_stop_token_hears_of_cancel) {
  cluster c{1};
  node_pool pool{c.live.sys, {.nodes = c.nodes}};
  auto began = test::new_word();
  auto f = pool.submit(
    [](std::stop_token stop, word w) {
      test::set_word(w, 1);
      while (!stop.stop_requested())
        ::usleep(100); // sleeps: it is busy
      return 5;
    },
    began);
  BOOST_TEST(eventually(5s, [&] { return value(began) == 1; }));
  BOOST_TEST(!f.cancel());
  BOOST_TEST(f.get() == 5); // it had its say
}

int count_slowly(std::tuple<word, int> x) {
  std::this_thread::sleep_for(1ms); // sleeps: it is work
  return on_processes::count(std::get<0>(x));
}

BOOST_AUTO_TEST_CASE(letting_a_map_go_stops_its_chunks_at_the_nodes) {
  cluster c{1};
  auto ran = test::new_word();
  {
    node_pool pool{c.live.sys, {.nodes = c.nodes}};
    auto results =
      pool.map(fn<&count_slowly>,
               std::vector<std::tuple<word, int>>(20'000, std::tuple{ran, 0}),
               {.chunk = 10'000, .window = 20'000});
    BOOST_TEST(eventually(5s, [&] { return value(ran) > 0; }));
  } // drains
  BOOST_TEST(value(ran) < 10'000u);
}

BOOST_AUTO_TEST_CASE(a_task_knows_what_remains_to_it) {
  test::bench_of<test::on_nodes> t;
  auto left = [] { return troupe::remaining().count(); };
  BOOST_TEST(t.pool.submit(left).get() == INT64_MAX);
  const auto some = t.pool.with({.deadline = 10s}).submit(left).get();
  BOOST_TEST(some <= 10'000'000'000);
  BOOST_TEST(some > 8'000'000'000);
}

BOOST_AUTO_TEST_CASE(higher_priorities_begin_first) {
  test::bench_of<test::on_nodes> t{1};
  auto blocked = t.block();
  auto low = t.pool.with({.priority = -1})
               .submit(fn<&on_processes::count>, t.tally.token());
  auto normal = t.pool.submit(fn<&on_processes::count>, t.tally.token());
  auto high = t.pool.with({.priority = 9})
                .submit(fn<&on_processes::count>, t.tally.token());
  t.gate.open();
  BOOST_TEST(high.get() == 0);
  BOOST_TEST(normal.get() == 1);
  BOOST_TEST(low.get() == 2);
}

BOOST_AUTO_TEST_SUITE_END()

// -- bounds and ends ----------------------------------------------------------

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(a_full_pool_rejects_or_lets_wait) {
  cluster c{1};
  for (auto full : {troupe::full_policy::reject, troupe::full_policy::wait}) {
    gated g;
    node_pool pool{
      c.live.sys,
      {.nodes = c.nodes, .workers = 1, .queue_tasks_max = 3, .full = full}};
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 4; ++i)
      fs.push_back(pool.submit(fn<&pass_through>, g.inside, g.gate, g.through));
    if (full == troupe::full_policy::reject) {
      BOOST_TEST(contains(text_thrown<troupe::rejected>(
                            [&] { (void)pool.submit(fn<&test::square>, 1); }),
                          "the limit is 3 "));
      g.open();
    } else {
      std::atomic<bool> accepted{false};
      std::thread submitter{[&] {
        BOOST_TEST(pool.submit(fn<&test::square>, 7).get() == 49);
        accepted = true;
      }};
      BOOST_TEST(!eventually(30ms, [&] { return accepted.load(); }));
      g.open();
      submitter.join();
    }
    for (auto& f : fs)
      BOOST_TEST(f.get() > 0);
  }
}

BOOST_AUTO_TEST_CASE(who_waits_for_room_learns_of_the_shutdown) {
  live_system live;
  node_pool pool{live.sys, {.queue_tasks_max = 1}};
  auto f = pool.submit(fn<&test::square>, 1);
  std::atomic<bool> closed{false};
  std::thread submitter{[&] {
    try {
      (void)pool.submit(fn<&test::square>, 2);
    } catch (const troupe::closed&) {
      closed = true;
    }
  }};
  BOOST_TEST(!eventually(20ms, [&] { return closed.load(); }));
  pool.shutdown(troupe::drain, 0ns);
  submitter.join();
  BOOST_TEST(closed);
  BOOST_TEST(f.is_cancelled());
}

BOOST_AUTO_TEST_CASE(the_end_of_the_system_ends_all_with_closed) {
  gated g;
  node_process process;
  auto sys = std::make_unique<troupe::system>(test::with_keys());
  node_pool pool{*sys,
                 {.nodes = {sys->connect(process.address())}, .workers = 1}};
  auto running = pool.submit(fn<&pass_through>, g.inside, g.gate, g.through);
  auto queued = pool.submit(fn<&test::square>, 1);
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  BOOST_TEST(!sys->stop(50ms).clean);
  BOOST_CHECK_THROW(running.get(), troupe::closed);
  BOOST_CHECK_THROW(queued.get(), troupe::closed);
  BOOST_CHECK_THROW((void)pool.submit(fn<&test::square>, 1), troupe::closed);
  sys.reset();
  BOOST_TEST(pool.shutdown().failed == 2u);
}

BOOST_AUTO_TEST_CASE(a_stop_in_good_order_lets_tasks_end) {
  gated g;
  cluster c{1};
  node_pool pool{c.live.sys, {.nodes = c.nodes}};
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 50; ++i)
    fs.push_back(pool.submit(fn<&slow_square>, i));
  BOOST_TEST(c.live.sys.stop(20s).clean);
  for (int i = 0; i < 50; ++i)
    BOOST_TEST(fs[static_cast<std::size_t>(i)].get() == i * i);
}

// It runs on a worker, not where answers come in.
BOOST_AUTO_TEST_CASE(a_shutdown_in_a_continuation_of_its_task_ends) {
  cluster c{1};
  node_pool pool{c.live.sys, {.nodes = c.nodes}};
  gated g;
  auto clean =
    pool.submit(fn<&pass_through>, g.inside, g.gate, g.through).then([&](int) {
      return pool.shutdown().clean;
    });
  BOOST_TEST(eventually(5s, [&] { return value(g.inside) == 1; }));
  g.open();
  BOOST_TEST(clean.get_for(10s));
}

BOOST_AUTO_TEST_SUITE_END()
