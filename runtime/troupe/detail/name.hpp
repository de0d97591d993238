// SPDX-License-Identifier: MIT
// name: the names of types and methods, for people, at compile time.
#pragma once

#include <string_view>

namespace troupe::detail {

// The text between "X = " and the end of the template argument.
consteval std::string_view argument_of(std::string_view pretty,
                                       std::string_view key) {
  auto begin = pretty.find(key);
  if (begin == std::string_view::npos)
    return pretty;
  begin += key.size();
  auto depth = 0;
  auto end = begin;
  for (; end < pretty.size(); ++end) {
    auto c = pretty[end];
    if (c == '<' || c == '(' || c == '{' || c == '[')
      ++depth;
    else if (c == '>' || c == ')' || c == '}')
      --depth;
    else if (c == ']' && depth-- == 0)
      break;
    else if (c == ';' && depth == 0)
      break;
  }
  return pretty.substr(begin, end - begin);
}

template <class NameOf>
consteval std::string_view type_name() {
  return argument_of(__PRETTY_FUNCTION__, "NameOf = ");
}

/// `counter::add` for `&counter::add`.
template <auto ValueOf>
consteval std::string_view value_name() {
  auto text = argument_of(__PRETTY_FUNCTION__, "ValueOf = ");
  if (!text.empty() && text.front() == '(')
    if (auto at = text.rfind(")&"); at != std::string_view::npos)
      text.remove_prefix(at + 1); // a cast to the exact overload
  if (!text.empty() && text.front() == '&')
    text.remove_prefix(1);
  return text;
}

} // namespace troupe::detail
