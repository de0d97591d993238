// SPDX-License-Identifier: MIT
#include "troupe/launch.hpp"

#include "core/log.hpp"
#include "node/host.hpp"
#include "sched/worker.hpp"
#include "troupe/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace troupe::detail {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t local_max = 256;
// What a command may say before the node does: banners of ssh, say.
constexpr std::size_t preface_bytes_max = std::size_t{64} << 10;
constexpr std::chrono::seconds farewell{1};
constexpr std::size_t waiters_max = 32;
constexpr std::chrono::milliseconds pause_max{1000};
constexpr std::string_view announcement = "listening on ";

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

} // namespace

struct launched_process {
  pid_t pid = 0; // 0: reaped
  int in = -1;   // its standard input
  int out = -1;
  std::string said; // and not used yet

  launched_process() = default;
  launched_process(const launched_process&) = delete;
  launched_process& operator=(const launched_process&) = delete;

  ~launched_process() {
    if (in >= 0)
      ::close(in);
    if (out >= 0)
      ::close(out);
    if (pid == 0)
      return;
    const auto until = clock::now() + farewell;
    while (!reap(WNOHANG) && clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
    if (pid != 0) {
      ::kill(-pid, SIGKILL);
      reap(0);
    }
  }

  bool reap(int flags) noexcept {
    if (pid == 0)
      return true;
    auto rc = ::waitpid(pid, nullptr, flags);
    while (rc < 0 && errno == EINTR)
      rc = ::waitpid(pid, nullptr, flags);
    if (rc == 0)
      return false;
    pid = 0;
    return true;
  }

  // A line that it writes. Errors: timeout, node_lost (it has ended).
  std::string line(clock::time_point until, const std::string& what) {
    const sched::blocking_section section;
    for (;;) {
      if (const auto end = said.find('\n'); end != std::string::npos) {
        auto text = said.substr(0, end);
        said.erase(0, end + 1);
        return text;
      }
      if (said.size() > preface_bytes_max)
        throw node_lost{what + ": it says too much and not where it listens"};
      const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
      if (left.count() <= 0)
        throw timeout{what + ": it does not say in time where it listens"};
      pollfd p{out, POLLIN, 0};
      const auto wait = std::min<std::int64_t>(left.count(), INT_MAX);
      if (::poll(&p, 1, static_cast<int>(wait)) <= 0)
        continue;
      char bytes[4096];
      const auto n = ::read(out, bytes, sizeof(bytes));
      if (n == 0)
        throw node_lost{what
                        + ": it has ended without saying where it listens; "
                          "what it said stands in its error output"};
      if (n > 0)
        said.append(bytes, static_cast<std::size_t>(n));
      else if (errno != EINTR)
        fail("reading what a node says");
    }
  }
};

namespace {

struct spawn_settings {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  spawn_settings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    // A group of its own: ^C in a terminal is for us, and we tell it.
    ::posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t signals;
    sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP
                                              | POSIX_SPAWN_SETSIGMASK
                                              | POSIX_SPAWN_SETSIGDEF);
  }
  ~spawn_settings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  spawn_settings(const spawn_settings&) = delete;
  spawn_settings& operator=(const spawn_settings&) = delete;
};

std::unique_ptr<launched_process> spawn_process(const std::string& program,
                                                std::vector<std::string> args,
                                                const std::string& keys) {
  auto made = std::make_unique<launched_process>();
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0)
    fail("a pipe for a node");
  made->in = in[1];
  if (::pipe2(out, O_CLOEXEC) != 0) {
    ::close(in[0]);
    fail("a pipe for a node");
  }
  made->out = out[0];
  spawn_settings how;
  ::posix_spawn_file_actions_adddup2(&how.actions, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&how.actions, out[1], STDOUT_FILENO);
  std::vector<char*> words;
  for (auto& a : args)
    words.push_back(a.data());
  words.push_back(nullptr);
  std::vector<std::string> variables;
  for (char** e = environ; *e != nullptr; ++e)
    if (keys.empty() || std::strncmp(*e, "TROUPE_KEYS=", 12) != 0)
      variables.emplace_back(*e);
  if (!keys.empty())
    variables.push_back("TROUPE_KEYS=" + keys);
  std::vector<char*> environment;
  for (auto& v : variables)
    environment.push_back(v.data());
  environment.push_back(nullptr);
  const int rc = ::posix_spawn(&made->pid, program.c_str(), &how.actions,
                               &how.attributes, words.data(),
                               environment.data());
  ::close(in[0]);
  ::close(out[1]);
  if (rc != 0) {
    made->pid = 0;
    throw std::system_error{rc, std::generic_category(), "starting " + program};
  }
  return made;
}

std::string own_program() {
  char path[PATH_MAX];
  const auto n = ::readlink("/proc/self/exe", path, sizeof(path));
  if (n <= 0)
    fail("/proc/self/exe");
  return {path, static_cast<std::size_t>(n)};
}

// What no shell and no ssh takes for anything but a name.
bool is_plain(std::string_view text) {
  return !text.empty() && text.front() != '-'
         && std::all_of(text.begin(), text.end(), [](unsigned char c) {
              return std::isalnum(c) != 0
                     || std::strchr("._-:/@+=%,[]", c) != nullptr;
            });
}

std::string quoted(const std::string& text) {
  if (is_plain(text) && text.find_first_of("[]") == std::string::npos)
    return text;
  std::string all = "'";
  for (const char c : text)
    all += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return all + "'";
}

