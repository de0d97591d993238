// SPDX-License-Identifier: MIT
// What another process says about actors, from a peer that plays no fair game.
#define BOOST_TEST_MODULE wire_peer
#include "support/fixture.hpp"

#include "wire/failure.hpp"
#include "wire/peer.hpp"

#include <map>
#include <mutex>
#include <string>

namespace {

using namespace troupe;
using wire::frame_kind;
using namespace std::chrono_literals;

class clerk {
public:
  int file(int n) { return total_ += n; }

private:
  int total_ = 0;
};

using ask_file = detail::ask_message<detail::body_of<clerk, &clerk::file>>;
using tell_file = detail::tell_message<detail::body_of<clerk, &clerk::file>>;

template <class Message>
wire::entry_id name_of() {
  return Message::table.remote->entry().id();
}

class no_descriptors final : public wire::attachment_carrier {
public:
  bool attach(std::shared_ptr<const wire::segment>, std::uint32_t&) override {
    return false;
  }
  int take_attached(std::uint32_t) override { return -1; }
};

/// Keeps the answers: a value, or the type of an error.
class recorder final : public wire::peer {
public:
  using peer::peer;
  void look(detail::state_base&) noexcept override {}

  std::string answer_to(std::uint64_t call) {
    const std::lock_guard guard{mutex_};
    auto i = answers_.find(call);
    return i == answers_.end() ? "none yet" : i->second;
  }
  std::size_t answers() {
    const std::lock_guard guard{mutex_};
    return answers_.size();
  }

protected:
  void transmit(const wire::frame_header& head,
                std::span<const std::byte> payload,
                wire::attachments&) override {
    wire::reader in{payload};
    std::string text;
    if (head.kind == frame_kind::result) {
      int n = 0;
      wire::decode(in, n);
      text = std::to_string(n);
    } else if (head.kind == frame_kind::error) {
      wire::failure record;
      wire::decode(in, record);
      text = record.type;
    } else {
      return;
    }
    const std::lock_guard guard{mutex_};
    answers_[head.call] = text;
  }
  std::size_t open_calls_max() const override { return 2; }
  std::string name() const override { return "the recorder"; }

private:
  std::mutex mutex_;
  std::map<std::uint64_t, std::string> answers_;
};

struct conversation {
  test::live_system home{{.workers = 1, .log_level = "off"}};
  ref<clerk> mine = home.sys.spawn<clerk>();
  std::shared_ptr<recorder> them =
    std::make_shared<recorder>(home.sys.runtime());
  std::uint64_t number = them->export_actor(mine.get());

  ~conversation() {
    them->closed(std::make_exception_ptr(node_lost{"the test is over"}));
  }

  void receive(frame_kind kind, std::uint64_t call, wire::entry_id name) {
    wire::buffer bytes;
    wire::writer out{bytes};
    wire::encode(out, 5);
    no_descriptors road;
    them->receive({.kind = kind, .call = call, .target = number, .name = name},
                  bytes.bytes(), road);
  }

  std::string answer(std::uint64_t call) {
    test::eventually(10s, [&] { return them->answer_to(call) != "none yet"; });
    return them->answer_to(call);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(a_peer, conversation)

BOOST_AUTO_TEST_CASE(smoke) {
  receive(frame_kind::call, 1, name_of<ask_file>());
  BOOST_TEST(answer(1) == "5");
  receive(frame_kind::tell, 0, name_of<tell_file>());
  receive(frame_kind::call, 2, name_of<ask_file>());
  BOOST_TEST(answer(2) == "15");
  BOOST_TEST(!them->is_busy());
}

// It was answered, and the count of calls that are served went below zero: no
// later call was let in.
BOOST_AUTO_TEST_CASE(that_tells_what_is_asked_gets_no_answer) {
  for (int i = 0; i < 5; ++i)
    receive(frame_kind::tell, 7, name_of<ask_file>());
  receive(frame_kind::call, 1, name_of<ask_file>());
  BOOST_TEST(answer(1) == "5");
  BOOST_TEST(them->answers() == 1u);
  BOOST_TEST(!them->is_busy());
}

// It waited for ever, and so did we for the call's end.
BOOST_AUTO_TEST_CASE(that_asks_what_is_told_gets_an_error) {
  for (std::uint64_t call = 1; call < 6; ++call) {
    receive(frame_kind::call, call, name_of<tell_file>());
    BOOST_TEST(answer(call) == "troupe::decode_error");
  }
  receive(frame_kind::call, 9, name_of<ask_file>());
  BOOST_TEST(answer(9) == "5");
  BOOST_TEST(!them->is_busy());
}

BOOST_AUTO_TEST_SUITE_END()
