// SPDX-License-Identifier: MIT
// web_server: HTTP in front, worker processes behind, which crash on request.
//
//   client ──HTTP──▶ a thread per connection ──task──▶ a worker process
//
// The front only reads and writes; what a request asks for runs in a worker. A
// worker that dies costs the request that it was at, which is answered with 502
// and the reason. SIGHUP or POST /reload starts new workers and lets the old
// ones finish what they have.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using boost::beast::error_code;

struct settings {
  unsigned short port = 8080;
  int workers = 2;
  int check = 0;
};

// -- in a worker --------------------------------------------------------------

struct page {
  unsigned status = 200;
  std::string text;
};

page answer(std::string path) {
  const auto number = [&](std::string_view what) {
    return std::atoi(path.c_str() + what.size());
  };
  if (path == "/")
    return {200, fmt::format("hello from process {}\n", ::getpid())};
  if (path.starts_with("/square/")) {
    const long long n = number("/square/");
    return {200, fmt::format("{}\n", n * n)};
  }
  if (path.starts_with("/slow/")) {
    std::this_thread::sleep_for(std::chrono::milliseconds{number("/slow/")});
    return {200, "at last\n"};
  }
  if (path == "/crash")
    ::raise(SIGSEGV);
  if (path == "/throw")
    throw std::runtime_error{"as you asked"};
  return {404, "there are /, /square/N, /slow/MS, /crash, /throw, /stats\n"};
}

// -- the front ----------------------------------------------------------------

class server : public std::enable_shared_from_this<server> {
public:
  server(troupe::system& sys, const settings& s)
    : sys_(sys),
      settings_(s),
      pool_(make_pool()),
      acceptor_(io_, {asio::ip::make_address_v4("127.0.0.1"), s.port}) {}

  unsigned short port() { return acceptor_.local_endpoint().port(); }

  /// Accepts until `stop`.
  void run() {
    for (;;) {
      tcp::socket socket{io_};
      error_code error;
      acceptor_.accept(socket, error);
      if (stopping_.load())
        return;
      if (error)
        continue;
      limit_waits(socket);
      // A thread for each; too many of them wait for their turn.
      auto c = std::make_shared<connection>(shared_from_this(),
                                            std::move(socket));
      (void)troupe::blocking(sys_, [c] { c->of->serve(c->socket); });
    }
  }

  void stop() {
    stopping_.store(true);
    error_code ignored;
    asio::io_context io;
    tcp::socket last{io}; // wakes accept
    last.connect(acceptor_.local_endpoint(), ignored);
  }

  /// New workers for new requests; the old ones end when they are done.
  void reload() {
    auto fresh = make_pool();
    std::shared_ptr<troupe::process_pool> old;
    {
      const std::lock_guard guard{mutex_};
      old = std::exchange(pool_, std::move(fresh));
    }
    const auto report = old->shutdown(troupe::drain, 30s);
    fmt::print(stderr, "web_server: reloaded; the old workers had done {}\n",
               report.done);
  }

private:
  // A socket lives by the io_context of its server, which may have ended.
  struct connection {
    std::shared_ptr<server> of;
    tcp::socket socket; // goes first
    connection(std::shared_ptr<server> s, tcp::socket t)
      : of(std::move(s)),
        socket(std::move(t)) {}
  };

  std::shared_ptr<troupe::process_pool> make_pool() {
    return std::make_shared<troupe::process_pool>(
      sys_, troupe::process_pool_options{.workers = settings_.workers,
                                         .deadline = 5s});
  }

