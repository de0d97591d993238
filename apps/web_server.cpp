// SPDX-License-Identifier: MIT
// web_server: HTTP in front, worker processes behind, which crash on request.
//
//   client ──HTTP──▶ a thread per connection ──task──▶ a worker process
//
// The front only reads and writes; what a request asks for runs in a worker. A
// worker that dies costs the request that it was at, which is answered with 502
// and the reason. SIGHUP or POST /reload starts new workers and lets the old
// ones finish what they have. A client that is silent for 10 s is let go; ^C
// answers what was asked and hangs up on the others.
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

#include "patient_stream.hpp"

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
  int patience_s = 10;
};

// -- in a worker --------------------------------------------------------------

struct page {
  unsigned status = 200;
  std::string text;
};

// The whole of `text` as a number in the range; else why not.
page with_number(std::string_view text, long long most,
                 page (*made)(long long)) {
  long long n = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, n);
  if (error == std::errc::invalid_argument || at != end)
    return {400, fmt::format("'{}' is no number\n", text)};
  if (error != std::errc{} || n > most || n < -most)
    return {400, fmt::format("{} is past the limit of {}\n", text, most)};
  return made(n);
}

constexpr long long square_max = 3'037'000'499; // its square fits 63 bits
constexpr long long slow_ms_max = 60'000;

page square(long long n) {
  return {200, fmt::format("{}\n", n * n)};
}

page slow(long long ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds{ms});
  return {200, "at last\n"};
}

page answer(std::string path) {
  constexpr std::string_view squares = "/square/", slows = "/slow/";
  const std::string_view asked{path};
  if (path == "/")
    return {200, fmt::format("hello from process {}\n", ::getpid())};
  if (asked.starts_with(squares))
    return with_number(asked.substr(squares.size()), square_max, &square);
  if (asked.starts_with(slows))
    return with_number(asked.substr(slows.size()), slow_ms_max, &slow);
  if (path == "/crash")
    ::raise(SIGSEGV);
  if (path == "/throw")
    throw std::runtime_error{"as you asked"};
  return {404, "there are /, /square/N, /slow/MS, /crash, /throw, /stats\n"};
}

// -- the front ----------------------------------------------------------------

using request_text = http::request_parser<http::string_body>;

class server : public std::enable_shared_from_this<server> {
public:
  server(troupe::system& sys, const settings& s)
    : sys_(sys),
      settings_(s),
      pool_(make_pool()),
      acceptor_(io_, {asio::ip::make_address_v4("127.0.0.1"), s.port}) {}

  unsigned short port() { return acceptor_.local_endpoint().port(); }

  /// Accepts until `stop`, or until the system has stopped.
  void run() {
    while (!stopping_.load()) {
      try {
        accept_one();
      } catch (const troupe::closed&) {
        return;
      } catch (const std::exception& e) {
        if (stopping_.load())
          return;
        // No descriptors left, say: some come back when connections end.
        fmt::print(stderr, "web_server: accept: {}\n", e.what());
        std::this_thread::sleep_for(100ms); // sleeps: or it would spin
      }
    }
  }

