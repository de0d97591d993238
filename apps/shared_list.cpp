// SPDX-License-Identifier: MIT
// shared_list: some add to a list, others remove from it; no lock, no race
//
// A plain class becomes an actor: its methods are its messages. A remover that
// finds the list empty waits without polling; it ends when the list is closed
// and empty, not when it happens to be empty. Beside it: the same with a lock.
#include <troupe/troupe.hpp>
#include <troupe/waiting_line.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace {

using clock_type = std::chrono::steady_clock;

class shared_list {
public:
  void add(int x) {
    if (!removers_.serve(x))
      items_.push_back(x);
  }

  troupe::future<std::optional<int>> remove() {
    if (items_.empty() && !is_closed_)
      return removers_.park();
    if (items_.empty())
      return troupe::answer_now<std::optional<int>>();
    bool is_given = false;
    auto answer = troupe::give_now<std::optional<int>>(is_given,
                                                       items_.front());
    if (is_given)
      items_.pop_front();
    return answer;
  }

  void close() {
    is_closed_ = true;
    removers_.serve_all(std::nullopt);
  }

private:
  std::deque<int> items_;
  bool is_closed_ = false;
  troupe::waiting_line<std::optional<int>> removers_;
};

struct sums {
  long long sum = 0;
  std::int64_t count = 0;
  void operator+=(const sums& other) {
    sum += other.sum;
    count += other.count;
  }
};

class adder {
public:
  troupe::task<sums> run(troupe::ref<shared_list> list, int from, int to) {
    sums in;
    for (int i = from; i < to; ++i) {
      co_await list.ask<&shared_list::add>(i);
      in += {i, 1};
    }
    co_return in;
  }
};

class remover {
public:
  troupe::task<sums> run(troupe::ref<shared_list> list) {
    sums out;
    while (true) {
      auto x = co_await list.ask<&shared_list::remove>();
      if (!x)
        break;
      out += {*x, 1};
    }
    co_return out;
  }
};

struct result {
  sums in, out;
  double ms;
};

result with_actors(troupe::system& sys, int adders, int removers, int items) {
  auto began = clock_type::now();
  auto list = sys.spawn<shared_list>();
  std::vector<troupe::future<sums>> in, out;
  for (int i = 0; i < removers; ++i)
    out.push_back(sys.spawn<remover>().ask<&remover::run>(list));
  for (int i = 0; i < adders; ++i)
    in.push_back(sys.spawn<adder>().ask<&adder::run>(list, i * items / adders,
                                                     (i + 1) * items / adders));
  result r{};
  for (auto& f : in)
    r.in += f.get();
  list.tell<&shared_list::close>();
  for (auto& f : out)
    r.out += f.get();
  r.ms = std::chrono::duration<double, std::milli>(clock_type::now() - began)
           .count();
  return r;
}

// What everybody writes first: right only as long as nobody forgets the lock.
result with_a_lock(int adders, int removers, int items) {
  auto began = clock_type::now();
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<int> list;
  bool is_closed = false;
  std::vector<sums> in(static_cast<std::size_t>(adders)),
    out(static_cast<std::size_t>(removers));
  std::vector<std::thread> add, remove;
  for (int i = 0; i < removers; ++i)
    remove.emplace_back([&, &mine = out[static_cast<std::size_t>(i)]] {
      for (;;) {
        std::unique_lock lock{mutex};
        changed.wait(lock, [&] { return !list.empty() || is_closed; });
        if (list.empty())
          return;
        mine += {list.front(), 1};
        list.pop_front();
      }
    });
  for (int i = 0; i < adders; ++i)
    add.emplace_back([&, i, &mine = in[static_cast<std::size_t>(i)]] {
      for (int x = i * items / adders; x < (i + 1) * items / adders; ++x) {
        {
          std::lock_guard lock{mutex};
          list.push_back(x);
        }
        changed.notify_one();
        mine += {x, 1};
      }
    });
  for (auto& t : add)
    t.join();
  {
    std::lock_guard lock{mutex};
    is_closed = true;
  }
  changed.notify_all();
  for (auto& t : remove)
    t.join();
  result r{};
  for (auto& s : in)
    r.in += s;
  for (auto& s : out)
    r.out += s;
  r.ms = std::chrono::duration<double, std::milli>(clock_type::now() - began)
           .count();
  return r;
}

bool report(const char* name, const result& r) {
  auto is_right = r.in.count == r.out.count && r.in.sum == r.out.sum;
  fmt::print("{:<12} in {:>8}  out {:>8}  sums {} / {}  {:>8.1f} ms  {}\n",
             name, r.in.count, r.out.count, r.in.sum, r.out.sum, r.ms,
             is_right ? "ok" : "WRONG");
  return is_right;
}

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    int adders = 2, removers = 2, items = 100'000;
    CLI::App app{
      "shared_list: some add to a list, others remove from it; no "
      "lock, no race"};
    app.add_option("--adders", adders, "how many add")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
    app.add_option("--removers", removers, "how many remove")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
    app.add_option("--items", items, "how many are added in all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }
    auto actors = report("actors", with_actors(sys, adders, removers, items));
    auto lock = report("with a lock", with_a_lock(adders, removers, items));
    return actors && lock ? 0 : 1;
  };
  return troupe::run(argc, argv, body);
}