  static void limit_waits(tcp::socket& s) {
    const timeval limit{10, 0}; // a silent client does not keep a thread
    ::setsockopt(s.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit,
                 sizeof(limit));
    ::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit,
                 sizeof(limit));
  }

  void serve(tcp::socket& socket) {
    boost::beast::flat_buffer buffer;
    for (;;) {
      http::request_parser<http::empty_body> parser;
      parser.header_limit(8192);
      error_code error;
      http::read(socket, buffer, parser, error);
      if (error)
        return;
      const auto& request = parser.get();
      auto found = dispatch(request);
      http::response<http::string_body> response{
        static_cast<http::status>(found.status), request.version()};
      response.set(http::field::server, "troupe");
      response.set(http::field::content_type, "text/plain; charset=utf-8");
      response.keep_alive(request.keep_alive());
      response.body() = std::move(found.text);
      response.prepare_payload();
      http::write(socket, response, error);
      if (error || !request.keep_alive())
        return;
    }
  }

  page dispatch(const http::request<http::empty_body>& request) {
    const std::string path{request.target()};
    if (request.method() == http::verb::post && path == "/reload") {
      reload();
      return {200, "reloaded\n"};
    }
    if (request.method() != http::verb::get)
      return {405, "GET, or POST /reload\n"};
    std::shared_ptr<troupe::process_pool> pool;
    {
      const std::lock_guard guard{mutex_};
      pool = pool_;
    }
    if (path == "/stats") {
      const auto s = pool->stats();
      return {200, fmt::format("{} workers, {} done, {} failed, {} crashes\n",
                               s.workers, s.done, s.failed, s.crashes)};
    }
    try {
      return pool->submit(troupe::fn<&answer>, path).get();
    } catch (const troupe::worker_died& e) {
      return {502, fmt::format("{}\n", e.what())};
    } catch (const troupe::timeout& e) {
      return {504, fmt::format("{}\n", e.what())};
    } catch (const std::exception& e) {
      return {500, fmt::format("{}\n", e.what())};
    }
  }

  troupe::system& sys_;
  const settings settings_;
  std::mutex mutex_;
  std::shared_ptr<troupe::process_pool> pool_; // under mutex_
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::atomic<bool> stopping_{false};
};

// -- the check: a client of our own -------------------------------------------

page fetch(unsigned short port, const std::string& path,
           http::verb verb = http::verb::get) {
  asio::io_context io;
  tcp::socket socket{io};
  socket.connect({asio::ip::make_address_v4("127.0.0.1"), port});
  http::request<http::empty_body> request{verb, path, 11};
  request.set(http::field::host, "localhost");
  request.keep_alive(false);
  http::write(socket, request);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(socket, buffer, response);
  return {response.result_int(), response.body()};
}

// Requests by several clients, some of which kill their worker, and a reload in
// the middle: every other one must be answered as if nothing had happened.
int check(unsigned short port, int requests) {
  std::atomic<int> wrong{0};
  std::atomic<int> crashed{0};
  auto client = [&](int first) {
    for (int i = first; i < requests; i += 4) {
      try {
        if (i % 10 == 7) {
          const auto p = fetch(port, "/crash");
          crashed += p.status == 502;
          wrong += p.status != 502;
        } else if (i == requests / 2) {
          wrong += fetch(port, "/reload", http::verb::post).status != 200;
        } else {
          const auto p = fetch(port, fmt::format("/square/{}", i));
          wrong += p.status != 200
                   || p.text != fmt::format("{}\n", 1LL * i * i);
        }
      } catch (const std::exception& e) {
        fmt::print(stderr, "request {}: {}\n", i, e.what());
        ++wrong;
      }
    }
  };
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c)
    clients.emplace_back(client, c);
  for (auto& c : clients)
    c.join();
  fmt::print(
    "{} requests by 4 clients: {} killed their worker and got 502, {} "
    "others were answered wrongly\n",
    requests, crashed.load(), wrong.load());
  return wrong == 0 ? 0 : 1;
}

int work(troupe::system& sys, const settings& s) {
  auto front = std::make_shared<server>(sys, s);
  troupe::on_signal(SIGHUP, [&sys, front](int) {
    (void)troupe::blocking(sys, [front] { front->reload(); });
  });
  if (s.check == 0) {
    fmt::print("http://127.0.0.1:{}/ (^C ends, SIGHUP reloads)\n",
               front->port());
    std::fflush(stdout);
    front->run();
    return 0;
  }
  std::thread listening{[&] { front->run(); }};
  const auto status = check(front->port(), s.check);
  front->stop();
  listening.join();
  troupe::on_signal(SIGHUP, {});
  return status;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "web_server: HTTP in front, worker processes behind, which crash on "
        "request.\n\nIt teaches: a crash costs the request that caused it (502 "
        "with the reason), nobody\nelse notices; workers can be replaced while "
        "requests come (SIGHUP, POST /reload).\nListens on the loopback "
        "interface only. Exit codes: 0 fine, 1 the check failed,\n2 a bad "
        "option."};
      app.add_option("--port", s.port, "0: any that is free")
        ->capture_default_str();
      app.add_option("--workers", s.workers, "Processes")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
      app
        .add_option("--check", s.check,
                    "Send so many requests to itself, then end; 0: serve")
        ->check(CLI::Range(0, 1'000'000))
        ->capture_default_str();
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      if (s.check != 0)
        s.port = 0;
      return work(sys, s);
    });
}
