// SPDX-License-Identifier: MIT
// nodes: an actor in another process, over loopback, in the clear, by CAF's
// middleman.

#include "other_process.hpp"
#include "peers/caf/setup.hpp"

#include <caf/io/all.hpp>

#include <unistd.h>

#include <cstdio>

namespace bench::peer_caf {

namespace {

struct net_config : config {
  explicit net_config(const setting& how) : config(how) {
    load<caf::io::middleman>();
    add_message_type<std::vector<char>>("bytes");
  }
};

caf::behavior server() {
  return {
    [](get_atom, int x) { return x + 1; },
    [](get_atom, const std::vector<char>& bytes) {
      return static_cast<std::uint64_t>(bytes.size());
    },
  };
}

struct connection {
  other_process node{{"--caf-node"}};
  net_config cfg;
  caf::actor_system sys;
  caf::actor to;

  explicit connection(const setting& how) : cfg(how), sys(cfg) {
    const auto port = static_cast<std::uint16_t>(std::stoi(node.line()));
    auto found = sys.middleman().remote_actor("127.0.0.1", port);
    if (!found)
      throw std::runtime_error{"CAF did not connect"};
    to = *found;
  }
  ~connection() { caf::anon_send_exit(to, caf::exit_reason::kill); }
};

template <class R, class... As>
R ask(caf::scoped_actor& self, const caf::actor& to, const As&... as) {
  R result{};
  self->request(to, caf::infinite, get_atom::value, as...)
    .receive([&](R x) { result = x; },
             [&](const caf::error& e) {
               throw std::runtime_error{self->system().render(e)};
             });
  return result;
}

// Keeps `node_window` requests open.
class asker : public caf::event_based_actor {
public:
  asker(caf::actor_config& cfg, caf::actor to, int asks, gate& end,
        std::int64_t& sum)
    : caf::event_based_actor(cfg),
      to_(std::move(to)),
      asks_(asks),
      done_(end),
      sum_(sum) {}

  caf::behavior make_behavior() override {
    for (std::size_t i = 0; i < node_window; ++i)
      next();
    return {[](start_atom) {}};
  }

private:
  void next() {
    if (sent_ == asks_)
      return;
    request(to_, caf::infinite, get_atom::value, sent_++).then([this](int x) {
      sum_ += x;
      if (++taken_ == asks_) {
        to_ = nullptr;
        done_.open();
        quit();
      } else {
        next();
      }
    });
  }

  caf::actor to_;
  const int asks_;
  int sent_ = 0, taken_ = 0;
  gate& done_;
  std::int64_t& sum_;
};

} // namespace

int serve_node() {
  net_config cfg{setting{}};
  caf::actor_system sys{cfg};
  auto port = sys.middleman().publish(sys.spawn(server), 0, "127.0.0.1");
  if (!port)
    return 1;
  std::printf("%d\n", static_cast<int>(*port));
  std::fflush(stdout);
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) > 0;) {}
  std::_Exit(0);
}

figures node_round_trip(const setting& how) {
  connection c{how};
  caf::scoped_actor self{c.sys};
  std::vector<double> us;
  for (int i = 0; i < round_trip_samples; ++i) {
    stopwatch watch;
    expect("a result", ask<int>(self, c.to, i), i + 1);
    if (i >= round_trip_samples / 10)
      us.push_back(watch.seconds() * 1e6);
  }
  return {{"node_round_trip", quantile(std::move(us), 0.5)}};
}

figures node_pipelined(const setting& how) {
  connection c{how};
  auto run = [&](int n) {
    gate done;
    std::int64_t sum = 0;
    stopwatch watch;
    c.sys.spawn<asker>(c.to, n, done, sum);
    done.pass();
    const auto ns = watch.ns_per(n);
    expect("the sum", sum, std::int64_t{n} * (n - 1) / 2 + n);
    return ns;
  };
  run(node_asks / 10);
  return {{"node_pipelined", run(node_asks)}};
}

figures node_bytes(const setting& how) {
  connection c{how};
  caf::scoped_actor self{c.sys};
  const std::vector<char> bytes(large_bytes, 'x');
  std::vector<double> ms;
  for (int i = 0; i <= large_samples; ++i) {
    stopwatch watch;
    expect("the size", ask<std::uint64_t>(self, c.to, bytes), large_bytes);
    if (i > 0)
      ms.push_back(watch.seconds() * 1e3);
  }
  return {{"node_bytes", quantile(std::move(ms), 0.5)}};
}

} // namespace bench::peer_caf
