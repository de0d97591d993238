// SPDX-License-Identifier: MIT
// session: the conversation with one incarnation of another node, from its
// hello to its end. wire::peer has what is said about actors; here is what
// nodes say beside that: tasks, constructors, names, farewells.
#pragma once

#include "node/connection.hpp"
#include "node/node_core.hpp"
#include "wire/peer.hpp"

#include <map>
#include <mutex>
#include <stop_token>
#include <unordered_map>
#include <vector>

namespace troupe::nodes {

class host;
namespace core = troupe::detail;

/// Of an error that answers a task: nothing of it has run.
inline constexpr std::uint16_t flag_unbegun = 1;

/// Who sends tasks through sessions. Called by the loop, with no lock held.
class task_sender {
public:
  virtual ~task_sender() = default;
  /// A result or an error of one of its tasks; once for each.
  virtual void on_answer(session& from, const wire::frame_header& head,
                         std::span<const std::byte> payload) = 0;
  /// There will be no more answers.
  virtual void on_end(session& from, const std::exception_ptr& why) = 0;
};

class session final : public wire::peer, public connection_owner {
public:
  /// `core`: of a side that connects, whose it is.
  session(host& h, std::weak_ptr<core::node_core> core);

  void start(std::shared_ptr<connection> c) { connection_ = std::move(c); }
  [[nodiscard]] connection& road() noexcept { return *connection_; }
  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  /// Of the other side. Not 0 once it is up.
  [[nodiscard]] std::uint64_t incarnation() const noexcept {
    return incarnation_.load();
  }
  /// It drains, or has ended: nothing new should be sent.
  [[nodiscard]] bool is_leaving() const noexcept { return leaving_.load(); }

  /// Tells it that we drain.
  void say_leaving() noexcept;
  /// Nobody has a handle to its node any more, and none goes through it.
  [[nodiscard]] bool is_orphan();

  // -- questions --------------------------------------------------------------

  /// Makes an actor there that `stand_in` stands for; its number.
  std::uint64_t spawn(core::cell* stand_in, const wire::entry& constructor,
                      const std::function<void(wire::writer&)>& arguments,
                      std::int64_t limit_ns);
  core::cell* lookup(std::string_view name, const core::class_info& of,
                     std::int64_t limit_ns);
  void ping(std::int64_t limit_ns);

  // -- tasks ------------------------------------------------------------------

  /// `s` hears of the end; false if that has been.
  bool add_sender(const std::shared_ptr<task_sender>& s);
  /// Sends entry `head.name` with its arguments; the number of the call.
  /// Errors: node_lost (it has ended).
  std::uint64_t send_task(const std::shared_ptr<task_sender>& from,
                          wire::frame_header head,
                          std::span<const std::byte> arguments);
  /// Triggers its stop_token.
  void cancel_task(std::uint64_t call);
  /// More can be sent without a long queue of bytes.
  [[nodiscard]] bool takes_more() { return has_room(); }

  // -- connection_owner, in the loop ------------------------------------------

  void on_up(const wire::hello& theirs, const std::string& key) override;
  void on_frame(const wire::frame_header& head,
                std::span<const std::byte> payload) override;
  void on_end(std::exception_ptr why) override;
  void on_refusal(const std::string& who_and_why) override;

  // -- remote_link ------------------------------------------------------------

  void stop(std::uint64_t target, bool kill) noexcept override;
  void look(core::state_base& s) noexcept override;

  /// Answers task `call` with what `body` writes or throws; for jobs.
  void answer_with(std::uint64_t call,
                   const std::function<void(wire::writer&)>& body) noexcept;
  void forget_task(std::uint64_t call);

protected:
  void transmit(const wire::frame_header& head,
                std::span<const std::byte> payload,
                wire::attachments& road) override;
  void transmit_buffer(const wire::frame_header& head, wire::buffer payload,
                       wire::attachments& road) override;
  [[nodiscard]] bool has_room() override;
  [[nodiscard]] bool has_attachments() const override { return false; }
  [[nodiscard]] std::size_t open_calls_max() const override;
  [[nodiscard]] std::string name() const override;

private:
  std::shared_ptr<session> self() {
    return std::static_pointer_cast<session>(shared_from_this());
  }
  void take_task_answer(const wire::frame_header& head,
                        std::span<const std::byte> payload);
  void serve_task(const wire::frame_header& head,
                  std::span<const std::byte> payload);
  void serve_spawn(const wire::frame_header& head,
                   std::span<const std::byte> payload);
  void serve_lookup(const wire::frame_header& head,
                    std::span<const std::byte> payload);

  host& host_;
  const std::weak_ptr<core::node_core> core_;
  std::shared_ptr<connection> connection_;
  std::string key_;
  std::atomic<std::uint64_t> incarnation_{0};
  const bool had_core_;
  std::atomic<bool> leaving_{false};
  std::mutex tasks_mutex_;
  std::map<std::uint64_t, std::stop_source> tasks_; // tasks_mutex_: theirs
  std::unordered_map<std::uint64_t, std::weak_ptr<task_sender>>
    sent_;                                          // tasks_mutex_: ours
  std::vector<std::weak_ptr<task_sender>> senders_; // tasks_mutex_
  std::uint64_t last_task_ = 0;                     // tasks_mutex_
  bool ended_ = false;                              // tasks_mutex_
};

} // namespace troupe::nodes
