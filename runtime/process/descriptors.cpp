// SPDX-License-Identifier: MIT
#include "process/descriptors.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <system_error>

namespace troupe::process {

std::pair<descriptor, descriptor> make_socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   ends)
      != 0)
    throw std::system_error{errno, std::generic_category(), "socketpair"};
  return {descriptor{ends[0]}, descriptor{ends[1]}};
}

transfer send_record(int socket, std::span<const std::byte> bytes,
                     std::span<const int> fds) noexcept {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * descriptors_max)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    std::memset(control, 0, sizeof(control));
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    auto* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
      return transfer::done;
    if (errno == EINTR)
      continue;
    return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS
             ? transfer::again
             : transfer::ended;
  }
}

received receive_record(int socket, std::span<std::byte> room) {
  iovec part{room.data(), room.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * descriptors_max)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t n = 0;
  // A peer that went without having read all leaves ECONNRESET, once, before
  // what it had sent.
  do {
    n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
  received result;
  if (n < 0) {
    result.how = errno == EAGAIN ? transfer::again : transfer::ended;
    return result;
  }
  for (auto* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
      continue;
    auto count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
      result.fds.emplace_back(fd);
    }
  }
  result.how = n == 0 && result.fds.empty() ? transfer::ended : transfer::done;
  result.bytes = static_cast<std::size_t>(n);
  return result;
}

} // namespace troupe::process
