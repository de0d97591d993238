// SPDX-License-Identifier: MIT
// node_core: what a troupe::node is a handle to: an address, and the session
// with whoever is there at present.
//
//   connecting ─▶ up ─▶ down ─(backoff)─▶ connecting ...      any ─▶ closed
//
// The first connect that fails closes it. All changes are made in the loop.
#pragma once

#include "troupe/node.hpp"

#include <condition_variable>
#include <mutex>
#include <vector>

namespace troupe::nodes {

class host;
class session;

} // namespace troupe::nodes

namespace troupe::detail {

class node_core;

/// Who wants to know when a node comes and when it goes for good. Called by
/// the loop, or by whoever closes the node; with no lock held.
class node_watcher {
public:
  virtual ~node_watcher() = default;
  virtual void came_up(node_core& n,
                       std::shared_ptr<troupe::nodes::session> s) = 0;
  /// It never comes again.
  virtual void went_for_good(node_core& n, const std::exception_ptr& why) = 0;
};

class node_core : public std::enable_shared_from_this<node_core> {
public:
  virtual ~node_core() = default;

  /// The present session. Errors: node_lost that says why there is none.
  virtual std::shared_ptr<troupe::nodes::session> session() = 0;
  virtual std::int64_t limit_ns() const = 0;
  virtual const std::string& address() const = 0;
  virtual std::string key() const = 0;
  virtual bool await_up(std::int64_t limit_ns) = 0;
  virtual void close() = 0;
  /// Tells `w` from now on; what is so already, at once.
  virtual void watch(std::weak_ptr<node_watcher> w) = 0;

  // -- the loop's -------------------------------------------------------------

  virtual void came_up(std::shared_ptr<troupe::nodes::session> s) = 0;
  virtual void went_down(std::exception_ptr why) = 0;
};

} // namespace troupe::detail
