// SPDX-License-Identifier: MIT
// launch: nodes that a program starts itself, and finding those that somebody
// else has started (Slurm, Kubernetes, a person).
//
//   auto three = troupe::launch_local(sys, 3);                  // children
//   auto far = troupe::launch(sys, troupe::by_ssh, {"a", "b"}); // by a command
//   auto found = troupe::find_nodes("slurm:7000");              // addresses
//   troupe::node_pool pool{sys, {.nodes = troupe::connect_all(sys, found)}};
//
// runtime/node/README.md has an example for each.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/node.hpp"

namespace troupe {

/// Starts a node on a host: `launch`'s usual template.
inline constexpr std::string_view by_ssh =
  "ssh -o BatchMode=yes {host} {program} node --listen {address}:0 "
  "--with-stdin";

struct launch_options {
  /// The executable there; it must be the same build. Default: this one's path.
  std::string program{};
  /// More arguments of a local node: {"--troupe-workers=2"}. A template has
  /// them in its text.
  std::vector<std::string> arguments{};
  /// For each node: until it says where it listens.
  time_limit deadline = std::chrono::seconds{20};
  /// How it is connected then. No second time: who started it starts another.
  connect_options connect{.reconnect = false};
};

namespace detail {

struct launched_process; // node/launch.cpp

} // namespace detail

/// A node that this program has started: it goes with this object (told by the
/// end of its standard input; killed a second later), or with this program.
class launched_node {
public:
  launched_node(launched_node&&) noexcept;
  launched_node& operator=(launched_node&&) noexcept;
  ~launched_node();

  const troupe::node& node() const noexcept { return node_; }
  const std::string& host() const noexcept { return host_; }
  /// Here: of the node itself if it is local, else of the command.
  std::int32_t pid() const noexcept;
  /// Ends it at once, by SIGKILL; of a command that means the command.
  void kill() noexcept;

  /// For the library.
  launched_node(std::unique_ptr<detail::launched_process> p, std::string host,
                troupe::node n) noexcept;

private:
  std::unique_ptr<detail::launched_process> process_;
  std::string host_;
  troupe::node node_;
};

/// `n` nodes as child processes, on loopback, connected.
/// Keys:   those of this program; if it has none, some are made for this system
///         alone, in a folder that goes with it.
/// Errors: bad_argument (n not in 1..256), timeout, node_lost (it says why it
///         could not start), std::system_error.
std::vector<launched_node> launch_local(system& sys, std::size_t n,
                                        const launch_options& opts = {});

/// A node on each host by a command, which the shell runs here, with {host},
/// {address} and {program} filled in; {address} is {host} without its user: of
/// "user@beta" it is "beta". The command's standard output must begin with what
/// `app node` says, its standard input must be the node's (--with-stdin).
/// Keys:   on each host its user's own; both sides must let the other's in.
/// Errors: as launch_local; bad_argument for a host that the shell or ssh could
///         take for something else.
std::vector<launched_node> launch(system& sys, std::string_view command,
                                  const std::vector<std::string>& hosts,
                                  const launch_options& opts = {});

/// Where nodes are:
///   slurm:PORT         each host of this Slurm job (SLURM_JOB_NODELIST)
///   dns:NAME:PORT      each address of a name (a headless service's pods)
///   file:PATH          a hosts file: HOST:PORT a line, "#" begins a comment
///   HOST:PORT,...      these
/// Result: addresses for connect, in order, each once.
/// Errors: bad_argument, which says what is wrong with it.
std::vector<std::string> find_nodes(std::string_view where);

/// Those that can be connected by the deadline, all at the same time; one that
/// is not there yet is tried again. The others are logged.
/// Errors: node_lost (none can; it names each and why).
std::vector<node> connect_all(system& sys,
                              const std::vector<std::string>& addresses,
                              const connect_options& opts = {});

} // namespace troupe
