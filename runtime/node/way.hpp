// SPDX-License-Identifier: MIT
// way: from here to an address, over and over: what troupe::node is a handle to
// (node_core.hpp has its states).
#pragma once

#include "node/connection.hpp"
#include "node/node_core.hpp"

#include <boost/asio/steady_timer.hpp>

#include <random>

namespace troupe::nodes {

class way final : public detail::node_core {
public:
  way(host& h, std::string address, const connect_options& opts);

  /// Waits for the first connection.
  /// Errors: timeout, node_lost, wrong_build, bad_argument (no such host).
  void connect_first();

  std::shared_ptr<nodes::session> session() override;
  std::int64_t limit_ns() const override { return options_.deadline.ns(); }
  const std::string& address() const override { return address_; }
  std::string key() const override;
  std::uint64_t incarnation() const noexcept { return incarnation_.load(); }
  bool await_up(std::int64_t limit_ns) override;
  void close() override;
  void watch(std::weak_ptr<detail::node_watcher> w) override;

  void came_up(std::shared_ptr<nodes::session> s) override;
  void went_down(std::exception_ptr why) override;

private:
  std::shared_ptr<way> self() {
    return std::static_pointer_cast<way>(shared_from_this());
  }
  void attempt();
  void begin(std::vector<tcp::endpoint> where);
  void fail(std::exception_ptr why);
  void try_later();
  std::vector<std::shared_ptr<detail::node_watcher>> watchers();
  void tell_end(const std::exception_ptr& why);
  bool wait_while_connecting(std::int64_t until);

  host& host_;
  const std::string address_;
  const connect_options options_;
  const std::shared_ptr<asio::io_context> context_;
  asio::steady_timer pause_; // the loop's, like the next two
  std::chrono::nanoseconds backoff_;
  std::minstd_rand jitter_{std::random_device{}()};
  std::atomic<std::uint64_t> incarnation_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<nodes::session> session_; // mutex_: the present one
  std::shared_ptr<connection> begun_;       // mutex_: on the way to one
  std::string key_;                         // mutex_
  std::exception_ptr why_;                  // mutex_: no session
  std::vector<std::weak_ptr<detail::node_watcher>> watchers_; // mutex_
  bool was_up_ = false;                                       // mutex_
  bool closed_ = false;                                       // mutex_
};

} // namespace troupe::nodes
