// SPDX-License-Identifier: MIT
// What the decoders need of core/, without the actors behind it.
#include "troupe/error.hpp"

namespace troupe {

task_failed::task_failed(std::string type, std::string what, std::string where,
                         std::uint64_t actor, std::string node,
                         std::exception_ptr original)
  : error(type + ": " + what),
    type_(std::move(type)),
    text_(std::move(what)),
    where_(std::move(where)),
    actor_(actor),
    node_(std::move(node)),
    original_(std::move(original)) {}

} // namespace troupe
