// SPDX-License-Identifier: MIT
// relay: a network between two nodes that does what a test says: it passes
// bytes on, late, or in one direction only, or not at all. Unlike a cut cable
// it needs no rights on the machine.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <chrono>
#include <list>
#include <string>
#include <thread>

namespace test {

class relay {
public:
  /// To a port on loopback: "127.0.0.1:7000".
  explicit relay(const std::string& to)
    : to_(boost::asio::ip::make_address("127.0.0.1"),
          static_cast<std::uint16_t>(std::stoi(to.substr(to.rfind(':') + 1)))),
      acceptor_(context_, {boost::asio::ip::make_address("127.0.0.1"), 0}),
      thread_([this] { run(); }) {}
  ~relay() {
    over_.store(true);
    thread_.join();
  }
  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;

  std::string address() const {
    return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }

  /// What goes to the node, and what comes from it, waits.
  void hold(bool there, bool back) {
    holds_there_.store(there);
    holds_back_.store(back);
  }
  /// Everything takes so long.
  void delay(std::chrono::milliseconds d) { delay_.store(d); }
  /// What goes to the node: about a megabyte a second.
  void slow_down() { is_slow_.store(true); }

private:
  using tcp = boost::asio::ip::tcp;
  struct link {
    tcp::socket near, far;
  };

  void run() {
    boost::system::error_code ec;
    static_cast<void>(acceptor_.non_blocking(true, ec));
    while (!over_.load()) {
      auto any = take_new();
      links_.remove_if([&](link& l) {
        return !pass(l.near, l.far, holds_there_.load(), is_slow_.load(), any)
               || !pass(l.far, l.near, holds_back_.load(), false, any);
      });
      if (!any)
        std::this_thread::sleep_for( // sleeps: between two looks
          std::chrono::milliseconds{1});
    }
  }

  bool take_new() {
    boost::system::error_code ec;
    link l{tcp::socket{context_}, tcp::socket{context_}};
    static_cast<void>(acceptor_.accept(l.near, ec));
    if (ec)
      return false;
    static_cast<void>(l.far.connect(to_, ec));
    if (!ec)
      links_.push_back(std::move(l));
    return true;
  }

  // False when that was the end of the link.
  bool pass(tcp::socket& from, tcp::socket& to, bool held, bool slow,
            bool& any) {
    boost::system::error_code ec;
    if (held || from.available(ec) == 0) {
      // An end is seen by a read of nothing that would not block.
      static_cast<void>(from.non_blocking(true, ec));
      char c = 0;
      const auto n = held ? 1
                          : from.receive(boost::asio::buffer(&c, 1),
                                         tcp::socket::message_peek, ec);
      return n != 0 || ec == boost::asio::error::would_block;
    }
    any = true;
    const auto n = from.read_some(
      boost::asio::buffer(bytes_, slow ? 4096 : sizeof(bytes_)), ec);
    if (ec)
      return false;
    if (slow)
      std::this_thread::sleep_for( // sleeps: this network is narrow
        std::chrono::milliseconds{4});
    if (const auto d = delay_.load(); d.count() != 0)
      std::this_thread::sleep_for(d); // sleeps: this network is slow
    static_cast<void>(to.non_blocking(false, ec));
    boost::asio::write(to, boost::asio::buffer(bytes_, n), ec);
    return !ec;
  }

  boost::asio::io_context context_;
  const tcp::endpoint to_;
  tcp::acceptor acceptor_;
  std::list<link> links_; // the thread's
  char bytes_[65536] = {};
  std::atomic<bool> holds_there_{false}, holds_back_{false}, is_slow_{false},
    over_{false};
  std::atomic<std::chrono::milliseconds> delay_{};
  std::thread thread_;
};

} // namespace test
