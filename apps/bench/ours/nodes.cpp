// SPDX-License-Identifier: MIT
// nodes: an actor in another process, over loopback, encrypted.

#include "other_process.hpp"
#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <csignal>
#include <deque>
#include <filesystem>
#include <thread>

namespace bench::ours {

namespace {

class server {
public:
  int next(int x) { return x + 1; }
  std::uint64_t size(const std::vector<char>& bytes) { return bytes.size(); }
  void hang() {
    for (;;)
      std::this_thread::sleep_for(1s);
  }
};

// Keys for both sides, gone with the run.
class key_folder {
public:
  key_folder() {
    auto name =
      (std::filesystem::temp_directory_path() / "troupe-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), name};
    path_ = name;
    setenv("TROUPE_KEYS", path_.c_str(), 1);
    static_cast<void>(other_process{{"keys", "new"}}.line());
  }
  ~key_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  key_folder(const key_folder&) = delete;
  key_folder& operator=(const key_folder&) = delete;

private:
  std::filesystem::path path_;
};

struct there {
  other_process process;
  std::string address;

  explicit there(const setting& how)
    : process({"node", "--listen", "127.0.0.1:0", "--with-stdin",
               "--troupe-workers=" + std::to_string(how.workers)}),
      address(process.line()) {
    address = address.substr(address.rfind(' ') + 1);
  }
};

struct connection {
  key_folder keys;
  there node;
  troupe::system sys;
  troupe::ref<server> to;

  explicit connection(const setting& how)
    : node(how),
      sys(options_of(how)),
      to(sys.spawn<server>(troupe::on_node{sys.connect(node.address)})) {}
};

} // namespace

figures node_round_trip(const setting& how) {
  connection c{how};
  std::vector<double> us;
  for (int i = 0; i < round_trip_samples; ++i) {
    stopwatch watch;
    expect("a result", c.to.ask<&server::next>(i).get(), i + 1);
    if (i >= round_trip_samples / 10)
      us.push_back(watch.seconds() * 1e6);
  }
  return {{"node_round_trip", quantile(std::move(us), 0.5)}};
}

figures node_pipelined(const setting& how) {
  connection c{how};
  auto run = [&](int n) {
    std::deque<troupe::future<int>> open;
    std::int64_t sum = 0;
    auto take = [&] {
      sum += open.front().get();
      open.pop_front();
    };
    stopwatch watch;
    for (int i = 0; i < n; ++i) {
      if (open.size() == node_window)
        take();
      open.push_back(c.to.ask<&server::next>(i));
    }
    while (!open.empty())
      take();
    const auto ns = watch.ns_per(n);
    expect("the sum", sum, std::int64_t{n} * (n - 1) / 2 + n);
    return ns;
  };
  run(node_asks / 10);
  return {{"node_pipelined", run(node_asks)}};
}

figures node_bytes(const setting& how) {
  connection c{how};
  const std::vector<char> bytes(large_bytes, 'x');
  std::vector<double> ms;
  for (int i = 0; i <= large_samples; ++i) {
    stopwatch watch;
    expect("the size", c.to.ask<&server::size>(bytes).get(), large_bytes);
    if (i > 0)
      ms.push_back(watch.seconds() * 1e3);
  }
  return {{"node_bytes", quantile(std::move(ms), 0.5)}};
}

figures node_lost(const setting& how) {
  const key_folder keys;
  counted_system sys{how};
  std::vector<double> ms;
  for (int i = 0; i < crash_samples; ++i) {
    there node{how};
    auto n = sys.connect(node.address, {.reconnect = false});
    auto s = sys.spawn<server>(troupe::on_node{n});
    expect("a result", s.ask<&server::next>(i).get(), i + 1);
    s.tell<&server::hang>();
    auto f = s.ask<&server::next>(i);
    static_cast<void>(n.ping()); // both are there
    stopwatch watch;
    kill(node.process.pid(), SIGKILL);
    try {
      f.get();
    } catch (const troupe::node_lost&) {
      ms.push_back(watch.seconds() * 1e3);
    }
  }
  expect("the losses", ms.size(), static_cast<std::size_t>(crash_samples));
  return {{"node_lost", quantile(std::move(ms), 0.99)}};
}

} // namespace bench::ours