std::string filled(std::string_view pattern, const std::string& host,
                   const std::string& program) {
  std::string text;
  while (!pattern.empty()) {
    const auto brace = std::min(pattern.find('{'), pattern.size());
    text += pattern.substr(0, brace);
    pattern.remove_prefix(brace);
    auto take = [&](std::string_view name, const std::string& value) {
      if (!pattern.starts_with(name))
        return false;
      text += quoted(value);
      pattern.remove_prefix(name.size());
      return true;
    };
    if (!pattern.empty() && !take("{host}", host)
        && !take("{address}", host.substr(host.rfind('@') + 1))
        && !take("{program}", program)) {
      text += pattern.front();
      pattern.remove_prefix(1);
    }
  }
  return text;
}

// Somebody may just be starting it. No node, and why, if it does not come.
troupe::node connect_in_time(system& sys, const std::string& address,
                             connect_options opts, std::string& why) {
  const auto until = due_after(opts.deadline);
  for (auto pause = std::chrono::milliseconds{50};;
       pause = std::min(pause * 2, pause_max)) {
    try {
      return sys.connect(address, opts);
    } catch (const node_lost& e) {
      why = e.what();
    } catch (const std::exception& e) {
      why = e.what();
      return {};
    }
    const auto left =
      std::chrono::nanoseconds{until - due_after(std::chrono::nanoseconds{0})};
    if (left <= pause)
      return {};
    std::this_thread::sleep_for(pause);
    opts.deadline = left - pause;
  }
}

struct started {
  std::unique_ptr<launched_process> process;
  std::string host;
};

// They have all been started; now each says where it is.
std::vector<launched_node> connected(system& sys, std::vector<started> all,
                                     const launch_options& opts) {
  const auto until = opts.deadline.ns() == time_limit::none
                       ? clock::now() + std::chrono::hours{24 * 365}
                       : clock::now()
                           + std::chrono::nanoseconds{opts.deadline.ns()};
  std::vector<launched_node> nodes;
  for (auto& s : all) {
    const auto what = "the node on " + s.host;
    auto text = s.process->line(until, what);
    while (!text.starts_with(announcement))
      text = s.process->line(until, what);
    const auto address = text.substr(announcement.size());
    auto how = opts.connect;
    // Whoever else listens there by now does not have this key.
    text = s.process->line(until, what);
    if (how.fingerprint.empty() && text.starts_with("key "))
      how.fingerprint = text.substr(4);
    nodes.emplace_back(std::move(s.process), s.host, sys.connect(address, how));
  }
  return nodes;
}

} // namespace

} // namespace troupe::detail

namespace troupe {

launched_node::launched_node(std::unique_ptr<detail::launched_process> p,
                             std::string host, troupe::node n) noexcept
  : process_(std::move(p)),
    host_(std::move(host)),
    node_(std::move(n)) {}

launched_node::launched_node(launched_node&&) noexcept = default;
launched_node& launched_node::operator=(launched_node&&) noexcept = default;
launched_node::~launched_node() = default;

std::int32_t launched_node::pid() const noexcept {
  return process_ == nullptr ? 0 : process_->pid;
}

void launched_node::kill() noexcept {
  if (process_ == nullptr || process_->pid == 0)
    return;
  ::kill(-process_->pid, SIGKILL);
  process_->reap(0);
}

std::vector<launched_node> launch_local(system& sys, std::size_t n,
                                        const launch_options& opts) {
  if (n < 1 || n > detail::local_max)
    throw bad_argument{fmt::format("launch_local: {} nodes, the range is 1..{}",
                                   n, detail::local_max)};
  const auto keys = nodes::host::of(sys.runtime()).keys_or_own();
  const auto program = opts.program.empty() ? detail::own_program()
                                            : opts.program;
  std::vector<std::string> args{program, "node", "--listen", "127.0.0.1:0",
                                "--with-stdin"};
  args.insert(args.end(), opts.arguments.begin(), opts.arguments.end());
  std::vector<detail::started> all;
  for (std::size_t i = 0; i < n; ++i)
    all.push_back({detail::spawn_process(program, args, keys), "127.0.0.1"});
  return detail::connected(sys, std::move(all), opts);
}

std::vector<launched_node> launch(system& sys, std::string_view command,
                                  const std::vector<std::string>& hosts,
                                  const launch_options& opts) {
  const auto program = opts.program.empty() ? detail::own_program()
                                            : opts.program;
  for (const auto& host : hosts)
    if (!detail::is_plain(host))
      throw bad_argument{fmt::format(
        "launch: \"{}\" is no name of a host: letters, digits, . _ - : @",
        host)};
  std::vector<detail::started> all;
  for (const auto& host : hosts)
    all.push_back(
      {detail::spawn_process(
         "/bin/sh", {"sh", "-c", detail::filled(command, host, program)}, {}),
       host});
  return detail::connected(sys, std::move(all), opts);
}

std::vector<node> connect_all(system& sys,
                              const std::vector<std::string>& addresses,
                              const connect_options& opts) {
  std::vector<node> found(addresses.size());
  std::vector<std::string> why(addresses.size());
  std::atomic<std::size_t> next{0};
  auto work = [&] {
    for (auto i = next.fetch_add(1); i < addresses.size();
         i = next.fetch_add(1))
      found[i] = detail::connect_in_time(sys, addresses[i], opts, why[i]);
  };
  {
    // A thread waits for each, within reason: those that don't answer take
    // their whole deadline.
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < std::min(addresses.size(), detail::waiters_max);
         ++i)
      threads.emplace_back(work);
    const sched::blocking_section section;
    work();
  }
  std::vector<node> up;
  std::string faults;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (found[i]) {
      up.push_back(std::move(found[i]));
      continue;
    }
    detail::log().warn("node: {} is left out: {}", addresses[i], why[i]);
    faults += fmt::format("; {}: {}", addresses[i], why[i]);
  }
  if (up.empty())
    throw node_lost{"connect_all: no node can be connected" + faults};
  return up;
}

} // namespace troupe