  /// Accepts and reads nothing any more; what was asked is answered.
  void stop() {
    const std::lock_guard guard{mutex_};
    stopping_.store(true);
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR); // wakes accept
    for (auto* s : open_)
      s->hang_up();
  }

  bool is_stopping() const { return stopping_.load(); }

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
    patient_stream stream; // goes first
    connection(std::shared_ptr<server> s, tcp::socket t)
      : of(std::move(s)),
        stream(std::move(t)) {
      const std::lock_guard guard{of->mutex_};
      of->open_.insert(&stream);
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection() {
      const std::lock_guard guard{of->mutex_};
      of->open_.erase(&stream);
    }
  };

  std::shared_ptr<troupe::process_pool> make_pool() {
    return std::make_shared<troupe::process_pool>(
      sys_, troupe::process_pool_options{.workers = settings_.workers,
                                         .deadline = 5s});
  }

  std::shared_ptr<troupe::process_pool> pool() {
    const std::lock_guard guard{mutex_};
    return pool_;
  }

  void accept_one() {
    tcp::socket socket{io_};
    acceptor_.accept(socket);
    // A thread for each; too many of them wait for their turn.
    auto c = std::make_shared<connection>(shared_from_this(),
                                          std::move(socket));
    (void)troupe::blocking(sys_, [c] { c->of->serve(c->stream); });
  }

  void serve(patient_stream& stream) {
    boost::beast::flat_buffer buffer;
    for (auto more = true; more && !stopping_.load();) {
      request_text parser;
      parser.header_limit(8192);
      parser.body_limit(4096); // nobody here reads one
      stream.allow(std::chrono::seconds{settings_.patience_s});
      error_code error;
      http::read(stream, buffer, parser, error);
      const auto& request = parser.get();
      if (const auto found = what_is_wrong(error); found.status != 0) {
        write(stream, request, found, false);
        stream.linger();
        return;
      }
      more = !error && request.keep_alive();
      if (error || !write(stream, request, dispatch(request), more))
        return;
    }
  }

  // What a client is told whose request could not be read; status 0: nothing,
  // it is gone or silent.
  static page what_is_wrong(error_code error) {
    if (error == http::error::header_limit)
      return {431, "a header may have 8 KiB\n"};
    if (error == http::error::body_limit)
      return {413, "a body may have 4 KiB\n"};
    const error_code at_its_end = http::error::end_of_stream;
    if (error.category() == at_its_end.category() && error != at_its_end
        && error != http::error::partial_message)
      return {400, fmt::format("this is no request: {}\n", error.message())};
    return {0, {}};
  }

  // Whether it went out.
  static bool write(patient_stream& stream, const request_text::value_type& to,
                    const page& found, bool keep_alive) {
    const auto is_head = to.method() == http::verb::head;
    http::response<http::string_body> response{
      static_cast<http::status>(found.status), 11};
    response.set(http::field::server, "troupe");
    response.set(http::field::content_type, "text/plain; charset=utf-8");
    if (found.status == 405)
      response.set(http::field::allow, "GET, HEAD");
    response.keep_alive(keep_alive);
    response.body() = found.text;
    response.prepare_payload(); // HEAD has the length, too
    http::response_serializer<http::string_body> bytes{response};
    stream.allow(10s);
    error_code error;
    if (is_head)
      http::write_header(stream, bytes, error);
    else
      http::write(stream, bytes, error);
    return !error;
  }

  page dispatch(const request_text::value_type& request) {
    const std::string path{request.target()};
    try {
      if (request.method() == http::verb::post && path == "/reload") {
        reload();
        return {200, "reloaded\n"};
      }
      if (request.method() != http::verb::get
          && request.method() != http::verb::head)
        return {405, "GET and HEAD, or POST /reload\n"};
      if (path == "/stats") {
        const auto s = pool()->stats();
        return {200, fmt::format("{} workers, {} done, {} failed, {} crashes\n",
                                 s.workers, s.done, s.failed, s.crashes)};
      }
      return ask_a_worker(path);
    } catch (const troupe::worker_died& e) {
      return {502, fmt::format("{}\n", e.what())};
    } catch (const troupe::timeout& e) {
      return {504, fmt::format("{}\n", e.what())};
    } catch (const troupe::closed& e) {
      return {503, fmt::format("{}\n", e.what())};
    } catch (const std::exception& e) {
      return {500, fmt::format("{}\n", e.what())};
    }
  }

  page ask_a_worker(const std::string& path) {
    for (auto asked = pool();;) {
      try {
        return asked->submit(troupe::fn<&answer>, path).get();
      } catch (const troupe::closed&) {
        // A reload came between: there are new workers by now, or this is the
        // end of all.
        auto now = pool();
        if (now == asked)
          throw;
        asked = std::move(now);
      }
    }
  }

  troupe::system& sys_;
  const settings settings_;
  std::mutex mutex_;
  std::shared_ptr<troupe::process_pool> pool_; // under mutex_
  std::set<patient_stream*> open_;             // likewise
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
int check(server& front, int requests) {
  const auto port = front.port();
  std::atomic<int> wrong{0};
  std::atomic<int> crashed{0};
  auto client = [&](int first) {
    for (int i = first; i < requests && !front.is_stopping(); i += 4) {
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
  if (front.is_stopping())
    return 1; // interrupted
  fmt::print(
    "{} requests by 4 clients: {} killed their worker and got 502, {} "
    "others were answered wrongly\n",
    requests, crashed.load(), wrong.load());
  return wrong == 0 ? 0 : 1;
}

int work(troupe::system& sys, const settings& s) {
  auto front = std::make_shared<server>(sys, s);
  for (const int number : {SIGINT, SIGTERM}) // the drain begins with us
    troupe::on_signal(number, [front](int) { front->stop(); });
  troupe::on_signal(SIGHUP, [&sys, front](int) {
    if (!front->is_stopping())
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
  const auto status = check(*front, s.check);
  front->stop();
  listening.join();
  for (const int number : {SIGINT, SIGTERM, SIGHUP})
    troupe::on_signal(number, {});
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
      app
        .add_option("--patience-s", s.patience_s,
                    "How long a client may take for a request")
        ->check(CLI::Range(1, 3600))
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
