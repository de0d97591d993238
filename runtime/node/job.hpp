// SPDX-License-Identifier: MIT
// job: a function that came from another node, on the workers.
#pragma once

#include "core/runtime.hpp"

#include <atomic>
#include <functional>

namespace troupe::nodes {

class job final : public caf::resumable {
public:
  /// Soon, once. `f` must not throw.
  static void start(detail::runtime& rt, std::function<void()> f) {
    rt.scheduler().inject(new job{rt, std::move(f)});
  }

  resume_result resume(caf::execution_unit*, std::size_t) override {
    const detail::context_scope scope{nullptr, &runtime_};
    f_();
    return done;
  }
  subtype_t subtype() const override { return function_object; }
  void intrusive_ptr_add_ref_impl() override { refs_.fetch_add(1); }
  void intrusive_ptr_release_impl() override {
    if (refs_.fetch_sub(1) == 1)
      delete this;
  }

private:
  job(detail::runtime& rt, std::function<void()> f)
    : runtime_(rt),
      f_(std::move(f)) {}

  detail::runtime& runtime_;
  std::function<void()> f_;
  std::atomic<int> refs_{1};
};

} // namespace troupe::nodes
