// SPDX-License-Identifier: MIT
// host: what a system has to do with other nodes: the loop, the keys, who
// listens, who is connected, what is published. Made on first need; a program
// that never names a node has none of it.
//
// The list of keys: when it has changed, those that are connected are looked up
//        again. One that is not on it twice in a row, a second apart (an editor
//        may just be writing it), is cut off.
// Drain: the first question whether it is idle comes from the system's stop.
//        From then on nobody is let in, and those that are connected know that
//        we leave; what is open goes on.
#pragma once

#include "core/runtime.hpp"
#include "node/connection.hpp"
#include "node/node_core.hpp"

#include <boost/asio/steady_timer.hpp>

#include <filesystem>
#include <map>
#include <set>

namespace troupe::nodes {

class listener;
class session;
class way;

/// Something above connections that lives as long as the system.
class host_user {
public:
  virtual ~host_user() = default;
  virtual bool is_idle() = 0;
  /// Connections end next. Once.
  virtual void on_stop() = 0;
};

class host final : public detail::part {
public:
  /// Errors: closed.
  static host& of(detail::runtime& rt);

  explicit host(detail::runtime& rt);
  ~host() override;

  /// Errors: bad_argument (see system::listen).
  std::string listen(const std::string& address);
  std::shared_ptr<detail::node_core> connect(std::string address,
                                             const connect_options& opts);

  void publish(const std::string& name, detail::cell* c);
  bool unpublish(const std::string& name);
  /// One reference for the caller. Errors: bad_argument.
  detail::cell* published(const std::string& name,
                          const std::string& class_name);

  // -- for connections and sessions -------------------------------------------

  nodes::loop& loop() noexcept { return loop_; }
  detail::runtime& runtime() const noexcept { return runtime_; }
  /// Errors: bad_argument (no keys).
  std::shared_ptr<credentials> keys();
  /// Their folder. If there are none, some are made for this system alone.
  /// Errors: bad_argument (those that there are can't be used).
  std::string keys_or_own();
  [[nodiscard]] connection_options settings() const;
  [[nodiscard]] std::uint64_t incarnation() const noexcept {
    return incarnation_;
  }
  [[nodiscard]] bool is_leaving() const noexcept { return leaving_.load(); }
  /// A connection begins, has shaken hands, has ended. Handshakes of strangers
  /// are few at a time, ours are not: nobody keeps us from others.
  bool add(std::shared_ptr<session> s, bool is_strangers);
  void came_up(const session& s);
  void remove(const session& s);
  /// A line in the log, unless there were many.
  void log_refusal(const std::string& who_and_why);

  void add(std::weak_ptr<host_user> u);
  void remove(const host_user& u);

  bool is_idle() override;
  std::string would_cut() override;
  void stop() override;

private:
  std::vector<std::shared_ptr<session>> all();
  std::vector<std::shared_ptr<host_user>> users();
  void sweep();
  void look_at_list();

  detail::runtime& runtime_;
  const std::uint64_t incarnation_;
  std::atomic<bool> leaving_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<std::uint64_t> refusals_{0};
  std::mutex mutex_;
  std::condition_variable gone_;
  std::shared_ptr<credentials> keys_; // mutex_
  std::string key_folder_;            // mutex_
  std::filesystem::path own_keys_;    // mutex_: to be removed with us
  std::vector<std::shared_ptr<listener>> listeners_;            // mutex_
  std::map<const session*, std::shared_ptr<session>> sessions_; // mutex_
  std::set<const session*> shaking_; // mutex_: of strangers
  std::map<std::string, detail::cell*, std::less<>> published_; // mutex_
  std::vector<std::weak_ptr<way>> ways_;                        // mutex_
  std::vector<std::weak_ptr<host_user>> users_;                 // mutex_
  std::atomic<bool> list_is_new_{true};
  std::string list_seen_;            // the loop's, like the next one
  std::set<const session*> doubted_; // not on the list at the last look
  nodes::loop loop_; // last: its thread ends before the rest goes
  std::unique_ptr<asio::steady_timer> sweeper_;
};

} // namespace troupe::nodes
